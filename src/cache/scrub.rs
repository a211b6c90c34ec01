//! Scrubbing: what was last checked long ago is read again, one blob at a time and slowly, before its damage is needed.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::verify::Look;
use super::{BlockCache, CacheError};
use crate::db::now;
use crate::types::BLOCK_SIZE;

/// How long after the start the first look comes, at the latest.
const START: Duration = Duration::from_secs(60);
/// How often to look whether something is due.
const LOOK: Duration = Duration::from_secs(3600);

pub(super) async fn run(cache: Weak<BlockCache>, interval: Duration, stopping: CancellationToken) {
    let mut pause = START;
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(pause.min(interval)) => {}
        }
        let Some(cache) = cache.upgrade() else { return };
        let scrubbed = tokio::select! {
            () = stopping.cancelled() => return,
            scrubbed = cache.scrub(interval) => scrubbed,
        };
        pause = scrubbed.unwrap_or_else(|error| {
            tracing::warn!(%error, "the background check of cached files pauses");
            LOOK
        });
    }
}

impl BlockCache {
    /// Bytes a second, at the most.
    const SCRUB_RATE: u64 = 64 << 20;

    /// Checks the blob that was not checked for longest, if that is longer than `interval`. Answers how long there is
    /// nothing to do.
    async fn scrub(self: &Arc<Self>, interval: Duration) -> Result<Duration, CacheError> {
        let Some((blob, checked_at)) = self.db.next_to_check()? else { return Ok(LOOK) };
        let due = checked_at.saturating_add(interval.as_secs());
        if let Some(early) = due.checked_sub(now()).filter(|early| *early > 0) {
            return Ok(Duration::from_secs(early).min(LOOK));
        }
        let pause = Duration::from_secs_f64((Look::STEP as u64 * BLOCK_SIZE) as f64 / Self::SCRUB_RATE as f64);
        match self.look_through(blob, Some(pause), &mut |_| {}).await {
            Ok(found) => {
                self.metrics.scrubbed_blobs.add(1);
                tracing::debug!(blob = %blob.id, ?found, "checked in the background");
            }
            Err(error @ (CacheError::Stopping | CacheError::Database(_))) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, blob = %blob.id, "a cached file cannot be checked");
                // The others must not wait behind it.
                self.db.checked(blob, false).await?;
            }
        }
        Ok(Duration::ZERO)
    }
}
