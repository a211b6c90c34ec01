//! The daemon's word to its holder.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mount_helper::client::{Holder, Kept};
use parking_lot::{Mutex, RwLock};

use super::super::backing::BackingId;
use super::super::mount;
use super::{Header, StateFile};
use crate::tree::Node;

/// Under which a mount is kept: the number of its connection tells it from an earlier one at the same directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountName(String);

impl MountName {
    /// Of what is mounted at a directory now.
    pub fn of(directory: &Path) -> io::Result<Self> {
        let entry = mount::find(directory).filter(|entry| entry.is_ours()).ok_or(io::ErrorKind::NotFound)?;
        Ok(Self(format!("{} {}", entry.device.1, directory.display())))
    }
}

impl fmt::Display for MountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A live mount's connection and state.
#[derive(Debug)]
pub struct KeptMount {
    pub name: MountName,
    pub device: OwnedFd,
    pub state: StateFile,
}

/// A mount that an earlier daemon served.
#[derive(Debug)]
pub struct HeldMount {
    pub kept: Arc<KeptMount>,
    pub header: Header,
    /// The files that are registered with the kernel.
    pub backings: HashMap<Node, BackingId>,
}

impl HeldMount {
    /// Whether it still is what is mounted at its directory.
    pub fn is_in_place(&self) -> bool {
        MountName::of(Path::new(&self.header.directory)).is_ok_and(|there| there == self.kept.name)
    }

    /// `None` for a connection that no daemon has served yet: somebody is about to ask for it.
    pub fn read(kept: Kept) -> Option<Result<Self, (MountName, io::Error)>> {
        let name = MountName(kept.name);
        let mut descriptors = kept.descriptors.into_iter();
        let (device, state) = (descriptors.next()?, descriptors.next()?);
        Some(match StateFile::open(state) {
            Ok((state, header, backings)) => {
                Ok(Self { kept: Arc::new(KeptMount { name, device, state }), header, backings })
            }
            Err(error) => Err((name, error)),
        })
    }
}

/// Keeps mounts beyond the life of this process.
#[derive(Debug)]
pub struct Keeper {
    /// Another one when the first has died, with the socket behind which it is.
    holder: RwLock<Holder>,
    socket: RwLock<PathBuf>,
    kept: Mutex<Vec<Arc<KeptMount>>>,
}

impl Keeper {
    pub fn new(holder: Holder, socket: PathBuf) -> Self {
        Self { holder: RwLock::new(holder), socket: RwLock::new(socket), kept: Mutex::default() }
    }

    /// Where the holder is found.
    pub fn socket(&self) -> PathBuf {
        self.socket.read().clone()
    }

    /// Has the next daemon started beside this one, which is told to hand over to it. Returns its process, or why it
    /// cannot serve.
    pub fn upgrade(&self) -> io::Result<u32> {
        Holder::upgrade(&self.socket())
    }

    pub fn keep(&self, mount: Arc<KeptMount>) -> io::Result<()> {
        self.hand_over(&mount)?;
        self.kept.lock().push(mount);
        Ok(())
    }

    /// A mount that the holder has already.
    pub fn is_kept(&self, mount: Arc<KeptMount>) {
        self.kept.lock().push(mount);
    }

    fn hand_over(&self, mount: &KeptMount) -> io::Result<()> {
        self.holder.read().keep(&mount.name.0, &[mount.device.as_fd(), mount.state.as_fd()])
    }

    /// From now on another holder keeps everything.
    pub fn change_to(&self, holder: Holder, socket: PathBuf) -> io::Result<()> {
        *self.holder.write() = holder;
        *self.socket.write() = socket;
        let kept = self.kept.lock().clone();
        kept.iter().try_for_each(|mount| self.hand_over(mount))
    }

    pub fn forget(&self, name: &MountName) {
        self.kept.lock().retain(|mount| mount.name != *name);
        if let Err(error) = self.holder.read().forget(&name.0) {
            tracing::debug!(%error, %name, "the holder keeps a mount that has ended");
        }
    }

    /// A connection that somebody with privilege has mounted at this directory for this daemon.
    pub fn fresh(&self, directory: &Path) -> io::Result<Option<OwnedFd>> {
        let kept = self.holder.read().fresh(&directory.to_string_lossy())?;
        Ok(kept.and_then(|kept| kept.descriptors.into_iter().next()))
    }

    /// Registers a file with a mount's connection by the holder's privilege.
    pub fn register(&self, name: &MountName, file: &File) -> io::Result<BackingId> {
        self.holder.read().register(&name.0, file.as_fd()).map(BackingId)
    }

    pub fn unregister(&self, name: &MountName, id: BackingId) -> io::Result<()> {
        self.holder.read().unregister(&name.0, id.0)
    }

    /// Unmounts by the holder's privilege.
    pub fn unmount(&self, name: &MountName, lazy: bool) -> io::Result<()> {
        self.holder.read().unmount(&name.0, lazy)
    }

    /// From now on this daemon is followed by another one when it dies.
    pub fn ready(&self) -> io::Result<()> {
        self.holder.read().ready()
    }

    /// This daemon ends and needs no other one after it.
    pub fn bye(&self) -> io::Result<()> {
        self.holder.read().bye()
    }
}
