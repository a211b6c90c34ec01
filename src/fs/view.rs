//! What one mount shows, and to whom.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::pod::Pod;
use super::scratch::Owner;
use crate::tree::layout::Place;
use crate::types::{Commit, Identity, RepoId, Revision, Token};

/// Below the cache directory: the writable layers that outlive their mounts.
const LAYERS: &str = "views";
/// Those that end with them.
const POD_LAYERS: &str = "pods";

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
    /// A mount for one pod.
    pub pod: Option<Pod>,
}

impl View {
    /// The writable layer's folder, below the cache directory: readable, and one for each directory.
    pub fn scratch_directory(&self, cache_directory: &Path) -> PathBuf {
        match self.pod {
            Some(_) => pod_layer(cache_directory, &self.directory),
            None => layer(&cache_directory.join(LAYERS), &self.directory),
        }
    }

    /// Whether anything may be found there.
    pub(super) fn shows(&self, place: &Place) -> bool {
        self.pod.as_ref().is_none_or(|pod| pod.shows(place))
    }

    pub(super) fn shows_repo(&self, repo: &RepoId) -> bool {
        self.pod.as_ref().is_none_or(|pod| pod.shows_repo(repo))
    }

    /// The commit that a revision has in this view for good.
    pub(super) fn commit(&self, repo: &RepoId, revision: &Revision) -> Option<Commit> {
        self.pod.as_ref()?.commit(repo, revision)
    }

    /// The token to show as a file, so that a login goes on working once HF_HOME leads here.
    ///
    /// Only on a user's own mount: a shared one would hand it to others' programs.
    pub(super) fn shown_token(&self) -> Option<&Token> {
        if self.shared { None } else { self.identity.token.as_ref() }
    }
}

/// Where the layers are that end with their mounts.
pub(super) fn pod_layers(cache_directory: &Path) -> PathBuf {
    cache_directory.join(POD_LAYERS)
}

pub(super) fn pod_layer(cache_directory: &Path, directory: &Path) -> PathBuf {
    layer(&pod_layers(cache_directory), directory)
}

fn layer(layers: &Path, directory: &Path) -> PathBuf {
    let digest = hex::encode(Sha256::digest(directory.as_os_str().as_encoded_bytes()));
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    layers.join(format!("{name}-{}", &digest[..8]))
}
