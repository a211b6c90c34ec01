//! Blocks that arrived and found no room: in memory for a moment, for the readers who asked for them.
//!
//! A reader holds what it waited for until it is answered; beyond that the blocks that came last stay within a fixed share
//! of the memory for fetches, as a small window for readers in a row. Nothing of it is ever written.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::types::{Blob, BlockIndex, BlockRange, ByteRange};

/// Blocks in a row of one content, or the beginning of one that is on its way, in one piece of memory.
pub(super) struct UnkeptRun {
    blob: Blob,
    /// Those that are whole.
    blocks: BlockRange,
    range: ByteRange,
    bytes: Bytes,
}

impl UnkeptRun {
    pub(super) fn new(blob: Blob, blocks: BlockRange, bytes: Bytes) -> Arc<Self> {
        Arc::new(Self { blob, blocks, range: blocks.bytes(blob.size), bytes })
    }

    /// The beginning of a block that is not all here yet: it never counts as the block.
    pub(super) fn beginning(blob: Blob, block: BlockIndex, bytes: Bytes) -> Arc<Self> {
        let range = ByteRange::at(block.bytes(blob.size).start, bytes.len() as u64);
        Arc::new(Self { blob, blocks: BlockRange { first: block, end: block }, range, bytes })
    }

    /// The bytes of `range`, which lies in this run.
    pub(super) fn bytes(&self, range: ByteRange) -> &[u8] {
        &self.bytes[(range.start - self.range.start) as usize..(range.end - self.range.start) as usize]
    }

    pub(super) fn end(&self) -> u64 {
        self.range.end
    }

    fn covers(&self, range: ByteRange) -> bool {
        self.range.start <= range.start && range.end <= self.range.end
    }

    pub(super) fn has(&self, block: BlockIndex) -> bool {
        self.blocks.contains(block)
    }
}

/// The runs of one content that somebody still holds.
#[derive(Default)]
pub(super) struct UnkeptRuns(Mutex<Vec<Weak<UnkeptRun>>>);

impl UnkeptRuns {
    pub(super) fn add(&self, run: &Arc<UnkeptRun>) {
        let mut runs = self.0.lock();
        runs.retain(|run| run.strong_count() > 0);
        runs.push(Arc::downgrade(run));
    }

    /// The latest one with all these bytes: an earlier one may have been wrong.
    pub(super) fn find(&self, range: ByteRange) -> Option<Arc<UnkeptRun>> {
        self.0.lock().iter().rev().filter_map(Weak::upgrade).find(|run| run.covers(range))
    }

    pub(super) fn has(&self, block: BlockIndex) -> bool {
        self.0.lock().iter().filter_map(Weak::upgrade).any(|run| run.has(block))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Everything of `range` that is here.
    pub(super) fn hold(&self, range: ByteRange) -> Vec<Arc<UnkeptRun>> {
        let runs = self.0.lock();
        let wanted = |run: &Arc<UnkeptRun>| run.range.start < range.end && range.start < run.range.end;
        runs.iter().filter_map(Weak::upgrade).filter(wanted).collect()
    }
}

/// What came last, of all contents together.
pub(super) struct Unkept {
    capacity: u64,
    recent: Mutex<Recent>,
}

#[derive(Default)]
struct Recent {
    runs: VecDeque<Arc<UnkeptRun>>,
    bytes: u64,
}

impl Unkept {
    pub(super) fn new(capacity: u64) -> Self {
        Self { capacity, recent: Mutex::default() }
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// What came longest ago goes for it. The last one always stays, however large it is.
    pub(super) fn put(&self, run: Arc<UnkeptRun>) {
        let mut recent = self.recent.lock();
        recent.bytes += run.bytes.len() as u64;
        recent.runs.push_back(run);
        while recent.bytes > self.capacity && recent.runs.len() > 1 {
            let gone = recent.runs.pop_front().map_or(0, |run| run.bytes.len() as u64);
            recent.bytes -= gone;
        }
    }

    /// There may be room for it now: who wants it fetches it again, to be kept.
    pub(super) fn forget(&self, blob: &Blob) {
        let mut recent = self.recent.lock();
        recent.runs.retain(|run| run.blob != *blob);
        recent.bytes = recent.runs.iter().map(|run| run.bytes.len() as u64).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BLOCK_SIZE, BlobId};

    const BLOB: Blob = Blob { id: BlobId::Sha256([1; 32]), size: 100 * BLOCK_SIZE };

    fn run(first: u32, end: u32) -> Arc<UnkeptRun> {
        let blocks = BlockRange::new(first..end);
        let bytes = vec![first as u8; blocks.len() * BLOCK_SIZE as usize];
        UnkeptRun::new(BLOB, blocks, bytes.into())
    }

    #[test]
    fn what_a_reader_holds_stays_and_the_rest_is_bounded() {
        let (unkept, runs) = (Unkept::new(2 * BLOCK_SIZE), UnkeptRuns::default());
        let put = |first, end| {
            let run = run(first, end);
            runs.add(&run);
            unkept.put(run);
        };
        put(0, 1);
        let held = runs.hold(ByteRange::new(0, BLOCK_SIZE));
        put(1, 2);
        put(2, 3);
        put(3, 4);
        let here = |from: u32, to: u32| (from..to).map(|block| runs.has(BlockIndex(block))).collect::<Vec<_>>();
        assert_eq!(here(0, 5), [true, false, true, true, false]);
        drop(held);
        assert!(!runs.has(BlockIndex(0)));
        put(10, 15);
        assert_eq!(here(2, 4), [false, false]);
        assert_eq!(here(10, 15), [true; 5], "the last one stays whatever its size");
        unkept.forget(&BLOB);
        assert_eq!(here(10, 15), [false; 5]);
    }

    #[test]
    fn a_part_of_a_run_is_found_by_its_place_in_the_file() {
        let bytes: Vec<u8> = (0..2 * BLOCK_SIZE).map(|at| (at / 1000) as u8).collect();
        let run = UnkeptRun::new(BLOB, BlockRange::new(3..5), bytes.clone().into());
        let at = 3 * BLOCK_SIZE + 999;
        assert_eq!(run.bytes(ByteRange::at(at, 2000)), &bytes[999..2999]);
    }

    #[test]
    fn the_beginning_of_a_block_is_not_the_block() {
        let (runs, at) = (UnkeptRuns::default(), 3 * BLOCK_SIZE);
        let beginning = UnkeptRun::beginning(BLOB, BlockIndex(3), vec![7; 1000].into());
        runs.add(&beginning);
        assert!(!runs.has(BlockIndex(3)));
        assert_eq!(runs.find(ByteRange::at(at + 10, 990)).unwrap().bytes(ByteRange::at(at + 10, 990)), [7; 990]);
        assert!(runs.find(ByteRange::at(at + 10, 991)).is_none());
    }
}
