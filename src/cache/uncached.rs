//! A blob's file as the disk has it: read past the page cache, so that what memory still knows hides no damage.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::disk::Disk;
use super::files::{BlobFile, read_at_least};
use crate::types::{BLOCK_SIZE, ByteRange};

/// Reads a block at a time. Neither takes pages from the readers nor leaves any behind.
pub(super) struct UncachedFile {
    file: File,
    disk: Arc<dyn Disk>,
    /// Room for one block at an address that direct reads take.
    buffer: Vec<u8>,
}

impl UncachedFile {
    /// Direct reads begin, end and are put at multiples of this; no disk has larger sectors.
    const ALIGNMENT: usize = 4096;

    /// The file at a blob's path, which is what the next start will find. One that was taken away is read as long as it is
    /// open.
    pub(super) fn of(blob: &BlobFile) -> io::Result<Self> {
        match Self::open(blob.path(), blob.disk()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let buffer = vec![0; BLOCK_SIZE as usize + Self::ALIGNMENT];
                Ok(Self { file: blob.descriptor().try_clone()?, disk: blob.disk(), buffer })
            }
            opened => opened,
        }
    }

    /// On a file system without direct reads it reads as everybody does.
    fn open(path: &Path, disk: Arc<dyn Disk>) -> io::Result<Self> {
        let open = |flags: OFlags| {
            let flags = flags | OFlags::NOFOLLOW;
            OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)
        };
        let file = match open(OFlags::DIRECT) {
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => open(OFlags::empty()),
            opened => opened,
        };
        Ok(Self { file: file?, disk, buffer: vec![0; BLOCK_SIZE as usize + Self::ALIGNMENT] })
    }

    /// The bytes of one block. A file that ends before them is an error.
    pub(super) fn block(&mut self, range: ByteRange) -> io::Result<&[u8]> {
        let len = range.len() as usize;
        let first = self.buffer.as_ptr().align_offset(Self::ALIGNMENT);
        let room = &mut self.buffer[first..first + len.next_multiple_of(Self::ALIGNMENT)];
        let read = read_at_least(&*self.disk, &self.file, room, len, range.start);
        match read {
            // It took the file and does not take the reads: that is no damage to the file.
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                let flags = rustix::fs::fcntl_getfl(&self.file)?;
                rustix::fs::fcntl_setfl(&self.file, flags - OFlags::DIRECT)?;
                read_at_least(&*self.disk, &self.file, room, len, range.start)?;
            }
            read => read?,
        }
        Ok(&room[..len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_any_length_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blob");
        let bytes: Vec<u8> = (0..BLOCK_SIZE as usize + 4999).map(|at| ((at * 7) >> 2) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let mut file = UncachedFile::open(&path, Arc::new(crate::cache::disk::LocalDisk)).unwrap();
        assert!(file.block(ByteRange::new(0, BLOCK_SIZE)).unwrap() == &bytes[..BLOCK_SIZE as usize]);
        let rest = ByteRange::new(BLOCK_SIZE, bytes.len() as u64);
        assert!(file.block(rest).unwrap() == &bytes[BLOCK_SIZE as usize..]);
        assert!(file.block(ByteRange::at(2 * BLOCK_SIZE, 10)).is_err());
    }

    #[test]
    fn a_file_system_that_refuses_direct_reads_shows_no_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blob");
        let bytes: Vec<u8> = (0..8192_usize).map(|at| ((at * 7) >> 2) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let mut file = UncachedFile::open(&path, Arc::new(crate::cache::disk::LocalDisk)).unwrap();
        // No disk reads directly from here.
        assert!(file.block(ByteRange::new(100, 5000)).unwrap() == &bytes[100..5000]);
    }
}
