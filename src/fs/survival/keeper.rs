//! The daemon's word to whoever keeps its mounts.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use mount_helper::client::Kept;
use parking_lot::{Mutex, RwLock};

use super::super::backing::BackingId;
use super::super::mount;
use super::store::Store;
use super::{Header, StateFile};
use crate::tree::Node;

/// Under which a mount is kept, `NUMBER DIRECTORY`: the number of its connection tells it from an earlier one at the same
/// directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountName(String);

impl MountName {
    /// Of what is mounted at a directory now.
    pub fn of(directory: &Path) -> io::Result<Self> {
        let entry = mount::find(directory).filter(|entry| entry.is_ours()).ok_or(io::ErrorKind::NotFound)?;
        Ok(Self(format!("{} {}", entry.device.1, directory.display())))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn number(&self) -> &str {
        self.0.split_once(' ').map_or("", |(number, _)| number)
    }

    pub fn directory(&self) -> &Path {
        self.0.split_once(' ').map_or("", |(_, directory)| directory).as_ref()
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
    /// Of the connection of this number.
    pub fn of(number: &str, device: OwnedFd, state: OwnedFd) -> io::Result<Self> {
        let (state, header, backings) = StateFile::open(state)?;
        let name = MountName(format!("{number} {}", header.directory));
        Ok(Self { kept: Arc::new(KeptMount { name, device, state }), header, backings })
    }

    /// `None` for a connection that no daemon has served yet: somebody is about to ask for it.
    pub fn read(kept: Kept) -> Option<io::Result<Self>> {
        let name = MountName(kept.name);
        let mut descriptors = kept.descriptors.into_iter();
        let (device, state) = (descriptors.next()?, descriptors.next()?);
        Some(Self::of(name.number(), device, state))
    }

    /// Whether it still is what is mounted at its directory.
    pub fn is_in_place(&self) -> bool {
        MountName::of(Path::new(&self.header.directory)).is_ok_and(|there| there == self.kept.name)
    }
}

/// Keeps mounts beyond the life of this process.
#[derive(Debug)]
pub struct Keeper {
    /// Another one when the first has died.
    store: RwLock<Box<dyn Store>>,
    kept: Mutex<Vec<Arc<KeptMount>>>,
}

impl Keeper {
    pub fn new(store: impl Store + 'static) -> Self {
        Self { store: RwLock::new(Box::new(store)), kept: Mutex::default() }
    }

    /// From now on another store keeps everything.
    pub fn change_to(&self, store: impl Store + 'static) -> io::Result<()> {
        let mut current = self.store.write();
        *current = Box::new(store);
        let kept = self.kept.lock().clone();
        kept.iter().try_for_each(|mount| current.keep(mount))
    }

    /// Where the store has just died the next one is given it with all the others.
    pub fn keep(&self, mount: Arc<KeptMount>) -> io::Result<()> {
        // Until it is noted: else a change to another store in between would leave it out.
        let store = self.store.read();
        match store.keep(&mount) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && store.is_replaced() => {
                tracing::warn!(name = %mount.name, "the holder is gone: the next one is to keep this mount too");
            }
            kept => kept?,
        }
        self.kept.lock().push(mount);
        Ok(())
    }

    pub fn is_known(&self, name: &str) -> bool {
        self.kept.lock().iter().any(|mount| mount.name.as_str() == name)
    }

    /// A mount that the store has already.
    pub fn is_kept(&self, mount: Arc<KeptMount>) {
        self.kept.lock().push(mount);
    }

    pub fn forget(&self, name: &MountName) {
        self.kept.lock().retain(|mount| mount.name != *name);
        if let Err(error) = self.store.read().forget(name) {
            tracing::debug!(%error, %name, "a mount that has ended is still kept");
        }
    }

    /// Whether what is kept now comes to the next daemon.
    pub fn keeps(&self) -> bool {
        self.store.read().keeps()
    }

    /// A connection that somebody with privilege has mounted at this directory for this daemon.
    pub fn fresh(&self, directory: &Path) -> io::Result<Option<OwnedFd>> {
        self.store.read().fresh(directory)
    }

    pub fn register(&self, name: &MountName, file: &File) -> io::Result<BackingId> {
        self.store.read().register(name, file)
    }

    pub fn unregister(&self, name: &MountName, id: BackingId) -> io::Result<()> {
        self.store.read().unregister(name, id)
    }

    pub fn unmount(&self, name: &MountName, lazy: bool) -> io::Result<()> {
        self.store.read().unmount(name, lazy)
    }

    /// From now on this daemon is followed by another one when it dies.
    pub fn ready(&self) -> io::Result<()> {
        self.store.read().ready()
    }

    pub fn bye(&self) -> io::Result<()> {
        self.store.read().bye()
    }

    pub fn upgrade(&self) -> io::Result<Option<u32>> {
        self.store.read().upgrade()
    }

    /// Whether another daemon comes after this one when this one is told to end.
    pub fn is_followed(&self) -> bool {
        self.store.read().is_followed()
    }

    pub fn hand_over_status(&self) -> i32 {
        self.store.read().hand_over_status()
    }
}
