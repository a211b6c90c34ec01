//! What the Hub's API says of repositories: commits, gates, file lists. Unknown fields are ignored, strange values refused.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::answer::About;
use super::ask::{Line, Party, Question, Reply};
use super::patience::Patience;
use super::{auth, urls};
use crate::origin::http::{self, dates, headers};
use crate::origin::{OriginError, OriginErrorKind};
use crate::types::{Blob, BlobId, Commit, Identity, RepoId, RepoPath, Snapshot};

/// A page holds 1000 files; more than a million in all is not a model.
const MAX_PAGES: usize = 1000;
const MAX_FILES: usize = 1_000_000;
/// 16 TiB: sizes are added up, and the sum of a whole listing must stay a number.
const MAX_FILE_SIZE: u64 = 1 << 44;
const MAX_ANSWER: usize = 64 << 20;
/// For a whole answer, however steadily it drips.
const ANSWER_DEADLINE: Duration = Duration::from_secs(120);
/// A hostile listing must not fill the log.
const MAX_NAMED_REFUSALS: usize = 100;

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
}

#[derive(Deserialize)]
struct TreeEntry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    oid: String,
    #[serde(default)]
    size: u64,
    lfs: Option<LfsEntry>,
}

#[derive(Deserialize)]
struct LfsEntry {
    oid: String,
    size: u64,
}

impl Api {
    pub(super) fn new(line: Arc<Line>, patience: Patience, stall: Duration) -> Self {
        Self { line, patience, stall }
    }

    pub(super) async fn info(&self, identity: &Identity, repo: &RepoId, revision: &str) -> Result<Info, OriginError> {
        let url = urls::info(identity, repo, revision)?;
        let info = self.patience.retrying(|| async {
            let (answer, _) = self.json::<InfoAnswer>(identity, url.clone(), About::Repo).await?;
            read_info(answer).map_err(|cause| OriginError::new(OriginErrorKind::Nonsense, url.as_str(), cause))
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
        let mut refusals = Refusals { repo, commit, count: 0 };
        let listed = entries.into_iter().filter_map(|entry| {
            read_entry(entry).unwrap_or_else(|refusal| {
                refusals.add(&refusal.path, &refusal.reason);
                None
            })
        });
        let (mut snapshot, refused) = Snapshot::new(repo.clone(), commit, listed.collect::<Vec<_>>());
        for (path, problem) in refused {
            refusals.add(path.as_str(), &problem.to_string());
        }
        refusals.finish();
        snapshot.private = info.private;
        snapshot.gated = info.gated;
        snapshot.created_at = info.modified_at;
        Ok(snapshot)
    }

    /// All pages. Each is tried anew within the deadline, since a page that came is progress.
    async fn tree(&self, identity: &Identity, repo: &RepoId, commit: Commit) -> Result<Vec<Value>, OriginError> {
        let mut url = urls::tree(identity, repo, commit)?;
        let wrong = |url: &Url, cause: &str| Err(OriginError::new(OriginErrorKind::Permanent, url.as_str(), cause));
        let mut entries: Vec<Value> = Vec::new();
        for _ in 0..MAX_PAGES {
            let page = self.patience.retrying(|| self.json::<Vec<Value>>(identity, url.clone(), About::Listing));
            let (page, next) = page.await?;
            entries.extend(page);
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

struct Refusal {
    path: String,
    reason: String,
}

/// A file of the listing; `None` for a folder.
fn read_entry(entry: Value) -> Result<Option<(RepoPath, Blob)>, Refusal> {
    let path = entry.get("path").and_then(Value::as_str).unwrap_or_default().to_owned();
    let refuse = |reason: String| Refusal { path: path.clone(), reason };
    let entry: TreeEntry = serde_json::from_value(entry).map_err(|error| refuse(error.to_string()))?;
    if entry.kind != "file" {
        return Ok(None);
    }
    let path = RepoPath::new(&entry.path).map_err(|problem| refuse(problem.to_string()))?;
    let (oid, size) = match &entry.lfs {
        Some(lfs) => (lfs.oid.strip_prefix("sha256:").unwrap_or(&lfs.oid), lfs.size),
        None => (entry.oid.as_str(), entry.size),
    };
    let id = BlobId::from_etag(oid).map_err(|error| refuse(error.to_string()))?;
    if matches!(id, BlobId::Sha256(_)) != entry.lfs.is_some() {
        return Err(refuse(format!("`{oid}` is not the kind of hash that such a file has")));
    }
    if size > MAX_FILE_SIZE {
        return Err(refuse(format!("a size of {size} bytes is not plausible")));
    }
    Ok(Some((path, Blob { id, size })))
}

/// Says in the log what a listing holds that is not shown, and why.
struct Refusals<'a> {
    repo: &'a RepoId,
    commit: Commit,
    count: usize,
}

impl Refusals<'_> {
    fn add(&mut self, path: &str, reason: &str) {
        self.count += 1;
        if self.count <= MAX_NAMED_REFUSALS {
            // `?path` escapes what could confuse a terminal.
            tracing::warn!(repo = %self.repo, commit = %self.commit, ?path, reason, "a file of the listing is left out");
        }
    }

    fn finish(self) {
        if self.count > MAX_NAMED_REFUSALS {
            let more = self.count - MAX_NAMED_REFUSALS;
            tracing::warn!(repo = %self.repo, commit = %self.commit, more, "more files of the listing are left out");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_is_a_file_of_git_or_lfs_or_a_folder() {
        let (sha1, sha256) = ("1".repeat(40), "2".repeat(64));
        let read = |entry| read_entry(entry).ok().flatten();
        let (path, blob) = read(json!({"type": "file", "oid": sha1, "size": 3, "path": "a/b", "new": [1]})).unwrap();
        assert_eq!((path.as_str(), blob), ("a/b", Blob { id: BlobId::GitSha1([0x11; 20]), size: 3 }));
        let lfs = json!({"oid": sha256, "size": 9, "pointerSize": 130});
        let (_, blob) = read(json!({"type": "file", "oid": sha1, "size": 9, "path": "w", "lfs": lfs})).unwrap();
        assert_eq!(blob, Blob { id: BlobId::Sha256([0x22; 32]), size: 9 });
        assert!(matches!(read_entry(json!({"type": "directory", "oid": sha1, "size": 0, "path": "a"})), Ok(None)));
    }

    #[test]
    fn a_strange_entry_is_refused_with_its_reason() {
        let (sha1, sha256) = ("1".repeat(40), "2".repeat(64));
        let file = |path: &str, oid: &str, size: Value| json!({"type": "file", "oid": oid, "size": size, "path": path});
        let strange = [
            file("../x", &sha1, json!(1)),
            file("a\0b", &sha1, json!(1)),
            file("x", "", json!(1)),
            file("x", &sha256, json!(1)),
            file("x", &sha1, json!(-1)),
            file("x", &sha1, json!(u64::MAX)),
            json!({"type": "file"}),
            json!(7),
        ];
        for entry in strange {
            let refusal = read_entry(entry.clone()).err().unwrap_or_else(|| panic!("{entry}"));
            assert!(!refusal.reason.is_empty());
        }
    }

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
