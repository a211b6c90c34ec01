//! A blob in use: its map, its file, its flights. How it is read is in `reading`, how it comes to be proved in `sealing`.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::CacheError;
use super::block_map::BlockMap;
use super::evict::Doomed;
use super::files::{BlobFile, BlobStore};
use super::flights::Flights;
use super::holds::Holds;
use super::sealing::Sealing;
use super::unkept::UnkeptRuns;
use crate::db::Database;
use crate::types::{Blob, BlockIndex, ByteRange};

/// A hold on a blob: while it lives the blob's file stays open and is not evicted.
pub struct Lease(pub(super) Arc<Entry>, #[expect(dead_code, reason = "it counts")] Hold);

/// Counts as a use of the entry.
struct Hold(Arc<Entry>);

impl Drop for Hold {
    fn drop(&mut self) {
        if self.0.holds.release() {
            self.0.space_changes.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        self.0.holds.again();
        Self(self.0.clone(), Hold(self.0.clone()))
    }
}

impl Lease {
    /// `None` if the entry is being evicted.
    pub(super) fn of(entry: &Arc<Entry>) -> Option<Self> {
        entry.holds.take().then(|| Self(entry.clone(), Hold(entry.clone())))
    }

    pub fn blob(&self) -> Blob {
        self.0.blob
    }

    /// Whether every block is here.
    pub fn is_complete(&self) -> bool {
        self.0.is_complete()
    }

    pub fn pages(&self) -> Pages {
        Pages(Arc::downgrade(&self.0))
    }

    /// Whether bytes may have been served that turned out not to be the content.
    pub fn was_mismatched(&self) -> bool {
        self.0.was_wrong()
    }
}

/// What of a blob is in memory, without a hold on the blob.
pub struct Pages(Weak<Entry>);

impl Pages {
    /// These bytes need not stay in memory: the next read of them is from the disk.
    pub fn drop_range(&self, range: ByteRange) {
        let Some(entry) = self.0.upgrade() else { return };
        let len = NonZeroU64::new(range.len());
        if let Err(error) = rustix::fs::fadvise(entry.file.descriptor(), range.start, len, rustix::fs::Advice::DontNeed)
        {
            tracing::debug!(%error, blob = %entry.blob.id, "what was read stays in memory");
        }
    }
}

/// The one entry of a blob that somebody holds.
pub(super) struct Entry {
    pub(super) blob: Blob,
    pub(super) map: BlockMap,
    pub(super) file: BlobFile,
    pub(super) flights: Flights,
    /// What came and found no room.
    pub(super) unkept: UnkeptRuns,
    /// There was no room for the last thing that was to be kept; some of it may be in memory.
    pub(super) is_tight: AtomicBool,
    holds: Holds,
    space_changes: Arc<AtomicU64>,
    /// Its file, once that is on its way out.
    pub(super) doomed: Mutex<Option<Doomed>>,
    pub(super) checking: [Mutex<()>; 16],
    pub(super) sealing: Mutex<Sealing>,
    /// Held by the one that fills the blob.
    pub(super) filling: tokio::sync::Mutex<()>,
    /// Whole contents in a row that were not what they are called; the record has it too.
    mismatches: AtomicU32,
    /// Wrong bytes were here since this process started, or before it: a kernel that outlived the last one may keep them.
    was_wrong: AtomicBool,
    /// Ticks when a proof ended, however.
    pub(super) proofs: Notify,
}

impl Entry {
    /// Whole contents that may differ from their hash before it is given up.
    const MISMATCHES: u32 = 2;

    pub(super) fn load(
        blob: Blob,
        store: &BlobStore,
        db: &Database,
        space_changes: Arc<AtomicU64>,
    ) -> Result<Self, CacheError> {
        let file = store.file(&blob)?;
        let recorded = if file.is_nowhere() { Vec::new() } else { db.coverage(&blob)? };
        let map = BlockMap::new(blob.size, recorded);
        let row = db.blob(&blob)?;
        let seal = row.and_then(|row| row.seal).filter(|_| map.has_all(map.all()));
        let mismatches = row.map_or(0, |row| row.mismatches);
        Ok(Self::new(blob, map, file, Sealing::of(seal), mismatches, space_changes))
    }

    /// What takes up space already is not paid for twice: by a ledger that counts it, see [`BlobStore::taken`].
    pub(super) fn find_written(&self) {
        let written = self.file.written_blocks(self.blob.size, self.map.present_bytes());
        written.unwrap_or_default().into_iter().for_each(|blocks| self.map.found_written(blocks));
    }

    /// Of a blob whose former entry is on its way out, with its file and its record.
    pub(super) fn empty(blob: Blob, store: &BlobStore, space_changes: Arc<AtomicU64>) -> Result<Self, CacheError> {
        let map = BlockMap::new(blob.size, Vec::new());
        Ok(Self::new(blob, map, store.file(&blob)?, Sealing::of(None), 0, space_changes))
    }

    fn new(
        blob: Blob,
        map: BlockMap,
        file: BlobFile,
        sealing: Sealing,
        mismatches: u32,
        space_changes: Arc<AtomicU64>,
    ) -> Self {
        Self {
            blob,
            map,
            file,
            flights: Flights::default(),
            unkept: UnkeptRuns::default(),
            is_tight: AtomicBool::new(false),
            holds: Holds::default(),
            space_changes,
            doomed: Mutex::default(),
            checking: Default::default(),
            sealing: Mutex::new(sealing),
            filling: tokio::sync::Mutex::default(),
            mismatches: AtomicU32::new(mismatches),
            was_wrong: AtomicBool::new(mismatches > 0),
            proofs: Notify::new(),
        }
    }

    /// Takes the entry out of use if nobody leases it. From then on nobody can, and nothing of it is here. Under the lock of
    /// the entries, where those wait who were refused a lease meanwhile.
    pub(super) fn retire(&self) -> bool {
        let retired = self.holds.retire(|| !self.file.is_open_elsewhere());
        if retired {
            self.lost(self.map.all());
        }
        retired
    }

    pub(super) fn is_leased(&self) -> bool {
        self.holds.is_held()
    }

    /// Whether a reader can be answered about this block.
    pub(super) fn is_here(&self, block: BlockIndex) -> bool {
        self.map.has(block) || self.unkept.has(block)
    }

    /// Whether a reader can be answered about these bytes.
    pub(super) fn can_answer(&self, range: ByteRange) -> bool {
        range.blocks().iter().all(|block| self.is_here(block) || self.unkept.find(self.part(block, range)).is_some())
    }

    /// What of `range` lies in `block`.
    pub(super) fn part(&self, block: BlockIndex, range: ByteRange) -> ByteRange {
        let whole = block.bytes(self.blob.size);
        ByteRange::new(whole.start.max(range.start), whole.end.min(range.end))
    }

    pub(super) fn is_complete(&self) -> bool {
        self.map.has_all(self.map.all())
    }

    /// The whole content arrived and is not what its name says.
    pub(super) fn mismatched(&self) {
        self.was_wrong.store(true, Ordering::Release);
        self.mismatches.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn was_wrong(&self) -> bool {
        self.was_wrong.load(Ordering::Acquire)
    }

    /// What was found wrong is not held against it any more. Answers whether anything was.
    pub(super) fn forgive(&self) -> bool {
        self.mismatches.swap(0, Ordering::AcqRel) > 0
    }

    pub(super) fn refuse_quarantined(&self) -> Result<(), CacheError> {
        if self.mismatches.load(Ordering::Acquire) >= Self::MISMATCHES {
            return Err(CacheError::Quarantined(self.blob.id));
        }
        Ok(())
    }
}
