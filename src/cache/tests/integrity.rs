//! Damage, wrong bytes and what becomes of them.

use super::*;
use crate::cache::Verified;

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

#[tokio::test(start_paused = true)]
async fn a_content_that_was_given_up_stays_so_after_a_restart_until_it_is_verified() {
    let origin = Scripted::new(3 << 20);
    origin.troubles.lock().extend((0..2).map(|_| Trouble::FlipAt(5)));
    let bench = Bench::new(origin);
    let range = ByteRange::new(0, 10);
    assert!(matches!(bench.read(range).await, Err(CacheError::Quarantined(_))));
    let bench = bench.restart().await;
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
