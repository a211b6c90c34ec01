//! Leave to read of a Hub's Xet store: asked for at the Hub, remembered for who asked, a repository's commit at a time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use moka::future::Cache;
use reqwest::Method;
use serde::Deserialize;
use url::Url;

use super::super::answer::About;
use super::super::ask::{Line, Party, Question, Reply};
use super::super::urls;
use crate::origin::http::{self, Timeouts};
use crate::origin::xet::{Grant, Grants, Store, Stores};
use crate::origin::{OriginError, OriginErrorKind};
use crate::types::{Commit, Identity, IdentityDigest, RemoteFile, RepoId};

/// A grant is a token of a few hundred bytes and the name of a host.
const MAX_ANSWER: usize = 64 << 10;
/// Stores that are remembered, and for how long nobody may have asked for them.
const STORES: u64 = 256;
const IDLE: Duration = Duration::from_secs(600);

type Key = (IdentityDigest, RepoId, Commit);

pub(super) struct Granted {
    line: Arc<Line>,
    timeouts: Timeouts,
    stores: Arc<Stores>,
    open: Cache<Key, Arc<Store>>,
}

impl Granted {
    pub(super) fn new(line: Arc<Line>, timeouts: Timeouts, stores: Stores) -> Self {
        let open = Cache::builder().max_capacity(STORES).time_to_idle(IDLE).build();
        Self { line, timeouts, stores: Arc::new(stores), open }
    }

    /// The store of a file; many who ask at once ask the Hub once.
    pub(super) async fn store(&self, identity: &Identity, file: &RemoteFile) -> Result<Arc<Store>, OriginError> {
        let asker = Arc::new(Asker {
            line: self.line.clone(),
            identity: identity.clone(),
            repo: file.repo.clone(),
            commit: file.commit,
            stall: self.timeouts.stall,
        });
        let stores = self.stores.clone();
        let open = async {
            let url = urls::xet_token(identity, &file.repo, file.commit)?;
            let cannot = |cause| OriginError::new(OriginErrorKind::Permanent, url.as_str(), cause);
            let grant = asker.grant().await?;
            // It reads the machine's CA certificates.
            let opened = tokio::task::spawn_blocking(move || stores.open(grant, asker)).await;
            let store = opened.map_err(|error| cannot(error.to_string()))?;
            Ok(Arc::new(store.map_err(|error| cannot(error.to_string()))?))
        };
        let store = self.open.try_get_with(key(identity, file), open).await;
        store.map_err(|error: Arc<OriginError>| OriginError::clone(&error))
    }

    /// The store takes this grant no more.
    pub(super) async fn forget(&self, identity: &Identity, file: &RemoteFile) {
        self.open.invalidate(&key(identity, file)).await;
    }
}

fn key(identity: &Identity, file: &RemoteFile) -> Key {
    (identity.digest(), file.repo.clone(), file.commit)
}

struct Asker {
    line: Arc<Line>,
    identity: Identity,
    repo: RepoId,
    commit: Commit,
    stall: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GrantAnswer {
    cas_url: String,
    exp: u64,
    access_token: String,
}

#[async_trait]
impl Grants for Asker {
    /// The token of the identity goes to its own Hub, as with every question; the answer's token goes to the store alone.
    async fn grant(&self) -> Result<Grant, OriginError> {
        let Self { line, identity, repo, commit, stall } = self;
        let url = urls::xet_token(identity, repo, *commit)?;
        let nonsense = |cause: String| OriginError::new(OriginErrorKind::Nonsense, url.as_str(), cause);
        let (method, about) = (Method::GET, About::Contents);
        let question = Question { identity, method, url: url.clone(), range: None, about, to: Party::Hub };
        let Reply::Here(response) = line.ask(question).await? else {
            return Err(nonsense("redirects where a grant was expected".to_owned()));
        };
        let deadline = 2 * *stall;
        let body = tokio::time::timeout(deadline, http::whole_body(response, MAX_ANSWER, *stall)).await;
        let body = body.map_err(|_| nonsense(format!("the answer was not complete after {deadline:?}")))??;
        let answer: GrantAnswer =
            serde_json::from_slice(&body).map_err(|error| nonsense(format!("is no grant: {error}")))?;
        let store = store_url(&url, &answer.cas_url).map_err(|cause| nonsense(cause.to_owned()))?;
        Ok(Grant { store, token: answer.access_token, expires_at: answer.exp })
    }
}

/// A store is a host on the network, no less protected than the Hub: the crate would take folders too.
fn store_url(hub: &Url, text: &str) -> Result<Url, &'static str> {
    let store = Url::parse(text).map_err(|_| "names a store that is no URL")?;
    match (hub.scheme(), store.scheme()) {
        _ if store.host_str().is_none() || store.query().is_some() => Err("names a store that is no host"),
        (_, "https") | ("http", "http") => Ok(store),
        _ => Err("names a store that is not https"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_host_as_safe_as_the_hub() {
        let allowed = |hub: &str, store: &str| store_url(&Url::parse(hub).unwrap(), store).is_ok();
        assert!(allowed("https://hub/x", "https://cas.example"));
        assert!(allowed("http://hub/x", "http://127.0.0.1:9/base"));
        assert!(!allowed("https://hub/x", "http://cas.example"));
        for store in ["local:///etc", "memory://", "", "cas", "https://", "https://cas?x=1", "file:///etc/passwd"] {
            assert!(!allowed("http://hub/x", store), "{store}");
        }
    }
}
