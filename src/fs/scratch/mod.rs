//! The writable layer of a view: a plain local directory that keeps what clients write beside the virtual files.
//!
//! `ModelFs` calls it with paths of the virtual tree: relative, joined by `/`, empty for the root. A daemon that runs as
//! root acts here for ordinary users who may plant links in the layer, so no operation ever follows one: every path
//! starts at the root's descriptor and the kernel refuses whatever would leave it. Who may do what the kernel has checked
//! before the request came (`default_permissions`); nothing is checked again here.
//!
//! There are regular files, directories and symbolic links. A device, FIFO or socket (mknod) is for the caller to refuse;
//! one that was put there by hand is not shown. Nothing is remembered in memory: every call may be made again by the next
//! daemon.

mod attr;
mod entry;
mod file;
mod orphan;
mod token;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

pub use attr::{Change, NewTime, ScratchAttr, ScratchKind};
pub use entry::RenameMode;
pub use file::{Access, CreateFlags, OpenFlags};
pub use orphan::Orphan;

/// What a refused operation was about. The `source` keeps the kernel's own number.
#[derive(Debug)]
pub struct ScratchError {
    /// `create`, `rename` …
    pub operation: &'static str,
    /// Where it is on disk.
    pub path: PathBuf,
    pub source: io::Error,
}

impl fmt::Display for ScratchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {} in the writable layer: {}", self.operation, self.path.display(), self.source)
    }
}

impl std::error::Error for ScratchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

pub type Result<T> = std::result::Result<T, ScratchError>;

/// The user and group that a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// One view's writable layer. Cheap to call from many threads; the kernel does the locking.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    root: OwnedFd,
    /// Beside it: open files that have lost their names.
    orphans: OwnedFd,
    /// Whether entries can be given to whoever asked for them; else they all belong to the daemon's user.
    gives_away: bool,
}

/// The directory that an entry is in, and the entry's own name.
struct Place<'a> {
    parent: OwnedFd,
    name: &'a str,
}

/// No way out of the root, by no kind of link.
const CONFINED: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
/// Names an entry without opening it: works on links and on files that may not be read.
const HANDLE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// The rights of directories that only stand for virtual ones.
const VIRTUAL_MODE: Mode = Mode::from_raw_mode(0o755);

impl Scratch {
    /// Opens the layer and makes its directory where there is none.
    ///
    /// The directory is the daemon's alone: others reach what is in it through the mount only.
    pub fn open(path: PathBuf) -> Result<Self> {
        let scratch = Self::open_root(&path).map_err(|source| ScratchError { operation: "open", path, source })?;
        scratch.tighten_tokens();
        Ok(scratch)
    }

    fn open_root(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())?;
        let gives_away = rustix::process::geteuid().is_root();
        let orphans = orphan::open_folder(path)?;
        let scratch = Self { path: path.to_owned(), root, orphans, gives_away };
        // A kernel or sandbox without openat2 is told of now, not at the first write.
        scratch.handle("")?;
        Ok(scratch)
    }

    /// What is at `path`; `None` when nothing is, a missing parent included.
    pub fn stat(&self, path: &str) -> Result<Option<ScratchAttr>> {
        let found = self.handle(path).and_then(|handle| Ok(ScratchAttr::of(&rustix::fs::fstat(handle)?)));
        match found {
            Err(error) if is_absence(&error) => Ok(None),
            found => found.map_err(|source| self.error("stat", path, source)),
        }
    }

    /// Names and kinds in a directory, in no order. Empty where there is none: a virtual directory may have no double here.
    pub fn list(&self, path: &str) -> Result<Vec<(String, ScratchKind)>> {
        match self.read_directory(path) {
            Err(error) if is_absence(&error) => Ok(Vec::new()),
            listed => listed.map_err(|source| self.error("list", path, source)),
        }
    }

    fn read_directory(&self, path: &str) -> io::Result<Vec<(String, ScratchKind)>> {
        let directory = self.open_directory(path)?;
        let mut listed = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            // The tree above knows names as text; others can only have been put there by hand.
            let Ok(name) = entry.file_name().to_str() else { continue };
            if matches!(name, "." | "..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => self.kind_at(&directory, name)?,
                known => ScratchKind::of(known),
            };
            listed.extend(kind.map(|kind| (name.to_owned(), kind)));
        }
        Ok(listed)
    }

    /// For filesystems that do not keep the kind with the name. An entry that just went is none.
    fn kind_at(&self, directory: &OwnedFd, name: &str) -> io::Result<Option<ScratchKind>> {
        match rustix::fs::statat(directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(ScratchKind::of(FileType::from_raw_mode(stat.st_mode))),
            Err(errno) if io::Error::from(errno).kind() == io::ErrorKind::NotFound => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes `path` and its missing parents as doubles of virtual directories: 0755, the daemon's own.
    pub fn ensure_dir(&self, path: &str) -> Result<()> {
        self.ensure(path).map_err(|source| self.error("make", path, source))
    }

    fn ensure(&self, path: &str) -> io::Result<()> {
        let mut reached = self.handle("")?;
        for name in path.split('/').filter(|_| !path.is_empty()) {
            check_name(name)?;
            let made = rustix::fs::mkdirat(&reached, name, VIRTUAL_MODE).map_err(io::Error::from);
            match &made {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return made,
                _ => {}
            }
            reached = open_confined(&reached, name, HANDLE | OFlags::DIRECTORY)?;
            if made.is_ok() {
                // The daemon's umask took part in mkdir.
                set_mode(&reached, VIRTUAL_MODE)?;
            }
        }
        Ok(())
    }

    /// Room and inodes of the disk below.
    pub fn statvfs(&self) -> Result<rustix::fs::StatVfs> {
        rustix::fs::fstatvfs(&self.root).map_err(|errno| self.error("statvfs", "", errno.into()))
    }

    fn error(&self, operation: &'static str, path: &str, source: io::Error) -> ScratchError {
        ScratchError { operation, path: self.path.join(path), source }
    }

    /// The directory around `path`, which the root does not have.
    fn place<'a>(&self, path: &'a str) -> io::Result<Place<'a>> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        check_name(name)?;
        let parent = self.resolve(parent, HANDLE | OFlags::DIRECTORY)?;
        Ok(Place { parent, name })
    }

    fn open_directory(&self, path: &str) -> io::Result<OwnedFd> {
        self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC)
    }

    /// The entry itself, a link included.
    fn handle(&self, path: &str) -> io::Result<OwnedFd> {
        self.resolve(path, HANDLE)
    }

    fn resolve(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        if path.is_empty() {
            return open_confined(&self.root, ".", flags);
        }
        path.split('/').try_for_each(check_name)?;
        open_confined(&self.root, path, flags)
    }
}

/// Takes a layer away with all that is in it. Nobody has it open. Nothing there is fine.
pub fn remove(layer: &Path) -> Result<()> {
    for path in [layer.to_owned(), orphan::folder_of(layer)] {
        match std::fs::remove_dir_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(ScratchError { operation: "remove", path, source });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Takes every layer in `folder` away but `kept`.
pub fn remove_others(folder: &Path, kept: &[PathBuf]) -> Result<()> {
    let failed = |source| ScratchError { operation: "sweep", path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if !kept.iter().any(|layer| path == *layer || path == orphan::folder_of(layer)) {
            std::fs::remove_dir_all(&path).map_err(failed)?;
        }
    }
    Ok(())
}

fn open_confined(from: impl AsFd, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat2(from, path, flags, Mode::empty(), CONFINED)?)
}

/// The kernel sends no such names; whoever else does is not to find out what they do.
fn check_name(name: &str) -> io::Result<()> {
    match name {
        "" | "." | ".." => Err(Errno::INVAL.into()),
        name if name.contains(['/', '\0']) => Err(Errno::INVAL.into()),
        _ => Ok(()),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn rights(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o7777)
}

/// chmod of exactly what the handle names. A link has no mode: that is an error, and never its target's.
fn set_mode(handle: impl AsFd, mode: Mode) -> io::Result<()> {
    Ok(rustix::fs::chmod(by_handle(handle.as_fd()), mode)?)
}

/// A name for what a handle holds, for the calls that do not take such handles. It cannot be swapped for something else.
fn by_handle(handle: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", handle.as_raw_fd())
}

#[cfg(test)]
mod tests;
