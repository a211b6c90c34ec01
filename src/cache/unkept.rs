//! Blocks that arrived and found no room: in memory for a moment, for the readers who asked for them.
//!
//! A reader holds what it waited for until it is answered; beyond that the blocks that came last stay within a fixed share
//! of the memory for fetches, as a small window for readers in a row. Nothing of it is ever written.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::types::{BlockIndex, BlockRange, ByteRange};

/// Blocks in a row of one content, in one piece of memory.
pub(super) struct UnkeptRun {
    blocks: BlockRange,
    start: u64,
    bytes: Bytes,
}

impl UnkeptRun {
    pub(super) fn new(blocks: BlockRange, size: u64, bytes: Bytes) -> Arc<Self> {
        Arc::new(Self { blocks, start: blocks.bytes(size).start, bytes })
    }

    /// The bytes of `range`, which lies in this run.
    pub(super) fn bytes(&self, range: ByteRange) -> &[u8] {
        &self.bytes[(range.start - self.start) as usize..(range.end - self.start) as usize]
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

    /// The latest one with this block: an earlier one may have been wrong.
    pub(super) fn find(&self, block: BlockIndex) -> Option<Arc<UnkeptRun>> {
        self.0.lock().iter().rev().filter_map(Weak::upgrade).find(|run| run.has(block))
    }

    pub(super) fn has(&self, block: BlockIndex) -> bool {
        self.find(block).is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Everything of `blocks` that is here.
    pub(super) fn hold(&self, blocks: BlockRange) -> Vec<Arc<UnkeptRun>> {
        let runs = self.0.lock();
        let wanted = |run: &Arc<UnkeptRun>| run.blocks.first < blocks.end && blocks.first < run.blocks.end;
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::BLOCK_SIZE;

    fn run(first: u32, end: u32) -> Arc<UnkeptRun> {
        let blocks = BlockRange::new(first..end);
        let bytes = vec![first as u8; blocks.len() * BLOCK_SIZE as usize];
        UnkeptRun::new(blocks, 100 * BLOCK_SIZE, bytes.into())
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
        let held = runs.hold(BlockRange::new(0..1));
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
    }

    #[test]
    fn a_part_of_a_run_is_found_by_its_place_in_the_file() {
        let bytes: Vec<u8> = (0..2 * BLOCK_SIZE).map(|at| (at / 1000) as u8).collect();
        let run = UnkeptRun::new(BlockRange::new(3..5), 100 * BLOCK_SIZE, bytes.clone().into());
        let at = 3 * BLOCK_SIZE + 999;
        assert_eq!(run.bytes(ByteRange::at(at, 2000)), &bytes[999..2999]);
    }
}
