//! mount(2) by this process, for root or whoever else has CAP_SYS_ADMIN.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use mount_helper::fuse;
use rustix::thread::CapabilitySet;

use super::MountError;

/// Whether mount(2) and umount(2) are for us to call; else fusermount3 does it.
pub fn may_mount() -> bool {
    let ours = rustix::thread::capabilities(None);
    ours.is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

pub(super) fn open_device() -> Result<OwnedFd, MountError> {
    fuse::open_device().map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => MountError::DeviceDenied { source },
        // A node without a driver behind it (ENODEV, ENXIO) wants the same remedy as no node.
        _ => MountError::NoDevice { source },
    })
}

pub(super) fn mount(device: &OwnedFd, directory: &Path, allow_other: bool) -> Result<(), MountError> {
    fuse::mount(device, directory, allow_other)
        .map_err(|source| MountError::Kernel { directory: directory.to_owned(), source })
}

/// The part of an error's text that says what to do about it.
pub(super) fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "; a container needs `--cap-add SYS_ADMIN` and a security profile that allows mounts"
        }
        io::ErrorKind::StorageFull => "; too many mounts: see /proc/sys/fs/mount-max",
        _ => "",
    }
}
