//! Folders that programs have open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fuser::{FileHandle, INodeNo};

use crate::fs::list::Listed;

/// Listings of open folders, so that a long one is the same from end to end. A lost one is made again: a folder that
/// is closed by nobody, or left open for long, does not stay in memory.
pub(super) struct Folders {
    last: AtomicU64,
    /// By node as well: a handle that an earlier daemon gave out must not find the listing of another folder. One of the
    /// same folder may be another's, which does no harm: places in it are the entries' own.
    open: moka::sync::Cache<(INodeNo, FileHandle), Arc<Vec<Listed>>>,
}

impl Folders {
    const OPEN: u64 = 1024;
    const IDLE: Duration = Duration::from_secs(600);

    pub(super) fn new() -> Self {
        let open = moka::sync::Cache::builder().max_capacity(Self::OPEN).time_to_idle(Self::IDLE).build();
        // Another daemon's handles must not be taken for ours: each counts from somewhere else.
        Self { last: AtomicU64::new(rand::random::<u32>().into()), open }
    }

    pub(super) fn new_handle(&self) -> FileHandle {
        FileHandle(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The listing is found again under its handle.
    pub(super) fn keep(&self, inode: INodeNo, handle: FileHandle, listed: Vec<Listed>) -> Arc<Vec<Listed>> {
        let listed = Arc::new(listed);
        self.open.insert((inode, handle), listed.clone());
        listed
    }

    pub(super) fn get(&self, inode: INodeNo, handle: FileHandle) -> Option<Arc<Vec<Listed>>> {
        self.open.get(&(inode, handle))
    }

    pub(super) fn close(&self, inode: INodeNo, handle: FileHandle) {
        self.open.invalidate(&(inode, handle));
    }
}
