//! Which blocks of one blob are present, and what they must hash to.

use super::sync::{AtomicU64, Mutex, Ordering};
use crate::db::{CHUNK_BLOCKS, StoredChunk};
use crate::types::{BLOCK_SIZE, BlockIndex, BlockRange};

/// The hot copy of the record. A set bit is never set before the bytes are in the file.
pub struct BlockMap {
    size: u64,
    words: Vec<Word>,
    sums: Mutex<Vec<u128>>,
}

/// 64 blocks.
#[derive(Default)]
struct Word {
    present: AtomicU64,
    /// Present, and found to match its checksum since this process started.
    checked: AtomicU64,
    /// In the file, whatever it is worth: a forgotten block takes up its space until it comes anew.
    written: AtomicU64,
}

impl BlockMap {
    pub fn new(size: u64, recorded: Vec<StoredChunk>) -> Self {
        let blocks = BlockRange::whole(size).len();
        let map = Self {
            size,
            words: (0..blocks.div_ceil(CHUNK_BLOCKS as usize)).map(|_| Word::default()).collect(),
            sums: Mutex::new(vec![0; blocks]),
        };
        for chunk in recorded {
            map.load(&chunk);
        }
        map
    }

    fn load(&self, chunk: &StoredChunk) {
        let mut sums = self.sums.lock();
        for bit in (0..CHUNK_BLOCKS).filter(|bit| chunk.present >> bit & 1 == 1) {
            // A bit past the end is damage in the database: there is no such block.
            let Some(block) = chunk.chunk.checked_mul(CHUNK_BLOCKS).and_then(|first| first.checked_add(bit)) else {
                continue;
            };
            let Some(sum) = sums.get_mut(block as usize) else { continue };
            *sum = chunk.sums[bit as usize];
            let word = &self.words[chunk.chunk as usize];
            word.present.fetch_or(1 << bit, Ordering::Release);
            word.written.fetch_or(1 << bit, Ordering::Release);
        }
    }

    fn at(&self, block: BlockIndex) -> (&Word, u64) {
        (&self.words[(block.0 / CHUNK_BLOCKS) as usize], 1 << (block.0 % CHUNK_BLOCKS))
    }

    /// Every block of the blob.
    pub(super) fn all(&self) -> BlockRange {
        BlockRange::whole(self.size)
    }

    pub(super) fn has(&self, block: BlockIndex) -> bool {
        let (word, bit) = self.at(block);
        word.present.load(Ordering::Acquire) & bit != 0
    }

    pub(super) fn present_bytes(&self) -> u64 {
        let blocks = self.words.iter().map(|word| u64::from(word.present.load(Ordering::Acquire).count_ones()));
        let bytes = blocks.sum::<u64>() * BLOCK_SIZE;
        // The last block may be short.
        match self.all().iter().last() {
            Some(last) if self.has(last) => bytes - (BLOCK_SIZE - last.bytes(self.size).len()),
            _ => bytes,
        }
    }

    pub fn has_all(&self, blocks: BlockRange) -> bool {
        blocks.iter().all(|block| self.has(block))
    }

    /// What fetching these blocks will add to the disk.
    pub(super) fn unwritten_bytes(&self, blocks: BlockRange) -> u64 {
        let unwritten = blocks.iter().filter(|block| !self.is_written(*block));
        unwritten.map(|block| block.bytes(self.size).len()).sum()
    }

    pub(super) fn is_written(&self, block: BlockIndex) -> bool {
        let (word, bit) = self.at(block);
        word.written.load(Ordering::Acquire) & bit != 0
    }

    pub fn is_checked(&self, block: BlockIndex) -> bool {
        let (word, bit) = self.at(block);
        // Both: a check that ends after its block was forgotten says nothing of what comes next.
        word.checked.load(Ordering::Acquire) & word.present.load(Ordering::Acquire) & bit != 0
    }

    pub(super) fn sum(&self, block: BlockIndex) -> u128 {
        self.sums.lock()[block.0 as usize]
    }

    pub(super) fn set_checked(&self, block: BlockIndex) {
        let (word, bit) = self.at(block);
        word.checked.fetch_or(bit, Ordering::Release);
    }

    /// The blocks are still present, and their next readers prove them again.
    pub(super) fn distrust(&self, blocks: BlockRange) {
        for block in blocks.iter() {
            let (word, bit) = self.at(block);
            word.checked.fetch_and(!bit, Ordering::Release);
        }
    }

    /// The block's bytes are in the file and hash to `sum`.
    pub fn land(&self, block: BlockIndex, sum: u128) {
        self.sums.lock()[block.0 as usize] = sum;
        let (word, bit) = self.at(block);
        word.written.fetch_or(bit, Ordering::Release);
        word.present.fetch_or(bit, Ordering::Release);
        self.set_checked(block);
    }

    /// The file has something there, whatever it is worth.
    pub(super) fn found_written(&self, blocks: BlockRange) {
        for block in blocks.iter() {
            let (word, bit) = self.at(block);
            word.written.fetch_or(bit, Ordering::Release);
        }
    }

    pub(super) fn forget(&self, blocks: BlockRange) {
        for block in blocks.iter() {
            let (word, bit) = self.at(block);
            word.checked.fetch_and(!bit, Ordering::Release);
            word.present.fetch_and(!bit, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_landed_is_present_and_what_was_recorded_must_be_checked_first() {
        let mut recorded = StoredChunk { chunk: 1, present: 1 << 3, sums: vec![0; 64] };
        recorded.sums[3] = 42;
        let map = BlockMap::new(100 * BLOCK_SIZE, vec![recorded]);
        map.land(BlockIndex(5), 7);
        assert!(map.has(BlockIndex(67)) && map.has(BlockIndex(5)) && !map.has(BlockIndex(6)));
        assert!(map.is_checked(BlockIndex(5)) && !map.is_checked(BlockIndex(67)));
        assert_eq!(map.sum(BlockIndex(67)), 42);
        map.forget(BlockRange::new(67..68));
        assert!(!map.has(BlockIndex(67)));
        assert_eq!(
            map.unwritten_bytes(BlockRange::new(66..68)),
            BLOCK_SIZE,
            "what is forgotten still takes up its space"
        );
    }

    #[test]
    fn a_block_that_was_forgotten_while_it_was_checked_is_gone() {
        let map = BlockMap::new(2 * BLOCK_SIZE, Vec::new());
        map.land(BlockIndex(0), 7);
        map.forget(BlockRange::new(0..1));
        map.set_checked(BlockIndex(0));
        assert!(!map.is_checked(BlockIndex(0)));
    }

    #[test]
    fn a_bit_past_the_end_is_no_block() {
        let recorded = StoredChunk { chunk: 0, present: u64::MAX, sums: vec![1; 64] };
        let far = StoredChunk { chunk: u32::MAX, present: u64::MAX, sums: vec![1; 64] };
        let map = BlockMap::new(2 * BLOCK_SIZE, vec![recorded, far]);
        assert!(map.has_all(map.all()));
        assert_eq!(map.all().len(), 2);
        assert_eq!(map.present_bytes(), 2 * BLOCK_SIZE);
    }
}
