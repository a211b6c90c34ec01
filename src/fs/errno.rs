//! The only map from errors to error numbers.
//!
//! A failure of the daemon or of an origin is never ENOENT, and a refusal to write is never EROFS: on that one the
//! Hub's own clients give up.

use rustix::io::Errno;

use super::FsError;
use super::scratch::ScratchError;
use crate::cache::CacheError;
use crate::origin::{OriginError, OriginErrorKind};
use crate::tree::TreeError;

pub(super) fn errno(error: &FsError) -> i32 {
    match error {
        FsError::Absent | FsError::Tree(TreeError::Absent) => Errno::NOENT,
        FsError::ReadOnly => Errno::ACCESS,
        FsError::Exists => Errno::EXIST,
        FsError::NotADirectory => Errno::NOTDIR,
        FsError::IsADirectory => Errno::ISDIR,
        FsError::NotALink => Errno::INVAL,
        FsError::OtherLayer => Errno::XDEV,
        FsError::Name => Errno::ILSEQ,
        FsError::Stale => Errno::STALE,
        FsError::Tree(TreeError::Origin(error)) | FsError::Cache(CacheError::Origin(error)) => origin(error),
        FsError::Tree(TreeError::Database(_)) => Errno::IO,
        FsError::Cache(CacheError::Disk { source, .. }) => disk(source),
        // For read-ahead and jobs only: a reader is served without being kept.
        FsError::Cache(CacheError::NoRoom) => Errno::NOSPC,
        FsError::Cache(
            CacheError::Database(_)
            | CacheError::Quarantined(_)
            | CacheError::NotKept(_)
            | CacheError::NotWritten(_)
            | CacheError::GivenUp
            | CacheError::Stopping,
        ) => Errno::IO,
        FsError::Scratch(ScratchError { source, .. }) | FsError::OpenScratch { source, .. } => {
            match Errno::from_io_error(source).unwrap_or(Errno::IO) {
                Errno::ROFS => Errno::ACCESS,
                stated => stated,
            }
        }
    }
    .raw_os_error()
}

/// The cache's own trouble. Only what the reader's side can act on is passed on: a blob's missing file is not the reader's.
fn disk(source: &std::io::Error) -> Errno {
    match Errno::from_io_error(source) {
        Some(full @ (Errno::NOSPC | Errno::DQUOT | Errno::MFILE | Errno::NFILE)) => full,
        _ => Errno::IO,
    }
}

/// An origin that says "no such file" of one that it listed is at fault: that is EIO, not ENOENT.
fn origin(error: &OriginError) -> Errno {
    match error.kind {
        // A repository that is there no more for this identity once was: that is a refusal.
        OriginErrorKind::Denied | OriginErrorKind::NoRepo => Errno::ACCESS,
        _ => Errno::IO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EIO: i32 = Errno::IO.raw_os_error();

    #[test]
    fn a_failing_origin_is_never_reported_as_absence() {
        use OriginErrorKind::*;
        for kind in [NoRevision, NoFile, Offline, Transient, Nonsense, Permanent] {
            let error = OriginError::new(kind, "http://hub/x", "cause");
            assert_eq!(errno(&FsError::Cache(error.clone().into())), EIO, "{kind:?}");
            assert_eq!(errno(&FsError::Tree(error.into())), EIO, "{kind:?}");
        }
        for lost in [Errno::NOENT, Errno::ROFS, Errno::NOTDIR] {
            let source = std::sync::Arc::new(lost.into());
            let error = CacheError::Disk { path: "/cache/blobs/x".into(), source };
            assert_eq!(errno(&FsError::Cache(error)), EIO, "{lost:?}");
        }
        for kind in [Denied, NoRepo] {
            let denied = OriginError::new(kind, "http://hub/x", "gated");
            assert_eq!(errno(&FsError::Tree(denied.into())), Errno::ACCESS.raw_os_error());
        }
    }
}
