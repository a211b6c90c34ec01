//! Credentials that clients keep at the root of an HF_HOME: readable by their owner only, whatever was asked.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{AtFlags, FileType};

use super::{Owner, Place, Result, Scratch, rights, set_mode};
use crate::fs::delivery::between_steps;

const FILES: [&str; 2] = ["token", "stored_tokens"];
const PRIVATE: u32 = 0o600;

pub(super) fn is_token(path: &str) -> bool {
    FILES.contains(&path)
}

/// The mode that a file at `path` gets when `asked` is asked for.
pub(super) fn mode(path: &str, asked: u32) -> u32 {
    if is_token(path) { PRIVATE } else { asked }
}

impl Scratch {
    /// The token file, with its text, or as it was before: a daemon that is killed leaves no half of a login.
    ///
    /// It is written among the orphans, whose leavings go at the next fresh mount.
    pub fn create_token(&self, path: &str, text: &[u8], owner: Owner) -> Result<File> {
        self.create_whole(path, text, owner).map_err(|source| self.error("create", path, source))
    }

    fn create_whole(&self, path: &str, text: &[u8], owner: Owner) -> io::Result<File> {
        let name = rand::random::<u64>().to_string();
        let draft = Place { parent: self.orphans.try_clone()?, name: &name };
        let written = self.create_new(&draft, PRIVATE, owner).and_then(|file| {
            file.write_all_at(text, 0)?;
            between_steps();
            let place = self.place(path)?;
            rustix::fs::renameat(&draft.parent, draft.name, &place.parent, place.name)?;
            Ok(file)
        });
        written.inspect_err(|_| {
            // The first error is the one to tell.
            let _ = rustix::fs::unlinkat(&draft.parent, draft.name, AtFlags::empty());
        })
    }

    /// Before `path` gets the name of a token file, or when it has it already.
    pub(super) fn make_private(&self, path: &str) -> io::Result<()> {
        let handle = self.handle(path)?;
        let stat = rustix::fs::fstat(&handle)?;
        let open = stat.st_mode & 0o7777 != PRIVATE;
        if open && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            set_mode(&handle, rights(PRIVATE))?;
        }
        Ok(())
    }

    /// What was put there while no daemon ran.
    pub(super) fn tighten_tokens(&self) {
        for path in FILES {
            match self.make_private(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!("{} cannot be made private: {error}", self.path.join(path).display());
                }
                _ => {}
            }
        }
    }
}
