//! Which paths exist: repositories, revisions, snapshots, and the numbers that the kernel knows them by.
//!
//! `fs` asks it for meaning; it asks a [`Catalog`] what this node does not know yet and keeps the answers in `db`.
//! It never touches contents.

pub mod layout;
mod nodes;
pub mod path_tree;
mod revisions;
mod snapshots;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use nodes::{Node, Nodes};
pub use revisions::Newest;

use crate::db::{Database, DbError, RepoRow};
use crate::origin::{Catalog, OriginError, OriginErrorKind};
use crate::types::{Commit, Identity, IdentityDigest, RepoId, Revision, Snapshot};

/// Why a name could not be told.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TreeError {
    /// It does not exist, as far as this identity may know.
    #[error("no such file or repository")]
    Absent,
    #[error(transparent)]
    Origin(#[from] OriginError),
    #[error("{0}")]
    Database(Arc<DbError>),
}

impl From<DbError> for TreeError {
    fn from(error: DbError) -> Self {
        TreeError::Database(Arc::new(error))
    }
}

#[derive(Debug, Clone)]
pub struct TreeSettings {
    /// How old the commit that a branch is pinned to may become before the origin is asked again.
    pub refresh: Duration,
}

/// What is known of the Hub's names, shared by every mount.
pub struct Tree {
    db: Arc<Database>,
    catalog: Arc<dyn Catalog>,
    settings: TreeSettings,
    /// Answers to `resolve` on their way and just come: readers who ask together ask once.
    resolves: moka::future::Cache<(IdentityDigest, RepoId, Revision), Result<Commit, OriginError>>,
    listings: moka::future::Cache<(IdentityDigest, RepoId, Commit), Result<Arc<Snapshot>, OriginError>>,
    snapshots: moka::sync::Cache<(Arc<str>, RepoId, Commit), Arc<Snapshot>>,
    /// When which branch was last asked for again.
    refreshing: moka::sync::Cache<(IdentityDigest, RepoId, Revision), Instant>,
    /// Partial lists whose whole could not be had just now.
    unlisted: moka::sync::Cache<(IdentityDigest, RepoId, Commit), ()>,
    /// Who was just found to may read which contents, so that opening a file again does not ask the database again.
    readers: moka::sync::Cache<(IdentityDigest, RepoId), ()>,
}

impl Tree {
    const REMEMBERED: u64 = 4096;
    /// Files in the lists kept in memory, a few hundred bytes each; other lists are read from the database again. The
    /// largest list that is taken from a Hub fits.
    const LISTED_FILES: u64 = 2_000_000;
    /// What a list costs beside its files, in files.
    const LIST_COST: u32 = 100;
    /// How long "there is no such repository" is believed.
    const ABSENCE: Duration = Duration::from_secs(60);
    /// How long a failure is repeated to those who ask the same, instead of asking a Hub in trouble again.
    const FAILURE: Duration = Duration::from_secs(3);
    /// After a refresh was started, how long before the next one of the same branch.
    const REFRESH_PAUSE: Duration = Duration::from_secs(30);
    /// How long the answer that somebody may read a repository is kept in memory; a refusal ends it at once.
    const READER: Duration = Duration::from_secs(5);

    pub fn new(db: Arc<Database>, catalog: Arc<dyn Catalog>, settings: TreeSettings) -> Arc<Self> {
        Arc::new(Self {
            db,
            catalog,
            settings,
            resolves: moka::future::Cache::builder().max_capacity(Self::REMEMBERED).expire_after(Belief).build(),
            listings: moka::future::Cache::builder().max_capacity(Self::REMEMBERED).expire_after(Belief).build(),
            snapshots: moka::sync::Cache::builder()
                .max_capacity(Self::LISTED_FILES)
                .weigher(|_, snapshot: &Arc<Snapshot>| Self::LIST_COST + snapshot.len() as u32)
                .build(),
            unlisted: moka::sync::Cache::builder()
                .max_capacity(Self::REMEMBERED)
                .time_to_live(Self::REFRESH_PAUSE)
                .build(),
            refreshing: moka::sync::Cache::builder()
                .max_capacity(Self::REMEMBERED)
                .time_to_live(Self::REFRESH_PAUSE)
                .build(),
            readers: moka::sync::Cache::builder().max_capacity(Self::REMEMBERED).time_to_live(Self::READER).build(),
        })
    }

    /// Every snapshot this node knows, with its coverage.
    pub fn repos(&self) -> Result<Vec<RepoRow>, DbError> {
        self.db.summary()
    }

    /// The repositories to list to `identity`: those this node has file lists of.
    pub fn known_repos(&self, identity: &Identity) -> Result<Vec<RepoId>, TreeError> {
        Ok(self.db.known_repos(&identity.endpoint, identity.digest())?)
    }

    /// An origin refused a content of `repo`: what it had granted before counts no more.
    pub async fn denied(&self, identity: &Identity, repo: &RepoId, error: &OriginError) {
        if matches!(error.kind, OriginErrorKind::NoRepo | OriginErrorKind::Denied) {
            self.refused(identity, repo, error.clone()).await;
        }
    }

    /// What an origin's error means to somebody who asked for a name.
    async fn refused(&self, identity: &Identity, repo: &RepoId, error: OriginError) -> TreeError {
        use OriginErrorKind::*;
        match error.kind {
            NoRepo | Denied => {
                tracing::info!(%repo, %error, "no such repository for this identity");
                if let Err(error) = self.db.revoke(&identity.endpoint, identity.digest(), repo).await {
                    tracing::error!(%error, %repo, "an ended grant is still on record");
                }
                self.readers.invalidate(&(identity.digest(), repo.clone()));
                if error.kind == NoRepo { TreeError::Absent } else { error.into() }
            }
            // Offline, what this node knows is all there is.
            NoRevision | NoFile | Offline => TreeError::Absent,
            Transient | Nonsense | Permanent => {
                tracing::warn!(%repo, %error, "the Hub does not answer");
                error.into()
            }
        }
    }
}

/// How long an answer is believed: good ones are in the database, so memory need not keep them.
struct Belief;

impl<K, V> moka::Expiry<K, Result<V, OriginError>> for Belief {
    fn expire_after_create(&self, _: &K, answer: &Result<V, OriginError>, _: Instant) -> Option<Duration> {
        Some(match answer {
            Ok(_) | Err(OriginError { kind: OriginErrorKind::Offline, .. }) => Duration::ZERO,
            Err(error) if error.is_transient() || error.kind == OriginErrorKind::Permanent => Tree::FAILURE,
            Err(_) => Tree::ABSENCE,
        })
    }
}

#[cfg(test)]
mod tests;
