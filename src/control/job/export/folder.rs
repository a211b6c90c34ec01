//! The directory that an export writes into. No link in it leads out: what is written lies below it or is not written.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::cache::Proof;
use crate::types::Blob;

const CONFINED: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

pub struct Folder {
    root: OwnedFd,
    /// What whoever asked takes away from the modes of new files.
    umask: u32,
}

/// A file without its name. It goes unless it gets that.
pub struct Unnamed {
    folder: OwnedFd,
    temporary: String,
    name: String,
    named: bool,
}

impl Folder {
    /// Makes `directory` where it is not there.
    pub fn open(directory: &Path, umask: u32) -> io::Result<Self> {
        make_all(directory, 0o777 & !umask)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(directory, flags, Mode::empty())?;
        let folder = Self { root, umask: umask & 0o777 };
        // A kernel without openat2 is told of now, not at the first file.
        folder.open_below("", OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(folder)
    }

    fn open_below(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { "." } else { path };
        Ok(rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), CONFINED)?)
    }

    /// The folder at `path`, made where it is not there.
    fn make(&self, path: &str) -> io::Result<OwnedFd> {
        let mut made = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let above = self.open_below(&made, OFlags::RDONLY | OFlags::DIRECTORY)?;
            made = if made.is_empty() { part.to_owned() } else { format!("{made}/{part}") };
            match rustix::fs::mkdirat(&above, part, Mode::from_raw_mode(0o700)) {
                Ok(()) => {
                    let folder = self.open_below(&made, OFlags::RDONLY | OFlags::DIRECTORY)?;
                    rustix::fs::fchmod(&folder, Mode::from_raw_mode(0o777 & !self.umask))?;
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        self.open_below(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Whether a regular file with this content is at `path`. Reads it.
    pub fn has(&self, path: &str, blob: &Blob) -> bool {
        let same = || {
            let mut file = File::from(self.open_below(path, OFlags::RDONLY | OFlags::NONBLOCK)?);
            let found = file.metadata()?;
            if !found.is_file() || found.len() != blob.size {
                return Ok(false);
            }
            hashes_to(&mut file, blob)
        };
        same().unwrap_or(false)
    }

    /// A new file that is to be at `path`.
    pub fn create(&self, path: &str) -> io::Result<(File, Unnamed)> {
        let unnamed = self.unnamed(path)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&unnamed.folder, &unnamed.temporary, flags, Mode::from_raw_mode(0o600))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o666 & !self.umask))?;
        Ok((file.into(), unnamed))
    }

    /// A link at `path`, whatever was there.
    pub fn link(&self, path: &str, target: &str) -> io::Result<()> {
        let unnamed = self.unnamed(path)?;
        rustix::fs::symlinkat(target, &unnamed.folder, &unnamed.temporary)?;
        unnamed.name()
    }

    fn unnamed(&self, path: &str) -> io::Result<Unnamed> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let temporary = format!(".weightfs-{:016x}", rand::random::<u64>());
        Ok(Unnamed { folder: self.make(folder)?, temporary, name: name.to_owned(), named: false })
    }
}

impl Unnamed {
    /// Gives it its name, in place of what has it.
    pub fn name(mut self) -> io::Result<()> {
        rustix::fs::renameat(&self.folder, &self.temporary, &self.folder, &self.name)?;
        self.named = true;
        Ok(())
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if !self.named {
            let _ = rustix::fs::unlinkat(self.folder.as_fd(), OsStr::new(&self.temporary), AtFlags::empty());
        }
    }
}

/// The directory and those above it that are missing.
fn make_all(directory: &Path, mode: u32) -> io::Result<()> {
    let missing: Vec<_> = directory.ancestors().take_while(|above| !above.exists()).collect();
    for directory in missing.into_iter().rev() {
        match std::fs::create_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => {
                made?;
                // The daemon's own umask is for its cache.
                std::fs::set_permissions(directory, Permissions::from_mode(mode))?;
            }
        }
    }
    Ok(())
}

/// Nobody says of every content what it hashes to: such a one is written anew.
fn hashes_to(file: &mut File, blob: &Blob) -> io::Result<bool> {
    const PIECE: usize = 1 << 20;
    if !blob.id.proves_bytes() {
        return Ok(false);
    }
    let mut proof = Proof::new(*blob);
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(proof.finish().is_some()),
            len => proof.update(&piece[..len]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::types::BlobId;

    fn hello() -> Blob {
        Blob { id: BlobId::from_etag("ce013625030ba8dba906f756967f9e9ca394464a").unwrap(), size: 6 }
    }

    fn write(folder: &Folder, path: &str) -> io::Result<()> {
        let (mut file, unnamed) = folder.create(path)?;
        file.write_all(b"hello\n")?;
        unnamed.name()
    }

    #[test]
    fn a_file_gets_its_name_when_it_is_whole_and_the_callers_mode() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(&directory.path().join("new/here"), 0o027).unwrap();
        write(&folder, "a/b/c.txt").unwrap();
        let path = directory.path().join("new/here/a/b/c.txt");
        assert_eq!(std::fs::read(&path).unwrap(), b"hello\n");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o640, 0o750));
        assert_eq!(mode(&directory.path().join("new")), 0o750);
        assert!(folder.has("a/b/c.txt", &hello()) && !folder.has("a/b/d.txt", &hello()));
        std::fs::write(&path, "hellO\n").unwrap();
        assert!(!folder.has("a/b/c.txt", &hello()));
        drop(folder.create("a/b/d.txt").unwrap());
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "what is given up leaves nothing");
    }

    #[test]
    fn no_link_leads_out() {
        let directory = tempfile::tempdir().unwrap();
        let (inside, outside) = (directory.path().join("in"), directory.path().join("out"));
        std::fs::create_dir(&outside).unwrap();
        let folder = Folder::open(&inside, 0o022).unwrap();
        symlink(&outside, inside.join("a")).unwrap();
        std::fs::write(outside.join("victim"), "hello\n").unwrap();
        symlink(outside.join("victim"), inside.join("b.txt")).unwrap();
        assert!(write(&folder, "a/c.txt").is_err());
        assert!(!folder.has("b.txt", &hello()), "a link is no file of ours");
        write(&folder, "b.txt").unwrap();
        assert!(inside.join("b.txt").symlink_metadata().unwrap().is_file(), "it takes the link's place");
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    }
}
