//! Mounting by our own means: a FUSE connection on a directory, the kernel's list of mounts, and how to end one.
//!
//! The daemon and the command line call it. It hands out the bare device descriptor and never speaks FUSE on it, and
//! it never asks for `auto_unmount`: whoever holds the descriptor decides how long the mount lives.

mod busy;
mod filesystem;
mod fusermount;
mod kernel;
mod place;
mod read_ahead;
mod stale;
mod table;
mod unmount;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use busy::BusyProcess;
pub use filesystem::{FilesystemKind, filesystem_kind, is_network_fs};
pub use kernel::may_mount;
pub use mount_helper::fuse::{FILESYSTEM_TYPE, SOURCE};
pub use place::{containing_mount, is_below_our_mount, resolve};
pub use read_ahead::set_read_ahead;
pub use stale::{clean_stale, stale};
pub use table::{MountEntry, find, our_mounts};
pub(in crate::fs) use unmount::refused;
pub use unmount::{UnmountError, unmount};

/// What to mount, and for whom.
#[derive(Debug, Clone)]
pub struct MountOptions {
    pub directory: PathBuf,
    /// Lets other users in, root and containers included. Else only the mounting user may look.
    pub allow_other: bool,
}

/// A FUSE connection that is mounted and on which nobody has answered INIT yet.
#[derive(Debug)]
pub struct Mounted {
    /// Closing the last copy of it ends the connection and leaves a stale mount behind.
    pub device: OwnedFd,
    pub by: Means,
    /// Where it is, as the kernel's list of mounts names it.
    pub directory: PathBuf,
}

/// Who called mount(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// This process.
    Kernel,
    /// The setuid helper, on behalf of an ordinary user.
    Fusermount,
    /// mount.weightfs, which has passed the connection on.
    Helper,
}

#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error("{directory} does not exist; make it first: mkdir -p {directory}", directory = .directory.display())]
    NoDirectory { directory: PathBuf },
    #[error("{} is not a directory; name one to mount at", .directory.display())]
    NotADirectory { directory: PathBuf },
    #[error(
        "{directory} holds a dead mount of another program ({kind}); take it away first: umount -l {directory}",
        directory = .directory.display()
    )]
    DeadForeignMount { directory: PathBuf, kind: String },
    #[error("cannot look at {}: {source}", .directory.display())]
    Directory { directory: PathBuf, source: io::Error },
    #[error("{} lies inside the weightfs mount {}; choose a directory outside it", .directory.display(), .mount.display())]
    InsideOurMount { directory: PathBuf, mount: PathBuf },
    #[error(
        "weightfs is already mounted at {directory}; `weightfs status` shows it, `weightfs umount {directory}` ends it",
        directory = .directory.display()
    )]
    AlreadyMounted { directory: PathBuf },
    #[error("cannot clear the stale mount: {0}")]
    Stale(#[from] UnmountError),
    #[error(
        "/dev/fuse is not there ({source}); load the kernel module with `modprobe fuse`, \
         or start the container with `--device /dev/fuse`"
    )]
    NoDevice { source: io::Error },
    #[error(
        "/dev/fuse may not be opened ({source}); as an ordinary user ask for mode 0666 on it, \
         in a container start it with `--device /dev/fuse`, or mount as root"
    )]
    DeviceDenied { source: io::Error },
    #[error("the kernel refused the mount at {}: {source}{}", .directory.display(), kernel::advice(.source))]
    Kernel { directory: PathBuf, source: io::Error },
    #[error(
        "fusermount3, which mounts for ordinary users, is not installed; install the package fuse3, or mount as root"
    )]
    NoHelper,
    #[error("fusermount3 could not mount at {}: {message}", .directory.display())]
    Helper { directory: PathBuf, message: String },
    #[error("fusermount3 did not answer within {} seconds for {}; it was stopped", .waited.as_secs(), .directory.display())]
    HelperTimeout { directory: PathBuf, waited: Duration },
}

/// Mounts a new FUSE connection at the directory, which need not be empty: what is in it is hidden meanwhile.
///
/// A stale mount of ours that a crash left there is taken away first.
pub fn mount(options: MountOptions) -> Result<Mounted, MountError> {
    let directory = place::resolve(&options.directory);
    refuse_our_own(&directory)?;
    check_directory(&directory)?;
    let device = kernel::open_device()?;
    let (device, by) = if kernel::may_mount() {
        kernel::mount(&device, &directory, options.allow_other)?;
        (device, Means::Kernel)
    } else {
        // The helper opens the device itself; ours only showed that it can be opened.
        drop(device);
        (fusermount::mount(&directory, options.allow_other)?, Means::Fusermount)
    };
    Ok(Mounted { device, by, directory })
}

/// Decided by text before anything touches the directory: a stat inside a mount whose daemon hangs would hang too.
fn refuse_our_own(directory: &Path) -> Result<(), MountError> {
    let parent = directory.parent().and_then(containing_mount);
    if let Some(mount) = parent {
        return Err(MountError::InsideOurMount { directory: directory.to_owned(), mount: mount.directory });
    }
    clean_stale(directory)?;
    match find(directory) {
        Some(entry) if entry.is_ours() => Err(MountError::AlreadyMounted { directory: directory.to_owned() }),
        _ => Ok(()),
    }
}

fn check_directory(directory: &Path) -> Result<(), MountError> {
    let directory = directory.to_owned();
    match std::fs::metadata(&directory) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(MountError::NotADirectory { directory }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(MountError::NoDirectory { directory }),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            let kind = find(&directory).map_or_else(|| "fuse".to_owned(), |entry| entry.filesystem);
            Err(MountError::DeadForeignMount { directory, kind })
        }
        Err(source) => Err(MountError::Directory { directory, source }),
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod user_tests;
