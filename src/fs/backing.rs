//! Files that the kernel reads by itself, registered with a FUSE connection under a number.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use mount_helper::fuse;

use super::survival::{Keeper, MountName};

/// The kernel's name for a registered file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackingId(pub u32);

/// The files of one connection. Registering one wants CAP_SYS_ADMIN: this process's, or else its holder's.
#[derive(Debug)]
pub struct Backings {
    device: OwnedFd,
    holder: Option<(Arc<Keeper>, MountName)>,
}

impl Backings {
    pub fn new(device: OwnedFd, holder: Option<(Arc<Keeper>, MountName)>) -> Self {
        Self { device, holder }
    }

    /// The kernel keeps the file until [`Backings::close`], and then as long as somebody has it open through the mount.
    pub fn open(&self, file: &File) -> io::Result<BackingId> {
        let own = fuse::register(&self.device, file.as_fd()).map(BackingId);
        match (own, &self.holder) {
            (Err(error), Some((keeper, name))) if error.kind() == io::ErrorKind::PermissionDenied => {
                keeper.register(name, file)
            }
            (own, _) => own,
        }
    }

    pub fn close(&self, id: BackingId) {
        let own = fuse::unregister(&self.device, id.0);
        let closed = match (own, &self.holder) {
            (Err(error), Some((keeper, name))) if error.kind() == io::ErrorKind::PermissionDenied => {
                keeper.unregister(name, id)
            }
            (own, _) => own,
        };
        if let Err(error) = closed {
            // A connection that is gone has let go of its files.
            tracing::debug!(%error, ?id, "a file was not registered any more");
        }
    }
}
