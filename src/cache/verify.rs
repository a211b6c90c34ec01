//! Looking at a whole blob again, as an operator asks or the scrubber does: every block from the disk against its
//! checksum, the whole against its name. What is damaged is dropped, and fetched again by whoever reads it next.

use std::sync::Arc;
use std::time::Duration;

use super::lease::Entry;
use super::proof::Proof;
use super::sealing::{SealingTurn, Settled};
use super::uncached::UncachedFile;
use super::{BlockCache, CacheError};
use crate::db::FileStamp;
use crate::types::{Blob, BlockIndex, BlockRange};

/// What a look at a blob came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verified {
    /// Bytes of it that were on record, and so were read.
    pub present_bytes: u64,
    /// Those among them that were not what was recorded. They are gone now.
    pub damaged_bytes: u64,
    /// All of it was on record.
    pub complete: bool,
    /// All of it is here and is what it is called.
    pub proved: bool,
}

/// How far a look has come.
pub(super) struct Look {
    file: UncachedFile,
    /// Of the whole, as long as nothing of it was missing.
    proof: Option<Proof>,
    next: BlockIndex,
    found: Verified,
}

impl Look {
    /// Blocks between two pauses.
    pub(super) const STEP: u32 = 8;

    /// Reads on. Answers the blocks that were found damaged; they are dropped.
    fn step(&mut self, entry: &Entry) -> Vec<BlockRange> {
        let all = entry.map.all();
        let end = BlockIndex(all.end.0.min(self.next.0.saturating_add(Self::STEP)));
        let mut damaged = Vec::new();
        for block in (BlockRange { first: self.next, end }).iter() {
            let len = block.bytes(entry.blob.size).len();
            match entry.check_on_disk(block, &mut self.file) {
                Ok(Some(bytes)) => {
                    self.found.present_bytes += len;
                    if let Some(proof) = &mut self.proof {
                        proof.update(bytes);
                    }
                }
                Ok(None) => {
                    self.found.complete = false;
                    self.proof = None;
                }
                Err(gone) => {
                    self.found.present_bytes += len;
                    self.found.damaged_bytes += len;
                    self.proof = None;
                    damaged.push(gone);
                }
            }
        }
        self.next = end;
        damaged
    }
}

impl BlockCache {
    /// Reads everything that is here of a blob from the disk again and drops what is damaged; a complete one is proved as
    /// a whole once more. Readers go on meanwhile. That it was given up is taken back.
    ///
    /// `progress` is told now and then how many of the blob's bytes have been gone through.
    pub async fn verify(
        self: &Arc<Self>,
        blob: Blob,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Verified, CacheError> {
        self.look_through(blob, None, progress).await
    }

    /// `pause` is made after each [`Look::STEP`] blocks.
    pub(super) async fn look_through(
        self: &Arc<Self>,
        blob: Blob,
        pause: Option<Duration>,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Verified, CacheError> {
        // What has landed a moment ago is looked at as well.
        self.recorder.flush().await;
        if self.db.blob(&blob)?.is_none() {
            return Ok(Verified::default());
        }
        let lease = self.lease(blob)?;
        let entry = &lease.0;
        if entry.forgive() {
            self.db.forgive(blob).await?;
        }
        // Who took hold of it may prove it already; one at a time is enough.
        entry.settled().await;
        let (seal, stamp) = entry.seal_and_stamp();
        let stamp = stamp.map_err(|source| entry.file.error(source))?;
        if seal.is_some_and(|seal| seal.file != stamp) {
            self.unseal(entry, "it is looked through and was written to");
        }
        let turn = entry.begin_proof();
        let file = UncachedFile::of(&entry.file).map_err(|source| entry.file.error(source))?;
        let found = Verified { complete: true, ..Verified::default() };
        let mut look = Look { file, proof: Some(Proof::new(blob)), next: BlockIndex(0), found };
        while look.next < entry.map.all().end {
            if self.stopping.is_cancelled() {
                return Err(CacheError::Stopping);
            }
            let reading = entry.clone();
            let step = tokio::task::spawn_blocking(move || (look.step(&reading), look)).await;
            let damaged;
            (damaged, look) = step.map_err(|_| CacheError::Stopping)?;
            damaged.into_iter().for_each(|gone| self.drop_damaged(entry, gone));
            progress(BlockRange { first: BlockIndex(0), end: look.next }.bytes(blob.size).len());
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
        }
        let Look { proof, mut found, .. } = look;
        found.proved = match proof.map(Proof::finish) {
            Some(Some(sha256)) => self.proved_again(entry, turn, sha256, stamp).await?,
            Some(None) if entry.is_unchanged(turn) => {
                self.not_what_it_is_called(entry).await;
                false
            }
            Some(None) | None => false,
        };
        self.recorder.flush().await;
        self.db.checked(blob, found.proved).await?;
        Ok(found)
    }

    /// Seals what was proved by this look, unless it still is. Answers whether it is sealed.
    async fn proved_again(
        &self,
        entry: &Arc<Entry>,
        turn: SealingTurn,
        sha256: [u8; 32],
        stamp: FileStamp,
    ) -> Result<bool, CacheError> {
        if entry.settled().await == Settled::Sealed {
            return Ok(entry.is_unchanged(turn));
        }
        let Some(now) = entry.begin_sealing() else { return Ok(false) };
        if now != turn {
            // What was read is not what is there now.
            entry.unsealed(now);
            return Ok(false);
        }
        let sealed = self.sealed(entry, now, sha256, stamp).await;
        if sealed.is_err() {
            entry.unsealed(now);
        }
        sealed.map(|()| entry.seal().is_some())
    }
}
