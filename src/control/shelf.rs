//! The models of this node as one identity may have them: their files, their bytes piece by piece, their removal.
//!
//! The network service asks here, always as the server's own identity. What the Hub does not show to that one is not there,
//! whoever else on this node has it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::error::ControlError;
use super::job::{Clear, Cleared, Job, ModelName, Outcome, Progress};
use super::parts::{Parts, Plane};
use crate::cache::{CacheError, Lease};
use crate::db::{Database, Owner};
use crate::types::{Blob, ByteRange, Commit, Identity, RemoteFile, RepoId, Revision, Snapshot};

/// See the module.
pub struct Shelf {
    parts: Arc<Parts>,
    identity: Identity,
}

/// What came of a removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// Nothing of it was here, as far as this identity may know.
    Absent,
    Done(Cleared),
}

impl Shelf {
    /// How long a Hub that does not answer keeps somebody from a model that is known here.
    const PATIENCE: Duration = Duration::from_secs(5);
    /// Open files that an answer names.
    const NAMED: usize = 5;

    pub fn new(parts: Arc<Parts>, identity: Identity) -> Self {
        Self { parts, identity }
    }

    pub fn model(&self, repo: RepoId, revision: Revision) -> ModelName {
        ModelName { identity: self.identity.clone(), repo, revision }
    }

    /// Where sources are on record.
    pub fn database(&self) -> &Arc<Database> {
        &self.parts.db
    }

    /// The files that `model` names now. The Hub is asked where a branch stands; what is known here is the answer if it does
    /// not say so soon.
    pub async fn newest(&self, model: &ModelName) -> Result<Arc<Snapshot>, ControlError> {
        let progress = Progress::new().0;
        let found = self.parts.find(model, &progress);
        let Some(commit) = self.pinned(model)? else { return found.await };
        match tokio::time::timeout(Self::PATIENCE, found).await {
            Ok(found) => found,
            Err(_) => {
                tracing::warn!(%model, %commit, "the Hub is slow: the commit that is known here is the answer");
                self.snapshot(model, commit).await
            }
        }
    }

    /// The files that `model` names as it is known here; only what is not known is asked for.
    pub async fn known(&self, model: &ModelName) -> Result<Arc<Snapshot>, ControlError> {
        let ModelName { identity, repo, revision } = model;
        match revision.as_commit() {
            Some(commit)
                if self.parts.tree.known_snapshot(identity, repo, commit).is_ok_and(|known| known.is_some()) =>
            {
                self.snapshot(model, commit).await
            }
            _ => match self.pinned(model)? {
                Some(commit) => self.snapshot(model, commit).await,
                None => self.newest(model).await,
            },
        }
    }

    fn pinned(&self, model: &ModelName) -> Result<Option<Commit>, ControlError> {
        let ModelName { identity, repo, revision } = model;
        if revision.as_commit().is_some() {
            return Ok(None);
        }
        self.parts.tree.pinned(identity, repo, revision).map_err(|error| model.error(error))
    }

    async fn snapshot(&self, model: &ModelName, commit: Commit) -> Result<Arc<Snapshot>, ControlError> {
        let snapshot = self.parts.tree.whole_snapshot(&model.identity, &model.repo, commit).await;
        snapshot.map_err(|error| model.error(error))
    }

    /// Whether the contents may be read. Asked once for all files of a commit.
    pub async fn authorize(&self, model: &ModelName, file: &RemoteFile) -> Result<(), ControlError> {
        self.parts.tree.authorize(&model.identity, file).await.map_err(|error| model.error(error))
    }

    /// Takes hold of a file. While this lives it is not evicted.
    pub fn open(&self, model: &ModelName, file: RemoteFile) -> Result<Piecewise, ControlError> {
        let lease = self.parts.cache.lease(file.blob).map_err(|source| content_error(model, &file, source))?;
        self.parts.cache.touch(&file.blob);
        Ok(Piecewise { parts: self.parts.clone(), model: model.clone(), file, lease })
    }

    /// Takes a model out of the cache. All of it stays if any of it is open or pinned.
    pub async fn remove(&self, repo: &RepoId) -> Result<Removal, ControlError> {
        let shows = self.parts.tree.shows_names(&self.identity, repo);
        let shows = shows.map_err(|source| ControlError::Name { model: repo.to_string(), source })?;
        if !shows {
            return Ok(Removal::Absent);
        }
        self.parts.cache.flush().await;
        let contents = self.parts.db.cached(Owner::Repo(&self.identity.endpoint, repo))?;
        let open: Vec<Blob> = contents.iter().filter(|content| !content.shared).map(|content| content.blob).collect();
        let open: Vec<_> = open.iter().filter(|blob| self.parts.cache.is_open(blob)).collect();
        if !open.is_empty() {
            let names = open.iter().take(Self::NAMED).map(|blob| self.parts.name_of(blob)).collect();
            return Err(in_use(repo, names, open.len()));
        }
        let order = Clear::Repo { identity: self.identity.clone(), repo: repo.clone(), revision: None };
        match self.parts.run(Job::Clear(order), &Progress::new().0).await? {
            // Opened meanwhile.
            Outcome::Cleared(Cleared { in_use: names, .. }) if !names.is_empty() => {
                let count = names.len();
                Err(in_use(repo, names.into_iter().take(Self::NAMED).collect(), count))
            }
            Outcome::Cleared(cleared) if contents.is_empty() && cleared == Cleared::default() => Ok(Removal::Absent),
            Outcome::Cleared(cleared) => Ok(Removal::Done(cleared)),
            _ => Err(ControlError::Broken),
        }
    }
}

fn in_use(repo: &RepoId, names: Vec<String>, count: usize) -> ControlError {
    let more = match count.saturating_sub(names.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    ControlError::Refused(format!(
        "{repo}: open now: {}{more}; end the programs that read it, then delete it",
        names.join(", ")
    ))
}

fn content_error(model: &ModelName, file: &RemoteFile, source: CacheError) -> ControlError {
    ControlError::Content { model: model.to_string(), path: file.path.to_string(), source }
}

/// A file that is read from its first byte to its last, as it comes.
pub struct Piecewise {
    parts: Arc<Parts>,
    model: ModelName,
    pub file: RemoteFile,
    lease: Lease,
}

impl Piecewise {
    /// Tries of one piece: what came may prove wrong, or be evicted where there is no room for it.
    const ROUNDS: usize = 4;

    /// These bytes, fetched if they are not here. `range` lies inside the file.
    pub async fn piece(&self, range: ByteRange) -> Result<Bytes, ControlError> {
        let bytes = self.bring(range).await?;
        self.parts.metrics.served_bytes.add(bytes.len() as u64);
        Ok(bytes)
    }

    async fn bring(&self, range: ByteRange) -> Result<Bytes, ControlError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        if let Some(bytes) = self.here(range).await? {
            return Ok(bytes);
        }
        let Self { parts, model, file, lease } = self;
        for _ in 0..Self::ROUNDS {
            let fetched = parts.cache.fetch(&model.identity, file, lease, range).await;
            if let Err(CacheError::Origin(error)) = &fetched {
                parts.tree.denied(&model.identity, &file.repo, error).await;
            }
            let _fetched = fetched.map_err(|source| content_error(model, file, source))?;
            if let Some(bytes) = self.here(range).await? {
                return Ok(bytes);
            }
        }
        Err(content_error(model, file, CacheError::NotKept(file.blob.id)))
    }

    /// Reads the disk where that keeps nobody waiting.
    async fn here(&self, range: ByteRange) -> Result<Option<Bytes>, ControlError> {
        let (cache, lease) = (self.parts.cache.clone(), self.lease.clone());
        let read = move || {
            let mut buffer = Vec::new();
            let bytes = cache.try_read(&lease, range, &mut buffer)?;
            let (at, len) = (bytes.as_ptr() as usize, bytes.len());
            // The answer lies in the buffer, which is handed on as it is.
            let at = at - buffer.as_ptr() as usize;
            Some(Bytes::from(buffer).slice(at..at + len))
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| ControlError::Broken)
    }

    /// Starts bringing `range` here, as far as it lies inside the file, and returns at once.
    pub fn ahead(&self, range: ByteRange) {
        let range = range.clamp(self.file.blob.size);
        if !range.is_empty() {
            self.parts.cache.prefetch(&self.model.identity, &self.file, &self.lease, range);
        }
    }
}
