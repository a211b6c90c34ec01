//! The leader of a flight: stream from the origin, write, mark, wake; try again while it makes sense.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;

use super::flights::Flight;
use super::lease::{Entry, Lease};
use super::slots::Slot;
use super::space::{Load, Reservation};
use super::unkept::UnkeptRun;
use super::{BlockCache, CacheError, proof};
use crate::db::LandedBlock;
use crate::origin::{Backoff, ByteStream, OriginError, OriginErrorKind};
use crate::types::{BLOCK_SIZE, Blob, BlobId, BlockIndex, BlockRange, ByteRange, Identity, RemoteFile};

const SMALL: u64 = 8 << 20;
/// The Hub keeps nothing near this size in git; beyond it the whole would not fit the memory of a fetch.
const LARGEST_GIT: u64 = 64 << 20;

/// Whether a content is checked against its name before the first byte of it is served.
pub(super) fn is_proved_first(blob: &Blob) -> bool {
    match blob.id {
        BlobId::GitSha1(_) => blob.size <= LARGEST_GIT,
        BlobId::Sha256(_) => blob.size <= SMALL,
        BlobId::Local(_) | BlobId::S3 { checksum: None, .. } => false,
        BlobId::S3 { checksum: Some(_), .. } => blob.size <= SMALL,
    }
}

/// Memory that a fetch of a part of `blob` holds: the block that fills, and what the connection has read beyond it.
pub(super) fn memory(blob: &Blob) -> u64 {
    if is_proved_first(blob) { blob.size + BLOCK_SIZE } else { 2 * BLOCK_SIZE }
}

/// Brings the blocks of one flight, then is gone.
pub(super) struct Leader {
    pub(super) cache: Arc<BlockCache>,
    pub(super) identity: Identity,
    pub(super) file: RemoteFile,
    pub(super) entry: Arc<Entry>,
    pub(super) flight: Arc<Flight>,
    pub(super) landing: Landing,
    /// What is being fetched is in use.
    pub(super) _lease: Lease,
    pub(super) load: Load,
    /// A turn that was waited for before the flight was claimed.
    pub(super) slot: Option<Slot>,
    /// What is reserved of the disk for what has not landed yet.
    pub(super) room: Mutex<Option<Reservation>>,
}

/// Takes a flight off the list however its leader ends: one that broke down leaves nobody waiting.
pub(super) struct Landing {
    entry: Arc<Entry>,
    flight: Arc<Flight>,
    outcome: Result<(), CacheError>,
}

impl Landing {
    pub(super) fn new(entry: Arc<Entry>, flight: Arc<Flight>) -> Self {
        Self { entry, flight, outcome: Err(CacheError::Stopping) }
    }

    /// Ends the flight. What it has not brought by now is missing still.
    pub(super) fn end(mut self, outcome: Result<(), CacheError>) {
        self.outcome = outcome;
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        // Out of the list first: whoever hears of a failure may claim the blocks again at once.
        self.entry.flights.remove(&self.flight);
        match std::mem::replace(&mut self.outcome, Ok(())) {
            Ok(()) => self.flight.landed(self.flight.blocks.end),
            Err(error) => self.flight.failed(error),
        }
    }
}

impl Leader {
    /// Attempts at a content that arrives whole or not at all whose duration does not count.
    const WHOLE_TRIES: u32 = 5;

    pub(super) async fn run(mut self) {
        let slot = self.slot.take();
        let stopping = self.cache.stopping.clone();
        let outcome = tokio::select! {
            biased;
            () = stopping.cancelled() => Err(CacheError::Stopping),
            outcome = self.fly(slot) => outcome,
        };
        if let Err(error) = &outcome {
            self.report(error);
        }
        self.landing.end(outcome);
        self.cache.seal_if_complete(&self.entry);
    }

    fn report(&self, error: &CacheError) {
        if matches!(error, CacheError::Stopping | CacheError::NoRoom) {
            return;
        }
        let (first, blocks) = (self.flight.blocks.first.0, self.flight.blocks.len());
        tracing::warn!(repo = %self.file.repo, path = %self.file.path, first, blocks, %error, "a read failed");
    }

    /// Sees to it that what will be written has its space.
    async fn has_room(&self) -> bool {
        let bytes = self.entry.map.unwritten_bytes(self.flight.blocks);
        let spare = (!self.flight.is_wanted()).then_some(&self.load);
        let reserved = self.cache.reserve(&self.entry, bytes, spare).await;
        let has_room = reserved.is_some();
        *self.room.lock() = reserved;
        has_room
    }

    async fn fly(&self, slot: Option<Slot>) -> Result<(), CacheError> {
        if !self.has_room().await && !self.flight.may_be_unkept() {
            return Err(CacheError::NoRoom);
        }
        let _slot = match slot {
            Some(slot) => slot,
            None => self.cache.slots.turn(&self.flight, memory(&self.entry.blob)).await,
        };
        let mut backoff = Backoff::new(self.cache.settings.give_up);
        let mut next = self.flight.blocks.first;
        for tries in 0.. {
            let error = match self.attempt(&mut next, tries, &mut backoff).await {
                Ok(()) => return Ok(()),
                Err(CacheError::Origin(error)) => error,
                Err(error) => return Err(error),
            };
            if !error.is_transient() {
                return Err(error.into());
            }
            let Some(pause) = backoff.next(&error) else { return Err(error.into()) };
            tracing::debug!(repo = %self.file.repo, path = %self.file.path, %error, ?pause, "trying again");
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// One request: from the first block that has not landed to the end of the flight.
    async fn attempt(&self, next: &mut BlockIndex, tries: u32, backoff: &mut Backoff) -> Result<(), CacheError> {
        let size = self.entry.blob.size;
        let range = ByteRange::new(next.bytes(size).start, self.flight.blocks.bytes(size).end);
        if range.is_empty() {
            return Ok(());
        }
        let stream = self.cache.origin.open(&self.identity, &self.file, range).await?;
        if is_proved_first(&self.entry.blob) {
            if tries < Self::WHOLE_TRIES {
                // It has nothing to show for its time until it is complete: the time it flows is not held against it.
                let whole = self.receive_whole(stream).await;
                backoff.progressed();
                return whole;
            }
            self.receive_whole(stream).await
        } else {
            self.receive_blocks(stream, next, backoff).await
        }
    }

    async fn receive_blocks(
        &self,
        mut stream: ByteStream,
        next: &mut BlockIndex,
        backoff: &mut Backoff,
    ) -> Result<(), CacheError> {
        let size = self.entry.blob.size;
        // The pieces stay as they came off the socket: the disk takes them one by one.
        let (mut pieces, mut gathered) = (Vec::new(), 0);
        while let Some(piece) = stream.next().await {
            let mut piece = piece?;
            while !piece.is_empty() {
                let block = next.bytes(size).len() as usize;
                let part = piece.split_to(piece.len().min(block - gathered));
                gathered += part.len();
                pieces.push(part);
                let place = next.bytes(size).start + gathered as u64;
                if *next == self.flight.blocks.first && gathered < block && self.flight.is_enough(place) {
                    self.serve_early(*next, &pieces);
                }
                if gathered == block {
                    self.receive_block(*next, std::mem::take(&mut pieces)).await?;
                    gathered = 0;
                    // Only what has landed is progress: a block that breaks off half-way starts again.
                    backoff.progressed();
                    next.0 += 1;
                    self.flight.landed(*next);
                }
            }
        }
        Ok(())
    }

    /// Nothing of it lands before all of it is proved.
    async fn receive_whole(&self, mut stream: ByteStream) -> Result<(), CacheError> {
        let mut whole = Vec::with_capacity(self.entry.blob.size as usize);
        while let Some(piece) = stream.next().await {
            whole.extend_from_slice(&piece?);
        }
        let blob = self.entry.blob;
        let (whole, proof) = blocking(move || {
            let proof = proof::prove(blob, &whole);
            (whole, proof)
        })
        .await?;
        let Some(sha256) = proof else {
            self.cache.mismatched(&self.entry).await;
            self.entry.refuse_quarantined()?;
            let cause = format!("{} bytes arrived that do not hash to {}", whole.len(), blob.id);
            let place = format!("{}/{}", self.file.repo, self.file.path);
            return Err(OriginError::new(OriginErrorKind::Nonsense, place, cause).into());
        };
        let whole = Bytes::from(whole);
        if self.land_whole(&whole).await? {
            self.flight.landed(self.flight.blocks.end);
            self.cache.seal_proved(&self.entry, sha256);
        } else {
            self.hold(self.entry.map.all(), whole);
            self.flight.landed(self.flight.blocks.end);
        }
        Ok(())
    }

    /// Answers whether all of it could be kept.
    async fn land_whole(&self, whole: &Bytes) -> Result<bool, CacheError> {
        for block in self.entry.map.all().iter() {
            let range = block.bytes(self.entry.blob.size);
            if !self.land(block, &[whole.slice(range.start as usize..range.end as usize)]).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A reader waits for no more than the beginning of the first block.
    fn serve_early(&self, block: BlockIndex, pieces: &[Bytes]) {
        let run = UnkeptRun::beginning(self.entry.blob, block, pieces.concat().into());
        self.entry.unkept.add(&run);
        self.flight.arrived(&run);
    }

    async fn receive_block(&self, block: BlockIndex, pieces: Vec<Bytes>) -> Result<(), CacheError> {
        if !self.land(block, &pieces).await? {
            self.hold(BlockRange::new(block.0..block.0 + 1), pieces.concat().into());
        }
        Ok(())
    }

    /// Writes a block, where there is room for it, and hands its record on. Answers whether it is kept.
    async fn land(&self, block: BlockIndex, pieces: &[Bytes]) -> Result<bool, CacheError> {
        let bytes = block.bytes(self.entry.blob.size).len();
        let grows = !self.entry.map.is_written(block);
        if self.entry.file.is_nowhere() || (grows && !self.may_spend(bytes)) {
            return Ok(false);
        }
        let (entry, pieces) = (self.entry.clone(), pieces.to_vec());
        let sum = match blocking(move || entry.land(block, &pieces)).await? {
            Ok(sum) => sum,
            // What the disk does not take is not the reader's trouble.
            Err(error) => {
                self.cache.not_written(&error);
                return Ok(false);
            }
        };
        if let Some(room) = self.room.lock().as_mut().filter(|_| grows) {
            room.spend(self.entry.blob, bytes, &self.load);
        }
        self.cache.recorder.landed(&self.entry, LandedBlock { block, sum }).await;
        Ok(true)
    }

    /// A fetch that began without room may find some on its way.
    fn may_spend(&self, bytes: u64) -> bool {
        let mut room = self.room.lock();
        if !room.as_ref().is_some_and(|room| room.covers(bytes))
            && let Ok(found) = self.cache.space.try_reserve(bytes)
        {
            *room = Some(found);
        }
        room.as_ref().is_some_and(|room| room.covers(bytes))
    }

    /// For those who wait for it, and for a moment.
    fn hold(&self, blocks: BlockRange, bytes: Bytes) {
        let run = UnkeptRun::new(self.entry.blob, blocks, bytes);
        self.cache.metrics.unkept_blocks.add(blocks.len() as u64);
        self.flight.hold(&run);
        self.entry.unkept.add(&run);
        self.cache.unkept.put(run);
        self.entry.is_tight.store(true, Ordering::Release);
        self.cache.warn_unkept(&self.file.repo);
    }
}

/// Disk and hashing, off the threads that move bytes.
async fn blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Result<T, CacheError> {
    tokio::task::spawn_blocking(job).await.map_err(|_| CacheError::Stopping)
}
