//! The entries that were used last: they stay a while after their last reader, with their open file and checked blocks.
//!
//! Being here is no use: an entry that nobody leases may be evicted, and then leaves at once, so that its space is free.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::lease::Entry;
use crate::types::Blob;

pub(super) struct Recent {
    capacity: usize,
    entries: Mutex<Ordered>,
}

#[derive(Default)]
struct Ordered {
    entries: HashMap<Blob, (Arc<Entry>, u64)>,
    ticks: u64,
}

impl Recent {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, entries: Mutex::default() }
    }

    pub(super) fn get(&self, blob: &Blob) -> Option<Arc<Entry>> {
        let mut recent = self.entries.lock();
        recent.ticks += 1;
        let tick = recent.ticks;
        let (entry, used) = recent.entries.get_mut(blob)?;
        *used = tick;
        Some(entry.clone())
    }

    pub(super) fn insert(&self, entry: Arc<Entry>) {
        let mut recent = self.entries.lock();
        recent.ticks += 1;
        let tick = recent.ticks;
        recent.entries.insert(entry.blob, (entry, tick));
        if recent.entries.len() > self.capacity {
            let oldest = recent.entries.iter().min_by_key(|(_, (_, used))| *used).map(|(blob, _)| *blob);
            let gone = oldest.and_then(|blob| recent.entries.remove(&blob));
            drop(recent);
            // Closing its file is not for others to wait for.
            drop(gone);
        }
    }

    pub(super) fn remove(&self, blob: &Blob) {
        let gone = self.entries.lock().entries.remove(blob);
        drop(gone);
    }
}
