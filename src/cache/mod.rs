//! The block cache: contents by name, fetched a block at a time, kept on this disk.
//!
//! `fs` reads through it; it asks an [`Origin`] for what is missing and records what landed in `db`. One sparse file a
//! blob, so a finished one is a plain file. It knows nothing of paths, mounts or FUSE.
//!
//! - A block is recorded only after its bytes are synced (`recorder`), so a crash never makes a hole look like data.
//! - A block is fetched once however many readers want it (`flights`), and served only if its checksum holds (`reading`).
//! - A blob is sealed when it is complete and equals what its origin states (`seal`).
//! - Space is reserved before a fetch (`space`); what nobody uses makes room (`evict`), and what finds none is served
//!   without being kept (`unkept`).

mod adopt;
mod backing;
mod block_map;
mod changes;
mod copy_out;
mod disk;
mod evict;
mod fetch;
mod files;
mod fill;
mod flights;
mod holds;
mod lease;
mod local;
mod proof;
mod proved;
mod reading;
mod recent;
mod recorder;
mod recovery;
mod scrub;
mod seal;
mod sealing;
mod share;
mod slots;
mod space;
mod stated;
mod sync;
mod uncached;
mod unkept;
mod upkeep;
mod verify;
mod warm;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// For tests/bench/micro.
#[cfg(feature = "benching")]
pub use block_map::BlockMap;

pub use adopt::{Adopted, Sharing};
pub use changes::SealChanges;
pub use evict::Evicted;
pub use fill::Fill;
pub use lease::{Lease, Pages};
pub use proof::Proof;
pub use slots::Traffic;
pub use space::{SpaceSettings, SpaceState};
pub use verify::Verified;

pub use crate::db::Seal;
use crate::db::{Database, DbError};
use crate::metrics::Metrics;
use crate::origin::{Origin, OriginError};
use crate::types::{BLOCK_SIZE, Blob, BlobId, BlockRange, ByteRange, Identity, RemoteFile};
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
    #[error("cannot be written: {0}")]
    NotWritten(Arc<std::io::Error>),
    #[error("the cache is full, and nothing in it can be evicted")]
    NoRoom,
    /// For those who waited: it is missing as before, and theirs to bring.
    #[error("whoever brought it gave it up")]
    GivenUp,
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
    /// Bytes that all fetches together may hold between socket and disk, and after it where there is no room.
    pub memory: u64,
    pub space: SpaceSettings,
    pub integrity: IntegritySettings,
}

/// How much is proved when.
#[derive(Debug, Clone, Copy, Default)]
pub struct IntegritySettings {
    /// No byte of a large content is served before the whole is proved.
    pub proved_before_read: bool,
    /// Every read proves its blocks, not only the first one of each.
    pub check_every_read: bool,
    /// How long after its last check a blob is read again in the background; `None` is never.
    pub scrub_interval: Option<Duration>,
}

/// What a fetch brought, held for the reader who asked for it.
#[derive(Default)]
pub struct Fetched(Vec<Arc<unkept::UnkeptRun>>);

impl Fetched {
    /// Holds what of `range` is in memory now, besides what it holds already.
    fn hold(&mut self, entry: &Entry, range: ByteRange) {
        if range.len() > BlockCache::HOLD_AT_ONCE {
            return;
        }
        for run in entry.unkept.hold(range) {
            if !self.0.iter().any(|held| Arc::ptr_eq(held, &run)) {
                self.0.push(run);
            }
        }
    }
}

/// The contents on this node, shared by every mount.
pub struct BlockCache {
    store: Arc<files::BlobStore>,
    db: Arc<Database>,
    origin: Arc<dyn Origin>,
    metrics: Arc<Metrics>,
    settings: CacheSettings,
    /// Every entry somebody holds. There is never more than one of a blob, so nothing that landed is overlooked.
    entries: Mutex<HashMap<Blob, Weak<Entry>>>,
    /// Keeps entries alive a while after their last reader, with their open file and checked blocks.
    recent: recent::Recent,
    recorder: recorder::Recorder,
    /// Whole files that are not on record, until somebody wants them or their turn comes.
    found: Mutex<HashSet<Blob>>,
    /// Files of this disk that were tried to be taken over just now, and those that are: who asks meanwhile waits.
    taken_over: moka::future::Cache<Blob, ()>,
    /// Who makes two files one does it alone.
    sharing: Mutex<()>,
    watchers: Mutex<Vec<Weak<SealChanges>>>,
    slots: slots::Slots,
    space: Arc<space::Space>,
    unkept: unkept::Unkept,
    tasks: TaskTracker,
    /// Counts the leaders among them.
    flights: TaskTracker,
    stopping: CancellationToken,
}

impl BlockCache {
    /// Entries, and so open files, that stay after their last reader.
    const RECENT: usize = 512;
    /// Rounds of waiting for one read. Only damage and denied leaders make a second one necessary.
    const ROUNDS: usize = 4;
    /// Blocks that one request of a reader brings.
    const DEMAND_RUN: usize = 16;
    /// Blocks that one request of a prefetch brings.
    const PREFETCH_RUN: usize = 8;
    /// Blocks ahead of a reader whose file finds no room.
    const WINDOW: u64 = 4;
    /// What is longer is not read at once: nobody holds all of it in memory.
    const HOLD_AT_ONCE: u64 = 16 << 20;
    /// How long an attempt to take over a file of this disk is not made again.
    const TRIED: Duration = Duration::from_secs(60);
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
        Self::open_on(Arc::new(disk::LocalDisk), directory, db, origin, metrics, settings)
    }

    fn open_on(
        disk: Arc<dyn disk::Disk>,
        directory: &Path,
        db: Arc<Database>,
        origin: Arc<dyn Origin>,
        metrics: Arc<Metrics>,
        settings: CacheSettings,
    ) -> Result<Arc<Self>, CacheError> {
        let tasks = TaskTracker::new();
        let store = files::BlobStore::open(directory, disk.clone())?;
        let mut held = db.held_blobs()?;
        held.iter_mut().for_each(|held| held.bytes = store.taken(&held.blob, held.bytes));
        let for_unkept = settings.memory / 4;
        let cache = Arc::new(Self {
            store: Arc::new(store),
            recorder: recorder::Recorder::start(db.clone(), metrics.clone(), tasks.clone()),
            db,
            origin,
            metrics,
            settings,
            entries: Mutex::default(),
            recent: recent::Recent::new(Self::RECENT),
            found: Mutex::default(),
            taken_over: moka::future::Cache::builder().max_capacity(1024).time_to_live(Self::TRIED).build(),
            sharing: Mutex::default(),
            watchers: Mutex::default(),
            slots: slots::Slots::new(settings.memory - for_unkept),
            space: space::Space::new(disk, &directory.join("blobs"), settings.space, held),
            unkept: unkept::Unkept::new(for_unkept),
            tasks,
            flights: TaskTracker::new(),
            stopping: CancellationToken::new(),
        });
        cache.tasks.spawn(upkeep::run(Arc::downgrade(&cache), cache.stopping.clone()));
        cache.start_recovery();
        if let Some(interval) = settings.integrity.scrub_interval {
            cache.tasks.spawn(scrub::run(Arc::downgrade(&cache), interval, cache.stopping.clone()));
        }
        Ok(cache)
    }

    /// Takes hold of a blob. While the lease lives the blob is not evicted.
    pub fn lease(self: &Arc<Self>, blob: Blob) -> Result<Lease, CacheError> {
        if let Some(lease) = self.recent.get(&blob).and_then(|entry| Lease::of(&entry)) {
            return Ok(lease);
        }
        let mut entries = self.entries.lock();
        let known = entries.get(&blob).and_then(Weak::upgrade);
        let lease = match known.as_ref().and_then(Lease::of) {
            Some(lease) => lease,
            None => {
                let entry = Arc::new(match known {
                    Some(retired) => self.replace(&retired)?,
                    None => self.load(blob)?,
                });
                let lease = Lease::of(&entry).expect("nobody else knows it yet");
                entries.retain(|_, entry| entry.strong_count() > 0);
                entries.insert(blob, Arc::downgrade(&entry));
                if self.found.lock().remove(&blob) {
                    self.prove_found(&lease);
                }
                self.seal_if_complete(&entry);
                lease
            }
        };
        drop(entries);
        // A file that could not be made is tried again by the next one who comes.
        if !lease.0.file.is_nowhere() {
            self.recent.insert(lease.0.clone());
        }
        Ok(lease)
    }

    /// As the record and the disk have it. Under the lock of the entries.
    fn load(&self, blob: Blob) -> Result<Entry, CacheError> {
        let entry = Entry::load(blob, &self.store, &self.db, self.space.changes())?;
        if self.space.ledger().bytes(&blob).is_some() {
            entry.find_written();
        }
        Ok(entry)
    }

    /// Whether somebody uses a blob now: reads it, fetches it, or has it open.
    pub fn is_open(&self, blob: &Blob) -> bool {
        let entry = self.entries.lock().get(blob).and_then(Weak::upgrade);
        entry.is_some_and(|entry| entry.is_leased() || entry.file.is_open_elsewhere())
    }

    /// A blob was opened or closed: what was used last is evicted last. In memory; recorded in time.
    pub fn touch(&self, blob: &Blob) {
        self.space.touch(blob);
    }

    /// How much of a blob is on this disk.
    pub fn held_bytes(&self, blob: &Blob) -> u64 {
        self.space.ledger().bytes(blob).unwrap_or(0)
    }

    /// How full the cache is.
    pub fn space(&self) -> SpaceState {
        self.space.state()
    }

    /// What is on its way here.
    pub fn traffic(&self) -> Traffic {
        Traffic { flights: self.flights.len(), fetches: self.slots.taken() }
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
        if !self.may_serve(&lease.0) {
            return None;
        }
        let read = match self.settings.integrity.check_every_read {
            true => lease.0.read_checked(range, buffer),
            false => lease.0.read(range, buffer),
        };
        match read {
            Ok(Some(bytes)) => {
                if lease.0.is_tight.load(Ordering::Acquire) {
                    self.resume_keeping(&lease.0);
                }
                Some(bytes)
            }
            Ok(None) => None,
            Err(damage) => {
                self.drop_damaged(&lease.0, damage);
                None
            }
        }
    }

    /// Brings the blocks of `range` here, joining fetches that are under way. `try_read` answers as long as the caller
    /// has what this returns: what finds no room is in memory only.
    pub async fn fetch(
        self: &Arc<Self>,
        identity: &Identity,
        file: &RemoteFile,
        lease: &Lease,
        range: ByteRange,
    ) -> Result<Fetched, CacheError> {
        if self.must_be_whole(&lease.0.blob) {
            return self.fetch_proved(identity, file, lease).await;
        }
        self.fetch_range(identity, file, lease, range).await
    }

    async fn fetch_range(
        self: &Arc<Self>,
        identity: &Identity,
        file: &RemoteFile,
        lease: &Lease,
        range: ByteRange,
    ) -> Result<Fetched, CacheError> {
        let (mut fetched, mut outcome) = (Fetched::default(), Ok(()));
        for _ in 0..Self::ROUNDS {
            let mut waits = self.claim(identity, file, lease, range.blocks(), Priority::Demand)?;
            waits.iter_mut().for_each(|wait| wait.only_until(range.end));
            // What is here in memory only must not go while the rest comes: else readers of more than one block take
            // them from each other for ever.
            fetched.hold(&lease.0, range);
            outcome = Ok(());
            for wait in &waits {
                if let Err(error) = wait.landed().await {
                    // Another identity was refused what this one may have: ask again with this one's credential.
                    let theirs = matches!(&error, CacheError::Origin(error) if error.depends_on_identity())
                        && wait.led_by() != identity.digest();
                    // Read-ahead gave up for want of room: what a reader asks for comes all the same.
                    if !theirs && !matches!(error, CacheError::NoRoom | CacheError::GivenUp) {
                        return Err(error);
                    }
                    outcome = Err(error);
                }
            }
            // The flights hold what they brought only until here.
            fetched.hold(&lease.0, range);
            if lease.0.can_answer(range) {
                return Ok(fetched);
            }
        }
        outcome.map(|()| fetched)
    }

    /// Starts bringing the blocks of `range` here and returns at once. What fails is fetched again on demand.
    pub fn prefetch(self: &Arc<Self>, identity: &Identity, file: &RemoteFile, lease: &Lease, range: ByteRange) {
        let (mut blocks, mut priority) = (range.blocks(), Priority::Prefetch);
        if lease.0.is_tight.load(Ordering::Acquire) {
            // Several readers' windows must fit into memory, or each takes away what another waits for.
            let window = (self.unkept.capacity() / (4 * BLOCK_SIZE)).min(Self::WINDOW);
            blocks.end.0 = blocks.end.0.min(blocks.first.0 + window as u32);
            priority = Priority::Window;
        }
        if let Err(error) = self.claim(identity, file, lease, blocks, priority) {
            tracing::debug!(%error, "no read-ahead");
        }
    }

    fn claim(
        self: &Arc<Self>,
        identity: &Identity,
        file: &RemoteFile,
        lease: &Lease,
        blocks: BlockRange,
        priority: Priority,
    ) -> Result<Vec<flights::Wait>, CacheError> {
        if self.stopping.is_cancelled() {
            return Err(CacheError::Stopping);
        }
        lease.0.refuse_quarantined()?;
        let claims = self.claims(identity, &lease.0, blocks, priority);
        let mut waits = Vec::with_capacity(claims.len());
        for claim in claims {
            match claim {
                Claim::Wait(wait) => waits.push(wait),
                Claim::Lead(flight) => {
                    waits.push(flight.wait());
                    self.lead(identity, file, lease, flight, None);
                }
            }
        }
        Ok(waits)
    }

    fn claims(&self, identity: &Identity, entry: &Entry, blocks: BlockRange, priority: Priority) -> Vec<Claim> {
        let is_here = |block| entry.is_here(block);
        if fetch::is_proved_first(&entry.blob) {
            let claim = entry.flights.claim_whole(entry.map.all(), is_here, identity.digest(), priority);
            return claim.into_iter().collect();
        }
        let longest = match priority {
            Priority::Demand => Self::DEMAND_RUN,
            Priority::Window | Priority::Prefetch => Self::PREFETCH_RUN,
        };
        entry.flights.claim(is_here, blocks, longest, identity.digest(), priority)
    }

    fn lead(
        self: &Arc<Self>,
        identity: &Identity,
        file: &RemoteFile,
        lease: &Lease,
        flight: Arc<flights::Flight>,
        slot: Option<slots::Slot>,
    ) {
        let leader = fetch::Leader {
            cache: self.clone(),
            identity: identity.clone(),
            file: file.clone(),
            entry: lease.0.clone(),
            landing: fetch::Landing::new(lease.0.clone(), flight.clone()),
            flight,
            _lease: lease.clone(),
            load: space::Load::new(&file.repo, file.commit),
            slot,
            room: Mutex::default(),
        };
        let flight = self.flights.token();
        self.tasks.spawn(async move {
            leader.run().await;
            drop(flight);
        });
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
        self.unkept.forget(&entry.blob);
        self.announce(entry.blob);
    }

    /// Waits until everything that has landed is recorded.
    pub async fn flush(&self) {
        let _ = self.recorder.flush().await;
    }

    /// Records what has landed and what was used, while everything goes on.
    pub async fn record(&self) {
        self.save_uses().await;
        self.flush().await;
    }

    /// Ends every fetch and records what has landed.
    pub async fn stop(&self) {
        self.stopping.cancel();
        let recorded = tokio::time::timeout(Self::STOP_DEADLINE, async {
            self.save_uses().await;
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
