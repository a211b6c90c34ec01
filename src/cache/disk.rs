//! The disk under the cache: the few things that are done to files of blobs, one call each.
//!
//! One implementation does them; in tests another stands before it that fails as it is told or forgets what was not synced.
//! It knows nothing of blobs and repeats nothing: what a short write or a signal means is for `files` to say.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::db::FileStamp;

/// Each method is one system call, or the two that belong together. An error is the system's own.
pub(super) trait Disk: Send + Sync {
    /// Opens a file to read and write, made if it is not there, and with it its folders; at least `size` long, the rest of
    /// it a hole.
    fn open(&self, path: &Path, size: u64) -> io::Result<File>;
    fn pread(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    fn pwritev(&self, file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// What was written before this call is on the disk when it returns.
    fn sync_data(&self, file: &File) -> io::Result<()>;
    fn stamp(&self, file: &File) -> io::Result<FileStamp>;
    fn unlink(&self, path: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// How much the file system of this folder has left, and how much it has in all.
    fn space(&self, folder: &Path) -> io::Result<DiskSpace>;
}

#[derive(Debug, Clone, Copy)]
pub(super) struct DiskSpace {
    pub(super) free: u64,
    pub(super) size: u64,
}

pub(super) struct LocalDisk;

impl Disk for LocalDisk {
    fn open(&self, path: &Path, size: u64) -> io::Result<File> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        if file.metadata()?.len() < size {
            file.set_len(size)?;
        }
        Ok(file)
    }

    fn pread(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        file.read_at(buffer, offset)
    }

    fn pwritev(&self, file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(file, slices, offset)?)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn stamp(&self, file: &File) -> io::Result<FileStamp> {
        const SECOND: i64 = 1_000_000_000;
        let metadata = file.metadata()?;
        let ctime_ns = metadata.ctime().saturating_mul(SECOND).saturating_add(metadata.ctime_nsec());
        Ok(FileStamp { size: metadata.len(), ctime_ns })
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn space(&self, folder: &Path) -> io::Result<DiskSpace> {
        let stat = rustix::fs::statvfs(folder)?;
        Ok(DiskSpace { free: stat.f_bavail * stat.f_frsize, size: stat.f_blocks * stat.f_frsize })
    }
}
