//! Open files that have lost their last name. The next daemon must find them too, so they stay on disk until the kernel
//! forgets their node.
//!
//! A FORGET that is under way when a daemon dies is lost; what it was about goes at the next fresh mount.

use std::collections::HashSet;
use std::fs::File;
use std::sync::Arc;

use parking_lot::Mutex;

use super::error::FsError;
use super::model_fs::ModelFs;
use super::scratch::{Scratch, ScratchAttr, ScratchKind};
use crate::tree::Node;

pub(super) struct Orphans {
    /// Those whose file is among the layer's orphans.
    nodes: Mutex<HashSet<Node>>,
}

impl Orphans {
    /// `fresh`: nobody can have any of them open.
    pub(super) fn find(scratch: &Scratch, fresh: bool) -> Self {
        let found = scratch.orphans().and_then(|numbers| {
            if fresh {
                numbers.iter().try_for_each(|number| scratch.remove_orphan(*number))?;
                return Ok(HashSet::new());
            }
            Ok(numbers.into_iter().map(Node).collect())
        });
        let nodes = found.unwrap_or_else(|error| {
            tracing::warn!(%error, "files that were open without a name cannot be found or removed");
            HashSet::new()
        });
        Self { nodes: Mutex::new(nodes) }
    }

    fn has(&self, node: Node) -> bool {
        self.nodes.lock().contains(&node)
    }
}

impl ModelFs {
    /// Before the entry at `path` goes: if somebody may have it open, it will be found without its name.
    pub(super) fn adopt_orphan(&self, path: &str, stored: &ScratchAttr) -> Result<Option<Node>, FsError> {
        if stored.kind != ScratchKind::File {
            return Ok(None);
        }
        let Some(node) = self.nodes.find(path)? else { return Ok(None) };
        // After a takeover nobody knows what was opened before it.
        if self.nodes.is_fresh() && self.handles.scratch(node).is_none() {
            return Ok(None);
        }
        match self.scratch.keep_orphan(path, node.0) {
            Ok(()) => {
                self.orphans.nodes.lock().insert(node);
                Ok(Some(node))
            }
            // Its name goes all the same. Then only this daemon finds it.
            Err(error) => {
                tracing::debug!(%error, "an open file will not outlive this daemon without its name");
                Ok(None)
            }
        }
    }

    /// Nobody has it open, or it keeps its name.
    pub(super) fn drop_orphan(&self, node: Node) {
        if self.orphans.nodes.lock().remove(&node)
            && let Err(error) = self.scratch.remove_orphan(node.0)
        {
            tracing::warn!(%error, "a removed file takes up room until the next fresh mount");
        }
    }

    /// The kernel has forgotten a node: nobody has it open.
    pub fn forget(&self, node: Node) {
        self.drop_orphan(node);
    }

    /// The file that is open as `node`, if that can be told without its name.
    pub(super) fn open_without_name(&self, node: Node) -> Result<Option<Arc<File>>, FsError> {
        if let Some(open) = self.handles.scratch(node) {
            return Ok(Some(open));
        }
        if !self.orphans.has(node) {
            return Ok(None);
        }
        Ok(Some(Arc::new(self.scratch.open_orphan(node.0)?)))
    }

    /// What programs see of an open file: the place among the orphans is no name.
    pub(super) fn without_orphanage(&self, node: Node, mut stored: ScratchAttr) -> ScratchAttr {
        if self.orphans.has(node) {
            stored.nlink = stored.nlink.saturating_sub(1);
        }
        stored
    }
}
