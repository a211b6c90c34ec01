//! The power goes in the middle of everything: what is left is less, and never wrong.

use xxhash_rust::xxh3::xxh3_128;

use super::disks::PowerDisk;
use super::stories::{Life, library};
use super::*;
use crate::cache::disk::LocalDisk;
use crate::db::{CHUNK_BLOCKS, trouble};
use crate::types::BlockIndex;

/// What the disk may do to names, beside losing unsynced data.
#[derive(Debug, Clone, Copy)]
struct Mode {
    evicting: bool,
    loses_names: bool,
}

/// Lives until the power goes at operation `cut_at`, and starts again on what is left. Answers whether it came to that.
async fn cut_and_start_again(seed: u64, cut_at: u64, mode: Mode) -> bool {
    let (folder, library) = (tempfile::tempdir().unwrap(), library());
    let (before, image) = (folder.path().join("before"), folder.path().join("after"));
    std::fs::create_dir_all(&before).unwrap();
    let disk = PowerDisk::new(&before, &image, seed, cut_at, mode.loses_names);
    let life = Life::begin(&before, &library, disk.clone()).unwrap();
    disk.with_database(life.db.clone());
    tokio::select! {
        () = disk.gone.notified() => {}
        () = life.live(seed, mode.evicting) => life.cache.flush().await,
    }
    let came_to_it = disk.cut_now();
    life.end().await;

    assert!(trouble::is_whole(&image.join("models.db")), "the database is torn");
    // An eviction that was forgotten leaves a record behind, and a lost name leaves nothing under one.
    let strict = !mode.evicting && !mode.loses_names;
    if strict {
        nothing_on_record_is_torn(&image, &library);
    }
    let life = Life::begin(&image, &library, Arc::new(LocalDisk)).unwrap();
    let reads = life.read_all().await;
    assert_eq!(reads.failed, 0, "{reads:?}");
    if strict {
        assert_eq!(life.metrics.damaged_blocks.get(), 0, "what is on record was not on the disk");
    }
    life.all_sealed().await;
    for file in &library.files {
        let found = life.cache.verify(file.blob, &mut |_| {}).await.unwrap();
        assert!(found.proved && found.damaged_bytes == 0, "{found:?}");
        let path = life.cache.lease(file.blob).unwrap().0.file.path().to_owned();
        assert!(std::fs::read(path).unwrap() == library.contents[&file.blob.id], "a sealed file is whole");
    }
    life.end().await;
    came_to_it
}

fn nothing_on_record_is_torn(image: &std::path::Path, library: &super::space::Library) {
    let db = Database::open(&image.join("models.db")).unwrap();
    for blob in library.files.iter().map(|file| file.blob) {
        let path = image.join("blobs").join(blob.id.tag()).join(&blob.id.etag()[..2]);
        let path = path.join(format!("{}-{}", blob.id.etag(), blob.size));
        let stored = std::fs::read(path).unwrap_or_default();
        let mut blocks = 0;
        for chunk in db.coverage(&blob).unwrap() {
            for bit in (0..CHUNK_BLOCKS).filter(|bit| chunk.present >> bit & 1 == 1) {
                let range = BlockIndex(chunk.chunk * CHUNK_BLOCKS + bit).bytes(blob.size);
                let bytes = &stored[range.start as usize..range.end as usize];
                assert!(xxh3_128(bytes) == chunk.sums[bit as usize], "a block on record is torn");
                blocks += 1;
            }
        }
        if db.blob(&blob).unwrap().is_some_and(|row| row.seal.is_some()) {
            assert_eq!(blocks, BlockRange::whole(blob.size).len(), "the seal came before the record");
            assert!(stored == library.contents[&blob.id]);
        }
    }
}

const MODES: [Mode; 3] = [
    Mode { evicting: false, loses_names: false },
    Mode { evicting: true, loses_names: false },
    Mode { evicting: true, loses_names: true },
];

/// Cuts at each `step`-th operation of each of these lives, from a first one that differs from life to life.
async fn cut_all_over(seeds: std::ops::Range<u64>, step: u64) {
    for seed in seeds {
        let mode = MODES[seed as usize % MODES.len()];
        let mut cut_at = seed % step;
        loop {
            println!("seed {seed}, cut at operation {cut_at}, {mode:?}");
            if !cut_and_start_again(seed, cut_at, mode).await {
                break;
            }
            cut_at += step;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_the_power_goes_no_recorded_block_is_torn_and_every_byte_is_right() {
    cut_all_over(0..6, 23).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; make test-full"]
async fn wherever_the_power_goes_at_length() {
    cut_all_over(100..130, 1).await;
}
