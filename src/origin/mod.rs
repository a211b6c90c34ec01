//! Where bytes come from: the only outbound network of the daemon.
//!
//! The cache asks an [`Origin`] for bytes, the tree asks a [`Catalog`] for names. Neither keeps anything on disk.
//! Every question carries the [`Identity`] that asks it, and every answer that is remembered is remembered under it.

mod backoff;
pub mod dir;
mod error;
pub mod http;
pub mod hub;
mod mirror;
mod patience;
mod routes;
pub mod s3;
mod xet;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub use backoff::Backoff;
pub use error::{OriginError, OriginErrorKind};
pub use mirror::Mirror;
pub use routes::{Link, Routes};

use crate::types::{Blob, ByteRange, Commit, Identity, RemoteFile, RepoId, Revision, Snapshot};

/// Bytes in order, in pieces of any size, exactly as many as were asked for, or an error.
/// A piece of the wrong length never comes out of it: a short or long body is an error of its own.
pub type ByteStream = BoxStream<'static, Result<Bytes, OriginError>>;

/// Delivers the bytes of a file.
#[async_trait]
pub trait Origin: Send + Sync {
    /// A word for logs and metrics: `hub`.
    fn name(&self) -> &'static str;

    /// Opens a stream over `range` (bytes, end exclusive, not empty, inside the file).
    ///
    /// One attempt: the caller retries what [`OriginError::is_transient`], after [`OriginError::retry_after`] at the earliest.
    /// A stall ends the stream with a transient error, so neither this future nor the stream ever waits without end.
    async fn open(&self, identity: &Identity, file: &RemoteFile, range: ByteRange) -> Result<ByteStream, OriginError>;

    /// A file of this machine with all of the content, if there is one that is named by its hash and that nobody writes to
    /// in place: it may be taken over instead of copied.
    async fn local(&self, _file: &RemoteFile) -> Option<PathBuf> {
        None
    }

    /// What came of this content was something else as a whole. An origin that has several places to bring it from avoids
    /// those that are not the owner's.
    fn disproved(&self, _blob: &Blob) {}
}

/// What the first question about a revision told.
pub struct Discovered {
    pub commit: Commit,
    /// Every file of the commit, where the answer listed them.
    pub snapshot: Option<Snapshot>,
}

/// Knows which repositories, revisions and files there are.
///
/// Unlike [`Origin::open`] these retry by themselves, within the deadline that the settings give; what comes back is final.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// The commit that `revision` names now. `NoRepo` and `NoRevision` are answers, not failures.
    async fn resolve(&self, identity: &Identity, repo: &RepoId, revision: &Revision) -> Result<Commit, OriginError>;

    /// As [`Catalog::resolve`], for a revision that was never asked for: the answer may hold the list of files too, which
    /// saves a round trip.
    async fn discover(
        &self,
        identity: &Identity,
        repo: &RepoId,
        revision: &Revision,
    ) -> Result<Discovered, OriginError> {
        Ok(Discovered { commit: self.resolve(identity, repo, revision).await?, snapshot: None })
    }

    /// Every file of `commit`. Names that cannot be shown are logged one by one and left out.
    async fn snapshot(&self, identity: &Identity, repo: &RepoId, commit: Commit) -> Result<Snapshot, OriginError>;

    /// How old the answer to "which commit is this?" may become, where it is cheaper to ask than the settings suppose.
    fn freshness(&self, _repo: &RepoId) -> Option<Duration> {
        None
    }

    /// Where a repository lies, for people: a URL or a path. Costs nothing.
    fn whereabouts(&self, identity: &Identity, repo: &RepoId) -> String;

    /// The repositories that the configuration names: they are shown before anybody asks for them. Costs nothing.
    fn declared(&self) -> Vec<RepoId> {
        Vec::new()
    }

    /// Whether `identity` may read the contents of a gated repository, asked of this file. Costs a round trip.
    async fn authorize(&self, identity: &Identity, file: &RemoteFile) -> Result<(), OriginError>;
}

/// An origin that knows its own names.
pub trait Source: Origin + Catalog {}

impl<T: Origin + Catalog> Source for T {}
