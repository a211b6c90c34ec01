//! Bytes: the right ones, only those asked for, each fetched once.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::thread;

use test_hub::{Fault, Files, Hub, Target};

use crate::harness::{World, errno, eventually, noise};

const MIB: usize = 1 << 20;

fn big(len: usize) -> (World, String, Vec<u8>) {
    let hub = Hub::start().unwrap();
    let bytes = noise(7, len);
    let commit = hub.commit("acme/big", Files::new().bytes("model.safetensors", bytes.clone())).unwrap();
    (World::new(hub), commit, bytes)
}

#[test]
fn a_file_reads_as_the_origin_has_it() {
    let (world, commit, bytes) = big(40 * MIB + 12345);
    let path = world.file("acme/big", &commit, "model.safetensors");
    assert!(fs::read(&path).unwrap() == bytes);
    assert_eq!(world.hub.data_bytes(), bytes.len() as u64, "each byte is fetched once");
}

#[test]
fn a_read_fetches_only_the_blocks_it_needs() {
    let (world, commit, bytes) = big(64 * MIB);
    let file = File::open(world.file("acme/big", &commit, "model.safetensors")).unwrap();
    let mut buffer = vec![0; 1000];
    file.read_exact_at(&mut buffer, 50 * MIB as u64 + 17).unwrap();
    assert_eq!(buffer, bytes[50 * MIB + 17..][..1000]);
    // The kernel's own read-ahead may touch the next block.
    assert!(world.hub.data_bytes() <= 2 * MIB as u64, "{}", world.hub.data_bytes());
}

#[test]
fn many_readers_share_one_fetch() {
    let (world, commit, bytes) = big(24 * MIB);
    world.hub.set_faults(Fault::on(Target::Cdn).latency_ms(50));
    let path = world.file("acme/big", &commit, "model.safetensors");
    thread::scope(|scope| {
        for reader in 0..8 {
            let (path, bytes) = (&path, &bytes);
            scope.spawn(move || {
                let file = File::open(path).unwrap();
                let mut buffer = vec![0; 2 * MIB];
                for step in 0..12 {
                    let at = (step * 5 + reader) % 12 * 2 * MIB;
                    file.read_exact_at(&mut buffer, at as u64).unwrap();
                    assert!(buffer == bytes[at..at + buffer.len()]);
                }
            });
        }
    });
    assert_eq!(world.hub.data_bytes(), bytes.len() as u64);
}

#[test]
fn after_a_restart_nothing_recorded_is_fetched_again() {
    let (mut world, commit, bytes) = big(20 * MIB);
    let path = world.file("acme/big", &commit, "model.safetensors");
    assert!(fs::read(&path).unwrap() == bytes);
    world.restart();
    world.hub.clear_log();
    assert!(fs::read(&path).unwrap() == bytes);
    assert_eq!(world.hub.log().len(), 0, "{:?}", world.hub.log());
}

#[test]
fn offline_what_is_cached_reads_and_what_is_not_fails_at_once() {
    let (mut world, commit, bytes) = big(20 * MIB);
    let path = world.file("acme/big", &commit, "model.safetensors");
    let mut start = vec![0; MIB];
    File::open(&path).unwrap().read_exact_at(&mut start, 0).unwrap();
    fs::read(world.repo("acme/big").join("refs/main")).unwrap();
    world.restart_as(None, true);
    world.hub.stop();
    assert_eq!(fs::read_to_string(world.repo("acme/big").join("refs/main")).unwrap(), commit);
    let file = File::open(&path).unwrap();
    file.read_exact_at(&mut start, 0).unwrap();
    assert!(start == bytes[..MIB]);
    assert_eq!(errno(file.read_exact_at(&mut start, 15 * MIB as u64)), rustix::io::Errno::IO.raw_os_error());
}

#[test]
fn equal_contents_are_stored_and_fetched_once() {
    let hub = Hub::start().unwrap();
    let bytes = noise(3, 9 * MIB);
    let one = hub.commit("acme/one", Files::new().bytes("a.safetensors", bytes.clone())).unwrap();
    let two = hub.commit("acme/two", Files::new().bytes("b/c.safetensors", bytes.clone())).unwrap();
    let world = World::new(hub);
    assert!(fs::read(world.file("acme/one", &one, "a.safetensors")).unwrap() == bytes);
    assert!(fs::read(world.file("acme/two", &two, "b/c.safetensors")).unwrap() == bytes);
    assert_eq!(world.hub.data_bytes(), bytes.len() as u64);
}

#[test]
fn damage_on_disk_is_found_and_fetched_again() {
    let (mut world, commit, bytes) = big(12 * MIB);
    let path = world.file("acme/big", &commit, "model.safetensors");
    assert!(fs::read(&path).unwrap() == bytes);
    world.restart();
    let disk = File::options().write(true).open(world.stored(&path, bytes.len())).unwrap();
    disk.write_all_at(b"damage", 5 * MIB as u64 + 99).unwrap();
    world.hub.clear_log();
    assert!(fs::read(&path).unwrap() == bytes);
    assert_eq!(world.hub.data_bytes(), MIB as u64, "only the damaged block");
    assert_eq!(world.node().metrics.damaged_blocks.get(), 1);
}

#[test]
fn wrong_bytes_of_a_large_file_are_dropped_when_it_is_complete() {
    let (world, commit, bytes) = big(12 * MIB);
    world.hub.set_faults(Fault::on(Target::Cdn).times(1).corrupt_at(3 * MIB as u64));
    let path = world.file("acme/big", &commit, "model.safetensors");
    let _ = fs::read(&path);
    eventually("the mismatch is found", || world.node().metrics.mismatched_blobs.get() == 1);
    assert!(fs::read(&path).unwrap() == bytes, "the page cache must not bring the wrong page back");
}

#[test]
fn wrong_bytes_of_a_small_file_are_never_served() {
    let hub = Hub::start().unwrap();
    let bytes = noise(9, 3 * MIB);
    let commit =
        hub.commit("acme/small", Files::new().bytes("a.safetensors", bytes.clone()).text("b.txt", "text")).unwrap();
    hub.set_faults(vec![
        Fault::on(Target::Cdn).times(1).corrupt_at(MIB as u64),
        Fault::on(Target::Resolve).path("b.txt").times(1).corrupt_at(0),
    ]);
    let world = World::new(hub);
    assert!(fs::read(world.file("acme/small", &commit, "a.safetensors")).unwrap() == bytes);
    assert_eq!(fs::read(world.file("acme/small", &commit, "b.txt")).unwrap(), b"text");
    assert_eq!(world.node().metrics.mismatched_blobs.get(), 2);
}
