//! A whole content brought here on purpose: complete, proved, and with an error for whoever asked if that fails.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};

use super::flights::{Claim, Priority, Wait};
use super::lease::{Entry, Lease};
use super::sealing::Settled;
use super::space::Load;
use super::{BlockCache, CacheError, fetch};
use crate::types::{BlockRange, Commit, Identity, RemoteFile, RepoId};

impl BlockCache {
    /// Runs of one file that are under way together.
    const WARM_RUNS: usize = 4;
    /// Times that a content which was found wrong or lost is brought again.
    const WARM_ROUNDS: usize = 3;

    /// Brings all of `file` here and waits until it is proved. `present` is told how many of its bytes are here, now and
    /// then. Joins fetches that are under way, and goes behind every reader who waits. Dropped, it starts no more fetches.
    pub async fn warm(
        self: &Arc<Self>,
        identity: &Identity,
        file: &RemoteFile,
        lease: &Lease,
        present: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), CacheError> {
        let entry = &lease.0;
        present(entry.map.present_bytes());
        for _ in 0..Self::WARM_ROUNDS {
            self.warm_missing(identity, file, lease, present).await?;
            self.seal_if_complete(entry);
            if entry.settled().await == Settled::Sealed {
                // Also if all of it was here: somebody is about to need it.
                self.touch(&entry.blob);
                return Ok(());
            }
            // Lost or found wrong meanwhile.
            present(entry.map.present_bytes());
        }
        entry.refuse_quarantined()?;
        if !entry.is_complete() && entry.is_tight.load(Ordering::Acquire) {
            return Err(CacheError::NoRoom);
        }
        Err(CacheError::NotKept(entry.blob.id))
    }

    async fn warm_missing(
        self: &Arc<Self>,
        identity: &Identity,
        file: &RemoteFile,
        lease: &Lease,
        present: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), CacheError> {
        let entry = &lease.0;
        let mut waits = FuturesUnordered::new();
        let all = entry.map.all();
        let mut next = all.first;
        loop {
            let missing = (BlockRange { first: next, end: all.end }).iter().find(|block| !entry.map.has(*block));
            let Some(missing) = missing else { break };
            while waits.len() >= Self::WARM_RUNS {
                self.one_landed(&mut waits, entry, present).await?;
            }
            next.0 = all.end.0.min(missing.0 + Self::PREFETCH_RUN as u32);
            for wait in self.warm_run(identity, file, lease, BlockRange { first: missing, end: next }).await? {
                waits.push(wait_for(wait, identity.clone()).boxed());
            }
        }
        while !waits.is_empty() {
            self.one_landed(&mut waits, entry, present).await?;
        }
        Ok(())
    }

    async fn one_landed(
        &self,
        waits: &mut FuturesUnordered<futures::future::BoxFuture<'static, Result<(), CacheError>>>,
        entry: &Entry,
        present: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), CacheError> {
        const LOOK: std::time::Duration = std::time::Duration::from_millis(200);
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                _ = look.tick() => present(entry.map.present_bytes()),
                landed = waits.next() => {
                    present(entry.map.present_bytes());
                    return landed.unwrap_or(Ok(()));
                }
            }
        }
    }

    /// Blocks are claimed only when there is a turn for them, so that no reader waits behind what has to wait.
    async fn warm_run(
        self: &Arc<Self>,
        identity: &Identity,
        file: &RemoteFile,
        lease: &Lease,
        run: BlockRange,
    ) -> Result<Vec<Wait>, CacheError> {
        if self.stopping.is_cancelled() {
            return Err(CacheError::Stopping);
        }
        let entry = &lease.0;
        entry.refuse_quarantined()?;
        let load = Load::new(&file.repo, file.commit);
        if !self.could_hold(entry.map.unwritten_bytes(run), Some(&load)) {
            return Err(CacheError::NoRoom);
        }
        let mut slot = Some(self.slots.idle_turn(fetch::memory(&entry.blob)).await);
        let mut waits = Vec::new();
        for claim in self.claims(identity, entry, run, Priority::Prefetch) {
            match claim {
                Claim::Wait(wait) => waits.push(wait),
                Claim::Lead(flight) => {
                    waits.push(flight.wait());
                    self.lead(identity, file, lease, flight, slot.take());
                }
            }
        }
        Ok(waits)
    }

    /// Whether `bytes` of one model could be kept, if everything went that may go for it.
    pub fn has_room(self: &Arc<Self>, repo: &RepoId, commit: Commit, bytes: u64) -> bool {
        self.could_hold(bytes, Some(&Load::new(repo, commit)))
    }
}

/// A flight that failed because of who led it is no failure of this one: what it did not bring is missing still, and the
/// next round leads it.
async fn wait_for(wait: Wait, identity: Identity) -> Result<(), CacheError> {
    match wait.landed().await {
        Err(CacheError::GivenUp) => Ok(()),
        Err(CacheError::Origin(error)) if error.depends_on_identity() && wait.led_by() != identity.digest() => Ok(()),
        landed => landed,
    }
}
