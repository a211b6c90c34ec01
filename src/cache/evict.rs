//! Making room: what nobody uses is struck off the record, then its file goes.
//!
//! An entry is taken out of use in one step that fails if anybody leases it, and after which nobody can. Whoever wants the
//! blob meanwhile gets a new entry with a new, empty file, and waits for nothing.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::lease::Entry;
use super::space::{Lack, Load, Reservation};
use super::{BlockCache, CacheError, fetch};
use crate::types::{BLOCK_SIZE, Blob, RepoId};

/// What came of the wish to evict a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evicted {
    /// It is gone, and this many bytes are free.
    Freed(u64),
    /// It is open, mapped, passed through, being fetched or kept.
    InUse,
    /// Nothing of it is here.
    Absent,
}

/// A file that has lost its name.
pub(super) struct Doomed {
    path: io::Result<PathBuf>,
    bytes: u64,
}

impl BlockCache {
    /// How long a fetch waits for room to be made.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// Deletes a blob unless somebody uses it or wants it kept. It goes on to the end though the caller goes away.
    pub async fn evict(self: &Arc<Self>, blob: Blob) -> Result<Evicted, CacheError> {
        let cache = self.clone();
        let work = async move {
            let _turn = cache.space.evicting.lock().await;
            if cache.db.kept_blobs()?.contains(&blob) {
                return Ok(if cache.space.ledger().bytes(&blob).is_some() { Evicted::InUse } else { Evicted::Absent });
            }
            cache.remove(blob).await
        };
        self.tasks.spawn(work).await.unwrap_or(Err(CacheError::Stopping))
    }

    /// For one at a time.
    async fn remove(&self, blob: Blob) -> Result<Evicted, CacheError> {
        let evicted = self.take_out(blob).await?;
        if let Evicted::Freed(bytes) = evicted {
            self.metrics.evicted_blobs.add(1);
            self.metrics.evicted_bytes.add(bytes);
        }
        Ok(evicted)
    }

    /// Strikes a blob off and deletes its file, unless somebody uses it. For one at a time.
    pub(super) async fn take_out(&self, blob: Blob) -> Result<Evicted, CacheError> {
        self.close_equal(&blob);
        let (entry, struck, bytes) = {
            let mut entries = self.entries.lock();
            let Some(bytes) = self.space.ledger().bytes(&blob) else { return Ok(Evicted::Absent) };
            let entry = match entries.get(&blob).and_then(Weak::upgrade) {
                Some(entry) => entry,
                None => {
                    let entry = Arc::new(self.load(blob)?);
                    entries.insert(blob, Arc::downgrade(&entry));
                    entry
                }
            };
            // From here on there is no lease, and nothing to be read.
            let Some(struck) = self.recorder.evicted(&entry, || entry.retire()) else { return Ok(Evicted::InUse) };
            (entry, struck, bytes)
        };
        self.recent.remove(&blob);
        self.announce(blob);
        let struck = struck.await.map_err(|_| CacheError::Stopping)?;
        self.take_away(&entry).await;
        if let Err(error) = struck {
            // A full disk, most likely, and now it is not. Its checksums would tell as well.
            tracing::warn!(%error, blob = %blob.id, "an evicted file is still on record; it is tried once more");
            self.db.strike_off(blob).await?;
        }
        Ok(Evicted::Freed(bytes))
    }

    /// Deletes the file of a retired entry. It may be large: not on a thread that others wait for.
    async fn take_away(&self, entry: &Arc<Entry>) {
        {
            let mut entries = self.entries.lock();
            let known = entries.get(&entry.blob).is_some_and(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(entry)));
            if known {
                self.doom(entry);
                entries.remove(&entry.blob);
            }
        }
        let Some(Doomed { path, bytes }) = entry.doomed.lock().take() else { return };
        let store = self.store.clone();
        let deleted = tokio::task::spawn_blocking(move || path.and_then(|path| store.delete(&path))).await;
        if let Ok(Err(error)) = deleted
            && error.kind() != std::io::ErrorKind::NotFound
        {
            let path = entry.file.path().display();
            tracing::warn!(%error, %path, "an evicted file takes up its space until the next start");
        }
        self.space.ledger().left(bytes);
        self.space.resume();
    }

    /// Takes the file out of the way, once. Under the lock of the entries.
    fn doom(&self, entry: &Entry) {
        entry.doomed.lock().get_or_insert_with(|| {
            let bytes = self.space.ledger().leave(&entry.blob);
            Doomed { path: self.store.doom(&entry.blob), bytes }
        });
    }

    /// Somebody wants a blob that is being evicted: he begins anew. Under the lock of the entries.
    pub(super) fn replace(&self, retired: &Entry) -> Result<Entry, CacheError> {
        self.doom(retired);
        Entry::empty(retired.blob, &self.store, self.space.changes())
    }

    /// Room for `bytes` of this entry; what nobody uses goes for it, but not what `spare` brought in.
    pub(super) async fn reserve(
        self: &Arc<Self>,
        entry: &Entry,
        bytes: u64,
        spare: Option<&Load>,
    ) -> Option<Reservation> {
        let mut reserved = self.space.try_reserve(bytes);
        if let (Err(_), true, Some(since)) = (&reserved, self.space.settings.evict, self.space.look()) {
            let (cache, spare) = (self.clone(), spare.cloned());
            let work = async move {
                let _turn = cache.space.evicting.lock().await;
                match cache.space.try_reserve(bytes) {
                    Err(Lack(lack)) => {
                        if cache.make_room(lack, spare.as_ref()).await == 0 && spare.is_none() {
                            cache.space.nothing_to_evict(since);
                        }
                        cache.space.try_reserve(bytes)
                    }
                    found => found,
                }
            };
            // It goes on to the end though nobody waits any more.
            let made = tokio::time::timeout(Self::PATIENCE, self.tasks.spawn(work)).await;
            if let Ok(Ok(made)) = made {
                reserved = made;
            }
        }
        entry.is_tight.store(reserved.is_err(), Ordering::Release);
        reserved.ok()
    }

    /// Evicts until `lack` bytes are free or there is nothing left that may go. For one at a time.
    pub(super) async fn make_room(&self, lack: u64, spare: Option<&Load>) -> u64 {
        let kept = match self.db.kept_blobs() {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(%error, "nothing is evicted: it is not known what is to be kept");
                return 0;
            }
        };
        let mut candidates = self.space.ledger().oldest_first(spare);
        candidates.retain(|(blob, _)| !kept.contains(blob));
        let mut freed = 0;
        for (blob, _) in candidates {
            if freed >= lack {
                break;
            }
            freed += self.try_remove(blob).await;
        }
        if freed > 0 {
            tracing::info!(bytes = freed, "made room: contents used longest ago are gone");
        }
        freed
    }

    /// What it freed; a failure is no reason not to try the next.
    pub(super) async fn try_remove(&self, blob: Blob) -> u64 {
        match self.remove(blob).await {
            Ok(Evicted::Freed(bytes)) => bytes,
            Ok(Evicted::InUse | Evicted::Absent) => 0,
            Err(error) => {
                tracing::warn!(%error, blob = %blob.id, "could not be evicted");
                0
            }
        }
    }

    /// Whether `bytes` could be kept if everything went that may go, but for what `spare` brought in.
    pub(super) fn could_hold(self: &Arc<Self>, bytes: u64, spare: Option<&Load>) -> bool {
        let Err(Lack(lack)) = self.space.try_reserve(bytes) else { return true };
        if !self.space.settings.evict {
            return false;
        }
        let Ok(kept) = self.db.kept_blobs() else { return false };
        let used = self.leased();
        let candidates = self.space.ledger().oldest_first(spare);
        let may_go = candidates.iter().filter(|(blob, _)| !kept.contains(blob) && !used.contains(blob));
        may_go.map(|(_, bytes)| bytes).sum::<u64>() >= lack
    }

    fn leased(&self) -> HashSet<Blob> {
        let entries = self.entries.lock();
        let leased = |entry: &Weak<Entry>| entry.upgrade().is_some_and(|entry| entry.is_leased());
        entries.iter().filter(|(_, entry)| leased(entry)).map(|(blob, _)| *blob).collect()
    }

    /// The disk did not take a block.
    pub(super) fn not_written(&self, error: &CacheError) {
        self.space.refused();
        tracing::debug!(%error, "a block is not kept");
    }

    /// What is in memory only was read once more: if there is room now, the next read fetches it to be kept.
    pub(super) fn resume_keeping(&self, entry: &Entry) {
        let at_once = if fetch::is_proved_first(&entry.blob) { entry.blob.size } else { BLOCK_SIZE };
        if !entry.file.is_nowhere() && self.space.has_room(at_once) {
            entry.is_tight.store(false, Ordering::Release);
            self.unkept.forget(&entry.blob);
        }
    }

    pub(super) fn warn_unkept(&self, repo: &RepoId) {
        if self.space.may_warn(repo) {
            let state = self.space.state();
            tracing::warn!(
                %repo, limit = state.limit, used = state.used, free = state.free,
                "the cache or its disk is full and nothing in it may be evicted: reads of this model are served without \
                 being kept, and slowly; raise cache.max_size_bytes, free disk space, or unpin models"
            );
        }
    }
}
