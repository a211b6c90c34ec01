//! Credentials that clients keep at the root of an HF_HOME: readable by their owner only, whatever was asked.

use std::io;

use rustix::fs::FileType;

use super::{Scratch, rights, set_mode};

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
