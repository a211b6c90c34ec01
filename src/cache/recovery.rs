//! Files and record brought together after a crash, or after the database was lost.
//!
//! A file that no block on record speaks for is proved against its own name: then it is as good as fetched. What cannot be
//! proved is deleted. All of it happens while the daemon serves; nothing outside `blobs/` is touched and no link is
//! followed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use super::fetch::Landing;
use super::files::Found;
use super::flights::{Claim, Priority};
use super::lease::{Entry, Lease};
use super::proof::Proof;
use super::uncached::UncachedFile;
use super::{BlockCache, CacheError, Evicted};
use crate::db::{HeldBlob, LandedBlock, now};
use crate::types::{Blob, BlockRange, Identity};

/// What a file's own name proved.
struct Recovered {
    sha256: [u8; 32],
    blocks: Vec<LandedBlock>,
}

/// What a comparison of files and record came to.
#[derive(Debug, Default)]
struct Swept {
    files: u64,
    /// On record, and their files are gone or cut short.
    lost: Vec<Blob>,
    /// Whole files that are not on record.
    unproved: HashSet<Blob>,
}

impl BlockCache {
    /// Begins to bring files and record together. Where there is no record yet, whole files are known from here on: who
    /// wants one waits for its proof instead of fetching it.
    pub(super) fn start_recovery(self: &Arc<Self>) {
        if self.db.is_new() {
            let mut found = self.found.lock();
            let walked = self.store.walk(&mut |file| match file {
                Found::Blob { blob, .. } if self.may_be_whole(&blob) => drop(found.insert(blob)),
                Found::Blob { .. } | Found::Unknown(_) => {}
            });
            if let Err(error) = walked {
                tracing::warn!(%error, "the cache's files cannot all be looked at; what is not found is fetched again");
            }
        }
        let cache = self.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = cache.stopping.cancelled() => {}
                recovered = cache.recover() => if let Err(error) = recovered {
                    tracing::warn!(%error, "files and record of the cache could not be brought together; the next start tries again");
                }
            }
        });
    }

    async fn recover(self: &Arc<Self>) -> Result<(), CacheError> {
        let cache = self.clone();
        let swept = tokio::task::spawn_blocking(move || cache.sweep()).await.map_err(|_| CacheError::Stopping)??;
        for blob in &swept.lost {
            self.strike_lost(*blob).await?;
        }
        if swept.files > 0 || !swept.lost.is_empty() {
            tracing::info!(deleted = swept.files, lost = swept.lost.len(), "files that nothing speaks for are gone");
        }
        self.found.lock().extend(&swept.unproved);
        self.recover_found().await
    }

    /// What is on record and not on the disk takes up no space either. Who uses it meanwhile finds the damage himself.
    async fn strike_lost(&self, blob: Blob) -> Result<(), CacheError> {
        let _turn = self.space.evicting.lock().await;
        if self.take_out(blob).await? == Evicted::Absent {
            self.db.forget_blocks(blob, BlockRange::whole(blob.size)).await?;
        }
        Ok(())
    }

    /// Proves what was found, one after the other; what a reader asks for meanwhile goes before.
    pub(super) async fn recover_found(self: &Arc<Self>) -> Result<(), CacheError> {
        let (files, bytes) = {
            let found = self.found.lock();
            (found.len(), found.iter().map(|blob| blob.size).sum::<u64>())
        };
        if files == 0 {
            return Ok(());
        }
        tracing::info!(files, bytes, "files that are not on record are being proved");
        let before = self.metrics.recovered_blobs.get();
        loop {
            let Some(blob) = self.found.lock().iter().next().copied() else { break };
            if let Err(error) = self.recover_one(blob).await {
                tracing::warn!(%error, blob = %blob.id, "a file that is not on record cannot be looked at and stays as it is");
            }
            self.found.lock().remove(&blob);
        }
        let recovered = self.metrics.recovered_blobs.get() - before;
        tracing::info!(files, recovered, "files that were not on record are proved or gone");
        Ok(())
    }

    /// Who takes hold of it first begins the proof. A blob that is in use already needs none.
    async fn recover_one(self: &Arc<Self>, blob: Blob) -> Result<(), CacheError> {
        let lease = self.lease(blob)?;
        while let Some(proof) = lease.0.flights.any() {
            let _ = proof.landed().await;
        }
        if !lease.is_complete() {
            drop(lease);
            self.recent.remove(&blob);
            self.metrics.swept_files.add(u64::from(self.remove_unused(&blob)?));
        }
        Ok(())
    }

    /// Compares files and record, and deletes what cannot be of use.
    fn sweep(&self) -> Result<Swept, CacheError> {
        let mut recorded: HashMap<Blob, bool> = self.db.recorded()?.into_iter().map(|blob| (blob, false)).collect();
        let mut swept = Swept::default();
        let mut doubtful = Vec::new();
        let walked = self.store.walk(&mut |file| match file {
            Found::Unknown(path) => match std::fs::remove_file(&path) {
                Ok(()) => swept.files += 1,
                Err(error) => tracing::warn!(%error, path = %path.display(), "it does not belong here and stays"),
            },
            Found::Blob { blob, len } => match recorded.get_mut(&blob) {
                Some(is_here) => *is_here = len >= blob.size,
                None => doubtful.push(blob),
            },
        });
        walked.map_err(|source| self.store.error(source))?;
        for blob in doubtful {
            if self.is_in_use(&blob) || self.found.lock().contains(&blob) {
                continue;
            }
            if self.may_be_whole(&blob) {
                swept.unproved.insert(blob);
            } else if self.remove_unused(&blob)? {
                swept.files += 1;
            }
        }
        let lost = recorded.into_iter().filter(|(_, is_here)| !is_here).map(|(blob, _)| blob);
        swept.lost = lost.filter(|blob| !self.is_in_use(blob)).collect();
        self.metrics.swept_files.add(swept.files);
        Ok(swept)
    }

    /// Whether its file can be proved by its name alone.
    fn may_be_whole(&self, blob: &Blob) -> bool {
        blob.id.proves_bytes() && self.store.is_full(blob)
    }

    fn is_in_use(&self, blob: &Blob) -> bool {
        self.entries.lock().get(blob).is_some_and(|entry| entry.strong_count() > 0)
    }

    /// Deletes the file of a blob that nobody holds and of which nothing is on record. Answers whether it is gone.
    fn remove_unused(&self, blob: &Blob) -> Result<bool, CacheError> {
        // While the list is held nobody takes hold of it.
        let entries = self.entries.lock();
        let is_in_use = entries.get(blob).is_some_and(|entry| entry.strong_count() > 0);
        if is_in_use || self.db.coverage(blob)?.iter().any(|chunk| chunk.present != 0) {
            return Ok(false);
        }
        self.store.remove(blob).map_err(|source| self.store.error(source))?;
        Ok(true)
    }

    /// Proves a file that was found, as the one who brings all of its blocks: who wants one of them waits for that.
    pub(super) fn prove_found(self: &Arc<Self>, lease: &Lease) {
        let entry = &lease.0;
        let nobody = Identity::new("", None, true).digest();
        let is_here = |block| entry.is_here(block);
        let claim = entry.flights.claim_whole(entry.map.all(), is_here, nobody, Priority::Prefetch);
        let Some(Claim::Lead(flight)) = claim else { return };
        let landing = Landing::new(entry.clone(), flight);
        let (cache, lease) = (self.clone(), lease.clone());
        self.tasks.spawn(async move {
            let entry = &lease.0;
            let proving = (cache.clone(), entry.clone());
            let proof = tokio::task::spawn_blocking(move || proving.0.prove_by_name(&proving.1)).await;
            let Ok(Some(recovered)) = proof else {
                tracing::info!(blob = %entry.blob.id, "a file that is not on record is not what it is called");
                // No failure: whoever waits fetches it.
                return landing.end(Ok(()));
            };
            for landed in recovered.blocks {
                entry.map.land(landed.block, landed.sum);
                cache.recorder.landed(entry, landed).await;
            }
            let bytes = entry.blob.size;
            cache.space.ledger().enter([HeldBlob { blob: entry.blob, bytes, used_at: now() }]);
            landing.end(Ok(()));
            cache.metrics.recovered_blobs.add(1);
            cache.seal_proved(entry, recovered.sha256);
        });
    }

    /// `None` if the file is not what it is called, or the daemon stops.
    fn prove_by_name(&self, entry: &Entry) -> Option<Recovered> {
        // Whoever wrote it may not have come to that.
        entry.file.sync_data().ok()?;
        let mut file = UncachedFile::of(&entry.file).ok()?;
        let (mut proof, mut blocks) = (Proof::new(entry.blob), Vec::new());
        for block in entry.map.all().iter() {
            if self.stopping.is_cancelled() {
                return None;
            }
            let bytes = file.block(block.bytes(entry.blob.size)).ok()?;
            proof.update(bytes);
            blocks.push(LandedBlock { block, sum: xxh3_128(bytes) });
        }
        Some(Recovered { sha256: proof.finish()?, blocks })
    }
}
