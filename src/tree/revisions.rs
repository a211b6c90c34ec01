//! Branch to commit: pinned when first resolved, refreshed by a stated policy, never mixed.
//!
//! A pin older than [`TreeSettings::refresh`](super::TreeSettings) is still the answer; it only starts a refresh
//! behind the reader's back. So a known model loads at once when the Hub is slow or away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Tree, TreeError};
use crate::db::{Pin, now};
use crate::origin::{Discovered, OriginError};
use crate::types::{Commit, Identity, RepoId, Revision};

/// Where a revision stands.
pub struct Newest {
    pub commit: Commit,
    /// Why it could not be asked, and an old answer was taken.
    pub unconfirmed: Option<OriginError>,
}

impl Tree {
    /// How long a client that writes another commit into `refs/` waits for our own refresh.
    pub(super) const REFRESH_DEADLINE: Duration = Duration::from_secs(10);

    /// Whether `repo` exists for this identity. A known one costs no network.
    pub async fn exists(self: &Arc<Self>, identity: &Identity, repo: &RepoId) -> Result<(), TreeError> {
        let access = self.db.access(&identity.endpoint, identity.digest(), repo)?;
        if access.is_some_and(|access| access.shows_names()) {
            return Ok(());
        }
        // A repository may lack `main`; then it exists all the same.
        match self.ask(identity, repo, &Revision::main()).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == crate::origin::OriginErrorKind::NoRevision => Ok(()),
            Err(error) => Err(self.refused(identity, repo, error).await),
        }
    }

    /// The commit that `revision` is pinned to; asks the origin if it is not yet.
    pub async fn commit(
        self: &Arc<Self>,
        identity: &Identity,
        repo: &RepoId,
        revision: &Revision,
    ) -> Result<Commit, TreeError> {
        if let Some(pin) = self.pin(identity, repo, revision)? {
            self.refresh_if_old(identity, repo, revision, pin);
            return Ok(pin.commit);
        }
        match self.ask(identity, repo, revision).await {
            Ok(commit) => Ok(commit),
            Err(error) => Err(self.refused(identity, repo, error).await),
        }
    }

    /// The commit that `revision` names now, for somebody who asked by name and is told why it cannot be had. If the
    /// origin does not answer, the pin is the answer.
    pub async fn newest(
        self: &Arc<Self>,
        identity: &Identity,
        repo: &RepoId,
        revision: &Revision,
    ) -> Result<Newest, TreeError> {
        let pinned = match revision.as_commit() {
            Some(commit) if self.known_snapshot(identity, repo, commit)?.is_some() => Some(commit),
            Some(_) => None,
            None => self.pinned(identity, repo, revision)?,
        };
        if let Some(commit) = pinned.filter(|_| identity.offline || revision.as_commit().is_some()) {
            return Ok(Newest { commit, unconfirmed: None });
        }
        let error = match self.ask(identity, repo, revision).await {
            Ok(commit) => return Ok(Newest { commit, unconfirmed: None }),
            Err(error) => error,
        };
        match pinned {
            Some(commit) if error.is_transient() => Ok(Newest { commit, unconfirmed: Some(error) }),
            _ => {
                self.refused(identity, repo, error.clone()).await;
                Err(error.into())
            }
        }
    }

    /// The pin as it stands, without any network. Read-only: `refs/` is answered from it.
    pub fn pinned(&self, identity: &Identity, repo: &RepoId, revision: &Revision) -> Result<Option<Commit>, TreeError> {
        Ok(self.pin(identity, repo, revision)?.map(|pin| pin.commit))
    }

    /// Every revision that `refs/` lists.
    pub fn revisions(&self, identity: &Identity, repo: &RepoId) -> Result<Vec<(String, Commit)>, TreeError> {
        Ok(self.db.pins(&identity.endpoint, identity.digest(), repo)?)
    }

    /// A client says that `revision` is now `commit`. If that is news the origin is asked; the client is not believed.
    pub async fn told(
        self: &Arc<Self>,
        identity: &Identity,
        repo: &RepoId,
        revision: &Revision,
        commit: Commit,
    ) -> Result<(), TreeError> {
        if self.pinned(identity, repo, revision)? == Some(commit) || identity.offline {
            return Ok(());
        }
        let asked = tokio::time::timeout(Self::REFRESH_DEADLINE, self.ask(identity, repo, revision));
        match asked.await {
            Ok(Ok(resolved)) => tracing::info!(%repo, %revision, commit = %resolved, "the branch has moved"),
            Ok(Err(error)) => {
                tracing::warn!(%repo, %revision, %error, "the branch could not be refreshed");
                self.refused(identity, repo, error).await;
            }
            Err(_) => tracing::warn!(%repo, %revision, "the Hub is slow; the branch keeps its pin"),
        }
        Ok(())
    }

    // Of a public repository anybody's pin will do: a new login need not wait for the Hub.
    fn pin(&self, identity: &Identity, repo: &RepoId, revision: &Revision) -> Result<Option<Pin>, TreeError> {
        match self.db.pin(&identity.endpoint, identity.digest(), repo, revision)? {
            Some(own) => Ok(Some(own)),
            None => Ok(self.db.public_pin(&identity.endpoint, repo, revision)?),
        }
    }

    fn refresh_if_old(self: &Arc<Self>, identity: &Identity, repo: &RepoId, revision: &Revision, pin: Pin) {
        let age = Duration::from_secs(now().saturating_sub(pin.resolved_at));
        let refresh = self.catalog.freshness(repo).map_or(self.settings.refresh, |own| own.min(self.settings.refresh));
        if identity.offline || age < refresh {
            return;
        }
        let key = (identity.digest(), repo.clone(), revision.clone());
        let pause = Self::REFRESH_PAUSE.min(refresh);
        let started = self.refreshing.entry(key).or_insert_with_if(Instant::now, |started| started.elapsed() >= pause);
        if !started.is_fresh() {
            return;
        }
        let (tree, identity, repo, revision) = (self.clone(), identity.clone(), repo.clone(), revision.clone());
        tokio::spawn(async move {
            if let Err(error) = tree.ask(&identity, &repo, &revision).await {
                tracing::warn!(%repo, %revision, %error, "the branch could not be refreshed");
                // A refusal ends the grant; anything else leaves the pin as it is.
                tree.refused(&identity, &repo, error).await;
            }
        });
    }

    /// Asks the origin, once for all who ask together, and pins the answer with its file list.
    async fn ask(
        self: &Arc<Self>,
        identity: &Identity,
        repo: &RepoId,
        revision: &Revision,
    ) -> Result<Commit, OriginError> {
        let key = (identity.digest(), repo.clone(), revision.clone());
        self.resolves.get_with(key, self.resolve(identity, repo, revision)).await
    }

    // The file list comes first: a pin never names a commit that could not be shown.
    async fn resolve(
        self: &Arc<Self>,
        identity: &Identity,
        repo: &RepoId,
        revision: &Revision,
    ) -> Result<Commit, OriginError> {
        let known = self.pinned(identity, repo, revision).ok().flatten();
        let Discovered { commit, snapshot } = match known {
            Some(_) => Discovered { commit: self.catalog.resolve(identity, repo, revision).await?, snapshot: None },
            None => self.catalog.discover(identity, repo, revision).await?,
        };
        match snapshot {
            Some(snapshot) => drop(self.listed(identity, snapshot).await?),
            None => drop(self.list(identity, repo, commit).await?),
        }
        if let Err(error) = self.db.put_pin(&identity.endpoint, identity.digest(), repo, revision, commit).await {
            tracing::error!(%error, %repo, %revision, "the pin could not be recorded; it is asked for again");
        }
        Ok(commit)
    }
}
