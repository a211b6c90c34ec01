//! Wrong bytes, damage and loss, at the origin, on the disk and in the database: a reader sees the right bytes or an error.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Advice;
use rustix::io::Errno;
use test_hub::{Fault, Files, Hub, Target};
use weightfs::cache::IntegritySettings;
use weightfs::db::Database;

use crate::harness::{NodeOptions, World, eventually, names, noise};

const MIB: usize = 1 << 20;

/// A model whose one file is too large to be proved before its first byte is served.
struct Model {
    world: World,
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Model {
    fn new(options: NodeOptions) -> Self {
        let hub = Hub::start().unwrap();
        let bytes = noise(5, 12 * MIB);
        let commit = hub.commit("acme/big", Files::new().bytes("model.safetensors", bytes.clone())).unwrap();
        let world = World::with(hub, options, None);
        let path = world.file("acme/big", &commit, "model.safetensors");
        Self { world, path, bytes }
    }

    fn stored(&self) -> PathBuf {
        self.world.stored(&self.path, self.bytes.len())
    }

    fn read_all(&self) {
        assert!(fs::read(&self.path).unwrap() == self.bytes);
    }

    fn until_sealed(&self) {
        let db = self.world.cache_directory().join("models.db");
        let db = rusqlite::Connection::open_with_flags(db, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let sealed = || {
            let count = "SELECT count(*) FROM blobs WHERE sealed_at IS NOT NULL";
            db.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap() == 1
        };
        eventually("the content is sealed", sealed);
    }
}

fn integrity(integrity: IntegritySettings) -> NodeOptions {
    NodeOptions { integrity, ..NodeOptions::default() }
}

fn read_at(file: &File, at: usize, len: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; len];
    file.read_exact_at(&mut buffer, at as u64).map(|()| buffer)
}

/// So that the next read comes to the daemon again.
fn drop_pages(file: &File) {
    rustix::fs::fadvise(file, 0, None, Advice::DontNeed).unwrap();
}

fn damage(path: &Path, at: usize) {
    File::options().write(true).open(path).unwrap().write_all_at(b"damage", at as u64).unwrap();
}

#[test]
fn with_proof_before_read_no_wrong_byte_of_a_large_file_is_served() {
    let settings = IntegritySettings { proved_before_read: true, ..IntegritySettings::default() };
    let model = Model::new(integrity(settings));
    model.world.hub.set_faults(Fault::on(Target::Cdn).times(1).corrupt_at(3 * MIB as u64));
    let file = File::open(&model.path).unwrap();
    // The first look at any of it proves all of it.
    assert!(read_at(&file, 5 * MIB, 1000).unwrap() == model.bytes[5 * MIB..][..1000]);
    assert_eq!(model.world.node().metrics.mismatched_blobs.get(), 1);
    assert!(read_at(&file, 0, 12 * MIB).unwrap() == model.bytes);
    drop(file);
    model.read_all();
}

#[test]
fn with_every_read_checked_damage_under_an_open_file_is_never_served() {
    let settings = IntegritySettings { check_every_read: true, ..IntegritySettings::default() };
    let model = Model::new(integrity(settings));
    model.read_all();
    model.until_sealed();
    assert!(model.world.node().passthrough().contains("cache.check_reads"), "{}", model.world.node().passthrough());
    let file = File::open(&model.path).unwrap();
    for at in [2 * MIB + 5, 11 * MIB] {
        damage(&model.stored(), at);
        drop_pages(&file);
        assert!(read_at(&file, 0, 12 * MIB).unwrap() == model.bytes);
    }
    assert_eq!(model.world.node().metrics.damaged_blocks.get(), 2);
}

#[test]
fn wrong_pages_leave_the_page_cache_when_the_content_is_found_wrong() {
    let model = Model::new(NodeOptions::default());
    model.world.hub.set_faults(Fault::on(Target::Cdn).times(1).corrupt_at(3 * MIB as u64));
    // It stays open all the while: nothing but the daemon's word takes its pages away.
    let file = File::open(&model.path).unwrap();
    let first = read_at(&file, 0, 12 * MIB).unwrap();
    assert!(first != model.bytes, "a large file is served as it comes");
    eventually("the wrong page is gone", || read_at(&file, 3 * MIB, 4096).unwrap() == model.bytes[3 * MIB..][..4096]);
    assert!(read_at(&file, 0, 12 * MIB).unwrap() == model.bytes);
}

fn lose_database(cache: &Path) {
    for name in names(cache).iter().filter(|name| name.starts_with("models.db")) {
        fs::remove_file(cache.join(name)).unwrap();
    }
}

#[test]
fn a_lost_or_damaged_database_costs_no_contents() {
    let mut model = Model::new(NodeOptions::default());
    model.read_all();
    model.until_sealed();
    let garble = |cache: &Path| fs::write(cache.join("models.db"), noise(3, 40_000)).unwrap();
    let changes: [&dyn Fn(&Path); 2] = [&lose_database, &garble];
    for change in changes {
        model.world.restart_after(NodeOptions::default(), change);
        model.world.hub.clear_log();
        model.read_all();
        assert_eq!(model.world.hub.data_bytes(), 0, "only names are asked for");
        assert_eq!(model.world.node().metrics.recovered_blobs.get(), 1);
        model.until_sealed();
    }
    let kept = names(&model.world.cache_directory());
    assert!(kept.iter().any(|name| name.starts_with("models.db.damaged-")), "{kept:?}");
}

#[test]
fn scrubbing_finds_damage_under_a_file_that_is_passed_through() {
    let settings = IntegritySettings { scrub_interval: Some(Duration::from_secs(1)), ..IntegritySettings::default() };
    let model = Model::new(integrity(settings));
    model.read_all();
    model.until_sealed();
    damage(&model.stored(), 7 * MIB + 7);
    let metrics = &model.world.node().metrics;
    eventually("it is found", || metrics.damaged_blocks.get() == 1);
    model.world.hub.clear_log();
    model.read_all();
    assert_eq!(model.world.hub.data_bytes(), MIB as u64, "one block is fetched anew");
}

#[test]
fn a_branch_that_moves_on_costs_the_shard_that_changed() {
    let hub = Hub::start().unwrap();
    let shard = |seed| noise(seed, 10 * MIB);
    let push = |seeds: [u64; 3]| {
        let files = seeds.iter().enumerate().fold(Files::new(), |files, (number, seed)| {
            files.bytes(format!("model-{number}.safetensors"), shard(*seed))
        });
        hub.commit("acme/shards", files).unwrap()
    };
    let (one, two) = (push([1, 2, 3]), push([1, 9, 3]));
    let world = World::new(hub);
    let read = |commit: &str, seeds: [u64; 3]| {
        for (number, seed) in seeds.iter().enumerate() {
            let path = world.file("acme/shards", commit, &format!("model-{number}.safetensors"));
            assert!(fs::read(path).unwrap() == shard(*seed));
        }
    };
    read(&one, [1, 2, 3]);
    world.hub.clear_log();
    read(&two, [1, 9, 3]);
    assert_eq!(world.hub.data_bytes(), 10 * MIB as u64);
}

/// A small xorshift: the same flips in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn flip(&mut self, path: &Path) {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let at = self.below(file.metadata().unwrap().len());
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        byte[0] ^= 1 << self.below(8);
        file.write_all_at(&byte, at).unwrap();
    }
}

#[test]
fn flipped_bits_on_the_disk_are_never_served() {
    let mut model = Model::new(NodeOptions::default());
    let mut dice = Dice(77);
    // Complete at first; later what was found damaged is missing.
    model.read_all();
    for _ in 0..12 {
        let stored = model.stored();
        model.world.restart_after(NodeOptions::default(), |_| (0..4).for_each(|_| dice.flip(&stored)));
        let file = File::open(&model.path).unwrap();
        let at = dice.below(11 * MIB as u64) as usize;
        assert!(read_at(&file, at, MIB).unwrap() == model.bytes[at..at + MIB]);
        if dice.below(2) == 0 {
            model.read_all();
        }
    }
    assert!(model.world.node().metrics.mismatched_blobs.get() == 0, "the origin is not blamed");
    model.read_all();
}

#[test]
fn flipped_bits_in_the_database_lead_to_no_wrong_byte() {
    let hub = Hub::start().unwrap();
    let contents: Vec<Vec<u8>> = (0..6).map(|seed| noise(seed + 1, 40_000 + seed as usize)).collect();
    let files = |files: Files, (number, bytes): (usize, &Vec<u8>)| files.bytes(format!("{number}.bin"), bytes.clone());
    let commit = hub.commit("acme/tiny", contents.iter().enumerate().fold(Files::new(), files)).unwrap();
    let mut world = World::new(hub);
    let paths: Vec<PathBuf> =
        (0..contents.len()).map(|number| world.file("acme/tiny", &commit, &format!("{number}.bin"))).collect();
    let look = |paths: &[PathBuf]| paths.iter().map(fs::read).collect::<Vec<_>>();
    for (read, bytes) in look(&paths).into_iter().zip(&contents) {
        assert!(&read.unwrap() == bytes);
    }
    let (mut dice, mut refused, mut failed) = (Dice(4711), 0, 0);
    let mut sound = Vec::new();
    world.restart_after(NodeOptions::default(), |cache| sound = fs::read(cache.join("models.db")).unwrap());
    for round in 0..40 {
        let mut opens = false;
        let break_it = |cache: &Path| {
            let path = cache.join("models.db");
            // Until it is one that opens: what is refused says why, and that is the end of it.
            while !opens {
                lose_database(cache);
                fs::write(&path, &sound).unwrap();
                (0..1 + round / 4).for_each(|_| dice.flip(&path));
                match Database::open(&path) {
                    Ok(_) => opens = true,
                    Err(error) => {
                        assert!(error.to_string().contains("models.db"), "{error}");
                        refused += 1;
                    }
                }
            }
        };
        if let Err(error) = world.try_restart_after(NodeOptions::default(), break_it) {
            // What is found damaged in use is made anew by the next start.
            assert!(error.contains("mount again") || error.contains("log says why"), "{error}");
            refused += 1;
            world.restart();
        }
        for (read, bytes) in look(&paths).into_iter().zip(&contents) {
            match read {
                Ok(read) => assert!(&read == bytes, "round {round}: wrong bytes"),
                Err(error) => {
                    assert_ne!(error.raw_os_error(), Some(Errno::NOTCONN.raw_os_error()), "the daemon broke down");
                    failed += 1;
                }
            }
        }
    }
    assert!(refused < 40 && failed < 40 * contents.len() / 2, "{refused} refused, {failed} failed");
}
