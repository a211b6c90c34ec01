//! The Hugging Face Hub, or a mirror of it: names from its API, bytes from where it redirects to.
//!
//! `ask` sends one question, `answer` says what comes back means; `api` builds the [`Catalog`] on them (`listing`
//! reads file lists), `resolve` and `xet` the [`Origin`].
//! The token goes to the Hub's own host only (`auth`), and no URL with a query leaves this folder.

mod answer;
mod api;
mod ask;
mod auth;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod listing;
mod lookups;
mod pauses;
mod places;
mod resolve;
#[cfg(test)]
mod tests;
mod urls;
mod xet;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use url::Url;

use self::api::Api;
use self::ask::Line;
pub use self::auth::{TokenFileError, find_token};
use self::lookups::Lookups;
use self::resolve::Contents;
use self::xet::Ways;
pub use self::xet::XetWish;
use super::http::{Clients, Timeouts};
use super::patience::Patience;
use super::{ByteStream, Catalog, Discovered, Origin, OriginError, OriginErrorKind};
use crate::metrics::Metrics;
use crate::types::{Blob, ByteRange, Commit, Identity, RemoteFile, RepoId, Revision, Snapshot};

/// How patient to be with the Hub. Endpoint and token are not here: they come with each question's [`Identity`].
#[derive(Debug, Clone)]
pub struct HubSettings {
    pub timeouts: Timeouts,
    /// How long a question about names is asked again and again.
    pub give_up: Duration,
    /// The wait before it is asked the second time.
    pub first_retry: Duration,
    pub xet: XetWish,
}

impl Default for HubSettings {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self { timeouts: Timeouts::default(), give_up: 60 * second, first_retry: second, xet: XetWish::Auto }
    }
}

/// The Hub as an [`Origin`] of bytes and a [`Catalog`] of names, for any number of identities.
pub struct HubOrigin {
    clients: Clients,
    api: Api,
    ways: Arc<Ways>,
    lookups: Lookups,
    patience: Patience,
}

impl HubOrigin {
    pub fn new(settings: HubSettings, metrics: Arc<Metrics>) -> Self {
        let HubSettings { timeouts, give_up, first_retry, xet } = settings;
        let clients = Clients::new(user_agent(), timeouts);
        let line = Arc::new(Line::new(clients.clone(), timeouts, metrics.clone()));
        let patience = Patience { give_up, first_retry };
        let api = Api::new(line.clone(), patience, timeouts.stall);
        let contents = Contents::new(line.clone(), timeouts.stall, metrics.clone());
        let ways = Arc::new(Ways::new(xet, contents, line, timeouts, metrics));
        Self { clients, api, ways, lookups: Lookups::new(), patience }
    }

    /// Gets ready for a first question that is about to come.
    pub fn prepare(&self) {
        self.clients.prepare();
    }
}

fn user_agent() -> String {
    let (os, machine) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("weightfs/{}; os/{os}; arch/{machine}", env!("CARGO_PKG_VERSION"))
}

/// Nobody is asked for one who is offline.
fn online(identity: &Identity, url: impl FnOnce() -> Result<Url, OriginError>) -> Result<Url, OriginError> {
    let url = url()?;
    if identity.offline {
        let cause = "offline, and this was not asked for before; run once online to have it here";
        return Err(OriginError::new(OriginErrorKind::Offline, url.as_str(), cause));
    }
    Ok(url)
}

/// Whoever asks for a commit gets that one.
fn same_commit(revision: &Revision, commit: Commit, url: &Url) -> Result<Commit, OriginError> {
    if revision.as_commit().is_some_and(|asked| asked != commit) {
        let cause = format!("answers for commit {commit}");
        return Err(OriginError::new(OriginErrorKind::Nonsense, url.as_str(), cause));
    }
    Ok(commit)
}

#[async_trait]
impl Origin for HubOrigin {
    fn name(&self) -> &'static str {
        "hub"
    }

    async fn open(&self, identity: &Identity, file: &RemoteFile, range: ByteRange) -> Result<ByteStream, OriginError> {
        online(identity, || urls::resolve(identity, file))?;
        self.ways.open(identity, file, range).await
    }

    fn disproved(&self, blob: &Blob) {
        self.ways.disproved(blob);
    }
}

#[async_trait]
impl Catalog for HubOrigin {
    async fn resolve(&self, identity: &Identity, repo: &RepoId, revision: &Revision) -> Result<Commit, OriginError> {
        let url = online(identity, || urls::info(identity, repo, revision.as_str()))?;
        let turn = self.lookups.admit(identity.digest(), repo, &url, self.patience.give_up).await?;
        let answer = self.api.info(identity, repo, revision.as_str()).await;
        turn.settle(&answer);
        same_commit(revision, answer?.commit, &url)
    }

    async fn discover(
        &self,
        identity: &Identity,
        repo: &RepoId,
        revision: &Revision,
    ) -> Result<Discovered, OriginError> {
        let url = online(identity, || urls::info_with_files(identity, repo, revision.as_str()))?;
        let turn = self.lookups.admit(identity.digest(), repo, &url, self.patience.give_up).await?;
        let answer = self.api.discover(identity, repo, revision.as_str()).await;
        turn.settle(&answer);
        let discovered = answer?;
        same_commit(revision, discovered.commit, &url)?;
        Ok(discovered)
    }

    async fn snapshot(&self, identity: &Identity, repo: &RepoId, commit: Commit) -> Result<Snapshot, OriginError> {
        let url = online(identity, || urls::tree(identity, repo, commit))?;
        let turn = self.lookups.admit(identity.digest(), repo, &url, self.patience.give_up).await?;
        let answer = self.api.snapshot(identity, repo, commit).await;
        turn.settle(&answer);
        answer
    }

    fn whereabouts(&self, identity: &Identity, repo: &RepoId) -> String {
        format!("{}/{repo}", identity.endpoint)
    }

    async fn authorize(&self, identity: &Identity, file: &RemoteFile) -> Result<(), OriginError> {
        online(identity, || urls::resolve(identity, file))?;
        self.patience.retrying(|| self.ways.authorize(identity, file)).await
    }
}
