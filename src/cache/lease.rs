//! A blob in use: its map, its file, its flights.

use std::io;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::CacheError;
use super::block_map::BlockMap;
use super::evict::Doomed;
use super::files::{BlobFile, BlobStore};
use super::flights::Flights;
use super::holds::Holds;
use super::uncached::UncachedFile;
use super::unkept::UnkeptRuns;
use crate::db::{Database, FileStamp, LandedBlock, Seal, StoredChunk};
use crate::types::{Blob, BlockIndex, BlockRange, ByteRange};

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
    checking: [Mutex<()>; 16],
    sealing: Mutex<Sealing>,
    /// Held by the one that fills the blob.
    pub(super) filling: tokio::sync::Mutex<()>,
    /// Whole contents in a row that were not what they are called; the record has it too.
    mismatches: AtomicU32,
    /// Wrong bytes were here since this process started.
    was_wrong: AtomicBool,
    /// Ticks when a proof ended, however.
    proofs: Notify,
}

/// What a content has come to when no proof of it is under way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Sealed,
    Open,
}

/// How far a blob has come to being proved.
struct Sealing {
    state: SealState,
    /// What is here is what it is called, whether or not that could be recorded.
    proved: bool,
    /// Counts what was lost: a proof of what was there before proves nothing.
    losses: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum SealState {
    Open,
    Proving,
    Sealed(Seal),
}

impl Sealing {
    fn lost(&mut self) {
        *self = Self { state: SealState::Open, proved: false, losses: self.losses + 1 };
    }
}

/// The right, and the duty, to seal a blob or to give that up.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct SealingTurn(u64);

/// The sole right to say how the file of a sealed blob looks.
pub(super) struct SealedTurn<'e>(MutexGuard<'e, Sealing>);

impl SealedTurn<'_> {
    /// `None` if it is not sealed.
    pub(super) fn stamp(&self) -> Option<FileStamp> {
        match self.0.state {
            SealState::Sealed(seal) => Some(seal.file),
            SealState::Open | SealState::Proving => None,
        }
    }

    pub(super) fn restamp(&mut self, stamp: FileStamp) {
        if let SealState::Sealed(seal) = &mut self.0.state {
            seal.file = stamp;
        }
    }
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
        let state = seal.map_or(SealState::Open, SealState::Sealed);
        let mismatches = row.map_or(0, |row| row.mismatches);
        Ok(Self::new(blob, map, file, state, mismatches, space_changes))
    }

    /// What takes up space already is not paid for twice: by a ledger that counts it, see [`BlobStore::taken`].
    pub(super) fn find_written(&self) {
        let written = self.file.written_blocks(self.blob.size, self.map.present_bytes());
        written.unwrap_or_default().into_iter().for_each(|blocks| self.map.found_written(blocks));
    }

    /// Of a blob whose former entry is on its way out, with its file and its record.
    pub(super) fn empty(blob: Blob, store: &BlobStore, space_changes: Arc<AtomicU64>) -> Result<Self, CacheError> {
        let map = BlockMap::new(blob.size, Vec::new());
        Ok(Self::new(blob, map, store.file(&blob)?, SealState::Open, 0, space_changes))
    }

    fn new(
        blob: Blob,
        map: BlockMap,
        file: BlobFile,
        state: SealState,
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
            sealing: Mutex::new(Sealing { state, proved: state != SealState::Open, losses: 0 }),
            filling: tokio::sync::Mutex::default(),
            mismatches: AtomicU32::new(mismatches),
            was_wrong: AtomicBool::new(false),
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
    fn part(&self, block: BlockIndex, range: ByteRange) -> ByteRange {
        let whole = block.bytes(self.blob.size);
        ByteRange::new(whole.start.max(range.start), whole.end.min(range.end))
    }

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

    /// These blocks are not here any more, whatever the file holds.
    pub(super) fn lost(&self, blocks: BlockRange) -> BlockRange {
        let mut sealing = self.sealing.lock();
        self.map.forget(blocks);
        sealing.lost();
        self.proofs.notify_waiters();
        blocks
    }

    /// Everything is lost but what is on record and has not come anew since.
    pub(super) fn lost_but(&self, recorded: &[StoredChunk], anew: &[LandedBlock]) {
        let mut sealing = self.sealing.lock();
        let is_safe = |block: BlockIndex| {
            let on_record = |chunk: &StoredChunk| chunk.has(block, self.map.sum(block));
            recorded.iter().any(on_record) && !anew.iter().any(|landed| landed.block == block)
        };
        for block in self.map.all().iter().filter(|block| self.map.has(*block) && !is_safe(*block)) {
            self.map.forget(BlockRange::new(block.0..block.0 + 1));
        }
        sealing.lost();
        self.proofs.notify_waiters();
    }

    /// Nothing is proved any more, though it may all be there. Answers whether it was sealed until now.
    pub(super) fn distrust(&self) -> bool {
        let mut sealing = self.sealing.lock();
        let sealed = matches!(sealing.state, SealState::Sealed(_));
        self.map.distrust(self.map.all());
        sealing.proved = false;
        if sealed {
            sealing.lost();
        }
        sealed
    }

    fn fill<'b>(&self, range: ByteRange, buffer: &'b mut Vec<u8>) -> std::io::Result<&'b [u8]> {
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

    pub(super) fn is_complete(&self) -> bool {
        self.map.has_all(self.map.all())
    }

    pub(super) fn seal(&self) -> Option<Seal> {
        match self.sealing.lock().state {
            SealState::Sealed(seal) => Some(seal),
            SealState::Open | SealState::Proving => None,
        }
    }

    /// The seal and what the file looks like, at one moment.
    pub(super) fn seal_and_stamp(&self) -> (Option<Seal>, io::Result<FileStamp>) {
        let sealing = self.sealing.lock();
        let seal = match sealing.state {
            SealState::Sealed(seal) => Some(seal),
            SealState::Open | SealState::Proving => None,
        };
        (seal, self.file.stamp())
    }

    /// Keeps the seal as it is while the file is given another look.
    pub(super) fn sealed_turn(&self) -> SealedTurn<'_> {
        SealedTurn(self.sealing.lock())
    }

    /// Waits for the end of a proof that is under way.
    pub(super) async fn settled(&self) -> Settled {
        loop {
            let ended = self.proofs.notified();
            match self.sealing.lock().state {
                SealState::Sealed(_) => return Settled::Sealed,
                SealState::Open => return Settled::Open,
                SealState::Proving => {}
            }
            ended.await;
        }
    }

    /// The turn of the one to seal; it must end with `sealed` or `unsealed`.
    pub(super) fn begin_sealing(&self) -> Option<SealingTurn> {
        let mut sealing = self.sealing.lock();
        if sealing.state != SealState::Open || !self.is_complete() {
            return None;
        }
        sealing.state = SealState::Proving;
        Some(SealingTurn(sealing.losses))
    }

    /// What a proof that begins now must find unchanged at its end.
    pub(super) fn begin_proof(&self) -> SealingTurn {
        SealingTurn(self.sealing.lock().losses)
    }

    /// All of it hashed to its name. Holds until something of it is lost.
    pub(super) fn proved(&self, turn: SealingTurn) {
        let mut sealing = self.sealing.lock();
        sealing.proved |= sealing.losses == turn.0;
    }

    pub(super) fn is_proved(&self) -> bool {
        self.sealing.lock().proved
    }

    /// Whether what was proved is still there.
    pub(super) fn is_unchanged(&self, turn: SealingTurn) -> bool {
        self.sealing.lock().losses == turn.0
    }

    /// Answers whether the blob is sealed by this.
    pub(super) fn sealed(&self, turn: SealingTurn, seal: Seal) -> bool {
        let counts = self.end_sealing(turn, SealState::Sealed(seal));
        if counts {
            self.forgive();
        }
        counts
    }

    pub(super) fn unsealed(&self, turn: SealingTurn) {
        self.end_sealing(turn, SealState::Open);
    }

    fn end_sealing(&self, turn: SealingTurn, state: SealState) -> bool {
        let mut sealing = self.sealing.lock();
        let counts = sealing.losses == turn.0;
        if counts {
            sealing.state = state;
        }
        self.proofs.notify_waiters();
        counts
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
