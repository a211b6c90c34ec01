//! Large contents of which nothing is served before the whole is proved, for those who want it so.

use std::sync::Arc;

use futures::future::ready;
use futures::{StreamExt, TryStreamExt, stream};

use super::lease::{Entry, Lease};
use super::{BlockCache, CacheError, Fetched, fetch};
use crate::types::{Blob, BlockIndex, BlockRange, Identity, RemoteFile};

impl BlockCache {
    /// Runs of one file that a reader has under way while it waits for the whole.
    const RUNS: usize = 4;

    /// Whether a content that arrives block by block waits for its proof all the same.
    pub(super) fn must_be_whole(&self, blob: &Blob) -> bool {
        self.settings.integrity.proved_before_read && !fetch::is_proved_first(blob)
    }

    /// Whether what is here may be served.
    pub(super) fn may_serve(&self, entry: &Entry) -> bool {
        !self.must_be_whole(&entry.blob) || entry.is_proved()
    }

    /// Whether each read proves what it reads. Then no file may be read past this process.
    pub fn checks_every_read(&self) -> bool {
        self.settings.integrity.check_every_read
    }

    /// Brings all of a content and waits until it is proved. It may take as long as bytes keep coming.
    pub(super) async fn fetch_proved(
        self: &Arc<Self>,
        identity: &Identity,
        file: &RemoteFile,
        lease: &Lease,
    ) -> Result<Fetched, CacheError> {
        let entry = &lease.0;
        for _ in 0..Self::ROUNDS {
            if entry.is_proved() {
                return Ok(Fetched::default());
            }
            let all = entry.map.all();
            // What cannot stay is never whole: not one byte of it is worth bringing.
            if !self.could_hold(entry.map.unwritten_bytes(all), None) {
                if self.space.may_warn(&file.repo) {
                    tracing::warn!(
                        repo = %file.repo, path = %file.path, bytes = entry.blob.size,
                        "it cannot be read: cache.verify is before-read, and there is no room for all of it; raise \
                         cache.max_size_bytes, free disk space, or unpin models"
                    );
                }
                return Err(CacheError::NotKept(entry.blob.id));
            }
            let runs = (all.first.0..all.end.0).step_by(Self::PREFETCH_RUN).map(|first| {
                let end = all.end.0.min(first.saturating_add(Self::PREFETCH_RUN as u32));
                BlockRange { first: BlockIndex(first), end: BlockIndex(end) }
            });
            let runs = runs.map(|run| self.fetch_range(identity, file, lease, run.bytes(entry.blob.size)));
            stream::iter(runs).buffer_unordered(Self::RUNS).try_for_each(|_| ready(Ok(()))).await?;
            self.seal_if_complete(entry);
            tokio::select! {
                () = self.stopping.cancelled() => return Err(CacheError::Stopping),
                _ = entry.settled() => {}
            }
        }
        entry.refuse_quarantined()?;
        if entry.is_proved() { Ok(Fetched::default()) } else { Err(CacheError::NotKept(entry.blob.id)) }
    }
}
