//! Extended attributes: what `getfattr -d` tells of a file's content or of a commit's folder. Read only.

use super::error::FsError;
use super::model_fs::ModelFs;
use crate::tree::Node;
use crate::tree::layout::Place;
use crate::types::{Blob, Commit, RepoId, SnapshotEntry};

/// A name and its value, as text.
pub struct Attribute {
    pub name: &'static str,
    pub value: String,
}

pub const CACHED_BYTES: &str = "user.weightfs.cached_bytes";
pub const STATE: &str = "user.weightfs.state";
pub const BLOB: &str = "user.weightfs.blob";
pub const COMMIT: &str = "user.weightfs.commit";
pub const ORIGIN: &str = "user.weightfs.origin";

/// How much of something is on this disk.
#[derive(Default, Clone, Copy)]
struct Held {
    cached: u64,
    size: u64,
    /// Contents that are not complete and equal to what their origin states.
    unverified: bool,
}

impl Held {
    fn with(self, other: Held) -> Held {
        Held {
            cached: self.cached + other.cached,
            size: self.size + other.size,
            unverified: self.unverified || other.unverified,
        }
    }

    fn state(&self) -> &'static str {
        match *self {
            Held { unverified: false, .. } => "verified",
            Held { cached, size, .. } if cached >= size => "complete",
            Held { cached: 0, .. } => "absent",
            Held { .. } => "partial",
        }
    }
}

impl ModelFs {
    /// All that there are; none for what is not a model's.
    pub fn attributes(&self, node: Node) -> Result<Vec<Attribute>, FsError> {
        if self.is_open_without_name(node) {
            return Ok(Vec::new());
        }
        match self.place(node)?.1 {
            Place::Blob(..) => {
                let file = self.remote_file(node)?;
                let mut attributes = self.describe(self.held(&file.blob)?, &file.repo, file.commit);
                attributes.push(Attribute { name: BLOB, value: file.blob.id.to_string() });
                Ok(attributes)
            }
            Place::Snapshot(repo, commit, folder) | Place::Plain(repo, commit, folder) => {
                self.of_folder(&repo, commit, &folder)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Everything below the folder, each content once.
    fn of_folder(&self, repo: &RepoId, commit: Commit, folder: &str) -> Result<Vec<Attribute>, FsError> {
        let Some(snapshot) = self.tree.known_snapshot(&self.view.identity, repo, commit)? else {
            return Ok(Vec::new());
        };
        // A link of a snapshot has none of its own.
        if !folder.is_empty() && !matches!(snapshot.entry(folder), Some(SnapshotEntry::Folder)) {
            return Ok(Vec::new());
        }
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut blobs: Vec<Blob> =
            snapshot.files().filter(|(path, _)| path.as_str().starts_with(&prefix)).map(|(_, blob)| blob).collect();
        blobs.sort_by_key(|blob| blob.id);
        blobs.dedup();
        let mut held = Held::default();
        for blob in &blobs {
            held = held.with(self.held(blob)?);
        }
        Ok(self.describe(held, repo, commit))
    }

    fn held(&self, blob: &Blob) -> Result<Held, FsError> {
        // Where nobody states a hash, all of it here is the most that can be said.
        let unverified = !blob.id.has_checksum() || self.cache.seal(blob)?.is_none();
        Ok(Held { cached: self.cache.held_bytes(blob).min(blob.size), size: blob.size, unverified })
    }

    fn describe(&self, held: Held, repo: &RepoId, commit: Commit) -> Vec<Attribute> {
        vec![
            Attribute { name: CACHED_BYTES, value: held.cached.to_string() },
            Attribute { name: STATE, value: held.state().to_owned() },
            Attribute { name: COMMIT, value: commit.to_string() },
            Attribute { name: ORIGIN, value: self.tree.whereabouts(&self.view.identity, repo) },
        ]
    }
}
