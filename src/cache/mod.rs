//! The block cache: contents by name, fetched a block at a time, kept on this disk.
//!
//! `fs` reads through it; it asks an [`Origin`] for what is missing and records what landed in `db`. One sparse file a
//! blob, so a finished one is a plain file. It knows nothing of paths, mounts or FUSE.
//!
//! - A block is recorded only after its bytes are synced (`recorder`), so a crash never makes a hole look like data.
//! - A block is fetched once however many readers want it (`flights`), and served only if its checksum holds (`lease`).
//! - A blob is sealed when it is complete and equals what its origin states (`seal`).

mod backing;
mod block_map;
mod changes;
mod fetch;
mod files;
mod fill;
mod flights;
mod lease;
mod recorder;
mod seal;
mod slots;
mod uncached;
mod verify;
mod warm;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use changes::SealChanges;
pub use fill::Fill;
pub use lease::Lease;
pub use verify::Verified;

pub use crate::db::Seal;
use crate::db::{Database, DbError};
use crate::metrics::Metrics;
use crate::origin::{Origin, OriginError};
use crate::types::{Blob, BlobId, BlockRange, ByteRange, Identity, RemoteFile};
use flights::{Claim, Priority};
use lease::Entry;

/// Why bytes could not be had. Cloneable: one failed fetch answers many readers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CacheError {
    #[error(transparent)]
    Origin(#[from] OriginError),
    #[error("{path}: {source}")]
    Disk { path: PathBuf, source: Arc<std::io::Error> },
    #[error("{0}")]
    Database(Arc<DbError>),
    #[error(
        "{0} does not match its hash, however often it is fetched: the origin or a proxy before it serves wrong bytes"
    )]
    Quarantined(BlobId),
    #[error("{0} was fetched and does not stay complete; the daemon's log says why")]
    NotKept(BlobId),
    #[error("the daemon is stopping")]
    Stopping,
}

impl From<DbError> for CacheError {
    fn from(error: DbError) -> Self {
        CacheError::Database(Arc::new(error))
    }
}

#[derive(Debug, Clone, Copy)]
pub struct CacheSettings {
    /// A read fails after this long without one byte for its block.
    pub give_up: Duration,
    /// Bytes that all fetches together may hold between socket and disk.
    pub memory: u64,
}

/// The contents on this node, shared by every mount.
pub struct BlockCache {
    store: files::BlobStore,
    db: Arc<Database>,
    origin: Arc<dyn Origin>,
    metrics: Arc<Metrics>,
    settings: CacheSettings,
    /// Every entry somebody holds. There is never more than one of a blob, so nothing that landed is overlooked.
    entries: Mutex<HashMap<Blob, Weak<Entry>>>,
    /// Keeps entries alive a while after their last reader, with their open file and checked blocks.
    recent: moka::sync::Cache<Blob, Arc<Entry>>,
    recorder: recorder::Recorder,
    watchers: Mutex<Vec<Weak<SealChanges>>>,
    slots: slots::Slots,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl BlockCache {
    /// Entries, and so open files, that stay after their last reader.
    const RECENT: u64 = 512;
    /// Rounds of waiting for one read. Only damage and denied leaders make a second one necessary.
    const ROUNDS: usize = 4;
    /// Blocks that one request of a prefetch brings.
    const PREFETCH_RUN: usize = 8;
    /// How long [`BlockCache::stop`] waits for the record of what has landed.
    const STOP_DEADLINE: Duration = Duration::from_secs(20);

    /// Must be called within a tokio runtime, on which the fetches then run.
    pub fn open(
        directory: &Path,
        db: Arc<Database>,
        origin: Arc<dyn Origin>,
        metrics: Arc<Metrics>,
        settings: CacheSettings,
    ) -> Result<Arc<Self>, CacheError> {
        let tasks = TaskTracker::new();
        Ok(Arc::new(Self {
            store: files::BlobStore::open(directory)?,
            recorder: recorder::Recorder::start(db.clone(), tasks.clone()),
            db,
            origin,
            metrics,
            settings,
            entries: Mutex::default(),
            recent: moka::sync::Cache::new(Self::RECENT),
            watchers: Mutex::default(),
            slots: slots::Slots::new(settings.memory),
            tasks,
            stopping: CancellationToken::new(),
        }))
    }

    /// Takes hold of a blob. While the lease lives the blob is not evicted.
    pub fn lease(self: &Arc<Self>, blob: Blob) -> Result<Lease, CacheError> {
        if let Some(entry) = self.recent.get(&blob) {
            return Ok(Lease(entry));
        }
        let mut entries = self.entries.lock();
        let entry = match entries.get(&blob).and_then(Weak::upgrade) {
            Some(entry) => entry,
            None => {
                let entry = Arc::new(Entry::load(blob, &self.store, &self.db)?);
                entries.retain(|_, entry| entry.strong_count() > 0);
                entries.insert(blob, Arc::downgrade(&entry));
                self.seal_if_complete(&entry);
                entry
            }
        };
        drop(entries);
        self.recent.insert(blob, entry.clone());
        Ok(Lease(entry))
    }

    /// Answers from this disk, or `None` if a block is missing or damaged. Never waits for the network.
    ///
    /// `range` lies inside the blob; the answer is in `buffer`, which is best reused.
    pub fn try_read<'b>(
        self: &Arc<Self>,
        lease: &Lease,
        range: ByteRange,
        buffer: &'b mut Vec<u8>,
    ) -> Option<&'b [u8]> {
        match lease.0.read(range, buffer) {
            Ok(Some(bytes)) => Some(bytes),
            Ok(None) => None,
            Err(damage) => {
                self.drop_damaged(&lease.0, damage);
                None
            }
        }
    }

    /// Brings the blocks of `range` here, joining fetches that are under way. Afterwards `try_read` answers.
    pub async fn fetch(
        self: &Arc<Self>,
        identity: &Identity,
        file: &RemoteFile,
        lease: &Lease,
        range: ByteRange,
    ) -> Result<(), CacheError> {
        let mut outcome = Ok(());
        for _ in 0..Self::ROUNDS {
            let waits = self.claim(identity, file, &lease.0, range.blocks(), Priority::Demand)?;
            if waits.is_empty() {
                return Ok(());
            }
            outcome = Ok(());
            for wait in waits {
                if let Err(error) = wait.landed().await {
                    // Another identity was refused what this one may have: ask again with this one's credential.
                    let theirs = matches!(&error, CacheError::Origin(error) if error.depends_on_identity())
                        && wait.led_by() != identity.digest();
                    if !theirs {
                        return Err(error);
                    }
                    outcome = Err(error);
                }
            }
        }
        outcome
    }

    /// Starts bringing the blocks of `range` here and returns at once. What fails is fetched again on demand.
    pub fn prefetch(self: &Arc<Self>, identity: &Identity, file: &RemoteFile, lease: &Lease, range: ByteRange) {
        if let Err(error) = self.claim(identity, file, &lease.0, range.blocks(), Priority::Prefetch) {
            tracing::debug!(%error, "no read-ahead");
        }
    }

    fn claim(
        self: &Arc<Self>,
        identity: &Identity,
        file: &RemoteFile,
        entry: &Arc<Entry>,
        blocks: BlockRange,
        priority: Priority,
    ) -> Result<Vec<flights::Wait>, CacheError> {
        if self.stopping.is_cancelled() {
            return Err(CacheError::Stopping);
        }
        entry.refuse_quarantined()?;
        let claims = self.claims(identity, entry, blocks, priority);
        let mut waits = Vec::with_capacity(claims.len());
        for claim in claims {
            match claim {
                Claim::Wait(wait) => waits.push(wait),
                Claim::Lead(flight) => {
                    waits.push(flight.wait());
                    self.lead(identity, file, entry, flight, None);
                }
            }
        }
        Ok(waits)
    }

    fn claims(&self, identity: &Identity, entry: &Entry, blocks: BlockRange, priority: Priority) -> Vec<Claim> {
        if fetch::is_proved_first(&entry.blob) {
            return entry.flights.claim_whole(&entry.map, identity.digest(), priority).into_iter().collect();
        }
        let longest = match priority {
            Priority::Demand => usize::MAX,
            Priority::Prefetch => Self::PREFETCH_RUN,
        };
        entry.flights.claim(&entry.map, blocks, longest, identity.digest(), priority)
    }

    fn lead(
        self: &Arc<Self>,
        identity: &Identity,
        file: &RemoteFile,
        entry: &Arc<Entry>,
        flight: Arc<flights::Flight>,
        slot: Option<slots::Slot>,
    ) {
        let landing = fetch::Landing::new(entry.clone(), flight.clone());
        let (cache, identity, file, entry) = (self.clone(), identity.clone(), file.clone(), entry.clone());
        self.tasks.spawn(fetch::Leader { cache, identity, file, entry, flight, landing, slot }.run());
    }

    /// The map has forgotten these blocks; the record follows, in its turn.
    fn drop_damaged(&self, entry: &Arc<Entry>, damage: BlockRange) {
        self.metrics.damaged_blocks.add(damage.len() as u64);
        tracing::warn!(
            blob = %entry.blob.id, first = damage.first.0, blocks = damage.len(),
            "bytes on disk no longer match their checksum; they are fetched again"
        );
        self.recorder.forgotten(entry, damage);
        self.announce(entry.blob);
    }

    /// Drops every block of a blob that is not what it is called.
    fn forget_all(&self, entry: &Arc<Entry>) {
        self.recorder.forgotten(entry, entry.lost(entry.map.all()));
        self.announce(entry.blob);
    }

    /// Waits until everything that has landed is recorded.
    pub async fn flush(&self) {
        self.recorder.flush().await;
    }

    /// Ends every fetch and records what has landed.
    pub async fn stop(&self) {
        self.stopping.cancel();
        let recorded = tokio::time::timeout(Self::STOP_DEADLINE, async {
            self.recorder.stop().await;
            self.tasks.close();
            self.tasks.wait().await;
        });
        if recorded.await.is_err() {
            tracing::warn!("the disk is too slow to record the last blocks; they will be fetched again");
        }
    }
}

#[cfg(test)]
mod tests;
