//! Open files. Nothing here is lost with the process: all of it is found again from the node.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::cache::Lease;
use crate::prefetch::{Ahead, Plan};
use crate::tree::Node;
use crate::types::{ByteRange, RemoteFile};

/// A content of the Hub that somebody reads.
pub struct OpenFile {
    pub(super) remote: Arc<RemoteFile>,
    pub(super) lease: Lease,
    ahead: Arc<Mutex<Ahead>>,
}

/// What outlives the open file, for the next one who opens it: who it is, and how it was read.
#[derive(Clone)]
struct Known {
    remote: Arc<RemoteFile>,
    ahead: Arc<Mutex<Ahead>>,
}

impl OpenFile {
    /// What to bring beyond `read`. `at_hand` gives bytes of the file if they are here.
    pub(super) fn plan(&self, read: ByteRange, at_hand: impl Fn(ByteRange, &mut Vec<u8>) -> bool) -> Plan {
        let mut ahead = self.ahead.lock();
        let mut bytes = Vec::new();
        // Each round needs a block more, so this ends.
        while let Some(wanted) = ahead.wants_header()
            && at_hand(wanted, &mut bytes)
        {
            ahead.header(&bytes[..wanted.len() as usize]);
        }
        ahead.on_read(read)
    }
}

pub(super) struct Handles {
    /// What somebody has open. Each holds a lease, so nothing stays here longer.
    files: RwLock<HashMap<Node, Arc<OpenFile>>>,
    known: moka::sync::Cache<Node, Known>,
    scratch: Mutex<HashMap<Node, ScratchFile>>,
}

struct ScratchFile {
    file: Arc<File>,
    opens: u32,
}

impl Handles {
    /// Files that are remembered after they were closed.
    const KNOWN: u64 = 1024;

    pub(super) fn new() -> Self {
        Self { files: RwLock::default(), known: moka::sync::Cache::new(Self::KNOWN), scratch: Mutex::default() }
    }

    /// The file of a node that was open not long ago.
    pub(super) fn known(&self, node: Node) -> Option<Arc<RemoteFile>> {
        self.known.get(&node.cold()).map(|known| known.remote)
    }

    pub(super) fn file(&self, node: Node) -> Option<Arc<OpenFile>> {
        self.files.read().get(&node.cold()).cloned()
    }

    pub(super) fn insert_file(&self, node: Node, remote: Arc<RemoteFile>, lease: Lease) -> Arc<OpenFile> {
        let node = node.cold();
        let Known { remote, ahead } = self.known.get_with(node, || {
            let ahead = Arc::new(Mutex::new(Ahead::for_file(&remote)));
            Known { remote, ahead }
        });
        let file = Arc::new(OpenFile { remote, lease, ahead });
        self.files.write().entry(node).or_insert(file).clone()
    }

    /// Nobody has it open any more, or so it seems: a read that comes all the same makes it ready again.
    pub(super) fn close_file(&self, node: Node) {
        let closed = self.files.write().remove(&node.cold());
        drop(closed);
    }

    /// The open file of a node of the writable layer. It outlives the file's name.
    pub(super) fn scratch(&self, node: Node) -> Option<Arc<File>> {
        self.scratch.lock().get(&node).map(|open| open.file.clone())
    }

    /// Counts an open; the first one brings the file.
    pub(super) fn open_scratch<E>(&self, node: Node, open: impl FnOnce() -> Result<File, E>) -> Result<(), E> {
        let mut scratch = self.scratch.lock();
        if let Some(known) = scratch.get_mut(&node) {
            known.opens += 1;
            return Ok(());
        }
        scratch.insert(node, ScratchFile { file: Arc::new(open()?), opens: 1 });
        Ok(())
    }

    pub(super) fn close_scratch(&self, node: Node) {
        let mut scratch = self.scratch.lock();
        if let Some(open) = scratch.get_mut(&node) {
            open.opens -= 1;
            if open.opens == 0 {
                scratch.remove(&node);
            }
        }
    }
}
