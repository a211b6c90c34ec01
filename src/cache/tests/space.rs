//! Limits, eviction, and reads that find no room.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::cache::Evicted;
use crate::cache::unkept::UnkeptRun;
use crate::db::now;
use crate::types::{RepoId, Revision, Snapshot};

const MIB: u64 = BLOCK_SIZE;

/// Serves many contents, each the only file of a model of its own.
#[derive(Default)]
pub(super) struct Library {
    pub(super) contents: HashMap<BlobId, Vec<u8>>,
    pub(super) files: Vec<RemoteFile>,
    flips: AtomicUsize,
}

impl Library {
    pub(super) fn of(sizes: &[u64]) -> Self {
        let mut library = Self::default();
        for (number, size) in sizes.iter().enumerate() {
            // A pattern whose length is no power of two: no block is like another.
            let pattern: Vec<u8> = (0..99_991_u64).map(|at| (at.wrapping_mul(31 + number as u64) >> 3) as u8).collect();
            let mut content = pattern.repeat(*size as usize / pattern.len() + 1);
            content.truncate(*size as usize);
            let id = BlobId::Sha256(Sha256::digest(&content).into());
            library.files.push(RemoteFile {
                repo: format!("acme/model-{number}").parse().unwrap(),
                commit: Commit::from_bytes([1; 20]),
                path: RepoPath::new("model.safetensors").unwrap(),
                blob: Blob { id, size: *size },
            });
            library.contents.insert(id, content);
        }
        library
    }
}

#[async_trait]
impl Origin for Library {
    fn name(&self) -> &'static str {
        "library"
    }

    async fn open(&self, _: &Identity, file: &RemoteFile, range: ByteRange) -> Result<ByteStream, OriginError> {
        let mut bytes = self.contents[&file.blob.id][range.start as usize..range.end as usize].to_vec();
        if self.flips.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            bytes[0] ^= 1;
        }
        let pieces: Vec<_> = bytes.chunks(PIECE).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Ok(stream::iter(pieces)
            .then(async |piece| {
                tokio::task::yield_now().await;
                piece
            })
            .boxed())
    }
}

struct Full {
    folder: tempfile::TempDir,
    library: Arc<Library>,
    db: Arc<Database>,
    cache: Arc<BlockCache>,
    metrics: Arc<Metrics>,
}

impl Full {
    fn new(sizes: &[u64], space: SpaceSettings) -> Self {
        Self::over(tempfile::tempdir().unwrap(), Arc::new(Library::of(sizes)), space)
    }

    fn over(folder: tempfile::TempDir, library: Arc<Library>, space: SpaceSettings) -> Self {
        let integrity = IntegritySettings::default();
        let settings = CacheSettings { give_up: Duration::from_secs(60), memory: 128 << 20, space, integrity };
        Self::by(folder, library, settings)
    }

    fn by(folder: tempfile::TempDir, library: Arc<Library>, settings: CacheSettings) -> Self {
        let db = Arc::new(Database::open(&folder.path().join("models.db")).unwrap());
        let metrics = Arc::new(Metrics::default());
        let cache = BlockCache::open(folder.path(), db.clone(), library.clone(), metrics.clone(), settings).unwrap();
        Self { folder, library, db, cache, metrics }
    }

    async fn restart(self, space: SpaceSettings) -> Self {
        self.cache.stop().await;
        let Self { folder, library, db, cache, .. } = self;
        drop((db, cache));
        Self::over(folder, library, space)
    }

    fn file(&self, number: usize) -> &RemoteFile {
        &self.library.files[number]
    }

    fn lease(&self, number: usize) -> Lease {
        self.cache.lease(self.file(number).blob).unwrap()
    }

    /// Opens a file, reads all of it as a program does, and closes it.
    async fn read(&self, number: usize) {
        let file = self.file(number);
        let lease = self.lease(number);
        self.cache.touch(&file.blob);
        for at in (0..file.blob.size).step_by(MIB as usize) {
            let range = ByteRange::at(at, MIB).clamp(file.blob.size);
            self.read_range(file, &lease, range).await;
        }
        // A block can be read a moment before it is counted.
        while !lease.0.flights.is_idle() {
            tokio::task::yield_now().await;
        }
    }

    async fn read_range(&self, file: &RemoteFile, lease: &Lease, range: ByteRange) {
        let (cache, mut buffer) = (&self.cache, Vec::new());
        let expected = &self.library.contents[&file.blob.id][range.start as usize..range.end as usize];
        for _ in 0..3 {
            if let Some(bytes) = cache.try_read(lease, range, &mut buffer) {
                assert!(bytes == expected, "wrong bytes");
                return;
            }
            let _fetched = cache.fetch(&anybody(), file, lease, range).await.unwrap();
            if let Some(bytes) = cache.try_read(lease, range, &mut buffer) {
                assert!(bytes == expected, "wrong bytes");
                return;
            }
        }
        panic!("what was just fetched is not here");
    }

    /// How much of each is on this disk, in MiB.
    fn held(&self) -> Vec<u64> {
        let files = self.library.files.iter();
        files.map(|file| self.cache.space.ledger().bytes(&file.blob).unwrap_or(0) / MIB).collect()
    }

    fn on_disk(&self) -> u64 {
        disk_usage(&self.folder.path().join("blobs"))
    }

    async fn list(&self, number: usize) -> Revision {
        let file = self.file(number);
        let (snapshot, _) = Snapshot::new(file.repo.clone(), file.commit, [(file.path.clone(), file.blob)]);
        let identity = anybody();
        self.db.put_snapshot(&identity.endpoint, identity.digest(), Arc::new(snapshot)).await.unwrap();
        Revision::new(&file.commit.to_string()).unwrap()
    }

    async fn keep(&self, number: usize) {
        let commit = self.list(number).await;
        self.db.keep(&anybody().endpoint, &self.file(number).repo, &commit).await.unwrap();
    }
}

/// What the files below a folder take up, as `du` has it.
fn disk_usage(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let one = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_usage(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        // It was evicted between the listing and the look.
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(one).sum()
}

fn limit(mib: u64) -> SpaceSettings {
    SpaceSettings { max_size: Some(mib * MIB), ..SpaceSettings::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_while_eight_readers_download_at_once() {
    let full = Arc::new(Full::new(&[12 * MIB; 8], limit(30)));
    let running = Arc::new(AtomicBool::new(true));
    let sampling = {
        let (full, running) = (full.clone(), running.clone());
        std::thread::spawn(move || {
            let (mut samples, mut most) = (0, 0);
            while running.load(Ordering::Acquire) {
                let used = full.cache.space().used;
                assert!(used <= 30 * MIB, "promised {used}");
                // Nothing leaves while it is counted, so nothing counts twice.
                let _turn = full.cache.space.evicting.blocking_lock();
                let disk = full.on_disk();
                // A file system's own rounding and what a file's name takes.
                assert!(disk <= 30 * MIB + (1 << 20), "on disk {disk}");
                most = most.max(disk);
                samples += 1;
            }
            (samples, most)
        })
    };
    let readers = (0..8).map(|number| {
        let full = full.clone();
        tokio::spawn(async move {
            for _ in 0..2 {
                full.read(number).await;
            }
        })
    });
    for reader in readers.collect::<Vec<_>>() {
        tokio::time::timeout(Duration::from_secs(60), reader).await.expect("it hangs").unwrap();
    }
    running.store(false, Ordering::Release);
    let (samples, most) = sampling.join().unwrap();
    assert!(samples > 3 && most > 12 * MIB, "{samples} samples, at most {most}");
}

#[tokio::test]
async fn a_content_larger_than_the_limit_reads_to_its_end() {
    let full = Full::new(&[40 * MIB], limit(10));
    full.read(0).await;
    full.read(0).await;
    assert_eq!(full.held(), [10]);
    assert!(full.metrics.unkept_blocks.get() >= 30);
    assert!(full.on_disk() <= 10 * MIB + (1 << 20));
}

#[tokio::test]
async fn without_eviction_a_full_cache_keeps_nothing_new_and_loses_nothing() {
    let full = Full::new(&[12 * MIB, 12 * MIB], SpaceSettings { evict: false, ..limit(12) });
    full.read(0).await;
    full.read(1).await;
    full.cache.check_space().await.unwrap();
    assert_eq!(full.held(), [12, 0]);
    assert_eq!(full.metrics.evicted_blobs.get(), 0);
}

#[tokio::test]
async fn what_was_used_longest_ago_makes_room_and_what_is_open_or_kept_stays() {
    let full = Full::new(&[10 * MIB; 5], limit(40));
    full.keep(0).await;
    for number in 0..4 {
        full.read(number).await;
    }
    let _open = full.lease(1);
    full.read(2).await;
    full.read(4).await;
    assert_eq!(full.held(), [10, 10, 10, 0, 10], "0 is kept, 1 is open, 2 was used after 3");
    assert_eq!((full.metrics.evicted_blobs.get(), full.metrics.evicted_bytes.get()), (1, 10 * MIB));
    assert!(full.on_disk() <= 40 * MIB + (1 << 20), "what is evicted is gone at once");
    full.read(3).await;
    assert_eq!(full.held(), [10, 10, 0, 10, 10]);
}

#[tokio::test]
async fn evict_frees_what_nobody_uses_and_refuses_the_rest() {
    let full = Full::new(&[10 * MIB, 3 * MIB, MIB], SpaceSettings::default());
    let blob = |number: usize| full.file(number).blob;
    full.read(0).await;
    full.read(1).await;
    let open = full.lease(0);
    assert_eq!(full.cache.evict(blob(0)).await.unwrap(), Evicted::InUse);
    assert_eq!(full.cache.evict(blob(2)).await.unwrap(), Evicted::Absent);
    drop(open);
    full.keep(1).await;
    assert_eq!(full.cache.evict(blob(1)).await.unwrap(), Evicted::InUse);
    assert_eq!(full.cache.evict(blob(0)).await.unwrap(), Evicted::Freed(10 * MIB));
    assert_eq!(full.cache.evict(blob(0)).await.unwrap(), Evicted::Absent);
    assert!(full.on_disk() <= 4 * MIB);
    assert!(full.db.coverage(&blob(0)).unwrap().is_empty());
    full.read(0).await;
    let full = full.restart(SpaceSettings::default()).await;
    assert_eq!(full.held(), [10, 3, 0], "what came after the eviction is on record");
    assert!(full.lease(0).is_complete());
}

#[tokio::test]
async fn the_unused_go_in_time_and_the_kept_and_open_do_not() {
    let threshold = SpaceSettings { unused_threshold: Duration::from_secs(1000), ..SpaceSettings::default() };
    let full = Full::new(&[MIB; 4], threshold);
    full.keep(1).await;
    for number in 0..4 {
        full.read(number).await;
    }
    full.cache.flush().await;
    full.cache.save_uses().await;
    let long_ago = (0..3).map(|number| (full.file(number).blob, now() - 1001)).collect();
    full.db.used(long_ago).await.unwrap();
    let full = full.restart(threshold).await;
    let _open = full.lease(2);
    full.cache.check_space().await.unwrap();
    assert_eq!(full.held(), [0, 1, 1, 1], "1 is kept, 2 is open, 3 was used just now");
}

#[tokio::test]
async fn the_policy_is_applied_at_its_interval() {
    let settings = SpaceSettings { min_free: Some(1 << 60), ..SpaceSettings::default() };
    let full = Full::new(&[MIB], SpaceSettings::default());
    full.read(0).await;
    let often = SpaceSettings { check_interval: Duration::from_secs(5), ..settings };
    let full = full.restart(often).await;
    assert_eq!(full.held(), [1]);
    // The paused clock runs ahead of the database's thread, which works in real time.
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while full.held() != [0] {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(std::time::Instant::now() < deadline, "it is never checked");
    }
}

#[tokio::test]
async fn models_beyond_the_number_go_the_one_used_longest_ago_first() {
    let settings = SpaceSettings { max_models: Some(2), ..SpaceSettings::default() };
    let full = Full::new(&[MIB; 4], settings);
    for number in [2, 0, 3, 1] {
        full.list(number).await;
        full.read(number).await;
    }
    full.cache.flush().await;
    full.cache.check_space().await.unwrap();
    assert_eq!(full.held(), [0, 1, 0, 1]);
}

#[tokio::test]
async fn a_limit_that_was_lowered_is_met() {
    let full = Full::new(&[MIB; 6], SpaceSettings::default());
    for number in [5, 4, 3, 2, 1, 0] {
        full.read(number).await;
    }
    let full = full.restart(limit(2)).await;
    full.cache.check_space().await.unwrap();
    assert_eq!(full.held().iter().sum::<u64>(), 2);
}

#[tokio::test]
async fn uses_are_recorded_and_order_what_the_next_daemon_evicts() {
    let full = Full::new(&[10 * MIB; 4], limit(30));
    for number in 0..3 {
        full.read(number).await;
    }
    let uses = [(0, 300), (1, 100), (2, 200)].map(|(number, at)| (full.file(number).blob, now() - at));
    full.cache.save_uses().await;
    full.db.used(uses.into()).await.unwrap();
    let full = full.restart(limit(30)).await;
    // A use without a read: it is told to the database at the end.
    full.cache.touch(&full.file(0).blob);
    let full = full.restart(limit(30)).await;
    full.read(3).await;
    assert_eq!(full.held(), [10, 10, 0, 10]);
}

#[tokio::test]
async fn a_small_content_that_finds_no_room_is_proved_before_it_is_served_all_the_same() {
    let full = Full::new(&[3 * MIB], limit(0));
    full.library.flips.store(1, Ordering::SeqCst);
    full.read(0).await;
    assert_eq!((full.metrics.mismatched_blobs.get(), full.metrics.unkept_blocks.get()), (1, 3));
    assert_eq!(full.held(), [0]);
}

#[tokio::test]
async fn a_reader_joins_read_ahead_that_finds_no_room_and_is_served() {
    let full = Full::new(&[40 * MIB, 10 * MIB], SpaceSettings { evict: false, ..limit(12) });
    full.read(1).await;
    let (file, lease) = (full.file(0), full.lease(0));
    full.cache.prefetch(&anybody(), file, &lease, blocks(0, 40));
    for at in [0, 5, 39] {
        full.read_range(file, &lease, blocks(at, at + 1)).await;
    }
    full.cache.prefetch(&anybody(), file, &lease, blocks(20, 40));
    full.read_range(file, &lease, blocks(20, 22)).await;
    assert!(full.cache.space().used <= 12 * MIB);
}

#[tokio::test]
async fn a_file_that_will_not_fit_is_not_brought_ahead() {
    let full = Full::new(&[40 * MIB, 10 * MIB], limit(30));
    full.read(1).await;
    let fill = Fill { file: full.file(0).clone(), lease: full.lease(0), range: blocks(0, 40) };
    full.cache.fill(&anybody(), vec![fill]);
    full.cache.tasks.close();
    while !full.lease(0).0.is_tight.load(Ordering::Acquire) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(full.held(), [0, 10], "nothing goes for what cannot stay");
}

#[tokio::test]
async fn read_ahead_takes_what_others_left_and_never_what_its_own_load_brought() {
    let mut library = Library::of(&[10 * MIB, 10 * MIB, 10 * MIB]);
    let repo: RepoId = "acme/shards".parse().unwrap();
    library.files[1].repo = repo.clone();
    library.files[2].repo = repo;
    let full = Full::over(tempfile::tempdir().unwrap(), Arc::new(library), limit(22));
    full.read(1).await;
    full.read(0).await;
    let fill = || Fill { file: full.file(2).clone(), lease: full.lease(2), range: blocks(0, 10) };
    full.cache.fill(&anybody(), vec![fill()]);
    while full.held() != [0, 10, 10] {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(full.metrics.evicted_blobs.get(), 1, "the other model made room, though it was used later");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_race_with_eviction_always_get_the_right_bytes() {
    let full = Arc::new(Full::new(&[9 * MIB, 3 * MIB, 10 * MIB], limit(16)));
    let readers = (0..6).map(|reader| {
        let full = full.clone();
        tokio::spawn(async move {
            for round in 0..12 {
                full.read((reader + round) % 3).await;
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    let evictor = {
        let full = full.clone();
        tokio::spawn(async move {
            let mut freed = 0;
            for round in 0_usize.. {
                if let Evicted::Freed(_) = full.cache.evict(full.file(round % 3).blob).await.unwrap() {
                    freed += 1;
                }
                if freed > 30 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
    };
    for reader in readers {
        tokio::time::timeout(Duration::from_secs(60), reader).await.expect("it hangs").unwrap();
    }
    evictor.abort();
    let _ = evictor.await;
    assert!(full.metrics.evicted_blobs.get() > 0);
    full.cache.flush().await;
    // Whatever is on record now is what a restart finds, and it is right.
    let full = Arc::into_inner(full).unwrap().restart(limit(16)).await;
    for number in 0..3 {
        full.read(number).await;
    }
    assert_eq!((full.metrics.damaged_blocks.get(), full.metrics.mismatched_blobs.get()), (0, 0));
}

#[tokio::test]
async fn whoever_wants_a_blob_while_it_is_evicted_begins_anew() {
    let full = Full::new(&[10 * MIB], SpaceSettings::default());
    full.read(0).await;
    let entry = full.lease(0).0.clone();
    assert!(entry.retire());
    let lease = full.lease(0);
    assert!(!Arc::ptr_eq(&entry, &lease.0) && !lease.is_complete());
    full.read(0).await;
    assert!(full.lease(0).is_complete());
}

/// From now on every write to the blob's file fails as on a full disk; until what this answers is given back.
fn fill_disk_under(lease: &Lease) -> File {
    let file = lease.0.file.descriptor();
    let good = file.try_clone().unwrap();
    swap(file, &File::options().write(true).open("/dev/full").unwrap());
    good
}

/// Makes the descriptor of `file` one of `other`.
fn swap(file: &File, other: &File) {
    // SAFETY: the descriptor stays open and `file` goes on owning it: dup2 replaces what it leads to in one step.
    let mut raw = std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(file.as_raw_fd()) });
    rustix::io::dup2(other, &mut raw).unwrap();
}

#[tokio::test]
async fn a_write_that_the_disk_refuses_is_not_the_readers_trouble_and_keeping_resumes() {
    let full = Full::new(&[12 * MIB, 3 * MIB], SpaceSettings::default());
    for number in [0, 1] {
        let lease = full.lease(number);
        let good = fill_disk_under(&lease);
        let before = full.metrics.unkept_blocks.get();
        full.read(number).await;
        assert!(full.metrics.unkept_blocks.get() > before);
        assert_eq!(full.held()[number], 0);
        swap(lease.0.file.descriptor(), &good);
        full.cache.space.resume();
        // What is in memory still answers, and makes way for what is to be kept.
        full.read(number).await;
        full.read(number).await;
        assert!(lease.is_complete());
    }
    assert_eq!((full.metrics.damaged_blocks.get(), full.metrics.mismatched_blobs.get()), (0, 0));
}

#[tokio::test]
async fn what_fits_exactly_is_kept_and_takes_nothing_from_others_on_its_way() {
    let full = Full::new(&[10 * MIB; 3], limit(30));
    full.read(0).await;
    full.read(1).await;
    let lease = full.lease(2);
    let fill = || Fill { file: full.file(2).clone(), lease: full.lease(2), range: blocks(0, 10) };
    full.cache.prefetch(&anybody(), full.file(2), &lease, blocks(3, 7));
    full.cache.fill(&anybody(), vec![fill()]);
    full.read(2).await;
    assert_eq!((full.held(), full.metrics.evicted_blobs.get()), (vec![10, 10, 10], 0));
}

#[tokio::test]
async fn a_reader_of_two_blocks_keeps_the_one_while_the_other_comes() {
    let mut origin = Scripted::new(super::LARGE);
    let gate = Arc::new(Semaphore::new(0));
    origin.gate = Some(gate.clone());
    let integrity = IntegritySettings::default();
    let settings = CacheSettings { give_up: Duration::from_secs(60), memory: 4 << 20, space: limit(0), integrity };
    let bench = Bench::by(tempfile::tempdir().unwrap(), Arc::new(origin), settings);
    let (lease, pieces) = (bench.lease(), BLOCK_SIZE as usize / PIECE);
    gate.add_permits(pieces);
    drop(bench.cache.fetch(&anybody(), &bench.file, &lease, blocks(0, 1)).await.unwrap());
    assert!(lease.0.is_here(crate::types::BlockIndex(0)), "it is in memory for a moment");
    let identity = anybody();
    let fetching = bench.cache.fetch(&identity, &bench.file, &lease, blocks(0, 2));
    tokio::pin!(fetching);
    assert!(futures::poll!(&mut fetching).is_pending());
    // Other readers' blocks take all the memory that there is for what is not kept.
    let other = Blob { id: BlobId::Sha256([9; 32]), size: BLOCK_SIZE };
    let run = UnkeptRun::new(other, BlockRange::new(0..1), vec![0; BLOCK_SIZE as usize].into());
    bench.cache.unkept.put(run);
    gate.add_permits(pieces);
    let fetched = tokio::time::timeout(Duration::from_secs(10), fetching).await;
    let _fetched = fetched.expect("it fetches again what was here").unwrap();
    let mut buffer = Vec::new();
    let bytes = bench.cache.try_read(&lease, blocks(0, 2), &mut buffer);
    assert!(bytes.expect("what it waited for is here") == bench.content(blocks(0, 2)));
    assert_eq!(bench.origin.asked_bytes(), 2 * BLOCK_SIZE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_readers_of_what_finds_no_room_are_all_served_with_little_memory() {
    let library = Arc::new(Library::of(&[20 * MIB]));
    let integrity = IntegritySettings::default();
    let settings = CacheSettings { give_up: Duration::from_secs(60), memory: 4 << 20, space: limit(0), integrity };
    let full = Arc::new(Full::by(tempfile::tempdir().unwrap(), library, settings));
    let readers = (0..64_u64).map(|reader| {
        let full = full.clone();
        tokio::spawn(async move {
            let (file, lease) = (full.file(0), full.lease(0));
            for round in 0..4 {
                // Across the border of two blocks.
                let at = (reader * 7 + round * 3) % 19 * MIB + MIB / 2;
                full.read_range(file, &lease, ByteRange::at(at, MIB)).await;
            }
        })
    });
    for reader in readers.collect::<Vec<_>>() {
        tokio::time::timeout(Duration::from_secs(60), reader).await.expect("it hangs").unwrap();
    }
}

#[tokio::test]
async fn many_readers_of_one_beginning_do_not_each_cost_memory() {
    let mut origin = Scripted::new(super::LARGE);
    let gate = Arc::new(Semaphore::new(0));
    origin.gate = Some(gate.clone());
    let bench = Bench::over(tempfile::tempdir().unwrap(), Arc::new(origin));
    let lease = bench.lease();
    for pieces in 1..4 {
        gate.add_permits(1);
        let range = ByteRange::new(0, (pieces * PIECE) as u64);
        assert!(bench.read(range).await.unwrap() == bench.content(range));
    }
    assert_eq!(lease.0.unkept.hold(blocks(0, 1)).len(), 1, "the longest one is enough");
    gate.add_permits(1);
    bench.read(blocks(0, 1)).await.unwrap();
}

/// A daemon that is killed has written what it had not come to record: it took up the disk beside the limit.
#[tokio::test]
async fn what_a_killed_daemon_left_unrecorded_counts_and_is_not_paid_for_twice() {
    let full = Full::new(&[12 * MIB, 9 * MIB], SpaceSettings::default());
    let file = full.file(0).clone();
    let lease = full.lease(0);
    full.read_range(&file, &lease, ByteRange::at(0, 2 * MIB)).await;
    drop(lease);
    full.cache.flush().await;
    let path = full.cache.store.file(&file.blob).unwrap().path().to_owned();
    let left = File::options().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&left, &vec![7; 4 * MIB as usize], 5 * MIB).unwrap();
    drop(left);

    let full = full.restart(limit(12)).await;
    assert_eq!(full.held()[0], 6);
    let lease = full.lease(0);
    full.read_range(&file, &lease, ByteRange::at(6 * MIB, 2 * MIB)).await;
    assert_eq!(full.held()[0], 6, "what is written in its place takes nothing more");
    full.read_range(&file, &lease, ByteRange::at(10 * MIB, MIB)).await;
    assert_eq!(full.held()[0], 7);
    drop(lease);
    full.read(1).await;
    assert!(full.on_disk() <= 12 * MIB + (1 << 20), "{}", full.on_disk());
}
