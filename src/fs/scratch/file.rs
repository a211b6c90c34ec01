//! Opening and creating the layer's files.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

use super::{CONFINED, HANDLE, Owner, Place, Result, Scratch, open_confined, rights, set_mode, token};
use crate::fs::delivery::{Attempt, between_steps};

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    ReadWrite,
}

impl Access {
    fn flags(self) -> OFlags {
        match self {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::WRONLY,
            Access::ReadWrite => OFlags::RDWR,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenFlags {
    pub truncate: bool,
    pub append: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CreateFlags {
    /// A file that is there already is an error.
    pub exclusive: bool,
    /// A file that is there already becomes empty.
    pub truncate: bool,
    pub attempt: Attempt,
}

/// A name that comes and goes between two looks at it.
const ATTEMPTS: usize = 8;
/// What a new entry has until it belongs to its owner.
pub(super) const NEW_FILE: Mode = Mode::from_raw_mode(0o600);

impl Scratch {
    /// A regular file for reading and writing, new or (unless `exclusive`) as it was.
    ///
    /// `mode` and `owner` count for a new one; the mode is final, the kernel has applied the requester's umask.
    pub fn create(&self, path: &str, mode: u32, owner: Owner, flags: CreateFlags) -> Result<File> {
        self.create_file(path, mode, owner, flags).map_err(|source| self.error("create", path, source))
    }

    fn create_file(&self, path: &str, mode: u32, owner: Owner, flags: CreateFlags) -> io::Result<File> {
        let place = self.place(path)?;
        let truncate = if flags.truncate { OFlags::TRUNC } else { OFlags::empty() };
        let mode = token::mode(path, mode);
        for _ in 0..ATTEMPTS {
            let made = self.create_new(&place, mode, owner);
            if !made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
                return made;
            }
            if flags.attempt == Attempt::Again
                && let Some(file) = self.take_up_file(&place, mode, owner)?
            {
                return Ok(file);
            }
            if flags.exclusive {
                return made;
            }
            match open_regular(&place, OFlags::RDWR | truncate) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                opened => return opened,
            }
        }
        Err(Errno::AGAIN.into())
    }

    pub(super) fn create_new(&self, place: &Place<'_>, mode: u32, owner: Owner) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat2(&place.parent, place.name, flags, NEW_FILE, CONFINED)?;
        between_steps();
        let handed_over = self.hand_over(place, &file, owner).and_then(|()| set_mode(&file, rights(mode)));
        self.keep_if(handed_over, place, AtFlags::empty())?;
        Ok(file.into())
    }

    /// The new file of an earlier attempt, brought to its end. `None` for one that cannot be that.
    fn take_up_file(&self, place: &Place<'_>, mode: u32, owner: Owner) -> io::Result<Option<File>> {
        let handle = open_confined(&place.parent, place.name, HANDLE)?;
        let stat = rustix::fs::fstat(&handle)?;
        let is_new = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size == 0;
        if !is_new || stat.st_nlink != 1 || !self.may_be_new(&stat, owner) {
            return Ok(None);
        }
        // Whatever the final mode is, a new file could be opened for both.
        set_mode(&handle, NEW_FILE)?;
        let file = open_regular(place, OFlags::RDWR)?;
        self.hand_over(place, &file, owner)?;
        set_mode(&file, rights(mode))?;
        Ok(Some(file))
    }

    /// Whether an entry can come from an attempt for `owner`: nobody else's is ever given away.
    pub(super) fn may_be_new(&self, stat: &Stat, owner: Owner) -> bool {
        stat.st_uid == rustix::process::geteuid().as_raw() || self.gives_away && stat.st_uid == owner.uid
    }

    /// Gives a new entry to its owner. In a setgid directory its group is the directory's, as the kernel has made it.
    pub(super) fn hand_over(&self, place: &Place<'_>, entry: impl AsFd, owner: Owner) -> io::Result<()> {
        if !self.gives_away {
            return Ok(());
        }
        let inherits = inherits_group(place)?;
        let gid = (!inherits).then(|| Gid::from_raw(owner.gid));
        rustix::fs::chownat(entry, "", Some(Uid::from_raw(owner.uid)), gid, AtFlags::EMPTY_PATH)?;
        between_steps();
        Ok(())
    }

    /// A new entry that could not become what was asked for is no entry.
    pub(super) fn keep_if(&self, finished: io::Result<()>, place: &Place<'_>, remove: AtFlags) -> io::Result<()> {
        finished.inspect_err(|_| {
            // The first error is the one to tell.
            let _ = rustix::fs::unlinkat(&place.parent, place.name, remove);
        })
    }

    /// A regular file that is there. The daemon of an ordinary user gets what the file's mode allows it, root gets all.
    pub fn open_file(&self, path: &str, access: Access, flags: OpenFlags) -> Result<File> {
        let mut how = access.flags();
        how.set(OFlags::TRUNC, flags.truncate);
        how.set(OFlags::APPEND, flags.append);
        self.open_with(path, how).map_err(|source| self.error("open", path, source))
    }

    pub(super) fn open_with(&self, path: &str, flags: OFlags) -> io::Result<File> {
        open_regular(&self.place(path)?, flags)
    }

    /// Brings a file or directory to the disk; `data_only` leaves times and rights for later.
    pub fn sync(&self, path: &str, data_only: bool) -> Result<()> {
        let opened = match self.open_with(path, OFlags::RDONLY) {
            Err(error) if path.is_empty() || error.kind() == io::ErrorKind::IsADirectory => self.open_directory(path),
            opened => opened.map(OwnedFd::from),
        };
        let synced = opened.and_then(|entry| {
            let synced = if data_only { rustix::fs::fdatasync(entry) } else { rustix::fs::fsync(entry) };
            Ok(synced?)
        });
        synced.map_err(|source| self.error("sync", path, source))
    }
}

/// Opens a file and nothing else: opening a FIFO would wait, and opening a device does things.
pub(super) fn open_regular(place: &Place<'_>, flags: OFlags) -> io::Result<File> {
    let found = rustix::fs::statat(&place.parent, place.name, AtFlags::SYMLINK_NOFOLLOW)?;
    check_regular(found.st_mode)?;
    // It may be another one by now, so it does not wait and is looked at again.
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file: OwnedFd = open_confined(&place.parent, place.name, flags)?;
    check_regular(rustix::fs::fstat(&file)?.st_mode)?;
    Ok(file.into())
}

fn check_regular(mode: u32) -> io::Result<()> {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(Errno::ISDIR.into()),
        FileType::Symlink => Err(Errno::LOOP.into()),
        _ => Err(Errno::PERM.into()),
    }
}

pub(super) fn inherits_group(place: &Place<'_>) -> io::Result<bool> {
    let parent = rustix::fs::fstat(&place.parent)?;
    Ok(Mode::from_raw_mode(parent.st_mode).contains(Mode::SGID))
}
