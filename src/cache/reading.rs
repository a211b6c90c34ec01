//! The bytes of an entry: read from its file and from memory, proved block by block, and written.

use std::io;

use bytes::Bytes;
use parking_lot::MutexGuard;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::CacheError;
use super::lease::Entry;
use super::uncached::UncachedFile;
use crate::types::{BlockIndex, BlockRange, ByteRange};

impl Entry {
    /// Reads from the file: `None` if a block is missing, `Err` with blocks that are missing from now on, because their
    /// bytes are not what was recorded.
    pub(super) fn read<'b>(&self, range: ByteRange, buffer: &'b mut Vec<u8>) -> Result<Option<&'b [u8]>, BlockRange> {
        let blocks = range.blocks();
        for block in blocks.iter() {
            if !self.map.is_checked(block) && !self.check(block, buffer)? {
                return self.gather(range, buffer);
            }
        }
        // A failed read of the local disk is a miss, not an error.
        match self.fill(range, buffer) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(_) => Err(self.lost(blocks)),
        }
    }

    /// As [`Entry::read`], and proves each block by the very bytes that are answered.
    pub(super) fn read_checked<'b>(
        &self,
        range: ByteRange,
        buffer: &'b mut Vec<u8>,
    ) -> Result<Option<&'b [u8]>, BlockRange> {
        let blocks = range.blocks();
        if !self.map.has_all(blocks) {
            self.map.distrust(blocks);
            return self.gather(range, buffer);
        }
        let whole = blocks.bytes(self.blob.size);
        if self.fill(whole, buffer).is_err() {
            return Err(self.lost(blocks));
        }
        for block in blocks.iter() {
            let at = |offset| (offset - whole.start) as usize;
            let place = block.bytes(self.blob.size);
            if xxh3_128(&buffer[at(place.start)..at(place.end)]) == self.map.sum(block) {
                self.map.set_checked(block);
                continue;
            }
            // Another reader may have found the damage, and what came anew since then is good.
            let again = self.check_again(block, &mut Vec::new());
            return again.map(|_| None);
        }
        let from = (range.start - whole.start) as usize;
        Ok(Some(&buffer[from..from + range.len() as usize]))
    }

    /// Answers from the file and from what is in memory only.
    fn gather<'b>(&self, range: ByteRange, buffer: &'b mut Vec<u8>) -> Result<Option<&'b [u8]>, BlockRange> {
        if self.unkept.is_empty() {
            return Ok(None);
        }
        buffer.resize(buffer.len().max(range.len() as usize), 0);
        let mut scratch = Vec::new();
        for block in range.blocks().iter() {
            let part = self.part(block, range);
            let into = &mut buffer[(part.start - range.start) as usize..(part.end - range.start) as usize];
            // What is on the disk was proved later than what is only in memory.
            if self.map.is_checked(block) || self.check(block, &mut scratch)? {
                if self.file.read_exact_at(into, part.start).is_err() {
                    return Err(self.lost(BlockRange::new(block.0..block.0 + 1)));
                }
            } else if let Some(run) = self.unkept.find(part) {
                into.copy_from_slice(run.bytes(part));
            } else {
                return Ok(None);
            }
        }
        Ok(Some(&buffer[..range.len() as usize]))
    }

    /// The first read of a block since this process started proves it. Answers whether the block is here.
    fn check(&self, block: BlockIndex, buffer: &mut Vec<u8>) -> Result<bool, BlockRange> {
        let _turn = self.turn_to_check(block);
        if self.map.is_checked(block) || !self.map.has(block) {
            return Ok(self.map.has(block));
        }
        match self.fill(block.bytes(self.blob.size), buffer) {
            Ok(bytes) if xxh3_128(bytes) == self.map.sum(block) => {
                self.map.set_checked(block);
                Ok(true)
            }
            _ => Err(self.lost(BlockRange::new(block.0..block.0 + 1))),
        }
    }

    /// Proves a block once more. `Err` is for one finder of a damage alone.
    pub(super) fn check_again(&self, block: BlockIndex, buffer: &mut Vec<u8>) -> Result<bool, BlockRange> {
        self.map.distrust(BlockRange::new(block.0..block.0 + 1));
        self.check(block, buffer)
    }

    /// Proves a block by what the disk has of it, whatever was found before. `None` if the block is not here.
    pub(super) fn check_on_disk<'f>(
        &self,
        block: BlockIndex,
        file: &'f mut UncachedFile,
    ) -> Result<Option<&'f [u8]>, BlockRange> {
        let _turn = self.turn_to_check(block);
        if !self.map.has(block) {
            return Ok(None);
        }
        match file.block(block.bytes(self.blob.size)) {
            Ok(bytes) if xxh3_128(bytes) == self.map.sum(block) => {
                self.map.set_checked(block);
                Ok(Some(bytes))
            }
            _ => Err(self.lost(BlockRange::new(block.0..block.0 + 1))),
        }
    }

    /// One reader proves a block and the others wait: else a late one could take what has come anew for the damage.
    fn turn_to_check(&self, block: BlockIndex) -> MutexGuard<'_, ()> {
        self.checking[block.0 as usize % self.checking.len()].lock()
    }

    fn fill<'b>(&self, range: ByteRange, buffer: &'b mut Vec<u8>) -> io::Result<&'b [u8]> {
        let len = range.len() as usize;
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        self.file.read_exact_at(&mut buffer[..len], range.start)?;
        Ok(&buffer[..len])
    }

    /// Writes a block and marks it present. Blocks.
    pub(super) fn land(&self, block: BlockIndex, pieces: &[Bytes]) -> Result<u128, CacheError> {
        let mut sum = Xxh3::new();
        pieces.iter().for_each(|piece| sum.update(piece));
        let offset = block.bytes(self.blob.size).start;
        self.file.write_all_at(pieces, offset).map_err(|source| self.file.error(source))?;
        let sum = sum.digest128();
        self.map.land(block, sum);
        Ok(sum)
    }
}
