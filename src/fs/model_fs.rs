//! One mount: a view over the shared tree and cache.
//!
//! What it can do is divided by job: `lookup` (what is there), `list` (folders), `read` (contents), `write` (the
//! writable layer). It never blocks on the network: whatever may wait is async.

use std::sync::Arc;

use super::behind::Behind;
use super::discard::Discarded;
use super::error::FsError;
use super::handles::Handles;
use super::loads::Loads;
use super::orphans::Orphans;
use super::passthrough::Passthrough;
use super::scratch::Scratch;
use super::view::View;
use crate::cache::{BlockCache, SealChanges};
use crate::metrics::Metrics;
use crate::tree::layout::Place;
use crate::tree::{Node, Nodes, Tree};

pub struct ModelFs {
    pub(super) view: View,
    pub(super) tree: Arc<Tree>,
    pub(super) cache: Arc<BlockCache>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) nodes: Nodes,
    pub(super) scratch: Scratch,
    pub(super) handles: Handles,
    pub(super) orphans: Orphans,
    pub(super) discarded: Discarded,
    pub(super) passthrough: Passthrough,
    pub(super) seal_changes: Arc<SealChanges>,
    pub(super) loads: Arc<Loads>,
    pub(super) behind: Behind,
}

impl ModelFs {
    pub fn new(
        view: View,
        tree: Arc<Tree>,
        cache: Arc<BlockCache>,
        metrics: Arc<Metrics>,
        nodes: Nodes,
        scratch: Scratch,
    ) -> Self {
        let passthrough = Passthrough::new(view.passthrough, cache.checks_every_read());
        let behind = Behind::new(view.drop_behind);
        let seal_changes = cache.seal_changes();
        let loads = Arc::new(Loads::new(view.identity.clone(), tree.clone(), cache.clone()));
        let orphans = Orphans::find(&scratch, nodes.is_fresh());
        let (handles, discarded) = (Handles::new(), Discarded::new());
        Self {
            view,
            tree,
            cache,
            metrics,
            nodes,
            scratch,
            handles,
            orphans,
            discarded,
            loads,
            passthrough,
            seal_changes,
            behind,
        }
    }

    /// The path of a node and what it means.
    pub(super) fn place(&self, node: Node) -> Result<(Arc<str>, Place), FsError> {
        let path = self.nodes.path(node)?.ok_or(FsError::Stale)?;
        let place = Place::of(&path);
        Ok((path, place))
    }
}
