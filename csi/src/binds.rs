//! Binds of the daemon's mounts to the kubelet's targets, and the end of them.
//!
//! Every function here may wait for the disk; `bind` also for the daemon, which has a deadline for each answer.

use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount};

use crate::mountinfo;

/// More than anybody stacks on one directory.
const STACKED: usize = 64;

/// What was to be done where.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{path}: something else than weightfs is mounted there; it is left alone", path = .0.display())]
    Foreign(PathBuf),
    #[error("{path}: something is mounted there again and again", path = .0.display())]
    Endless(PathBuf),
}

impl BindError {
    /// Whether what was to be bound is not there.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Io { action: "bind", source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    pub fn is_no_folder(&self) -> bool {
        matches!(self, Self::Io { action: "bind", source, .. } if source.kind() == io::ErrorKind::NotADirectory)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    ReadOnly,
    /// For an HF_HOME: clients die where they are told that a file system is read-only.
    Writable,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BindError {
    move |source| BindError::Io { action, path: path.to_owned(), source }
}

/// Makes the target where there is none. Its parent is the kubelet's, which made it.
pub fn make_target(target: &Path) -> Result<(), BindError> {
    if mountinfo::at(target).map_err(failed("look for", target))?.is_some() {
        return Ok(());
    }
    std::fs::create_dir_all(target).map_err(failed("make", target))
}

/// Puts `source` on top of whatever is at `target`.
pub fn bind(source: &Path, target: &Path, access: Access) -> Result<(), BindError> {
    mount_bind(source, target).map_err(|errno| failed("bind", source)(errno.into()))?;
    let read_only = if access == Access::ReadOnly { MountFlags::RDONLY } else { MountFlags::empty() };
    let flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV | read_only;
    mount_remount(target, flags, "").map_err(|errno| {
        // Half a bind is none.
        let _ = unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
        failed("restrict", target)(errno.into())
    })
}

/// Takes everything of ours from `target`, whatever became of who served it, and the directory with it. Nothing there is fine.
pub fn clear(target: &Path) -> Result<(), BindError> {
    detach(target)?;
    match std::fs::remove_dir(target) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(failed("remove", target)(source)),
        _ => Ok(()),
    }
}

/// The same, and the directory stays.
pub fn detach(target: &Path) -> Result<(), BindError> {
    for _ in 0..STACKED {
        match mountinfo::at(target).map_err(failed("look for", target))? {
            None => return Ok(()),
            Some(mount) if !mount.is_ours => return Err(BindError::Foreign(target.to_owned())),
            Some(_) => {}
        }
        match unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // Somebody was faster.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) | Ok(()) => {}
            Err(errno) => return Err(failed("unmount", target)(errno.into())),
        }
    }
    Err(BindError::Endless(target.to_owned()))
}
