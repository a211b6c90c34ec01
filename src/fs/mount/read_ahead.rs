//! How far the kernel reads ahead on a mount. FUSE's own INIT reply can only lower it.

use std::io;
use std::path::Path;

use super::table;

/// Sets it for the mount at `directory`, in KiB. Root's to do.
pub fn set_read_ahead(directory: &Path, kib: u32) -> io::Result<()> {
    let entry = table::find(directory).ok_or(io::ErrorKind::NotFound)?;
    let (major, minor) = entry.device;
    std::fs::write(format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb"), kib.to_string())
}
