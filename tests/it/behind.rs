//! Huge files that leave memory behind the reader.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::mm::{MapFlags, ProtFlags};
use test_hub::{Files, Hub};

use crate::harness::{NodeOptions, World, eventually, noise};

const MIB: usize = 1 << 20;
/// More than stays in memory by far.
const HUGE: usize = 208 * MIB;
/// The window that stays, and a span that is just being read.
const STAYS: usize = 132 * MIB;

/// How much of a file is in the page cache.
fn resident(path: &Path) -> usize {
    const PAGE: usize = 4096;
    let file = File::open(path).unwrap();
    let len = file.metadata().unwrap().len() as usize;
    let null = std::ptr::null_mut();
    // SAFETY: a new mapping at an address of the kernel's choice; nothing reads through it.
    let start = unsafe { rustix::mm::mmap(null, len, ProtFlags::READ, MapFlags::SHARED, file.as_fd(), 0) }.unwrap();
    let mut pages = vec![0u8; len.div_ceil(PAGE)];
    // SAFETY: the mapping is `len` bytes long and `pages` has a byte for each page of it.
    let told = unsafe { nix::libc::mincore(start, len, pages.as_mut_ptr()) };
    assert_eq!(told, 0);
    // SAFETY: nothing borrows from it.
    unsafe { rustix::mm::munmap(start, len) }.unwrap();
    pages.iter().filter(|page| *page & 1 == 1).count() * PAGE
}

fn reads_right(path: &Path, bytes: &[u8]) {
    let mut file = File::open(path).unwrap();
    let mut buffer = vec![0; MIB];
    for expected in bytes.chunks(MIB) {
        file.read_exact(&mut buffer[..expected.len()]).unwrap();
        assert!(buffer[..expected.len()] == *expected);
    }
}

#[test]
fn a_huge_file_leaves_memory_behind_its_reader() {
    let hub = Hub::start().unwrap();
    let (bytes, small) = (noise(5, HUGE), noise(6, 9 * MIB));
    let files = Files::new().bytes("model.safetensors", bytes.clone()).bytes("small.safetensors", small.clone());
    let commit = hub.commit("acme/huge", files).unwrap();
    let options = NodeOptions { drop_behind: Some(64 << 20), ..NodeOptions::default() };
    let world = World::with(hub, options, None);
    let path = world.file("acme/huge", &commit, "model.safetensors");
    let stored = world.stored(&path, HUGE);

    for _ in 0..2 {
        reads_right(&path, &bytes);
        eventually("what was read has left the mount's pages", || resident(&path) <= STAYS);
        eventually("what was read has left the cache file's pages", || resident(&stored) <= STAYS);
    }
    assert_eq!(world.node().metrics.passthrough_opens.get(), 0, "the daemon must see what is read");
    let other = world.file("acme/huge", &commit, "small.safetensors");
    assert!(fs::read(&other).unwrap() == small);
    assert!(resident(&other) >= small.len(), "other files stay");
}
