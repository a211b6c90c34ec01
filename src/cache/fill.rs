//! Read-ahead of whole files: steadily, in file order, and behind everything that somebody waits for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::flights::{Claim, Priority};
use super::lease::Lease;
use super::space::Load;
use super::{BlockCache, fetch};
use crate::types::{BlockRange, ByteRange, Identity, RemoteFile};

/// A part of a file to bring.
pub struct Fill {
    pub file: RemoteFile,
    pub lease: Lease,
    pub range: ByteRange,
}

impl BlockCache {
    /// Starts bringing these files one after the other and returns at once. A file that somebody else fills is waited
    /// for: what comes after it keeps its turn.
    ///
    /// Blocks are claimed only as turns come free, so a reader never waits behind them. What fails is left for demand.
    pub fn fill(self: &Arc<Self>, identity: &Identity, files: Vec<Fill>) {
        let (cache, identity) = (self.clone(), identity.clone());
        self.tasks.spawn(async move {
            for file in files {
                let fill = async {
                    let _turn = file.lease.0.filling.lock().await;
                    cache.fill_file(&identity, &file).await;
                };
                tokio::select! {
                    () = cache.stopping.cancelled() => return,
                    () = fill => {}
                }
            }
        });
    }

    async fn fill_file(self: &Arc<Self>, identity: &Identity, Fill { file, lease, range }: &Fill) {
        let entry = &lease.0;
        let blocks = range.clamp(entry.blob.size).blocks();
        let load = Load::new(&file.repo, file.commit);
        // What cannot be kept whole is not worth bringing ahead of anybody: demand gets what room there is.
        if !self.could_hold(entry.map.unwritten_bytes(blocks), Some(&load)) {
            entry.is_tight.store(true, Ordering::Release);
            return self.warn_unkept(&file.repo);
        }
        entry.is_tight.store(false, Ordering::Release);
        let mut next = blocks.first;
        while let Some(missing) =
            (BlockRange { first: next, end: blocks.end }).iter().find(|block| !entry.map.has(*block))
        {
            let mut slot = Some(self.slots.idle_turn(fetch::memory(&entry.blob)).await);
            // Others may have taken meanwhile what there was.
            if entry.refuse_quarantined().is_err() || entry.is_tight.load(Ordering::Acquire) {
                return;
            }
            let run = BlockRange::new(missing.0..blocks.end.0.min(missing.0 + Self::PREFETCH_RUN as u32));
            next = run.end;
            for claim in self.claims(identity, entry, run, Priority::Prefetch) {
                if let Claim::Lead(flight) = claim {
                    self.lead(identity, file, lease, flight, slot.take());
                }
            }
        }
    }
}
