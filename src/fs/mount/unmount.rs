//! Ending a mount, and saying who is in the way.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use mount_helper::fuse;

use super::{BusyProcess, busy, fusermount, kernel, place, table};

#[derive(Debug, thiserror::Error)]
pub enum UnmountError {
    #[error("nothing is mounted at {}; `weightfs status` lists the mounts", .directory.display())]
    NotMounted { directory: PathBuf },
    #[error("{directory} is a mount of {kind}, not of weightfs; use `umount {directory}`", directory = .directory.display())]
    NotOurs { directory: PathBuf, kind: String },
    #[error("{} is in use{}", .directory.display(), Users(.directory, .processes, .mounts))]
    Busy {
        directory: PathBuf,
        /// Those that this user may look at.
        processes: Vec<BusyProcess>,
        /// Other mounts inside it.
        mounts: Vec<PathBuf>,
    },
    #[error("cannot unmount {}: {source}", .directory.display())]
    Kernel { directory: PathBuf, source: io::Error },
    #[error(
        "fusermount3, which unmounts for ordinary users, is not installed; install the package fuse3, or unmount as root"
    )]
    NoHelper,
    #[error("fusermount3 could not unmount {}: {message}", .directory.display())]
    Helper { directory: PathBuf, message: String },
}

/// The rest of the sentence on a busy mount: who holds it and what to do.
struct Users<'a>(&'a Path, &'a [BusyProcess], &'a [PathBuf]);

impl fmt::Display for Users<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Users(directory, processes, mounts) = self;
        let mut separator = ": ";
        for process in *processes {
            write!(f, "{separator}{process}")?;
            separator = ", ";
        }
        for mount in *mounts {
            write!(f, "{separator}{} is mounted inside it", mount.display())?;
            separator = ", ";
        }
        if processes.is_empty() && mounts.is_empty() {
            f.write_str(" by processes that this user may not look at; ask again as root to see them")?;
        }
        let directory = directory.display();
        write!(f, ". End them first, or detach it now and let them finish: weightfs umount --lazy {directory}")
    }
}

/// Unmounts the weightfs mount on top at `directory`.
///
/// `lazy` takes it out of the tree at once and lets those who use it finish; without it a mount in use is
/// [`UnmountError::Busy`].
pub fn unmount(directory: &Path, lazy: bool) -> Result<(), UnmountError> {
    let directory = place::resolve(directory);
    match table::find(&directory) {
        None => return Err(UnmountError::NotMounted { directory }),
        Some(entry) if !entry.is_ours() => {
            return Err(UnmountError::NotOurs { directory, kind: entry.filesystem });
        }
        Some(_) => {}
    }
    if !kernel::may_mount() {
        return fusermount::unmount(&directory, lazy);
    }
    fuse::unmount(&directory, lazy).map_err(|source| refused(directory, source))
}

/// The kernel's refusal, with who is in the way.
pub(in crate::fs) fn refused(directory: PathBuf, source: io::Error) -> UnmountError {
    match source.kind() {
        io::ErrorKind::ResourceBusy => busy(directory),
        _ => UnmountError::Kernel { directory, source },
    }
}

pub(super) fn busy(directory: PathBuf) -> UnmountError {
    let processes = busy::processes(&directory);
    let inside = |path: &PathBuf| path.starts_with(&directory) && *path != directory;
    let mounts = table::all().into_iter().map(|entry| entry.directory).filter(inside).collect();
    UnmountError::Busy { directory, processes, mounts }
}
