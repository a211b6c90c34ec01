//! Why the node did not do what it was asked.

use std::path::PathBuf;
use std::time::Duration;

use crate::cache::CacheError;
use crate::db::DbError;
use crate::fs::mount::UnmountError;
use crate::fs::session::SessionError;
use crate::tree::TreeError;

/// Each text stands for itself: it travels to another process.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("the daemon is ending: its last mount and job are gone, or it was told to")]
    Ending,
    #[error("the daemon was told to end; what is done stays, the same command goes on from there")]
    Stopped,
    #[error("{directory}: weightfs is mounted there already; `weightfs umount {directory}` takes it away")]
    AlreadyMounted { directory: PathBuf },
    #[error("{directory}: this daemon has no mount there; it has: {mounts}")]
    NotMounted { directory: PathBuf, mounts: String },
    #[error(
        "{directory}: a mount there would hide {path}, which the daemon itself works with; mount elsewhere, or set \
         cache.directory, database.path or runtime_directory to another place"
    )]
    OverOwnPath { directory: PathBuf, path: PathBuf },
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Mount(#[from] SessionError),
    #[error("{0}")]
    Unmount(#[from] UnmountError),
    #[error("{directory}: the {action} took longer than {seconds} s", seconds = .after.as_secs())]
    Deadline { directory: PathBuf, action: &'static str, after: Duration },
    /// A model that cannot be told.
    #[error("{model}: {source}")]
    Name { model: String, source: TreeError },
    /// A content that cannot be had or kept.
    #[error("{model}: {path}: {source}")]
    Content { model: String, path: String, source: CacheError },
    #[error("{path}: cannot {action}: {cause}", path = .path.display())]
    File { action: &'static str, path: PathBuf, cause: std::io::Error },
    /// What was asked makes sense, but not now, or not all of it.
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Database(#[from] DbError),
    /// The next daemon cannot take over, and why.
    #[error("{0}")]
    Upgrade(std::io::Error),
    /// A task of the node panicked or was aborted.
    #[error("the daemon broke while it did this; its log says why")]
    Broken,
}
