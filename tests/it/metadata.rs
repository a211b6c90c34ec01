//! Names: what is known of a model is told by this machine alone, and most of it by its kernel.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use test_hub::{Files, Hub};

use crate::harness::World;

const FILES: usize = 1000;

#[test]
fn looking_at_a_known_model_asks_no_network() {
    let hub = Hub::start().unwrap();
    let files = (0..FILES)
        .fold(Files::new(), |files, number| files.text(format!("shard-{number:04}.txt"), format!("text {number}")));
    let commit = hub.commit("acme/many", files).unwrap();
    let mut world = World::new(hub);
    let snapshot = world.repo("acme/many").join("snapshots").join(&commit);
    assert_eq!(fs::read_dir(&snapshot).unwrap().count(), FILES);
    let first = snapshot.join("shard-0000.txt");
    fs::read(&first).unwrap();
    for _ in 0..2 {
        world.hub.clear_log();
        for _ in 0..2 {
            let mut listed: Vec<_> = fs::read_dir(&snapshot).unwrap().map(Result::unwrap).collect();
            listed.sort_by_key(|entry| entry.file_name());
            assert_eq!(listed.len(), FILES);
            for (number, entry) in listed.iter().enumerate() {
                assert_eq!(fs::metadata(entry.path()).unwrap().len(), format!("text {number}").len() as u64);
            }
            assert_eq!(fs::read_dir(world.repo("acme/many").join("blobs")).unwrap().count(), FILES);
            assert_eq!(File::open(&first).unwrap().metadata().unwrap().nlink(), 1);
            assert!(fs::metadata(snapshot.join("absent.bin")).is_err());
        }
        assert_eq!(world.hub.log().len(), 0, "{:?}", world.hub.log());
        world.restart();
    }
}

/// How far the kernel reads ahead on the mount that holds `path`.
fn read_ahead_kib(path: &std::path::Path) -> u64 {
    let device = fs::metadata(path).unwrap().dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    fs::read_to_string(format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb")).unwrap().trim().parse().unwrap()
}

#[test]
fn the_kernel_reads_further_ahead_than_its_own_default() {
    let world = World::new(Hub::start().unwrap());
    if rustix::fs::access("/sys/class/bdi", rustix::fs::Access::WRITE_OK).is_err() {
        eprintln!("skipped: /sys is not for writing here");
        return;
    }
    assert_eq!(read_ahead_kib(&world.mount_point()), 256);
}
