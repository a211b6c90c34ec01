//! mount(2) by this process, for root or whoever else has CAP_SYS_ADMIN.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::mount::MsFlags;
use rustix::fs::{Mode, OFlags};
use rustix::thread::CapabilitySet;

use super::{FILESYSTEM_TYPE, MountError, SOURCE};

const DEVICE: &str = "/dev/fuse";

/// Whether mount(2) and umount(2) are for us to call; else fusermount3 does it.
pub(super) fn may_mount() -> bool {
    let ours = rustix::thread::capabilities(None);
    ours.is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

pub(super) fn open_device() -> Result<OwnedFd, MountError> {
    rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| {
        let source = io::Error::from(errno);
        match source.kind() {
            io::ErrorKind::PermissionDenied => MountError::DeviceDenied { source },
            // A node without a driver behind it (ENODEV, ENXIO) wants the same remedy as no node.
            _ => MountError::NoDevice { source },
        }
    })
}

pub(super) fn mount(device: &OwnedFd, directory: &Path, allow_other: bool) -> Result<(), MountError> {
    let options = format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions{}",
        device.as_raw_fd(),
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
        if allow_other { ",allow_other" } else { "" },
    );
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    nix::mount::mount(Some(SOURCE), directory, Some(FILESYSTEM_TYPE), flags, Some(options.as_str()))
        .map_err(|errno| MountError::Kernel { directory: directory.to_owned(), source: errno.into() })
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
