//! Files without a name in the layer, kept beside it under a number until whoever has them open is done.
//!
//! Their folder is the layer's neighbour: nothing in it can be reached through the mount by a path.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};

use super::{Place, Result, Scratch, ScratchError, file};

/// A file that is kept without a name.
#[derive(Debug, Clone, Copy)]
pub struct Orphan {
    pub number: u64,
    /// The disk's own number, as in `ScratchAttr`.
    pub inode: u64,
}

/// Where the orphans of the layer at `layer` are.
pub(super) fn folder_of(layer: &Path) -> PathBuf {
    let mut name = layer.file_name().unwrap_or_default().to_owned();
    name.push(".orphans");
    layer.with_file_name(name)
}

pub(super) fn open_folder(layer: &Path) -> io::Result<OwnedFd> {
    use std::os::unix::fs::DirBuilderExt;
    let path = folder_of(layer);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(&path, flags, Mode::empty())?)
}

impl Scratch {
    /// All that are kept: their numbers, and those of the disk.
    pub fn orphans(&self) -> Result<Vec<Orphan>> {
        let listed = Dir::read_from(&self.orphans).and_then(|directory| {
            let mut found = Vec::new();
            for entry in directory {
                let entry = entry?;
                let Some(number) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()) else { continue };
                let stat = rustix::fs::statat(&self.orphans, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
                found.push(Orphan { number, inode: stat.st_ino });
            }
            Ok(found)
        });
        listed.map_err(|errno| self.orphan_error("list", "", errno.into()))
    }

    /// The file at `path` will be found under `number` when its name has gone. May be done twice.
    pub fn keep_orphan(&self, path: &str, number: u64) -> Result<()> {
        let kept = self.place(path).and_then(|place| {
            let name = number.to_string();
            match rustix::fs::linkat(&place.parent, place.name, &self.orphans, &name, AtFlags::empty()) {
                Err(errno) if io::Error::from(errno).kind() != io::ErrorKind::AlreadyExists => Err(errno.into()),
                _ => Ok(()),
            }
        });
        kept.map_err(|source| self.error("keep", path, source))
    }

    /// For reading and writing if that can be had.
    pub fn open_orphan(&self, number: u64) -> Result<File> {
        let name = number.to_string();
        let open = |flags| {
            let parent = self.orphans.try_clone()?;
            file::open_regular(&Place { parent, name: &name }, flags)
        };
        open(OFlags::RDWR).or_else(|_| open(OFlags::RDONLY)).map_err(|source| self.orphan_error("open", &name, source))
    }

    /// Nobody has it open any more.
    pub fn remove_orphan(&self, number: u64) -> Result<()> {
        let name = number.to_string();
        match rustix::fs::unlinkat(&self.orphans, &name, AtFlags::empty()).map_err(io::Error::from) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.orphan_error("remove", &name, error)),
            _ => Ok(()),
        }
    }

    fn orphan_error(&self, operation: &'static str, name: &str, source: io::Error) -> ScratchError {
        ScratchError { operation, path: folder_of(&self.path).join(name), source }
    }
}
