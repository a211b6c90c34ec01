//! Names in the layer's directories: made, linked, moved and taken away.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{HANDLE, Owner, Place, Result, Scratch, file, open_confined, rights, set_mode, token};
use crate::fs::delivery::{Attempt, between_steps};

/// What a rename does with a target that is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RenameMode {
    /// As rename(2): it goes.
    #[default]
    Replace,
    /// It stays and the rename fails.
    NoReplace,
    /// The two change places.
    Exchange,
}

impl Scratch {
    /// A new directory. `mode` is final; below a setgid directory it is setgid too. One that an earlier attempt has made
    /// is finished.
    pub fn mkdir(&self, path: &str, mode: u32, owner: Owner, attempt: Attempt) -> Result<()> {
        let made = self.place(path).and_then(|place| {
            match rustix::fs::mkdirat(&place.parent, place.name, Mode::RWXU) {
                Err(Errno::EXIST) if attempt == Attempt::Again && self.is_new_directory(&place, owner)? => {}
                made => made?,
            }
            between_steps();
            self.keep_if(self.finish_directory(&place, mode, owner), &place, AtFlags::REMOVEDIR)
        });
        made.map_err(|source| self.error("make", path, source))
    }

    /// Nobody can have entered it: the kernel has not told of it yet.
    fn is_new_directory(&self, place: &Place<'_>, owner: Owner) -> io::Result<bool> {
        let stat = rustix::fs::statat(&place.parent, place.name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory || !self.may_be_new(&stat, owner) {
            return Ok(false);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = match open_confined(&place.parent, place.name, flags) {
            // A mode that was asked for and keeps even the daemon out.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(true),
            opened => opened?,
        };
        for entry in Dir::new(opened)? {
            if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn finish_directory(&self, place: &Place<'_>, mode: u32, owner: Owner) -> io::Result<()> {
        let directory = open_confined(&place.parent, place.name, HANDLE | OFlags::DIRECTORY)?;
        self.hand_over(place, &directory, owner)?;
        let mut mode = rights(mode);
        mode.set(Mode::SGID, mode.contains(Mode::SGID) || file::inherits_group(place)?);
        set_mode(&directory, mode)
    }

    /// A new link; the target is text and never looked at.
    pub fn symlink(&self, path: &str, target: &str, owner: Owner, attempt: Attempt) -> Result<()> {
        let made = self.place(path).and_then(|place| {
            match rustix::fs::symlinkat(target, &place.parent, place.name) {
                Err(Errno::EXIST) if attempt == Attempt::Again && self.is_new_link(&place, target, owner)? => {}
                made => made?,
            }
            between_steps();
            let link = open_confined(&place.parent, place.name, HANDLE);
            self.keep_if(link.and_then(|link| self.hand_over(&place, link, owner)), &place, AtFlags::empty())
        });
        made.map_err(|source| self.error("link", path, source))
    }

    fn is_new_link(&self, place: &Place<'_>, target: &str, owner: Owner) -> io::Result<bool> {
        let link = open_confined(&place.parent, place.name, HANDLE)?;
        let stat = rustix::fs::fstat(&link)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink || !self.may_be_new(&stat, owner) {
            return Ok(false);
        }
        Ok(rustix::fs::readlinkat(link, "", Vec::new())?.as_bytes() == target.as_bytes())
    }

    /// The text of a link.
    pub fn readlink(&self, path: &str) -> Result<OsString> {
        let read = self.handle(path).and_then(|link| Ok(rustix::fs::readlinkat(link, "", Vec::new())?));
        read.map(|text| OsString::from_vec(text.into_bytes())).map_err(|source| self.error("read", path, source))
    }

    /// A second name for a file or link. Token files have one name only, so that no other one can loosen their mode.
    pub fn link(&self, from: &str, to: &str, attempt: Attempt) -> Result<()> {
        let linked = self.place(from).and_then(|old| {
            let new = self.place(to)?;
            if token::is_token(from) || token::is_token(to) {
                return Err(Errno::PERM.into());
            }
            match rustix::fs::linkat(&old.parent, old.name, &new.parent, new.name, AtFlags::empty()) {
                Err(Errno::EXIST) if attempt == Attempt::Again && is_same(&old, &new)? => Ok(()),
                linked => Ok(linked?),
            }
        });
        linked.map_err(|source| self.error("link", to, source))
    }

    pub fn unlink(&self, path: &str) -> Result<()> {
        self.remove(path, AtFlags::empty()).map_err(|source| self.error("remove", path, source))
    }

    pub fn rmdir(&self, path: &str) -> Result<()> {
        self.remove(path, AtFlags::REMOVEDIR).map_err(|source| self.error("remove", path, source))
    }

    fn remove(&self, path: &str, flags: AtFlags) -> io::Result<()> {
        let place = self.place(path)?;
        Ok(rustix::fs::unlinkat(&place.parent, place.name, flags)?)
    }

    /// Moves an entry to another name.
    pub fn rename(&self, from: &str, to: &str, mode: RenameMode) -> Result<()> {
        self.move_entry(from, to, mode).map_err(|source| self.error("rename", from, source))
    }

    fn move_entry(&self, from: &str, to: &str, mode: RenameMode) -> io::Result<()> {
        let (old, new) = (self.place(from)?, self.place(to)?);
        // Before the name changes, so that there is no moment at which a token is open to others.
        if token::is_token(to) {
            self.make_private(from)?;
        }
        if mode == RenameMode::Exchange && token::is_token(from) {
            self.make_private(to)?;
        }
        let flags = match mode {
            RenameMode::Replace => RenameFlags::empty(),
            RenameMode::NoReplace => RenameFlags::NOREPLACE,
            RenameMode::Exchange => RenameFlags::EXCHANGE,
        };
        Ok(rustix::fs::renameat_with(&old.parent, old.name, &new.parent, new.name, flags)?)
    }
}

/// Whether two names are of one file.
fn is_same(one: &Place<'_>, other: &Place<'_>) -> io::Result<bool> {
    let stat = |place: &Place<'_>| rustix::fs::statat(&place.parent, place.name, AtFlags::SYMLINK_NOFOLLOW);
    let (one, other) = (stat(one)?, stat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}
