//! Room for contents: the limits, who has been promised what, and what to say when there is none.
//!
//! Space is reserved before a fetch, so that the limits hold while bytes arrive. Called by whoever fetches and by `evict`.
//! It deletes nothing and never waits.

mod ledger;
mod policy;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::disk::{Disk, DiskSpace};
use crate::db::{HeldBlob, now};
use crate::types::{Blob, RepoId};
pub(super) use ledger::{Ledger, Load};
pub(super) use policy::{surplus, unused};

/// What may be kept, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct SpaceSettings {
    /// Of all contents together; `None` is without limit.
    pub max_size: Option<u64>,
    /// Whether anything is evicted but on request. If not, a full cache keeps nothing new.
    pub evict: bool,
    pub check_interval: Duration,
    /// What was not used for longer goes.
    pub unused_threshold: Duration,
    pub max_models: Option<u64>,
    /// What the cache's file system is to have free.
    pub min_free: Option<u64>,
    /// The same in hundredths of it.
    pub min_free_percent: Option<u64>,
}

impl Default for SpaceSettings {
    fn default() -> Self {
        Self {
            max_size: None,
            evict: true,
            check_interval: Duration::from_secs(3600),
            unused_threshold: Duration::from_secs(7 * 24 * 3600),
            max_models: None,
            min_free: None,
            min_free_percent: None,
        }
    }
}

/// How full the cache is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceState {
    pub limit: Option<u64>,
    /// Contents on this disk and what fetches under way will bring.
    pub used: u64,
    /// What may still come in before something must go: by the limit and by the disk.
    pub free: u64,
}

pub(super) struct Space {
    pub(super) settings: SpaceSettings,
    disk: Arc<dyn Disk>,
    /// On the file system whose free space counts.
    directory: PathBuf,
    ledger: Mutex<Ledger>,
    /// Who makes room does it alone.
    pub(super) evicting: tokio::sync::Mutex<()>,
    /// Counts whatever may have made something evictable.
    changes: Arc<AtomicU64>,
    /// Nothing could be evicted then: as long as nothing changes it is not tried again for a moment.
    futile: Mutex<Option<(u64, Instant)>>,
    /// The disk refused a write: nothing is written before this.
    pause: Mutex<Option<Instant>>,
    warned: Mutex<HashMap<RepoId, Instant>>,
}

/// Bytes promised to a fetch. What it does not spend is free again when this goes.
pub(super) struct Reservation {
    space: Arc<Space>,
    bytes: u64,
}

/// How many bytes must go before there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lack(pub(super) u64);

impl Space {
    /// The database and what clients write have this much of a disk to themselves: no block fills it.
    const RESERVE: (u64, u64) = (8 << 20, 64 << 20);
    /// How long a disk that refused a write is left alone.
    const PAUSE: Duration = Duration::from_secs(2);
    const FUTILE: Duration = Duration::from_secs(1);
    /// One warning a model in this time.
    const QUIET: Duration = Duration::from_secs(60);
    const WARNED: usize = 1024;

    pub(super) fn new(
        disk: Arc<dyn Disk>,
        directory: &Path,
        settings: SpaceSettings,
        held: Vec<HeldBlob>,
    ) -> Arc<Self> {
        let mut ledger = Ledger::default();
        ledger.enter(held);
        Arc::new(Self {
            settings,
            disk,
            directory: directory.to_owned(),
            ledger: Mutex::new(ledger),
            evicting: tokio::sync::Mutex::default(),
            changes: Arc::default(),
            futile: Mutex::default(),
            pause: Mutex::default(),
            warned: Mutex::default(),
        })
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock()
    }

    /// To be counted up when something may have become evictable.
    pub(super) fn changes(&self) -> Arc<AtomicU64> {
        self.changes.clone()
    }

    pub(super) fn touch(&self, blob: &Blob) {
        self.ledger().touch(blob, now());
    }

    /// Room for `bytes` if there is any now.
    pub(super) fn try_reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, Lack> {
        let available = self.available();
        let mut ledger = self.ledger();
        let lack = if bytes == 0 { 0 } else { self.lack(&ledger, available, bytes) };
        match lack {
            0 => {
                ledger.reserve(bytes);
                Ok(Reservation { space: self.clone(), bytes })
            }
            lack => Err(Lack(lack)),
        }
    }

    /// Whether `bytes` could come now.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        let available = self.available();
        self.lack(&self.ledger(), available, bytes) == 0
    }

    /// By how much there is too much already, if all is to be as the settings say.
    pub(super) fn excess(&self) -> u64 {
        let available = self.available();
        self.lack(&self.ledger(), available, 0)
    }

    /// What must go before `bytes` more may come.
    fn lack(&self, ledger: &Ledger, available: Option<DiskSpace>, bytes: u64) -> u64 {
        let by_limit = self.settings.max_size.map_or(0, |max| (ledger.total() + bytes).saturating_sub(max));
        // What is promised is not written yet. A disk that does not say how full it is has the last word by itself.
        let by_disk =
            available.map_or(0, |disk| (self.floor(disk) + ledger.reserved() + bytes).saturating_sub(disk.free));
        let by_pause = if self.is_paused() { bytes } else { 0 };
        by_limit.max(by_disk).max(by_pause)
    }

    /// What is to stay free on the disk.
    fn floor(&self, disk: DiskSpace) -> u64 {
        let reserve = (disk.size / 100).clamp(Self::RESERVE.0, Self::RESERVE.1);
        let part = disk.size / 100 * self.settings.min_free_percent.unwrap_or(0);
        reserve.max(part).max(self.settings.min_free.unwrap_or(0))
    }

    fn available(&self) -> Option<DiskSpace> {
        self.disk.space(&self.directory).ok()
    }

    pub(super) fn state(&self) -> SpaceState {
        let available = self.available();
        let ledger = self.ledger();
        let used = ledger.total();
        let by_limit = self.settings.max_size.map_or(u64::MAX, |max| max.saturating_sub(used));
        let by_disk = available.map_or(u64::MAX, |disk| disk.free.saturating_sub(self.floor(disk) + ledger.reserved()));
        SpaceState { limit: self.settings.max_size, used, free: by_limit.min(by_disk) }
    }

    /// The disk did not take a write.
    pub(super) fn refused(&self) {
        *self.pause.lock() = Some(Instant::now() + Self::PAUSE);
    }

    /// Something was deleted: the disk may take writes again.
    pub(super) fn resume(&self) {
        *self.pause.lock() = None;
    }

    fn is_paused(&self) -> bool {
        self.pause.lock().is_some_and(|until| Instant::now() < until)
    }

    /// Where the search for something to evict begins; with it [`Space::nothing_to_evict`] tells what it came to.
    pub(super) fn look(&self) -> Option<u64> {
        let now = self.changes.load(Ordering::Acquire);
        let futile = self.futile.lock().is_some_and(|(then, at)| then == now && at.elapsed() < Self::FUTILE);
        (!futile).then_some(now)
    }

    pub(super) fn nothing_to_evict(&self, since: u64) {
        *self.futile.lock() = Some((since, Instant::now()));
    }

    /// Whether it is time to say again that there is no room for this model.
    pub(super) fn may_warn(&self, repo: &RepoId) -> bool {
        let mut warned = self.warned.lock();
        warned.retain(|_, at| at.elapsed() < Self::QUIET);
        if warned.contains_key(repo) || warned.len() >= Self::WARNED {
            return false;
        }
        warned.insert(repo.clone(), Instant::now());
        true
    }
}

impl Reservation {
    /// A block has been written into what was reserved for it.
    pub(super) fn spend(&mut self, blob: Blob, bytes: u64, load: &Load) {
        let spent = bytes.min(self.bytes);
        self.bytes -= spent;
        self.space.ledger().spend(blob, spent, load, now());
    }

    pub(super) fn covers(&self, bytes: u64) -> bool {
        self.bytes >= bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.space.ledger().release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(settings: SpaceSettings) -> (tempfile::TempDir, Arc<Space>) {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::new(Arc::new(crate::cache::disk::LocalDisk), folder.path(), settings, Vec::new());
        (folder, space)
    }

    #[test]
    fn what_is_promised_is_gone_until_it_is_given_back() {
        let (_folder, space) = space(SpaceSettings { max_size: Some(100), ..SpaceSettings::default() });
        let first = space.try_reserve(60).ok().unwrap();
        assert_eq!(space.try_reserve(60).err(), Some(Lack(20)));
        assert_eq!(space.state().free, 40);
        drop(first);
        assert!(space.try_reserve(60).is_ok());
    }

    #[test]
    fn what_is_to_stay_free_on_the_disk_is_not_promised() {
        let (_folder, space) = space(SpaceSettings { min_free: Some(1 << 60), ..SpaceSettings::default() });
        assert!(space.try_reserve(1).is_err());
        assert_eq!(space.state().free, 0);
    }

    #[test]
    fn of_what_is_to_stay_free_in_bytes_and_in_hundredths_the_larger_counts() {
        let disk = DiskSpace { size: 1000 << 30, free: 0 };
        for (min_free, min_free_percent, floor) in
            [(None, Some(15), 150 << 30), (Some(200 << 30), Some(15), 200 << 30), (Some(1), Some(0), 64 << 20)]
        {
            let (_folder, space) = space(SpaceSettings { min_free, min_free_percent, ..SpaceSettings::default() });
            assert_eq!(space.floor(disk) >> 20, floor >> 20);
        }
    }

    #[test]
    fn a_disk_that_refused_a_write_is_left_alone_until_something_goes() {
        let (_folder, space) = space(SpaceSettings::default());
        space.refused();
        assert!(space.try_reserve(1).is_err());
        space.resume();
        assert!(space.try_reserve(1).is_ok());
    }

    #[test]
    fn a_search_that_found_nothing_is_not_repeated_until_something_changes() {
        let (_folder, space) = space(SpaceSettings::default());
        let since = space.look().unwrap();
        space.nothing_to_evict(since);
        assert_eq!(space.look(), None);
        space.changes().fetch_add(1, Ordering::AcqRel);
        assert!(space.look().is_some());
    }

    #[test]
    fn one_warning_a_model() {
        let (_folder, space) = space(SpaceSettings::default());
        let (one, other) = ("acme/one".parse().unwrap(), "acme/other".parse().unwrap());
        assert!(space.may_warn(&one) && !space.may_warn(&one) && space.may_warn(&other));
    }
}
