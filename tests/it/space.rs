//! Limits hold, what is in use stays, and a reader never notices that there is no room.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use test_hub::{Files, Hub};
use weightfs::cache::{Evicted, SpaceSettings};

use crate::harness::{NodeOptions, World, eventually, noise};
use crate::passthrough::{Map, is_hot};

const MIB: usize = 1 << 20;
/// A file system's own rounding, and what names take.
const ROUNDING: u64 = 1 << 20;

/// Models of one file each.
struct Models {
    world: World,
    files: Vec<PathBuf>,
    bytes: Vec<Vec<u8>>,
}

impl Models {
    fn new(sizes: &[usize], space: SpaceSettings) -> Self {
        Self::within(tempfile::tempdir().unwrap(), sizes, space)
    }

    fn within(folder: tempfile::TempDir, sizes: &[usize], space: SpaceSettings) -> Self {
        let hub = Hub::start().unwrap();
        let bytes: Vec<_> = sizes.iter().enumerate().map(|(number, len)| noise(number as u64 + 20, *len)).collect();
        let commit = |number: usize| {
            let files = Files::new().bytes("model.safetensors", bytes[number].clone());
            hub.commit(format!("acme/model-{number}").as_str(), files).unwrap()
        };
        let commits: Vec<_> = (0..sizes.len()).map(commit).collect();
        let world = World::within(folder, hub, NodeOptions { space, ..NodeOptions::default() }, None);
        let file = |(number, commit): (usize, &String)| {
            world.file(&format!("acme/model-{number}"), commit, "model.safetensors")
        };
        let files = commits.iter().enumerate().map(file).collect();
        Self { world, files, bytes }
    }

    fn read(&self, number: usize) {
        assert!(fs::read(&self.files[number]).unwrap() == self.bytes[number], "wrong bytes");
    }

    fn open(&self, number: usize) -> File {
        File::open(&self.files[number]).unwrap()
    }

    fn blob(&self, number: usize) -> weightfs::types::Blob {
        self.world.blob(&self.files[number], self.bytes[number].len())
    }

    /// Which of them are wholly on the disk.
    fn held(&self) -> Vec<bool> {
        let whole = |number: &usize| {
            let len = self.bytes[*number].len();
            let stored = fs::metadata(self.world.stored(&self.files[*number], len));
            stored.is_ok_and(|stored| stored.blocks() * 512 >= len as u64)
        };
        (0..self.files.len()).collect::<Vec<_>>().iter().map(whole).collect()
    }

    /// Reads it all, and waits until the kernel reads it without the daemon.
    fn heat(&self, number: usize) {
        self.read(number);
        eventually("the complete file is hot", || is_hot(&fs::metadata(&self.files[number]).unwrap()));
    }

    /// Waits until the kernel has let the daemon know that nobody has it open, and it is deleted.
    fn evict(&self, number: usize) {
        eventually("it may be evicted", || matches!(self.world.node().evict(self.blob(number)), Evicted::Freed(_)));
    }
}

fn limit(mib: usize) -> SpaceSettings {
    SpaceSettings { max_size: Some((mib * MIB) as u64), ..SpaceSettings::default() }
}

#[test]
fn a_file_larger_than_the_limit_reads_to_its_end_in_a_row_and_mapped() {
    let models = Models::new(&[70 * MIB + 123], limit(16));
    models.read(0);
    models.read(0);
    let file = models.open(0);
    assert!(Map::of(&file, models.bytes[0].len()).bytes() == models.bytes[0]);
    let mut buffer = vec![0; 3 * MIB];
    for at in [60 * MIB, 5 * MIB + 77, 33 * MIB] {
        file.read_exact_at(&mut buffer, at as u64).unwrap();
        assert!(buffer == models.bytes[0][at..at + buffer.len()]);
    }
    assert!(models.world.disk_usage() <= 16 * MIB as u64 + ROUNDING);
    assert!(models.world.node().metrics.unkept_blocks.get() > 0);
}

#[test]
fn limits_hold_on_the_disk_while_eight_readers_download() {
    let Some(small) = Small::new(&[12 * MIB; 8], limit(30)) else { return };
    let models = &small.models;
    let running = AtomicBool::new(true);
    thread::scope(|scope| {
        let sampling = scope.spawn(|| {
            let mut most = 0;
            while running.load(Ordering::Acquire) {
                most = most.max(small.used());
                assert!(models.world.node().cache().space().used <= 30 * MIB as u64);
            }
            most
        });
        let readers: Vec<_> = (0..8)
            .map(|number| {
                scope.spawn({
                    let models = &models;
                    move || [0, 3].into_iter().for_each(|on| models.read((number + on) % 8))
                })
            })
            .collect();
        let read: Vec<_> = readers.into_iter().map(|reader| reader.join()).collect();
        running.store(false, Ordering::Release);
        let most = sampling.join().unwrap();
        // The whole disk at one moment: the database and its log are on it too.
        assert!(most <= 38 * MIB as u64, "{most}");
        read.into_iter().for_each(|read| read.unwrap());
    });
}

#[test]
fn the_file_opened_longest_ago_goes_first_also_where_opens_are_passed_through() {
    let models = Models::new(&[10 * MIB; 4], limit(30));
    (0..3).for_each(|number| models.heat(number));
    let served = models.world.node().metrics.read_bytes.get();
    // No byte of this goes through the daemon.
    models.read(0);
    assert_eq!(models.world.node().metrics.read_bytes.get(), served);
    models.read(3);
    assert_eq!(models.held(), [true, false, true, true]);
    models.read(2);
    models.read(1);
    assert_eq!(models.held(), [false, true, true, true]);
}

#[test]
fn what_is_open_mapped_passed_through_or_kept_stays_whatever_comes() {
    let models = Models::new(&[10 * MIB; 8], limit(45));
    (0..4).for_each(|number| models.heat(number));
    let hot = models.open(0);
    let map = Map::of(&models.open(1), models.bytes[1].len());
    let commit = models.files[2].parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    models.world.node().keep(models.world.hub.endpoint(), "acme/model-2", &commit);
    models.evict(3);
    // Not complete: served by the daemon.
    let cold = models.open(3);
    let mut buffer = vec![0; 3 * MIB];
    cold.read_exact_at(&mut buffer, 0).unwrap();
    (4..8).for_each(|number| models.read(number));
    assert_eq!(models.held()[..3], [true; 3]);
    for number in 0..4 {
        assert_eq!(models.world.node().evict(models.blob(number)), Evicted::InUse);
    }
    assert!(map.bytes() == models.bytes[1]);
    hot.read_exact_at(&mut buffer, 5 * MIB as u64).unwrap();
    assert!(buffer == models.bytes[0][5 * MIB..8 * MIB]);
    drop(map);
    models.evict(1);
}

#[test]
fn an_evicted_file_reads_on_by_a_path_that_is_known_and_comes_back() {
    let models = Models::new(&[10 * MIB, 3 * MIB], SpaceSettings::default());
    for number in [0, 1] {
        models.heat(number);
        models.evict(number);
        assert!(!models.held()[number]);
        models.read(number);
        models.heat(number);
    }
    let metrics = &models.world.node().metrics;
    assert_eq!((metrics.damaged_blocks.get(), metrics.evicted_blobs.get()), (0, 2));
}

#[test]
fn eviction_that_races_with_readers_costs_no_wrong_byte_and_no_error() {
    let models = Models::new(&[9 * MIB, 3 * MIB, 10 * MIB], limit(16));
    let running = AtomicBool::new(true);
    thread::scope(|scope| {
        let evictor = scope.spawn(|| {
            while running.load(Ordering::Acquire) {
                for number in 0..3 {
                    models.world.node().evict(models.blob(number));
                }
                thread::sleep(std::time::Duration::from_millis(2));
            }
        });
        let readers: Vec<_> = (0..4)
            .map(|reader| {
                let models = &models;
                scope.spawn(move || {
                    for round in 0..8 {
                        let file = models.open((reader + round) % 3);
                        // What the kernel has would hide what the cache does.
                        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
                        models.read((reader + round) % 3);
                    }
                })
            })
            .collect();
        let read: Vec<_> = readers.into_iter().map(|reader| reader.join()).collect();
        running.store(false, Ordering::Release);
        evictor.join().unwrap();
        read.into_iter().for_each(|read| read.unwrap());
    });
    assert!(models.world.node().metrics.evicted_blobs.get() > 0);
}

#[test]
fn df_shows_the_limit_and_what_is_free_of_it() {
    let models = Models::new(&[10 * MIB], limit(64));
    let df = || {
        let stat = rustix::fs::statvfs(models.world.mount_point()).unwrap();
        (stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize)
    };
    assert_eq!(df(), (64 << 20, 64 << 20));
    models.read(0);
    eventually("what is used is not free", || df() == (64 << 20, 54 << 20));
}

/// A small disk, unmounted however the test ends.
struct Disk(PathBuf);

impl Disk {
    fn at(folder: &Path, mib: usize) -> Option<Self> {
        let options = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(folder.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Models whose cache has a disk of its own, of 64 MiB. It goes after what lies on it.
struct Small {
    models: Models,
    disk: Disk,
    _folder: tempfile::TempDir,
}

impl Small {
    fn new(sizes: &[usize], space: SpaceSettings) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let Some(disk) = Disk::at(folder.path(), 64) else {
            eprintln!("skipped: no tmpfs may be mounted here");
            return None;
        };
        let models = Models::within(tempfile::tempdir_in(folder.path()).unwrap(), sizes, space);
        Some(Self { models, disk, _folder: folder })
    }

    fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.disk.0).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    fn used(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.disk.0).unwrap();
        (stat.f_blocks - stat.f_bfree) * stat.f_frsize
    }

    /// Until the last byte: not even the database can write.
    fn fill_up(&self) -> PathBuf {
        let filler = self.disk.0.join("filler");
        let _ = std::io::copy(&mut std::io::repeat(1), &mut File::create(&filler).unwrap());
        assert_eq!(self.free(), 0);
        filler
    }
}

#[test]
fn a_model_larger_than_the_disk_reads_right_and_leaves_the_disk_its_reserve() {
    let Some(small) = Small::new(&[128 * MIB, 20 * MIB], SpaceSettings::default()) else { return };
    let models = &small.models;
    models.read(0);
    models.read(1);
    let file = models.open(0);
    assert!(Map::of(&file, models.bytes[0].len()).bytes() == models.bytes[0]);
    assert!(models.world.node().metrics.unkept_blocks.get() > 0);
    assert!(small.free() > 2 * MIB as u64, "the database has room: {}", small.free());
}

#[test]
fn a_disk_that_others_filled_is_not_the_readers_trouble_and_keeping_resumes() {
    let Some(small) = Small::new(&[20 * MIB, 3 * MIB], SpaceSettings::default()) else { return };
    let models = &small.models;
    for file in &models.files {
        fs::metadata(file).unwrap();
    }
    let filler = small.fill_up();
    (0..2).for_each(|number| models.read(number));
    fs::remove_file(&filler).unwrap();
    eventually("keeping resumes", || {
        for number in 0..2 {
            rustix::fs::fadvise(models.open(number), 0, None, rustix::fs::Advice::DontNeed).unwrap();
            models.read(number);
        }
        models.held() == [true, true]
    });
}

#[test]
fn a_disk_that_fills_up_under_a_download_is_not_the_readers_trouble() {
    let Some(small) = Small::new(&[40 * MIB], SpaceSettings { evict: false, ..SpaceSettings::default() }) else {
        return;
    };
    let models = &small.models;
    models.world.hub.set_options(test_hub::Options { link_bandwidth: Some(20 << 20), ..test_hub::Options::default() });
    let file = models.open(0);
    let mut buffer = vec![0; 2 * MIB];
    for at in (0..40 * MIB).step_by(2 * MIB) {
        if at == 6 * MIB {
            small.fill_up();
        }
        file.read_exact_at(&mut buffer, at as u64).unwrap();
        assert!(buffer == models.bytes[0][at..at + buffer.len()]);
    }
    let metrics = &models.world.node().metrics;
    assert_eq!(metrics.damaged_blocks.get(), 0);
    assert!(metrics.unkept_blocks.get() > 0);
}
