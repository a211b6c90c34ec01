//! Names in the layer's directories: made, linked, moved and taken away.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{HANDLE, Owner, Place, Result, Scratch, file, open_confined, rights, set_mode, token};

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
    /// A new directory. `mode` is final; below a setgid directory it is setgid too.
    pub fn mkdir(&self, path: &str, mode: u32, owner: Owner) -> Result<()> {
        let made = self.place(path).and_then(|place| {
            rustix::fs::mkdirat(&place.parent, place.name, Mode::RWXU)?;
            self.keep_if(self.finish_directory(&place, mode, owner), &place, AtFlags::REMOVEDIR)
        });
        made.map_err(|source| self.error("make", path, source))
    }

    fn finish_directory(&self, place: &Place<'_>, mode: u32, owner: Owner) -> io::Result<()> {
        let directory = open_confined(&place.parent, place.name, HANDLE | OFlags::DIRECTORY)?;
        self.hand_over(place, &directory, owner)?;
        let mut mode = rights(mode);
        mode.set(Mode::SGID, mode.contains(Mode::SGID) || file::inherits_group(place)?);
        set_mode(&directory, mode)
    }

    /// A new link; the target is text and never looked at.
    pub fn symlink(&self, path: &str, target: &str, owner: Owner) -> Result<()> {
        let made = self.place(path).and_then(|place| {
            rustix::fs::symlinkat(target, &place.parent, place.name)?;
            let link = open_confined(&place.parent, place.name, HANDLE);
            self.keep_if(link.and_then(|link| self.hand_over(&place, link, owner)), &place, AtFlags::empty())
        });
        made.map_err(|source| self.error("link", path, source))
    }

    /// The text of a link.
    pub fn readlink(&self, path: &str) -> Result<OsString> {
        let read = self.handle(path).and_then(|link| Ok(rustix::fs::readlinkat(link, "", Vec::new())?));
        read.map(|text| OsString::from_vec(text.into_bytes())).map_err(|source| self.error("read", path, source))
    }

    /// A second name for a file or link. Token files have one name only, so that no other one can loosen their mode.
    pub fn link(&self, from: &str, to: &str) -> Result<()> {
        let linked = self.place(from).and_then(|old| {
            let new = self.place(to)?;
            if token::is_token(from) || token::is_token(to) {
                return Err(Errno::PERM.into());
            }
            Ok(rustix::fs::linkat(&old.parent, old.name, &new.parent, new.name, AtFlags::empty())?)
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
