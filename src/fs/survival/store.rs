//! Who keeps a mount's descriptors: a holder of ours, or the service manager.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use mount_helper::client::Holder;

use super::super::backing::BackingId;
use super::super::mount;
use super::{KeptMount, MountName};

/// A store of descriptors by name that outlives this process. Calls wait for an answer: not for a thread of the runtime.
pub trait Store: Debug + Send + Sync {
    /// Whether what is kept now comes to the next daemon.
    fn keeps(&self) -> bool;
    fn keep(&self, mount: &KeptMount) -> io::Result<()>;
    fn forget(&self, name: &MountName) -> io::Result<()>;
    /// This daemon serves.
    fn ready(&self) -> io::Result<()>;
    /// This daemon ends and needs no other one after it.
    fn bye(&self) -> io::Result<()>;
    /// Has another daemon take over from this one. Returns its process where it is known already, or why it cannot serve.
    fn upgrade(&self) -> io::Result<Option<u32>>;
    /// Whether another store takes its place when it dies, and is given everything.
    fn is_replaced(&self) -> bool {
        false
    }
    /// Whether another daemon comes after one that is told to end.
    fn is_followed(&self) -> bool {
        false
    }
    /// With which status a daemon ends that another one is to follow.
    fn hand_over_status(&self) -> i32;

    /// A connection that was mounted at this directory for this daemon.
    fn fresh(&self, _directory: &Path) -> io::Result<Option<OwnedFd>> {
        Ok(None)
    }

    /// Registers a file with a mount's connection by the store's own privilege.
    fn register(&self, _name: &MountName, _file: &File) -> io::Result<BackingId> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn unregister(&self, _name: &MountName, _id: BackingId) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    /// Unmounts by the store's own privilege.
    fn unmount(&self, name: &MountName, lazy: bool) -> io::Result<()> {
        unmount_here(name, lazy)
    }
}

/// A holder: a process of ours, which also starts the next daemon, or one that somebody else runs, in another pod for one.
#[derive(Debug)]
pub struct HolderStore {
    pub holder: Holder,
    /// Where it is told to start the next daemon; `None` for one that starts nobody, and has no privilege to lend.
    pub starts: Option<PathBuf>,
}

impl Store for HolderStore {
    fn keeps(&self) -> bool {
        true
    }

    fn keep(&self, mount: &KeptMount) -> io::Result<()> {
        self.holder.keep(mount.name.as_str(), &[mount.device.as_fd(), mount.state.as_fd()])
    }

    fn forget(&self, name: &MountName) -> io::Result<()> {
        self.holder.forget(name.as_str())
    }

    fn ready(&self) -> io::Result<()> {
        self.holder.ready()
    }

    fn bye(&self) -> io::Result<()> {
        self.holder.bye()
    }

    fn upgrade(&self) -> io::Result<Option<u32>> {
        let refused = "its holder starts no daemons; replace the program as it was started: a pod by its DaemonSet";
        let socket = self.starts.as_ref().ok_or_else(|| io::Error::other(refused))?;
        Holder::upgrade(socket).map(Some)
    }

    fn is_replaced(&self) -> bool {
        true
    }

    fn is_followed(&self) -> bool {
        self.starts.is_none()
    }

    fn hand_over_status(&self) -> i32 {
        0
    }

    fn fresh(&self, directory: &Path) -> io::Result<Option<OwnedFd>> {
        let kept = self.holder.fresh(&directory.to_string_lossy())?;
        Ok(kept.and_then(|kept| kept.descriptors.into_iter().next()))
    }

    fn register(&self, name: &MountName, file: &File) -> io::Result<BackingId> {
        self.holder.register(name.as_str(), file.as_fd()).map(BackingId)
    }

    fn unregister(&self, name: &MountName, id: BackingId) -> io::Result<()> {
        self.holder.unregister(name.as_str(), id.0)
    }

    fn unmount(&self, name: &MountName, lazy: bool) -> io::Result<()> {
        match self.starts {
            Some(_) => self.holder.unmount(name.as_str(), lazy),
            // It sees no mount of this pod.
            None => unmount_here(name, lazy),
        }
    }
}

fn unmount_here(name: &MountName, lazy: bool) -> io::Result<()> {
    mount::unmount(name.directory(), lazy).map_err(io::Error::other)
}
