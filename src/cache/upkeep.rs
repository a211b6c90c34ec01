//! What is seen to in time: uses are recorded, and what the policy says goes.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{BlockCache, CacheError, space};
use crate::db::now;
use crate::types::Blob;

/// How long a use may go unrecorded.
const SAVE: Duration = Duration::from_secs(60);

pub(super) async fn run(cache: Weak<BlockCache>, stopping: CancellationToken) {
    let Some(interval) = cache.upgrade().map(|cache| cache.space.settings.check_interval) else { return };
    // A daemon that never runs as long as the interval checks all the same.
    let mut next_check = Instant::now() + interval.min(SAVE);
    loop {
        let wake = next_check.min(Instant::now() + SAVE);
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep_until(wake) => {}
        }
        let Some(cache) = cache.upgrade() else { return };
        cache.save_uses().await;
        cache.seal_left_open().await;
        if Instant::now() >= next_check {
            if let Err(error) = cache.check_space().await {
                tracing::warn!(%error, "the cache's limits could not be checked");
            }
            next_check = Instant::now() + interval;
        }
    }
}

impl BlockCache {
    /// Seals what was complete while the database could not say so.
    pub(super) async fn seal_left_open(self: &Arc<Self>) {
        let unrecorded = self.recorder.flush().await;
        let entries: Vec<_> = self.entries.lock().values().filter_map(Weak::upgrade).collect();
        entries.iter().filter(|entry| !unrecorded.contains(&entry.blob)).for_each(|entry| self.seal_if_complete(entry));
    }

    /// Records what was used since the last time.
    pub(super) async fn save_uses(&self) {
        let uses = self.space.ledger().take_unsaved();
        if uses.is_empty() {
            return;
        }
        if let Err(error) = self.db.used(uses.clone()).await {
            tracing::warn!(%error, "what was used last is not recorded yet");
            self.space.ledger().not_saved(&uses);
        }
    }

    /// One round of the policy: the unused, the models beyond the limit, then whatever is too much.
    pub(super) async fn check_space(&self) -> Result<(), CacheError> {
        // Nothing leaves between the look at the record and its entry.
        let _turn = self.space.evicting.lock().await;
        // What others brought past the fetches counts too.
        let recorded = self.db.held_blobs()?;
        self.space.ledger().enter(recorded);
        let settings = self.space.settings;
        if !settings.evict {
            return Ok(());
        }
        let threshold = settings.unused_threshold.as_secs();
        let uses = self.space.ledger().uses();
        self.remove_all(space::unused(&uses, now(), threshold), "not used for long").await?;
        if let Some(max) = settings.max_models {
            let (models, kept) = (self.db.models()?, self.db.kept_blobs()?);
            self.remove_all(space::surplus(&models, &uses, &kept, max), "of models beyond the limit").await?;
        }
        self.make_room(self.space.excess(), None).await;
        Ok(())
    }

    async fn remove_all(&self, blobs: Vec<Blob>, why: &str) -> Result<(), CacheError> {
        if blobs.is_empty() {
            return Ok(());
        }
        let kept = self.db.kept_blobs()?;
        let (mut contents, mut bytes) = (0, 0);
        for blob in blobs.into_iter().filter(|blob| !kept.contains(blob)) {
            let freed = self.try_remove(blob).await;
            contents += u64::from(freed > 0);
            bytes += freed;
        }
        if contents > 0 {
            tracing::info!(contents, bytes, why, "evicted");
        }
        Ok(())
    }
}
