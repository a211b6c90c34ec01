//! Byte ranges of a file and the blocks that cover them.

use std::ops::Range;

/// The unit of fetching, recording and checking. Written into the database's schema: it never changes.
pub const BLOCK_SIZE: u64 = 1 << 20;

/// Bytes `start..end` of one content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteRange {
    pub start: u64,
    pub end: u64,
}

impl ByteRange {
    pub fn new(start: u64, end: u64) -> Self {
        Self { start, end: end.max(start) }
    }

    pub fn at(offset: u64, len: u64) -> Self {
        Self { start: offset, end: offset.saturating_add(len) }
    }

    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The part that lies inside a content of `size` bytes.
    pub fn clamp(self, size: u64) -> Self {
        Self { start: self.start.min(size), end: self.end.min(size) }
    }

    /// The blocks that hold these bytes.
    pub fn blocks(&self) -> BlockRange {
        let first = self.start / BLOCK_SIZE;
        let end = if self.is_empty() { first } else { self.end.div_ceil(BLOCK_SIZE) };
        BlockRange { first: BlockIndex(first as u32), end: BlockIndex(end as u32) }
    }
}

/// The number of a block within its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockIndex(pub u32);

impl BlockIndex {
    /// The block's bytes in a content of `size` bytes; the last block may be short.
    pub fn bytes(self, size: u64) -> ByteRange {
        ByteRange::at(u64::from(self.0) * BLOCK_SIZE, BLOCK_SIZE).clamp(size)
    }
}

/// Blocks `first..end` of one content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRange {
    pub first: BlockIndex,
    pub end: BlockIndex,
}

impl BlockRange {
    pub fn new(range: Range<u32>) -> Self {
        Self { first: BlockIndex(range.start), end: BlockIndex(range.end) }
    }

    /// All blocks of a content of `size` bytes.
    pub fn whole(size: u64) -> Self {
        ByteRange::new(0, size).blocks()
    }

    pub fn iter(self) -> impl Iterator<Item = BlockIndex> {
        (self.first.0..self.end.0).map(BlockIndex)
    }

    pub fn len(&self) -> usize {
        (self.end.0 - self.first.0) as usize
    }

    pub fn is_empty(&self) -> bool {
        self.first == self.end
    }

    pub fn contains(&self, block: BlockIndex) -> bool {
        self.first <= block && block < self.end
    }

    /// The bytes of these blocks in a content of `size` bytes.
    pub fn bytes(&self, size: u64) -> ByteRange {
        let start = u64::from(self.first.0) * BLOCK_SIZE;
        let end = u64::from(self.end.0) * BLOCK_SIZE;
        ByteRange::new(start, end).clamp(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_exactly_the_bytes_asked() {
        let blocks = |start, end| {
            let range = ByteRange::new(start, end).blocks();
            (range.first.0, range.end.0)
        };
        assert_eq!(blocks(0, 0), (0, 0));
        assert_eq!(blocks(0, 1), (0, 1));
        assert_eq!(blocks(0, BLOCK_SIZE), (0, 1));
        assert_eq!(blocks(BLOCK_SIZE - 1, BLOCK_SIZE + 1), (0, 2));
        assert_eq!(blocks(3 * BLOCK_SIZE, 3 * BLOCK_SIZE), (3, 3));
    }

    #[test]
    fn the_last_block_ends_with_the_content() {
        let size = BLOCK_SIZE + 10;
        assert_eq!(BlockIndex(1).bytes(size).len(), 10);
        assert_eq!(BlockRange::whole(size).len(), 2);
        assert_eq!(BlockRange::whole(0).len(), 0);
    }
}
