//! What a holder keeps, by name. It looks into none of it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::client::Kept;
use crate::fuse;
use crate::mounts::{self, Manner};
use crate::wire::{self, Packet};

#[derive(Debug, Default)]
pub struct Store {
    kept: Vec<Kept>,
    /// The daemon's user, where it is not the holder's own.
    owner: Option<u32>,
}

impl Store {
    /// More than a node has mounts, by far.
    const MOST: usize = 4096;

    pub fn new(kept: Vec<Kept>, owner: Option<u32>) -> Self {
        Self { kept, owner }
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Everything, to whoever serves next.
    pub fn send_all(&self, socket: impl AsFd) -> io::Result<()> {
        for Kept { name, descriptors } in &self.kept {
            wire::send(&socket, "kept", name, &borrow(descriptors))?;
        }
        wire::send(&socket, "done", "", &[])
    }

    /// Answers a question about what is kept; `false` for a word that is none.
    pub fn answer(&mut self, socket: impl AsFd, packet: Packet) -> io::Result<bool> {
        let Packet { word, text, descriptors } = packet;
        match word.as_str() {
            "keep" if self.kept.len() >= Self::MOST => wire::send(socket, "refused", "too much is kept", &[])?,
            "keep" => {
                self.remove(&text);
                self.kept.push(Kept { name: text, descriptors });
                wire::send(socket, "done", "", &[])?;
            }
            "forget" => {
                self.remove(&text);
                wire::send(socket, "done", "", &[])?;
            }
            "fresh" => match self.fresh(&text) {
                Some(Kept { name, descriptors }) => wire::send(socket, "kept", name, &borrow(descriptors))?,
                None => wire::send(socket, "absent", "", &[])?,
            },
            "register" => reply(socket, "id", self.register(&text, &descriptors).map(|id| id.to_string()))?,
            "unregister" => reply(socket, "done", self.unregister(&text).map(|()| String::new()))?,
            "unmount" => reply(socket, "done", self.unmount(&text, false).map(|()| String::new()))?,
            "unmount-lazily" => reply(socket, "done", self.unmount(&text, true).map(|()| String::new()))?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn remove(&mut self, name: &str) {
        self.kept.retain(|kept| kept.name != name);
    }

    /// A connection at a directory that no daemon has served yet: it is kept alone.
    fn fresh(&self, directory: &str) -> Option<&Kept> {
        let is_there = |name| mounts::parse(name).is_some_and(|(_, place)| place == Path::new(directory));
        self.kept.iter().find(|kept| kept.descriptors.len() == 1 && is_there(&kept.name))
    }

    /// The connection is the first of a mount's descriptors.
    fn connection(&self, name: &str) -> io::Result<BorrowedFd<'_>> {
        let kept = self.kept.iter().find(|kept| kept.name == name);
        Ok(kept.and_then(|kept| kept.descriptors.first()).ok_or(io::ErrorKind::NotFound)?.as_fd())
    }

    fn register(&self, name: &str, descriptors: &[OwnedFd]) -> io::Result<u32> {
        let file = descriptors.first().ok_or(io::ErrorKind::InvalidInput)?;
        self.check_owner(file)?;
        fuse::register(self.connection(name)?, file.as_fd())
    }

    /// Through a registered file the kernel lets a mount's users in as far as the daemon says: to write, too, what the
    /// daemon itself may only read. So a daemon without privilege borrows it for its own files alone.
    fn check_owner(&self, file: &OwnedFd) -> io::Result<()> {
        let Some(owner) = self.owner else { return Ok(()) };
        let found = rustix::fs::fstat(file)?;
        let is_regular = rustix::fs::FileType::from_raw_mode(found.st_mode).is_file();
        if is_regular && found.st_uid == owner { Ok(()) } else { Err(rustix::io::Errno::PERM.into()) }
    }

    /// `ID NAME`
    fn unregister(&self, text: &str) -> io::Result<()> {
        let (id, name) = text.split_once(' ').ok_or(io::ErrorKind::InvalidInput)?;
        fuse::unregister(self.connection(name)?, id.parse().map_err(|_| io::ErrorKind::InvalidInput)?)
    }

    /// Only what is kept here: a daemon without privilege borrows none for other mounts.
    fn unmount(&self, name: &str, lazy: bool) -> io::Result<()> {
        self.connection(name)?;
        let manner = if lazy { Manner::Lazy } else { Manner::Polite };
        mounts::unmount(name, manner, self.owner)
    }

    /// Ends every mount. Whoever uses one gets errors from now on.
    pub fn end_all(&mut self) {
        for Kept { name, descriptors } in self.kept.drain(..) {
            if let Err(error) = mounts::unmount(&name, Manner::Force, self.owner) {
                let directory = name.split_once(' ').map_or("", |(_, directory)| directory);
                eprintln!("weightfs holder: cannot unmount {directory}: {error}; `umount -l {directory}` does");
            }
            drop(descriptors);
        }
    }
}

fn borrow(descriptors: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    descriptors.iter().map(AsFd::as_fd).collect()
}

fn reply(socket: impl AsFd, word: &str, outcome: io::Result<String>) -> io::Result<()> {
    match outcome {
        Ok(text) => wire::send(socket, word, &text, &[]),
        Err(error) => match error.raw_os_error() {
            Some(number) => wire::send(socket, "errno", &number.to_string(), &[]),
            None => wire::send(socket, "refused", &error.to_string(), &[]),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_without_privilege_has_the_kernel_read_its_own_files_only() {
        let file: OwnedFd = tempfile::tempfile().unwrap().into();
        let uid = rustix::process::geteuid().as_raw();
        assert!(Store::new(Vec::new(), None).check_owner(&file).is_ok());
        assert!(Store::new(Vec::new(), Some(uid)).check_owner(&file).is_ok());
        let refused = Store::new(Vec::new(), Some(uid + 1)).check_owner(&file);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let folder: OwnedFd = std::fs::File::open("/").unwrap().into();
        assert!(Store::new(Vec::new(), Some(0)).check_owner(&folder).is_err());
    }
}
