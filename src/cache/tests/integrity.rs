//! Damage, wrong bytes and what becomes of them.

use super::*;
use crate::cache::Verified;
use crate::cache::disk::{Disk, LocalDisk};

async fn verify(bench: &Bench) -> Verified {
    let (mut last, size) = (0, bench.file.blob.size);
    let mut progress = |done| {
        assert!(done >= last && done <= size);
        last = done;
    };
    let found = bench.cache.verify(bench.file.blob, &mut progress).await.unwrap();
    assert_eq!(last, size);
    found
}

const WHOLE: ByteRange = ByteRange { start: 0, end: LARGE as u64 };

#[tokio::test]
async fn verify_finds_damage_under_a_sealed_blob_and_the_next_read_repairs_it() {
    let bench = Bench::new(Scripted::new(LARGE + 77));
    let whole = ByteRange::new(0, bench.file.blob.size);
    bench.read(whole).await.unwrap();
    bench.sealed().await;
    let changes = bench.cache.seal_changes();
    assert!(verify(&bench).await.proved);
    bench.damage(5 * BLOCK_SIZE + 7);
    let found = verify(&bench).await;
    let expected = Verified { present_bytes: whole.len(), damaged_bytes: BLOCK_SIZE, complete: true, proved: false };
    assert_eq!(found, expected);
    assert_eq!(bench.lease().0.seal(), None);
    assert_eq!(changes.next().await, bench.file.blob, "the kernel must stop reading it past the daemon");
    let lease = bench.lease();
    assert!(bench.cache.try_read(&lease, blocks(5, 6), &mut Vec::new()).is_none());
    bench.origin.asked.lock().clear();
    assert!(bench.read(whole).await.unwrap() == bench.content(whole));
    assert_eq!(bench.origin.asked_bytes(), BLOCK_SIZE, "what was sound is kept");
    bench.sealed().await;
    assert!(verify(&bench).await.proved);
}

#[tokio::test]
async fn verify_looks_at_a_partial_blob_block_by_block() {
    let bench = Bench::new(Scripted::new(LARGE));
    bench.read(blocks(2, 6)).await.unwrap();
    bench.damage(3 * BLOCK_SIZE);
    let found = verify(&bench).await;
    let expected =
        Verified { present_bytes: 4 * BLOCK_SIZE, damaged_bytes: BLOCK_SIZE, complete: false, proved: false };
    assert_eq!(found, expected);
    let bench = bench.restart().await;
    assert!(bench.read(blocks(2, 6)).await.unwrap() == bench.content(blocks(2, 6)));
    assert_eq!(bench.origin.asked_bytes(), BLOCK_SIZE);
}

#[tokio::test]
async fn verify_of_what_is_not_here_finds_nothing_and_makes_nothing() {
    let bench = Bench::new(Scripted::new(LARGE));
    let found = bench.cache.verify(bench.file.blob, &mut |_| {}).await.unwrap();
    assert_eq!(found, Verified::default());
    assert!(!bench.folder.path().join("blobs/sha256").exists());
}

#[tokio::test]
async fn readers_see_right_bytes_while_their_blob_is_verified() {
    let bench = Bench::new(Scripted::new(LARGE));
    bench.read(WHOLE).await.unwrap();
    bench.sealed().await;
    bench.damage(7 * BLOCK_SIZE + 1);
    // As after a restart: nothing is known to be sound.
    bench.lease().0.distrust();
    let reads = async {
        for block in (0..12).rev() {
            let range = blocks(block, block + 1);
            assert!(bench.read(range).await.unwrap() == bench.content(range));
        }
    };
    let (found, ()) = tokio::join!(verify(&bench), reads);
    assert!(found.damaged_bytes <= BLOCK_SIZE);
    assert!(bench.read(WHOLE).await.unwrap() == bench.content(WHOLE));
}

#[tokio::test]
async fn a_content_that_was_given_up_stays_so_after_a_restart_until_it_is_verified() {
    let origin = Scripted::new(3 << 20);
    origin.troubles.lock().extend((0..2).map(|_| Trouble::FlipAt(5)));
    let bench = Bench::new(origin);
    let range = ByteRange::new(0, 10);
    assert!(matches!(bench.read(range).await, Err(CacheError::Quarantined(_))));
    let bench = bench.restart().await;
    assert!(bench.cache.was_mismatched(&bench.file.blob), "a kernel that outlived the daemon may keep wrong pages");
    assert!(matches!(bench.read(range).await, Err(CacheError::Quarantined(_))));
    assert_eq!(bench.origin.asked_bytes(), 0, "nobody is asked for it");
    assert_eq!(verify(&bench).await, Verified::default());
    assert!(bench.read(range).await.unwrap() == bench.content(range));
    let bench = bench.restart().await;
    assert!(bench.read(range).await.unwrap() == bench.content(range));
}

#[tokio::test]
async fn one_wrong_content_is_forgiven_when_the_right_one_is_proved() {
    let origin = Scripted::new(3 << 20);
    origin.troubles.lock().push(Trouble::FlipAt(5));
    let bench = Bench::new(origin);
    bench.read(ByteRange::new(0, 10)).await.unwrap();
    bench.sealed().await;
    assert_eq!(bench.cache.db.blob(&bench.file.blob).unwrap().unwrap().mismatches, 0);
}

fn with(origin: Scripted, integrity: IntegritySettings) -> Bench {
    Bench::with(tempfile::tempdir().unwrap(), Arc::new(origin), integrity)
}

const PROVED_FIRST: IntegritySettings =
    IntegritySettings { proved_before_read: true, check_every_read: false, scrub_interval: None };

#[tokio::test]
async fn with_proof_before_read_wrong_bytes_of_a_large_file_are_never_served() {
    let origin = Scripted::new(LARGE);
    // The block that is read is right; one far from it is wrong.
    origin.troubles.lock().extend([Trouble::None, Trouble::FlipAt(5)]);
    let bench = with(origin, PROVED_FIRST);
    assert!(bench.read(blocks(0, 1)).await.unwrap() == bench.content(blocks(0, 1)));
    assert_eq!(bench.metrics.mismatched_blobs.get(), 1);
    assert!(bench.lease().0.is_proved());
    assert!(bench.read(WHOLE).await.unwrap() == bench.content(WHOLE));
}

#[tokio::test]
async fn with_proof_before_read_a_partial_file_serves_nothing() {
    let bench = Bench::new(Scripted::new(LARGE));
    bench.read(blocks(0, 6)).await.unwrap();
    bench.cache.stop().await;
    let Bench { folder, origin, cache, .. } = bench;
    drop(cache);
    origin.asked.lock().clear();
    let bench = Bench::with(folder, origin, PROVED_FIRST);
    assert!(bench.cache.try_read(&bench.lease(), blocks(0, 1), &mut Vec::new()).is_none());
    assert!(bench.read(blocks(0, 1)).await.unwrap() == bench.content(blocks(0, 1)));
    assert_eq!(bench.origin.asked_bytes(), 6 * BLOCK_SIZE, "what was here is not fetched again");
}

#[tokio::test]
async fn with_proof_before_read_an_origin_that_stays_wrong_gives_an_error() {
    let origin = Scripted::new(LARGE);
    origin.troubles.lock().extend((0..10).map(|_| Trouble::FlipAt(5)));
    let bench = with(origin, PROVED_FIRST);
    let read = bench.read(blocks(3, 4)).await;
    assert!(matches!(read, Err(CacheError::Quarantined(_))), "{:?}", read.err());
}

#[tokio::test(start_paused = true)]
async fn with_proof_before_read_a_slow_origin_is_waited_for_as_long_as_it_delivers() {
    let mut origin = Scripted::new(LARGE);
    let gate = Arc::new(Semaphore::new(0));
    origin.gate = Some(gate.clone());
    let bench = with(origin, PROVED_FIRST);
    let trickle = async {
        for _ in 0..LARGE / PIECE {
            tokio::time::sleep(Duration::from_secs(10)).await;
            gate.add_permits(1);
        }
    };
    let (read, ()) = tokio::join!(bench.read(blocks(0, 1)), trickle);
    assert!(read.unwrap() == bench.content(blocks(0, 1)), "it took longer than a read without progress may");
}

#[tokio::test]
async fn with_every_read_checked_damage_after_the_first_read_is_found_too() {
    let every = IntegritySettings { check_every_read: true, ..IntegritySettings::default() };
    let bench = with(Scripted::new(LARGE + 99), every);
    let whole = ByteRange::new(0, bench.file.blob.size);
    bench.read(whole).await.unwrap();
    for (at, range) in
        [(3, ByteRange::at(3 * BLOCK_SIZE + 500, 1000)), (12, ByteRange::new(LARGE as u64 - 10, whole.end))]
    {
        bench.damage(at * BLOCK_SIZE + 7);
        assert!(bench.cache.try_read(&bench.lease(), range, &mut Vec::new()).is_none());
        assert!(bench.read(range).await.unwrap() == bench.content(range));
    }
    assert_eq!(bench.metrics.damaged_blocks.get(), 2);
    assert!(bench.cache.checks_every_read());
}

impl Bench {
    fn stored(&self) -> std::path::PathBuf {
        self.lease().0.file.path().to_owned()
    }

    /// Ends, has `change` done to the cache's folder, and starts again.
    async fn restart_after(self, change: impl FnOnce(&std::path::Path)) -> Self {
        self.restart_with(IntegritySettings::default(), change).await
    }

    async fn restart_with(self, integrity: IntegritySettings, change: impl FnOnce(&std::path::Path)) -> Self {
        self.cache.stop().await;
        let Self { folder, origin, cache, .. } = self;
        drop(cache);
        change(folder.path());
        origin.asked.lock().clear();
        Self::with(folder, origin, integrity)
    }
}

fn lose_database(folder: &std::path::Path) {
    std::fs::remove_file(folder.join("models.db")).unwrap();
    for companion in ["models.db-wal", "models.db-shm"] {
        let _ = std::fs::remove_file(folder.join(companion));
    }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.unwrap_or_else(|_| panic!("still not: {what}"));
}

#[tokio::test]
async fn without_a_database_whole_files_are_proved_by_their_names_and_not_fetched_again() {
    let bench = Bench::new(Scripted::new(LARGE + 5));
    let whole = ByteRange::new(0, bench.file.blob.size);
    bench.read(whole).await.unwrap();
    bench.sealed().await;
    let bench = bench.restart_after(lose_database).await;
    assert!(bench.read(whole).await.unwrap() == bench.content(whole));
    bench.sealed().await;
    assert_eq!((bench.metrics.recovered_blobs.get(), bench.origin.asked_bytes()), (1, 0));
    let bench = bench.restart().await;
    assert!(bench.read(whole).await.unwrap() == bench.content(whole));
    assert_eq!(bench.origin.asked_bytes(), 0, "and now it is on record");
}

#[tokio::test]
async fn a_database_that_is_lost_is_made_up_for_though_nobody_reads() {
    let bench = Bench::new(Scripted::new(LARGE));
    bench.read(WHOLE).await.unwrap();
    bench.sealed().await;
    let bench = bench.restart_after(lose_database).await;
    until("it is on record again", || {
        bench.cache.db.blob(&bench.file.blob).unwrap().is_some_and(|row| row.seal.is_some())
    })
    .await;
    assert_eq!(bench.metrics.recovered_blobs.get(), 1);
}

#[tokio::test]
async fn without_a_database_what_cannot_be_proved_is_dropped_and_fetched() {
    let bench = Bench::new(Scripted::new(LARGE));
    bench.read(WHOLE).await.unwrap();
    let path = bench.stored();
    bench.damage(7 * BLOCK_SIZE);
    let bench = bench.restart_after(lose_database).await;
    assert!(bench.read(blocks(0, 2)).await.unwrap() == bench.content(blocks(0, 2)), "who waited for it leads anew");
    assert_eq!(bench.metrics.recovered_blobs.get(), 0);
    let bench = bench.restart_after(lose_database).await;
    until("the partial file is gone", || !path.exists()).await;
    assert_eq!(bench.metrics.swept_files.get(), 1);
    assert!(bench.read(WHOLE).await.unwrap() == bench.content(WHOLE));
}

#[tokio::test]
async fn what_does_not_belong_to_the_cache_is_swept_and_nothing_beyond_it() {
    let bench = Bench::new(Scripted::new(LARGE));
    bench.read(WHOLE).await.unwrap();
    bench.sealed().await;
    let path = bench.stored();
    let outside = tempfile::tempdir().unwrap();
    let precious = outside.path().join("precious");
    std::fs::write(&precious, "mine").unwrap();
    let etag = "ab".repeat(32);
    let plant = |folder: &std::path::Path| {
        let blobs = folder.join("blobs");
        std::fs::write(blobs.join("sample"), "").unwrap();
        std::fs::write(blobs.join("evicted-17-3"), "x").unwrap();
        std::fs::write(blobs.join("notes.txt"), "the user's").unwrap();
        std::fs::create_dir_all(blobs.join("sha256/ab/folder")).unwrap();
        std::fs::write(blobs.join("sha256/ab/folder/file"), "x").unwrap();
        std::fs::write(blobs.join("sha256/ab/what-is-this"), "x").unwrap();
        std::fs::write(blobs.join(format!("sha256/ab/{etag}-100")), "short").unwrap();
        std::fs::write(blobs.join(format!("sha256/ab/{etag}-4")), "lies").unwrap();
        std::os::unix::fs::symlink(&precious, blobs.join("sha256/ab/link")).unwrap();
        std::os::unix::fs::symlink(outside.path(), blobs.join("git-sha1")).unwrap();
        std::os::unix::fs::symlink(outside.path(), blobs.join("sha256/cd")).unwrap();
    };
    let bench = bench.restart_after(plant).await;
    let left = |name: &str| bench.folder.path().join("blobs").join(name).symlink_metadata().is_ok();
    until("all is swept", || bench.metrics.swept_files.get() == 4).await;
    for gone in ["sample", "evicted-17-3", "sha256/ab/what-is-this", "sha256/ab/link"] {
        assert!(!left(gone), "{gone}");
    }
    assert!(!left(&format!("sha256/ab/{etag}-100")) && !left(&format!("sha256/ab/{etag}-4")));
    for kept in ["notes.txt", "sha256/ab/folder/file", "git-sha1", "sha256/cd"] {
        assert!(left(kept), "{kept}");
    }
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "mine");
    assert!(path.exists(), "what is on record stays");
    assert!(bench.read(WHOLE).await.unwrap() == bench.content(WHOLE));
    assert_eq!(bench.origin.asked_bytes(), 0);
}

#[tokio::test]
async fn a_record_whose_file_is_gone_or_short_is_struck_off() {
    for cut in [false, true] {
        let bench = Bench::new(Scripted::new(LARGE));
        bench.read(WHOLE).await.unwrap();
        bench.sealed().await;
        let path = bench.stored();
        let take_away = |_: &std::path::Path| match cut {
            true => std::fs::File::options().write(true).open(&path).unwrap().set_len(5 * BLOCK_SIZE).unwrap(),
            false => std::fs::remove_file(&path).unwrap(),
        };
        let bench = bench.restart_after(take_away).await;
        until("what is not there takes up no space", || bench.cache.space().used == 0).await;
        until("nothing is on record", || bench.cache.db.recorded().unwrap().is_empty()).await;
        assert!(bench.read(WHOLE).await.unwrap() == bench.content(WHOLE));
    }
}

#[tokio::test]
async fn scrubbing_finds_damage_that_nobody_has_read() {
    let scrubbed = IntegritySettings { scrub_interval: Some(Duration::from_secs(1)), ..IntegritySettings::default() };
    let bench = with(Scripted::new(LARGE), scrubbed);
    bench.read(WHOLE).await.unwrap();
    bench.sealed().await;
    bench.damage(9 * BLOCK_SIZE + 3);
    until("it is found", || bench.metrics.damaged_blocks.get() == 1).await;
    assert!(bench.lease().0.seal().is_none());
    bench.origin.asked.lock().clear();
    assert!(bench.read(WHOLE).await.unwrap() == bench.content(WHOLE));
    assert_eq!(bench.origin.asked_bytes(), BLOCK_SIZE);
    bench.cache.stop().await;
}

#[tokio::test]
async fn scrubbing_leaves_alone_what_was_checked_lately() {
    let rarely = IntegritySettings { scrub_interval: Some(Duration::from_secs(3600)), ..IntegritySettings::default() };
    let bench = with(Scripted::new(LARGE), rarely);
    bench.read(blocks(0, 4)).await.unwrap();
    bench.cache.flush().await;
    let (blob, checked_at) = bench.cache.db.next_to_check().unwrap().unwrap();
    assert_eq!(blob, bench.file.blob);
    assert!(checked_at > 0, "what is recorded now is known to be sound now");
}

/// The same bytes as a file in git.
fn in_git(origin: &Scripted) -> RemoteFile {
    use sha1::Sha1;
    let header = format!("blob {}\0", origin.content.len());
    let id = BlobId::GitSha1(Sha1::new().chain_update(header).chain_update(&origin.content).finalize().into());
    let file = origin.file();
    RemoteFile { blob: Blob { id, ..file.blob }, ..file }
}

fn inode(path: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).unwrap().ino()
}

#[tokio::test]
async fn equal_contents_of_two_names_become_one_file_and_stay_sealed() {
    let mut bench = Bench::new(Scripted::new(3 << 20));
    let range = ByteRange::new(0, 3 << 20);
    let (lfs, git) = (bench.file.clone(), in_git(&bench.origin));
    let mut leases = Vec::new();
    for file in [&lfs, &git] {
        bench.file = file.clone();
        bench.read(range).await.unwrap();
        bench.sealed().await;
        leases.push(bench.lease());
    }
    let paths: Vec<_> = leases.iter().map(|lease| lease.0.file.path().to_owned()).collect();
    until("they are one file", || inode(&paths[0]) == inode(&paths[1])).await;
    let stamped = |bench: &Bench| {
        let stamp = LocalDisk.stamp(&std::fs::File::open(&paths[0]).unwrap()).unwrap();
        [&lfs, &git].iter().all(|file| bench.cache.db.blob(&file.blob).unwrap().unwrap().seal.unwrap().file == stamp)
    };
    until("both are recorded as they look now", || stamped(&bench)).await;
    assert_eq!(bench.metrics.shared_blobs.get(), 1);
    for lease in &leases {
        let epoch = lease.0.seal().unwrap().epoch;
        assert!(bench.cache.sealed_file(lease, epoch).is_some(), "both may still be read past this process");
    }
    drop(leases);
    let mut bench = bench.restart().await;
    for file in [&lfs, &git] {
        bench.file = file.clone();
        let lease = bench.lease();
        let epoch = lease.0.seal().unwrap().epoch;
        assert!(bench.cache.sealed_file(&lease, epoch).is_some());
        assert!(bench.read(range).await.unwrap() == bench.content(range));
    }
    assert_eq!(bench.origin.asked_bytes(), 0);
    // One of them goes; the other stays what it is.
    bench.file = lfs;
    let evicted = bench.cache.evict(git.blob).await.unwrap();
    assert_eq!(evicted, crate::cache::Evicted::Freed(3 << 20));
    assert!(!paths[1].exists());
    let bench = bench.restart().await;
    assert!(bench.read(range).await.unwrap() == bench.content(range));
    assert_eq!(bench.origin.asked_bytes(), 0);
}

#[tokio::test]
async fn nothing_is_sealed_once_nothing_is_recorded_any_more() {
    let bench = Bench::new(Scripted::new(LARGE));
    let last = LARGE as u64 / BLOCK_SIZE - 1;
    bench.read(blocks(0, last)).await.unwrap();
    bench.cache.stop().await;
    let entry = bench.lease().0.clone();
    let bytes = bytes::Bytes::copy_from_slice(bench.content(blocks(last, last + 1)));
    entry.land(crate::types::BlockIndex(last as u32), &[bytes]).unwrap();
    bench.cache.seal_if_complete(&entry);
    entry.settled().await;
    assert!(bench.cache.db.blob(&bench.file.blob).unwrap().unwrap().seal.is_none(), "a block of it is not on record");
}

#[tokio::test]
async fn a_found_file_that_cannot_be_opened_keeps_no_other_from_being_proved() {
    let bench = Bench::new(Scripted::new(LARGE));
    let folder = bench.folder.path().join("blobs/sha256");
    std::fs::create_dir_all(&folder).unwrap();
    let broken = [7, 8, 9].map(|byte| Blob { id: BlobId::Sha256([byte; 32]), size: 4 });
    for blob in &broken {
        // Nothing opens below what is no folder.
        std::fs::write(folder.join(&blob.id.etag()[..2]), "").unwrap();
    }
    bench.cache.found.lock().extend(broken);
    bench.cache.recover_found().await.unwrap();
    assert!(bench.cache.found.lock().is_empty(), "all had their turn");
}

#[tokio::test]
async fn with_proof_before_read_what_cannot_stay_is_not_brought() {
    let space = SpaceSettings { max_size: Some(5 * BLOCK_SIZE), ..SpaceSettings::default() };
    let settings =
        CacheSettings { give_up: Duration::from_secs(60), memory: 128 << 20, space, integrity: PROVED_FIRST };
    let bench = Bench::by(tempfile::tempdir().unwrap(), Arc::new(Scripted::new(LARGE)), settings);
    let read = bench.read(blocks(0, 1)).await;
    assert!(matches!(read, Err(CacheError::NotKept(_))), "{:?}", read.err());
    assert_eq!(bench.origin.asked_bytes(), 0);
}
