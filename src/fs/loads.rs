//! Read-ahead of models that are being loaded: the whole file, then the shards after it.
//!
//! `read` says when a load shows, by a file's own policy; the cache brings what is asked here behind every reader. No
//! state that matters: what is forgotten is found out again by the next reads.

use std::sync::Arc;

use crate::cache::{BlockCache, Fill, Lease};
use crate::prefetch::shards;
use crate::tree::{Tree, TreeError};
use crate::types::{Blob, ByteRange, Identity, RemoteFile, RepoPath, Snapshot};

use super::handles::OpenFile;

/// The loads of one view.
pub(super) struct Loads {
    identity: Identity,
    tree: Arc<Tree>,
    cache: Arc<BlockCache>,
    /// Shards that were brought because the one before them is loaded.
    expected: moka::sync::Cache<Blob, ()>,
}

impl Loads {
    const EXPECTED: u64 = 1024;

    pub(super) fn new(identity: Identity, tree: Arc<Tree>, cache: Arc<BlockCache>) -> Self {
        Self { identity, tree, cache, expected: moka::sync::Cache::new(Self::EXPECTED) }
    }

    /// The reads of `open` show that it is being loaded. Returns at once.
    pub(super) fn start(self: &Arc<Self>, open: &OpenFile) {
        if self.identity.offline {
            return;
        }
        let (loads, file, lease) = (self.clone(), RemoteFile::clone(&open.remote), open.lease.clone());
        // An index may have some MB to go through.
        tokio::task::spawn_blocking(move || loads.fill(file, lease));
    }

    /// A shard that came before it was asked for may never show its reads here. That it is opened in turn says enough.
    pub(super) fn opened(self: &Arc<Self>, open: &OpenFile) {
        if open.lease.is_complete() && self.expected.remove(&open.remote.blob).is_some() {
            self.start(open);
        }
    }

    fn fill(&self, file: RemoteFile, lease: Lease) {
        let next = self.next(&file).unwrap_or_else(|error| {
            tracing::debug!(repo = %file.repo, path = %file.path, %error, "the next shards are not known");
            Vec::new()
        });
        tracing::debug!(repo = %file.repo, path = %file.path, shards = next.len(), "is being loaded");
        let mut fills = vec![Fill { range: ByteRange::new(0, file.blob.size), file, lease }];
        for file in next {
            self.expected.insert(file.blob, ());
            match self.cache.lease(file.blob) {
                Ok(lease) => fills.push(Fill { range: ByteRange::new(0, file.blob.size), file, lease }),
                Err(error) => tracing::debug!(path = %file.path, %error, "no read-ahead"),
            }
        }
        self.cache.fill(&self.identity, fills);
    }

    /// The shards to bring after `file`.
    fn next(&self, file: &RemoteFile) -> Result<Vec<RemoteFile>, TreeError> {
        let Some(snapshot) = self.tree.known_snapshot(&self.identity, &file.repo, file.commit)? else {
            return Ok(Vec::new());
        };
        let remote = |name: &str| RepoPath::new(name).ok().and_then(|path| snapshot.remote_file(&path));
        let next: Vec<_> = match self.indexed(file, &snapshot) {
            Some(names) => names.iter().filter_map(|name| remote(name)).take(shards::AHEAD).collect(),
            None => shards::numbered(file.path.as_str(), |name| remote(name).is_some())
                .take(shards::AHEAD)
                .filter_map(|name| remote(&name))
                .collect(),
        };
        Ok(next)
    }

    /// By an index, if there is one and it is here: whoever loads by it has read it.
    fn indexed(&self, file: &RemoteFile, snapshot: &Snapshot) -> Option<Vec<String>> {
        let path = file.path.as_str();
        let indexes = snapshot.files().filter(|(name, blob)| {
            shards::may_index(name.as_str(), path) && blob.size > 0 && blob.size <= shards::MAX_INDEX
        });
        let mut text = Vec::new();
        indexes.into_iter().find_map(|(name, blob)| {
            let lease = self.cache.lease(blob).ok()?;
            let text = self.cache.try_read(&lease, ByteRange::new(0, blob.size), &mut text)?;
            shards::indexed(path, name.as_str(), text)
        })
    }
}
