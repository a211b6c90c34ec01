//! One sparse file a blob, named by its content and length: `blobs/sha256/ab/ab01…-4096`.

use std::fs::{DirEntry, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rustix::fs::{OFlags, SeekFrom};

use super::CacheError;
use super::disk::Disk;
use crate::db::FileStamp;
use crate::types::{BLOCK_SIZE, Blob, BlobId, BlockRange, ByteRange};

pub(super) struct BlobStore {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    /// For names that last a moment.
    numbers: AtomicU64,
}

/// A file in a folder of blobs.
pub(super) enum Found {
    Blob {
        blob: Blob,
        len: u64,
    },
    /// Its name is no blob's.
    Unknown(PathBuf),
}

impl BlobStore {
    const SAMPLE: &str = "sample";
    /// How names begin that last for a moment only.
    const TEMPORARY: [&str; 2] = ["evicted-", "link-"];

    pub(super) fn open(cache_directory: &Path, disk: Arc<dyn Disk>) -> Result<Self, CacheError> {
        let root = cache_directory.join("blobs");
        std::fs::create_dir_all(&root).map_err(|source| disk_error(&root, source))?;
        let store = Self { root, disk, numbers: AtomicU64::new(0) };
        store.remove_temporary().map_err(|source| disk_error(&store.root, source))?;
        Ok(store)
    }

    /// What a daemon that was killed was about to rename or delete. Before anybody makes such a file again.
    fn remove_temporary(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name();
            let temporary = name == Self::SAMPLE
                || Self::TEMPORARY.iter().any(|start| name.as_encoded_bytes().starts_with(start.as_bytes()));
            if temporary && !entry.file_type()?.is_dir() {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Every file in the folders of blobs, in no order. No link is followed.
    pub(super) fn walk(&self, visit: &mut dyn FnMut(Found)) -> io::Result<()> {
        for tag in BlobId::TAGS {
            let folder = self.root.join(tag);
            match std::fs::symlink_metadata(&folder) {
                Ok(found) if found.is_dir() => {}
                _ => continue,
            }
            for part in std::fs::read_dir(folder)? {
                let part = part?;
                if !part.file_type()?.is_dir() || part.file_name().len() != 2 {
                    continue;
                }
                for entry in std::fs::read_dir(part.path())? {
                    let entry = entry?;
                    if !entry.file_type()?.is_dir() {
                        visit(self.found(tag, &entry)?);
                    }
                }
            }
        }
        Ok(())
    }

    fn found(&self, tag: &str, entry: &DirEntry) -> io::Result<Found> {
        let path = entry.path();
        let blob = entry.file_name().to_str().and_then(|name| blob_named(tag, name));
        match blob.filter(|blob| self.path(blob) == path) {
            Some(blob) if entry.file_type()?.is_file() => Ok(Found::Blob { blob, len: entry.metadata()?.len() }),
            _ => Ok(Found::Unknown(path)),
        }
    }

    /// Puts a second name of the file at `from` in the place of the file at `to`, in one step.
    pub(super) fn replace_by_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let link = self.root.join(format!("link-{}-{number}", std::process::id()));
        self.disk.link(from, &link)?;
        self.disk.rename(&link, to).inspect_err(|_| drop(self.disk.unlink(&link)))
    }

    /// Whether the file has all of the blob's bytes, right or wrong.
    pub(super) fn is_full(&self, blob: &Blob) -> bool {
        let look = || -> io::Result<bool> {
            let file =
                OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits() as i32).open(self.path(blob))?;
            let len = file.metadata()?.len();
            Ok(len == blob.size && (len == 0 || rustix::fs::seek(&file, SeekFrom::Hole(0))? == len))
        };
        look().unwrap_or(false)
    }

    /// What the file takes of the disk, where that is more than the `recorded` bytes: a daemon that was killed had not come
    /// to record the last of it.
    pub(super) fn taken(&self, blob: &Blob, recorded: u64) -> u64 {
        if recorded >= blob.size {
            return recorded;
        }
        let look = || -> io::Result<u64> {
            let file =
                OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits() as i32).open(self.path(blob))?;
            let written = written_blocks(&file, blob.size, recorded)?;
            Ok(written.iter().map(|blocks| blocks.bytes(blob.size).len()).sum())
        };
        // A file that cannot be looked at is somebody else's to complain of.
        look().unwrap_or(0).max(recorded)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn error(&self, source: io::Error) -> CacheError {
        disk_error(&self.root, source)
    }

    pub(super) fn remove(&self, blob: &Blob) -> io::Result<()> {
        self.disk.unlink(&self.path(blob))
    }

    fn path(&self, blob: &Blob) -> PathBuf {
        let value = blob.id.value();
        // A folder for each first byte keeps folders small. The length is what a listing states and may be a lie: two
        // claims about one hash never share a file.
        self.root.join(blob.id.tag()).join(&value[..2]).join(format!("{value}-{}", blob.size))
    }

    /// An empty file without a name.
    pub(super) fn sample(&self) -> io::Result<File> {
        let path = self.root.join(Self::SAMPLE);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    }

    /// Opens the blob's file, made sparse at its full size if it is new.
    ///
    /// A file of another size is not cut: its blocks fail their checksums and are fetched again.
    pub(super) fn file(&self, blob: &Blob) -> Result<BlobFile, CacheError> {
        let path = self.path(blob);
        let file = |file, nowhere| BlobFile { file, disk: self.disk.clone(), path: path.clone(), nowhere };
        match self.disk.open(&path, blob.size) {
            Ok(opened) => Ok(file(opened, false)),
            // What is read of it will not be kept; that is not the reader's trouble.
            Err(source) if is_full(&source) => match File::open("/dev/null") {
                Ok(opened) => Ok(file(opened, true)),
                Err(_) => Err(disk_error(&path, source)),
            },
            Err(source) => Err(disk_error(&path, source)),
        }
    }

    /// Deletes a file that has lost its name. Where its space goes may take its time.
    pub(super) fn delete(&self, doomed: &Path) -> io::Result<()> {
        self.disk.unlink(doomed)
    }

    /// Makes the file at `source` the blob's, under a second name. Only for a blob of which nothing is here.
    pub(super) fn link(&self, blob: &Blob, source: &Path) -> io::Result<()> {
        let path = self.path(blob);
        std::fs::create_dir_all(path.parent().expect("a blob lies in a folder"))?;
        match self.disk.unlink(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.disk.link(source, &path)?;
        // One that this process may not write to could never be repaired.
        let writable = OpenOptions::new().read(true).write(true).open(&path);
        if writable.is_err() {
            self.unlink(blob);
        }
        writable.map(drop)
    }

    /// The blob has no file here any more.
    pub(super) fn unlink(&self, blob: &Blob) {
        let path = self.path(blob);
        if let Err(error) = self.disk.unlink(&path) {
            tracing::warn!(%error, path = %path.display(), "a file that is not what it is called stays");
        }
    }

    /// Takes the blob's file away from its name at once, and answers where it may be deleted from in peace.
    ///
    /// A crash in between leaves a file whose name says nothing.
    pub(super) fn doom(&self, blob: &Blob) -> io::Result<PathBuf> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let doomed = self.root.join(format!("evicted-{}-{number}", std::process::id()));
        self.disk.rename(&self.path(blob), &doomed)?;
        Ok(doomed)
    }
}

/// Whether it is room that the disk lacks.
pub(super) fn is_full(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT))
}

/// The blob that a file's name claims to be: `VALUE-SIZE`, exactly as it is written.
fn blob_named(tag: &str, name: &str) -> Option<Blob> {
    let (value, size) = name.rsplit_once('-')?;
    let id = format!("{tag}:{value}").parse().ok()?;
    let digits = size.bytes().all(|digit| digit.is_ascii_digit());
    let size: u64 = size.parse().ok().filter(|parsed: &u64| digits && parsed.to_string() == size)?;
    Some(Blob { id, size })
}

/// See [`BlobFile::written_blocks`].
fn written_blocks(file: &File, size: u64, recorded: u64) -> io::Result<Vec<BlockRange>> {
    /// A file system's rounding and its own notes.
    const SLACK: u64 = BLOCK_SIZE / 4;
    let mut written = Vec::new();
    if file.metadata()?.blocks() * 512 <= recorded + SLACK {
        return Ok(written);
    }
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) if start < size => start,
            Ok(_) | Err(rustix::io::Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?.min(size);
        written.push(ByteRange::new(start, end).blocks());
        at = end.next_multiple_of(BLOCK_SIZE);
    }
    Ok(written)
}

/// A blob's open file and where it lies.
pub(super) struct BlobFile {
    file: File,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    nowhere: bool,
}

impl BlobFile {
    /// Buffers of one write at the most.
    const MOST: usize = 1024;

    /// The blocks of which the file holds anything, if it takes more of the disk than the `recorded` bytes.
    pub(super) fn written_blocks(&self, size: u64, recorded: u64) -> io::Result<Vec<BlockRange>> {
        written_blocks(&self.file, size, recorded)
    }

    /// For the kernel to read past this process, and for advice.
    pub(super) fn descriptor(&self) -> &File {
        &self.file
    }

    pub(super) fn disk(&self) -> Arc<dyn Disk> {
        self.disk.clone()
    }

    pub(super) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let len = buffer.len();
        read_at_least(&*self.disk, &self.file, buffer, len, offset)
    }

    /// One write for all of it: the page cache then holds it in large folios, which map and read faster than small ones.
    pub(super) fn write_all_at(&self, pieces: &[Bytes], mut offset: u64) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut left = slices.as_mut_slice();
        while !left.is_empty() {
            let most = left.len().min(Self::MOST);
            match uninterrupted(|| self.disk.pwritev(&self.file, &left[..most], offset))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                wrote => {
                    offset += wrote as u64;
                    IoSlice::advance_slices(&mut left, wrote);
                }
            }
        }
        Ok(())
    }

    /// If it fails, what was written since the last time may be gone, whatever a read of it shows now.
    pub(super) fn sync_data(&self) -> io::Result<()> {
        uninterrupted(|| self.disk.sync_data(&self.file))
    }

    /// What tells whether the file has been written to since.
    pub(super) fn stamp(&self) -> io::Result<FileStamp> {
        self.disk.stamp(&self.file)
    }

    pub(super) fn error(&self, source: io::Error) -> CacheError {
        disk_error(&self.path, source)
    }

    /// Whether the disk had no room for even an empty file: nothing can be written.
    pub(super) fn is_nowhere(&self) -> bool {
        self.nowhere
    }

    /// Whether anybody else has the file open. A mapping of a file that was passed through is known to nobody but the
    /// kernel, and holds the file's space though all handles are closed.
    ///
    /// The kernel grants a write lease only to the one who has a file open alone. Where it grants none at all the answer is
    /// no, as for a file that is there under two names: it stays as long as the other one, which is open as well.
    pub(super) fn is_open_elsewhere(&self) -> bool {
        if self.file.metadata().is_ok_and(|metadata| metadata.nlink() > 1) {
            return false;
        }
        use nix::libc::{F_SETLEASE, F_UNLCK, F_WRLCK, SIGURG, fcntl};
        /// Of asm-generic/fcntl.h.
        const F_SETSIG: i32 = 10;
        let file = self.file.as_raw_fd();
        // SAFETY: three calls with whole numbers on a descriptor that is open. The signal of somebody who opens the file in
        // this very moment is one that is ignored by default.
        let granted = unsafe { fcntl(file, F_SETSIG, SIGURG) == 0 && fcntl(file, F_SETLEASE, F_WRLCK) == 0 };
        if granted {
            // SAFETY: as above.
            unsafe { fcntl(file, F_SETLEASE, F_UNLCK) };
            return false;
        }
        io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Fills the buffer up to `least` or further. A file that ends before that is an error.
pub(super) fn read_at_least(
    disk: &dyn Disk,
    file: &File,
    buffer: &mut [u8],
    least: usize,
    offset: u64,
) -> io::Result<()> {
    let mut filled = 0;
    while filled < least {
        match uninterrupted(|| disk.pread(file, &mut buffer[filled..], offset + filled as u64))? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => filled += more,
        }
    }
    Ok(())
}

fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

pub(super) fn disk_error(path: &Path, source: io::Error) -> CacheError {
    CacheError::Disk { path: path.to_owned(), source: Arc::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_is_a_blobs_only_as_we_write_it() {
        let etag = "ab".repeat(32);
        let named = |tag: &str, name: &str| blob_named(tag, name).map(|blob| blob.size);
        assert_eq!(named("sha256", &format!("{etag}-4096")), Some(4096));
        assert_eq!(named("git-sha1", &format!("{etag}-4096")), None);
        for size in ["", "-1", "+1", "01", "1 ", "99999999999999999999", "1.tmp"] {
            assert_eq!(named("sha256", &format!("{etag}-{size}")), None, "{size}");
        }
        assert_eq!(named("sha256", &format!("{}-1", etag.to_uppercase())), None);
        assert_eq!(named("sha256", "config.json"), None);
    }
}
