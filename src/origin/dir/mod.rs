//! A directory of this machine, or of a file server that is mounted here, as an origin: one model's folder, or a cache of
//! the Hub's clients with many.
//!
//! Nothing is ever written there. What lies there belongs to others and may change at any time: a file is named by what it
//! looked like when it was listed, and one that looks different since is not there any more. No link leads out of the
//! directory: whoever may write there must not read this machine's other files through us.

mod blocking;
mod layout;
mod listing;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use parking_lot::Mutex;

use blocking::{Progress, Workers};
use layout::Layout;
use listing::Look;

use super::{ByteStream, Catalog, Discovered, Origin, OriginError, OriginErrorKind};
use crate::types::{ByteRange, Commit, Identity, RemoteFile, RepoId, Revision, Snapshot};

/// What a directory is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It is all there is of one repository, in whatever form.
    Model,
    /// It may have copies of the Hub's contents.
    Mirror,
}

pub struct DirectoryOrigin {
    root: PathBuf,
    role: Role,
    workers: Workers,
    /// What was listed last: the commit is mostly asked for right after its name.
    listed: Mutex<Option<(Instant, Snapshot)>>,
    /// The last listing.
    took: Mutex<Duration>,
}

/// Bytes read in one step.
const PIECE: u64 = 1 << 20;

impl DirectoryOrigin {
    /// Who changes a directory wants to see it changed.
    const LOOKED_AT: Duration = Duration::from_secs(5);
    /// How much longer than a listing takes it is good for.
    const SELDOM: u32 = 20;
    /// How long a list is as good as new.
    const FRESH: Duration = Duration::from_secs(2);

    pub fn new(root: &Path, role: Role) -> Self {
        Self {
            root: root.to_owned(),
            role,
            workers: Workers::default(),
            listed: Mutex::default(),
            took: Mutex::default(),
        }
    }

    fn refuse(&self, kind: OriginErrorKind, why: impl Into<String>) -> OriginError {
        OriginError::new(kind, self.root.display().to_string(), why)
    }

    /// How the repository lies there, looked at anew each time: it may be mounted, filled or moved at any time.
    async fn layout(&self, repo: &RepoId) -> Result<Layout, OriginError> {
        let (root, role, wanted) = (self.root.clone(), self.role, repo.clone());
        let found = self.workers.run(&self.root, move || Layout::find(&root, &wanted, role)).await?;
        found.ok_or_else(|| self.refuse(OriginErrorKind::NoRepo, format!("{repo} is not there")))
    }

    async fn list(&self, repo: &RepoId, layout: Layout, commit: Option<Commit>) -> Result<Snapshot, OriginError> {
        if let Some((at, known)) = self.listed.lock().as_ref()
            && at.elapsed() < Self::FRESH
            && known.repo == *repo
            && commit == Some(known.commit)
        {
            return Ok(known.clone());
        }
        let (root, wanted) = (self.root.clone(), repo.clone());
        let begun = Instant::now();
        let listing = move |progress: &Progress| listing::snapshot(&root, &layout, &wanted, commit, progress);
        let snapshot = self.workers.run_watched(&self.root, listing).await?;
        *self.took.lock() = begun.elapsed();
        let snapshot = snapshot.ok_or_else(|| {
            let asked = commit.map(|commit| format!(" of {commit}")).unwrap_or_default();
            self.refuse(OriginErrorKind::NoRevision, format!("the files{asked} are not there, or not any more"))
        })?;
        *self.listed.lock() = Some((Instant::now(), snapshot.clone()));
        Ok(snapshot)
    }
}

#[async_trait]
impl Origin for DirectoryOrigin {
    fn name(&self) -> &'static str {
        "dir"
    }

    async fn open(&self, _: &Identity, file: &RemoteFile, range: ByteRange) -> Result<ByteStream, OriginError> {
        let layout = self.layout(&file.repo).await?;
        let (root, wanted) = (self.root.clone(), file.clone());
        let opened = self.workers.run(&self.root, move || listing::open(&root, &layout, &wanted)).await?;
        let Some((file, look)) = opened else {
            let why = format!("{} is not there, or has changed since it was listed", file.path);
            return Err(self.refuse(OriginErrorKind::NoFile, why));
        };
        let reading = Reading { file: Arc::new(file), look, root: self.root.clone(), workers: self.workers.clone() };
        Ok(reading.stream(range))
    }

    async fn local(&self, file: &RemoteFile) -> Option<PathBuf> {
        let layout = self.layout(&file.repo).await.ok()?;
        let (root, wanted) = (self.root.clone(), file.clone());
        self.workers.run(&self.root, move || listing::local(&root, &layout, &wanted)).await.ok()?
    }
}

/// A file that is being read.
#[derive(Clone)]
struct Reading {
    file: Arc<File>,
    /// As it was when it was opened.
    look: Look,
    root: PathBuf,
    workers: Workers,
}

impl Reading {
    fn stream(self, range: ByteRange) -> ByteStream {
        let pieces = stream::unfold((self, range), |(reading, left)| async move {
            if left.is_empty() {
                return None;
            }
            let end = left.end.min(left.start + PIECE);
            let piece = reading.piece(ByteRange::new(left.start, end)).await;
            // Nothing follows an error.
            let next = if piece.is_ok() { end } else { left.end };
            Some((piece, (reading, ByteRange::new(next, left.end))))
        });
        pieces.boxed()
    }

    async fn piece(&self, range: ByteRange) -> Result<Bytes, OriginError> {
        let (file, look) = (self.file.clone(), self.look);
        let read = self.workers.run(&self.root, move || {
            let mut bytes = vec![0; range.len() as usize];
            file.read_exact_at(&mut bytes, range.start)?;
            // Looked at after the bytes: what was written before they were read shows.
            Ok::<_, io::Error>((Look::at(&file)? == look).then(|| Bytes::from(bytes)))
        });
        read.await?.ok_or_else(|| {
            let why = "a file has changed while it was read";
            OriginError::new(OriginErrorKind::NoFile, self.root.display().to_string(), why)
        })
    }
}

#[async_trait]
impl Catalog for DirectoryOrigin {
    async fn resolve(&self, identity: &Identity, repo: &RepoId, revision: &Revision) -> Result<Commit, OriginError> {
        Ok(self.discover(identity, repo, revision).await?.commit)
    }

    async fn discover(&self, _: &Identity, repo: &RepoId, revision: &Revision) -> Result<Discovered, OriginError> {
        let layout = self.layout(repo).await?;
        let (asked, named) = (layout.clone(), revision.clone());
        let commit = self.workers.run(&self.root, move || asked.commit(&named)).await?;
        let wanted = match (commit, revision.as_commit()) {
            (Some(commit), _) | (None, Some(commit)) => Some(commit),
            // A plain folder has no history: its files as they are now are its one revision.
            (None, None) if layout.is_plain() && revision.as_str() == Revision::MAIN => None,
            (None, None) => {
                return Err(self.refuse(OriginErrorKind::NoRevision, format!("{repo} has no revision {revision}")));
            }
        };
        let snapshot = self.list(repo, layout, wanted).await?;
        Ok(Discovered { commit: snapshot.commit, snapshot: Some(snapshot) })
    }

    async fn snapshot(&self, _: &Identity, repo: &RepoId, commit: Commit) -> Result<Snapshot, OriginError> {
        let layout = self.layout(repo).await?;
        self.list(repo, layout, Some(commit)).await
    }

    fn freshness(&self, _: &RepoId) -> Option<Duration> {
        // Of a large one on a slow server the listing must not be all that is done there.
        Some(Self::LOOKED_AT.max(*self.took.lock() * Self::SELDOM))
    }

    fn whereabouts(&self, _: &Identity, _: &RepoId) -> String {
        self.root.display().to_string()
    }

    async fn authorize(&self, _: &Identity, _: &RemoteFile) -> Result<(), OriginError> {
        Ok(())
    }
}
