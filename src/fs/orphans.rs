//! Open files that have lost their last name. The next daemon must find them too, so they stay on disk until the kernel
//! forgets their node.
//!
//! A FORGET that is under way when a daemon dies is lost, so the next one asks the kernel which it still has.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::attr::Attr;
use super::error::FsError;
use super::model_fs::ModelFs;
use super::scratch::{Scratch, ScratchAttr, ScratchKind};
use crate::tree::Node;

pub(super) struct Orphans {
    /// The nodes whose files are among the layer's orphans, and the disk's numbers of these. Locked while a link of theirs
    /// comes or goes, so that whoever counts links counts them as they are.
    inodes: Mutex<HashMap<Node, u64>>,
}

impl Orphans {
    /// `fresh`: nobody can have any of them open.
    pub(super) fn find(scratch: &Scratch, fresh: bool) -> Self {
        let found = scratch.orphans().and_then(|orphans| {
            if fresh {
                orphans.iter().try_for_each(|orphan| scratch.remove_orphan(orphan.number))?;
                return Ok(HashMap::new());
            }
            Ok(orphans.into_iter().map(|orphan| (Node(orphan.number), orphan.inode)).collect())
        });
        let inodes = found.unwrap_or_else(|error| {
            tracing::warn!(%error, "files that were open without a name cannot be found or removed");
            HashMap::new()
        });
        Self { inodes: Mutex::new(inodes) }
    }

    fn has(&self, node: Node) -> bool {
        self.inodes.lock().contains_key(&node)
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
        let mut inodes = self.orphans.inodes.lock();
        match self.scratch.keep_orphan(path, node.0) {
            Ok(()) => {
                inodes.insert(node, stored.inode);
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
        let mut inodes = self.orphans.inodes.lock();
        if inodes.remove(&node).is_some()
            && let Err(error) = self.scratch.remove_orphan(node.0)
        {
            tracing::warn!(%error, "a removed file takes up room until the next fresh mount");
        }
    }

    /// The kernel has forgotten a node: nobody has it open.
    pub fn forget(&self, node: Node) {
        self.drop_orphan(node);
    }

    /// What the kernel has forgotten while no daemon, or a dying one, listened.
    pub(super) fn forget_orphans(&self, kernel_has: impl Fn(Node) -> io::Result<bool>) {
        let kept: Vec<Node> = self.orphans.inodes.lock().keys().copied().collect();
        for node in kept {
            match kernel_has(node) {
                Ok(true) => {}
                Ok(false) => self.drop_orphan(node),
                Err(error) => {
                    tracing::debug!(%error, "the kernel does not tell which files are open; they are kept");
                    return;
                }
            }
        }
    }

    /// Whether [`Self::open_without_name`] finds a file.
    pub(super) fn is_open_without_name(&self, node: Node) -> bool {
        self.handles.scratch(node).is_some() || self.orphans.has(node)
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

    /// What programs see of an open file.
    pub(super) fn open_attr(&self, node: Node, open: &File) -> Result<Attr, FsError> {
        let inodes = self.orphans.inodes.lock();
        let mut stored = ScratchAttr::of_file(open).map_err(FsError::open_scratch("stat"))?;
        stored.nlink = stored.nlink.saturating_sub(links(&inodes, stored.inode));
        Ok(Attr::of_scratch(node, stored))
    }

    /// What programs see of what lies in the layer: a place among the orphans is no name.
    pub(super) fn stored_attr(&self, node: Node, mut stored: ScratchAttr) -> Attr {
        stored.nlink = stored.nlink.saturating_sub(links(&self.orphans.inodes.lock(), stored.inode));
        Attr::of_scratch(node, stored)
    }
}

/// How many of a file's links on disk are none that a program could see.
fn links(inodes: &HashMap<Node, u64>, inode: u64) -> u32 {
    inodes.values().filter(|orphan| **orphan == inode).count() as u32
}
