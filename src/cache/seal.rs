//! Proof of a whole blob: does it hash to what its origin calls it?

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_128;

use super::lease::Entry;
use super::proof::Proof;
use super::sealing::SealingTurn;
use super::{BlockCache, CacheError};
use crate::db::FileStamp;
use crate::types::BlockRange;

/// What a look at the whole file showed.
enum Verdict {
    /// It is what it is called; its sha256.
    Proved([u8; 32]),
    /// The disk lost what had landed there, and nobody else has found that.
    Damaged(BlockRange),
    /// What was there changed meanwhile, or there is no time for it.
    Unclear,
    /// What landed is still there, and it is not what it is called.
    Mismatched,
}

fn prove_file(entry: &Entry, stopping: &CancellationToken) -> Verdict {
    let mut proof = Proof::new(entry.blob);
    let mut buffer = Vec::new();
    for block in entry.map.all().iter() {
        if stopping.is_cancelled() {
            return Verdict::Unclear;
        }
        let range = block.bytes(entry.blob.size);
        buffer.resize(range.len() as usize, 0);
        // A failed read of the local disk is a miss, not an error.
        let read = entry.file.read_exact_at(&mut buffer, range.start);
        if read.is_err() || xxh3_128(&buffer) != entry.map.sum(block) {
            return entry.check_again(block, &mut buffer).map_or_else(Verdict::Damaged, |_| Verdict::Unclear);
        }
        proof.update(&buffer);
    }
    proof.finish().map_or(Verdict::Mismatched, Verdict::Proved)
}

impl BlockCache {
    /// Starts proving a blob whose last block has landed. Readers go on meanwhile.
    pub(super) fn seal_if_complete(self: &Arc<Self>, entry: &Arc<Entry>) {
        if let Some(turn) = entry.begin_sealing() {
            self.spawn_seal(entry, turn, None);
        }
    }

    /// Seals a blob that was proved on its way in.
    pub(super) fn seal_proved(self: &Arc<Self>, entry: &Arc<Entry>, sha256: [u8; 32]) {
        if let Some(turn) = entry.begin_sealing() {
            self.spawn_seal(entry, turn, Some(sha256));
        }
    }

    fn spawn_seal(self: &Arc<Self>, entry: &Arc<Entry>, turn: SealingTurn, proof: Option<[u8; 32]>) {
        let (cache, entry) = (self.clone(), entry.clone());
        self.tasks.spawn(async move {
            if let Err(error) = cache.prove_and_seal(&entry, turn, proof).await {
                entry.unsealed(turn);
                if matches!(error, CacheError::Stopping) {
                    return;
                }
                tracing::warn!(%error, blob = %entry.blob.id, "a complete file could not be sealed; the next use tries again");
            } else if let Err(error) = cache.share(&entry).await {
                tracing::debug!(%error, blob = %entry.blob.id, "it does not share the file of an equal content");
            }
        });
    }

    async fn prove_and_seal(
        &self,
        entry: &Arc<Entry>,
        turn: SealingTurn,
        proof: Option<[u8; 32]>,
    ) -> Result<(), CacheError> {
        // Before it is read: what is written from here on shows.
        let stamp = entry.file.stamp().map_err(|source| entry.file.error(source))?;
        let verdict = match proof {
            Some(sha256) => Verdict::Proved(sha256),
            None => {
                let (proving, stopping) = (entry.clone(), self.stopping.clone());
                let verdict = tokio::task::spawn_blocking(move || prove_file(&proving, &stopping)).await;
                verdict.map_err(|_| CacheError::Stopping)?
            }
        };
        match verdict {
            Verdict::Damaged(block) => self.drop_damaged(entry, block),
            // Blocks that were lost and came anew meanwhile may have been seen half written.
            _ if !entry.is_unchanged(turn) => {}
            Verdict::Proved(sha256) => return self.sealed(entry, turn, sha256, stamp).await,
            Verdict::Unclear => entry.unsealed(turn),
            Verdict::Mismatched => self.not_what_it_is_called(entry).await,
        }
        Ok(())
    }

    pub(super) async fn sealed(
        &self,
        entry: &Entry,
        turn: SealingTurn,
        sha256: [u8; 32],
        stamp: FileStamp,
    ) -> Result<(), CacheError> {
        entry.proved(turn);
        // The seal says that every block is recorded: it must not overtake the last of them.
        let unrecorded = self.recorder.flush().await;
        if self.stopping.is_cancelled() {
            // Nothing is recorded any more, and nobody can say whether the last block was.
            return Err(CacheError::Stopping);
        }
        if unrecorded.contains(&entry.blob) || !entry.is_unchanged(turn) {
            entry.unsealed(turn);
            return Ok(());
        }
        let seal = self.db.seal(entry.blob, sha256, stamp).await?;
        if entry.sealed(turn, seal) {
            tracing::debug!(blob = %entry.blob.id, epoch = seal.epoch, "complete and verified");
            self.announce(entry.blob);
        } else {
            // A block was lost on the way here, and its record may have been struck off before the seal.
            self.db.forget_blocks(entry.blob, BlockRange::new(0..0)).await?;
        }
        Ok(())
    }

    /// A whole content that landed is another one.
    pub(super) async fn not_what_it_is_called(&self, entry: &Arc<Entry>) {
        self.mismatched(entry).await;
        self.forget_all(entry);
    }

    /// The count outlives this process: an origin that keeps sending wrong bytes is not believed anew at each start.
    pub(super) async fn mismatched(&self, entry: &Entry) {
        entry.mismatched();
        if let Err(error) = self.db.mismatched(entry.blob).await {
            tracing::error!(%error, blob = %entry.blob.id, "that a content was wrong is forgotten at the next start");
        }
        self.origin.disproved(&entry.blob);
        self.metrics.mismatched_blobs.add(1);
        tracing::error!(blob = %entry.blob.id, "what arrived does not match its hash; it is dropped");
    }
}
