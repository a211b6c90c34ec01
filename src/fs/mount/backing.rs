//! Files that the kernel reads by itself, registered with a FUSE connection under a number.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// The kernel's name for a registered file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackingId(pub u32);

/// The files of one connection. Registering one wants CAP_SYS_ADMIN of the calling thread.
#[derive(Debug)]
pub struct Backings {
    device: OwnedFd,
}

/// `struct fuse_backing_map` of linux/fuse.h.
#[repr(C)]
struct BackingMap {
    fd: i32,
    flags: u32,
    padding: u64,
}

mod ioctl {
    use super::BackingMap;

    // FUSE_DEV_IOC_BACKING_OPEN and FUSE_DEV_IOC_BACKING_CLOSE.
    nix::ioctl_write_ptr!(backing_open, 229, 1, BackingMap);
    nix::ioctl_write_ptr!(backing_close, 229, 2, u32);
}

impl Backings {
    pub fn new(device: OwnedFd) -> Self {
        Self { device }
    }

    /// The kernel keeps the file until [`Backings::close`], and then as long as somebody has it open through the mount.
    pub fn open(&self, file: &File) -> io::Result<BackingId> {
        let map = BackingMap { fd: file.as_raw_fd(), flags: 0, padding: 0 };
        // SAFETY: the kernel reads the map, which outlives the call, and writes nothing.
        let id = unsafe { ioctl::backing_open(self.device.as_raw_fd(), &map) }?;
        Ok(BackingId(id as u32))
    }

    pub fn close(&self, id: BackingId) {
        // SAFETY: the kernel reads one number, which outlives the call.
        let closed = unsafe { ioctl::backing_close(self.device.as_raw_fd(), &id.0) };
        if let Err(error) = closed {
            // A connection that is gone has let go of its files.
            tracing::debug!(%error, ?id, "a file was not registered any more");
        }
    }
}
