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
