//! What one mount shows, and to whom.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::scratch::Owner;
use crate::types::{Identity, Token};

/// A virtual HF_HOME: who it speaks as and where its writable layer lies.
#[derive(Debug, Clone)]
pub struct View {
    /// Where it is mounted; it names the view, so that the same directory finds the same writable layer again.
    pub directory: PathBuf,
    pub identity: Identity,
    /// Whether other users may enter. Then the folders that clients write in are open to all, as /tmp is.
    pub shared: bool,
    /// Whether the kernel is to read complete files past the daemon, where it can.
    pub passthrough: bool,
    /// From which size on a file does not stay in the page cache once it has been read.
    pub drop_behind: Option<u64>,
    /// Who owns the virtual files.
    pub owner: Owner,
}

impl View {
    /// The writable layer's folder, below the cache directory: readable, and one for each directory.
    pub fn scratch_directory(&self, cache_directory: &Path) -> PathBuf {
        let digest = hex::encode(Sha256::digest(self.directory.as_os_str().as_encoded_bytes()));
        let name = self.directory.file_name().unwrap_or_default().to_string_lossy();
        cache_directory.join("views").join(format!("{name}-{}", &digest[..8]))
    }

    /// The token to show as a file, so that a login goes on working once HF_HOME leads here.
    ///
    /// Only on a user's own mount: a shared one would hand it to others' programs.
    pub(super) fn shown_token(&self) -> Option<&Token> {
        if self.shared { None } else { self.identity.token.as_ref() }
    }
}
