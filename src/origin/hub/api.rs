//! What the Hub's API says of repositories: commits and gates, with the file lists that `listing` reads. Unknown fields are ignored, strange values refused.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::answer::About;
use super::ask::{Line, Party, Question, Reply};
use super::listing::{self, Entry};
use super::{auth, urls};
use crate::origin::http::{self, dates, headers};
use crate::origin::patience::Patience;
use crate::origin::{Discovered, OriginError, OriginErrorKind};
use crate::types::{Commit, Identity, RepoId, Snapshot};

/// A page holds 1000 files; more than a million in all is not a model.
const MAX_PAGES: usize = 1000;
const MAX_FILES: usize = 1_000_000;
const MAX_ANSWER: usize = 64 << 20;
/// For a whole answer, however steadily it drips.
const ANSWER_DEADLINE: Duration = Duration::from_secs(120);

pub(super) struct Api {
    line: Arc<Line>,
    patience: Patience,
    stall: Duration,
}

/// What a repository's info says of a revision.
pub(super) struct Info {
    pub(super) commit: Commit,
    private: bool,
    gated: bool,
    modified_at: u64,
}

impl Info {
    fn snapshot(self, repo: &RepoId, entries: Vec<Entry>) -> Snapshot {
        let mut snapshot = listing::read(repo, self.commit, entries);
        snapshot.private = self.private;
        snapshot.gated = self.gated;
        snapshot.created_at = self.modified_at;
        snapshot
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InfoAnswer {
    sha: Option<String>,
    #[serde(default)]
    private: Value,
    /// `false`, `"auto"` or `"manual"`.
    #[serde(default)]
    gated: Value,
    #[serde(default)]
    last_modified: Value,
    #[serde(default)]
    siblings: Vec<Value>,
}

impl Api {
    pub(super) fn new(line: Arc<Line>, patience: Patience, stall: Duration) -> Self {
        Self { line, patience, stall }
    }

    pub(super) async fn info(&self, identity: &Identity, repo: &RepoId, revision: &str) -> Result<Info, OriginError> {
        Ok(self.ask_info(identity, urls::info(identity, repo, revision)?).await?.0)
    }

    /// The commit of a revision and, where one answer holds them all, its files.
    pub(super) async fn discover(
        &self,
        identity: &Identity,
        repo: &RepoId,
        revision: &str,
    ) -> Result<Discovered, OriginError> {
        let (info, siblings) = self.ask_info(identity, urls::info_with_files(identity, repo, revision)?).await?;
        let entries = listing::of_siblings(siblings);
        Ok(Discovered { commit: info.commit, snapshot: entries.map(|entries| info.snapshot(repo, entries)) })
    }

    async fn ask_info(&self, identity: &Identity, url: Url) -> Result<(Info, Vec<Value>), OriginError> {
        let info = self.patience.retrying(|| async {
            let (mut answer, _) = self.json::<InfoAnswer>(identity, url.clone(), About::Repo).await?;
            let siblings = std::mem::take(&mut answer.siblings);
            let info = read_info(answer);
            let info = info.map_err(|cause| OriginError::new(OriginErrorKind::Nonsense, url.as_str(), cause))?;
            Ok((info, siblings))
        });
        info.await
    }

    /// Every file of a commit, and whether the repository is gated: two questions at once.
    pub(super) async fn snapshot(
        &self,
        identity: &Identity,
        repo: &RepoId,
        commit: Commit,
    ) -> Result<Snapshot, OriginError> {
        let revision = commit.to_string();
        let (info, entries) =
            futures::try_join!(self.info(identity, repo, &revision), self.tree(identity, repo, commit))?;
        if info.commit != commit {
            let (url, cause) = (urls::info(identity, repo, &revision)?, format!("answers for {}", info.commit));
            return Err(OriginError::new(OriginErrorKind::Nonsense, url.as_str(), cause));
        }
        Ok(info.snapshot(repo, entries))
    }

    /// All pages. Each is tried anew within the deadline, since a page that came is progress.
    async fn tree(&self, identity: &Identity, repo: &RepoId, commit: Commit) -> Result<Vec<Entry>, OriginError> {
        let mut url = urls::tree(identity, repo, commit)?;
        let wrong = |url: &Url, cause: &str| Err(OriginError::new(OriginErrorKind::Permanent, url.as_str(), cause));
        let mut entries: Vec<Entry> = Vec::new();
        for _ in 0..MAX_PAGES {
            let page = self.patience.retrying(|| self.json::<Vec<Value>>(identity, url.clone(), About::Listing));
            let (page, next) = page.await?;
            entries.extend(page.into_iter().map(Entry::of_tree));
            if entries.len() > MAX_FILES {
                break;
            }
            let Some(next) = next else { return Ok(entries) };
            match urls::next_page(identity, &url, &next).filter(|next| auth::is_own_hub(identity, next)) {
                Some(next) => url = next,
                None => return wrong(&url, "the listing goes on at another host than the Hub"),
            }
        }
        wrong(&url, "the listing is longer than a million files")
    }

    /// One answer and the link to its next page.
    async fn json<T: DeserializeOwned>(
        &self,
        identity: &Identity,
        url: Url,
        about: About,
    ) -> Result<(T, Option<String>), OriginError> {
        let question = Question { identity, method: Method::GET, url: url.clone(), range: None, about, to: Party::Hub };
        match self.line.ask(question).await? {
            Reply::Here(response) => self.read_json(response).await,
            Reply::Elsewhere(_) => Err(OriginError::new(
                OriginErrorKind::Permanent,
                url.as_str(),
                "redirects to another host than the Hub",
            )),
        }
    }

    async fn read_json<T: DeserializeOwned>(&self, response: Response) -> Result<(T, Option<String>), OriginError> {
        let url = response.url().clone();
        let next = headers::next_link(response.headers()).map(str::to_owned);
        let body = http::whole_body(response, MAX_ANSWER, self.stall);
        let body = tokio::time::timeout(ANSWER_DEADLINE, body).await.unwrap_or_else(|_| {
            Err(OriginError::new(OriginErrorKind::Transient, url.as_str(), "the answer came too slowly"))
        })?;
        // A captive portal answers with a page of its own; another attempt may reach the Hub.
        let answer = serde_json::from_slice(&body).map_err(|error| {
            OriginError::new(OriginErrorKind::Nonsense, url.as_str(), format!("not the JSON expected: {error}"))
        })?;
        Ok((answer, next))
    }
}

fn read_info(answer: InfoAnswer) -> Result<Info, String> {
    let sha = answer.sha.ok_or("the answer names no commit")?;
    let commit = sha.parse().map_err(|error| format!("the answer names no commit: {error}"))?;
    let gated = !matches!(answer.gated, Value::Null | Value::Bool(false));
    let modified_at = answer.last_modified.as_str().and_then(dates::from_iso).unwrap_or(0).max(0) as u64;
    Ok(Info { commit, private: answer.private == Value::Bool(true), gated, modified_at })
}

/// As an answer that arrived.
#[cfg(any(test, fuzzing))]
pub(super) fn parse_info(answer: &[u8], repo: &RepoId) -> Option<Snapshot> {
    let mut answer: InfoAnswer = serde_json::from_slice(answer).ok()?;
    let siblings = std::mem::take(&mut answer.siblings);
    Some(read_info(answer).ok()?.snapshot(repo, listing::of_siblings(siblings)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_gate_is_read_in_every_form() {
        let gated = |value| {
            let answer = json!({"sha": "1".repeat(40), "gated": value, "lastModified": "1970-01-01T00:00:09.000Z"});
            read_info(serde_json::from_value(answer).unwrap()).unwrap()
        };
        assert!(gated(json!("auto")).gated && gated(json!("manual")).gated && gated(json!(true)).gated);
        assert!(!gated(json!(false)).gated && !gated(json!(null)).gated);
        assert_eq!(gated(json!(false)).modified_at, 9);
        assert!(read_info(serde_json::from_value(json!({"sha": "main"})).unwrap()).is_err());
        assert!(read_info(serde_json::from_value(json!({})).unwrap()).is_err());
    }
}
