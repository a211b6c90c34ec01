//! The kernel's side of a mount, as far as privilege is needed for it: the device, mount(2), the end of a mount, and files
//! that the kernel reads by itself.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::mount::{MntFlags, MsFlags};

/// The type in /proc/mounts: what tells our mounts from others'.
pub const FILESYSTEM_TYPE: &str = "fuse.weightfs";
/// The source in /proc/mounts. Never `hf-mount`: transformers turns mmap off for a mount of that name.
pub const SOURCE: &str = "weightfs";
const DEVICE: &str = "/dev/fuse";

pub fn open_device() -> io::Result<OwnedFd> {
    Ok(OpenOptions::new().read(true).write(true).open(DEVICE)?.into())
}

/// mount(2) of a new connection. Nobody has answered its INIT yet: until somebody does, every access to it waits.
pub fn mount(device: &OwnedFd, directory: &Path, allow_other: bool) -> io::Result<()> {
    let options = format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions{}",
        device.as_raw_fd(),
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
        if allow_other { ",allow_other" } else { "" },
    );
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    Ok(nix::mount::mount(Some(SOURCE), directory, Some(FILESYSTEM_TYPE), flags, Some(options.as_str()))?)
}

/// Takes away the mount on top at a directory; `lazy` even while it is in use.
pub fn unmount(directory: &Path, lazy: bool) -> io::Result<()> {
    let detach = if lazy { MntFlags::MNT_DETACH } else { MntFlags::empty() };
    Ok(nix::mount::umount2(directory, detach | MntFlags::UMOUNT_NOFOLLOW)?)
}

/// Takes away the mount on top at a directory and ends its connection: whoever waits for an answer gets an error, also where
/// some process that cannot end still has the connection open.
pub fn unmount_by_force(directory: &Path) -> io::Result<()> {
    let flags = MntFlags::MNT_FORCE | MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
    Ok(nix::mount::umount2(directory, flags)?)
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

/// Registers a file with a connection; the number names it there. Wants CAP_SYS_ADMIN.
pub fn register(device: impl AsFd, file: BorrowedFd<'_>) -> io::Result<u32> {
    let map = BackingMap { fd: file.as_raw_fd(), flags: 0, padding: 0 };
    // SAFETY: the kernel reads the map, which outlives the call, and writes nothing.
    let id = unsafe { ioctl::backing_open(device.as_fd().as_raw_fd(), &map) }?;
    Ok(id as u32)
}

pub fn unregister(device: impl AsFd, id: u32) -> io::Result<()> {
    // SAFETY: the kernel reads one number, which outlives the call.
    unsafe { ioctl::backing_close(device.as_fd().as_raw_fd(), &id) }?;
    Ok(())
}
