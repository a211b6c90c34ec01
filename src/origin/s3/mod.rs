//! S3 and what speaks its protocol, as an origin: the objects below a prefix of a bucket are the files of one model, or a
//! copy of the Hub clients' cache with many.
//!
//! `account` has the credentials, `transport` sends, `bucket` asks one question, `refusal` says what comes back means;
//! `listing` makes a commit of what lies below a prefix, `contents` brings bytes. An object is pinned by its version or
//! its etag: no request ever takes bytes of another one. Nothing is written, and no log shows a key or a signature.

mod account;
mod bucket;
mod contents;
mod hub_cache;
mod listing;
mod object;
mod profile_files;
mod refusal;
mod settings;
#[cfg(test)]
mod tests;
mod transport;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;

pub use account::Account;
pub use settings::{Access, PathStyle, S3Settings};

use self::bucket::Bucket;
use self::contents::Contents;
pub use self::hub_cache::S3Mirror;
use self::listing::{Listing, folder};
use super::{ByteStream, Catalog, Discovered, Origin, OriginError, OriginErrorKind};
use crate::metrics::Metrics;
use crate::types::{ByteRange, Commit, Identity, Prefix, RemoteFile, RepoId, Revision, Snapshot};

/// The objects below a prefix, as one model.
pub struct S3Origin {
    bucket: Arc<Bucket>,
    /// With a slash at its end, or empty.
    folder: String,
    contents: Contents,
    /// The last lists, the newest first: a commit is mostly asked for right after its name.
    listed: Mutex<VecDeque<Arc<Listing>>>,
}

impl S3Origin {
    /// Commits whose lists are at hand.
    const REMEMBERED: usize = 4;
    /// However many objects there are and however slow each answer is.
    const LONGEST_LISTING: Duration = Duration::from_secs(300);
    /// After a reader found that an object is another one, for as long as that is not listed.
    const OUTDATED: Duration = Duration::from_secs(1);

    pub fn new(account: Arc<Account>, place: &Prefix, metrics: Arc<Metrics>) -> Self {
        let bucket = Arc::new(Bucket::new(account, place.bucket.clone(), metrics.clone()));
        let contents = Contents::new(bucket.clone(), metrics);
        Self { bucket, folder: folder(&place.prefix), contents, listed: Mutex::default() }
    }

    /// The files as they are now.
    async fn list(&self) -> Result<Arc<Listing>, OriginError> {
        let known = self.listed.lock().front().map(|listing| listing.details()).unwrap_or_default();
        let start = Instant::now();
        let listing = tokio::time::timeout(Self::LONGEST_LISTING, self.bucket.files(&self.folder, &known)).await;
        let listing = listing.map_err(|_| {
            let cause = format!("the list was not complete within {} s", Self::LONGEST_LISTING.as_secs());
            self.refuse(OriginErrorKind::Transient, cause)
        })??;
        if listing.entries.is_empty() {
            return Err(self.refuse(OriginErrorKind::NoRepo, "there is no object below it"));
        }
        tracing::debug!(place = self.bucket.url(&self.folder), files = listing.entries.len(), took = ?start.elapsed(), "listed");
        let listing = Arc::new(listing);
        self.contents.learn(&listing);
        let mut listed = self.listed.lock();
        listed.retain(|other| other.commit != listing.commit);
        listed.push_front(listing.clone());
        listed.truncate(Self::REMEMBERED);
        Ok(listing)
    }

    fn remembered(&self, commit: Commit) -> Option<Arc<Listing>> {
        self.listed.lock().iter().find(|listing| listing.commit == commit).cloned()
    }

    fn snapshot_of(&self, repo: &RepoId, listing: &Listing) -> Snapshot {
        let files = listing.entries.iter().map(|entry| (entry.path.clone(), entry.blob));
        let (mut snapshot, refused) = Snapshot::new(repo.clone(), listing.commit, files);
        for (path, problem) in refused {
            tracing::warn!(%repo, %path, %problem, "an object is not shown");
        }
        snapshot.created_at = listing.youngest;
        snapshot
    }

    fn refuse(&self, kind: OriginErrorKind, why: impl Into<String>) -> OriginError {
        OriginError::new(kind, self.bucket.url(&self.folder), why)
    }

    async fn of_commit(&self, repo: &RepoId, commit: Commit) -> Result<Snapshot, OriginError> {
        if let Some(listing) = self.remembered(commit) {
            return Ok(self.snapshot_of(repo, &listing));
        }
        let listing = self.list().await?;
        if listing.commit != commit {
            let why = format!("it is at {} now; what lay there at {commit} is not known any more", listing.commit);
            return Err(self.refuse(OriginErrorKind::NoRevision, why));
        }
        Ok(self.snapshot_of(repo, &listing))
    }
}

/// Nobody is asked for one who is offline.
fn online(identity: &Identity, url: impl FnOnce() -> String) -> Result<(), OriginError> {
    if identity.offline {
        let cause = "offline, and this was not asked for before; run once online to have it here";
        return Err(OriginError::new(OriginErrorKind::Offline, url(), cause));
    }
    Ok(())
}

#[async_trait]
impl Origin for S3Origin {
    fn name(&self) -> &'static str {
        "s3"
    }

    async fn open(&self, identity: &Identity, file: &RemoteFile, range: ByteRange) -> Result<ByteStream, OriginError> {
        let key = format!("{}{}", self.folder, file.path);
        online(identity, || self.bucket.url(&key))?;
        self.contents.open(&key, &file.blob, range).await
    }
}

#[async_trait]
impl Catalog for S3Origin {
    async fn resolve(&self, identity: &Identity, repo: &RepoId, revision: &Revision) -> Result<Commit, OriginError> {
        Ok(self.discover(identity, repo, revision).await?.commit)
    }

    async fn discover(
        &self,
        identity: &Identity,
        repo: &RepoId,
        revision: &Revision,
    ) -> Result<Discovered, OriginError> {
        online(identity, || self.bucket.url(&self.folder))?;
        let snapshot = match revision.as_commit() {
            Some(commit) => self.of_commit(repo, commit).await?,
            None if revision.as_str() == Revision::MAIN => self.snapshot_of(repo, &*self.list().await?),
            // Objects have no branches: what lies there now is the one revision.
            None => return Err(self.refuse(OriginErrorKind::NoRevision, format!("{repo} has no revision {revision}"))),
        };
        Ok(Discovered { commit: snapshot.commit, snapshot: Some(snapshot) })
    }

    async fn snapshot(&self, identity: &Identity, repo: &RepoId, commit: Commit) -> Result<Snapshot, OriginError> {
        online(identity, || self.bucket.url(&self.folder))?;
        self.of_commit(repo, commit).await
    }

    fn freshness(&self, _: &RepoId) -> Option<Duration> {
        self.contents.is_outdated().then_some(Self::OUTDATED)
    }

    fn whereabouts(&self, _: &Identity, _: &RepoId) -> String {
        self.bucket.url(self.folder.trim_end_matches('/'))
    }

    /// Whoever may enter a mount may read what the configuration places there.
    async fn authorize(&self, _: &Identity, _: &RemoteFile) -> Result<(), OriginError> {
        Ok(())
    }
}
