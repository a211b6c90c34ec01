//! fio's own proof, by every way into the kernel: a file whose blocks carry a crc32c each is read back through the mount.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use test_hub::{Files, Hub};

use crate::harness::{World, eventually};
use crate::passthrough::is_hot;

/// Whole pages, as direct reads of a disk must be, and no part of the cache's own blocks.
const BLOCK: &str = "60k";
const SIZE: &str = "16800k";

const WAYS: [&[&str]; 8] = [
    &["--ioengine=psync", "--rw=read"],
    &["--ioengine=psync", "--rw=randread"],
    &["--ioengine=psync", "--rw=randread", "--numjobs=4"],
    &["--ioengine=psync", "--rw=randread", "--direct=1"],
    &["--ioengine=mmap", "--rw=read"],
    &["--ioengine=mmap", "--rw=randread"],
    &["--ioengine=libaio", "--iodepth=8", "--rw=randread"],
    &["--ioengine=libaio", "--iodepth=8", "--rw=randread", "--direct=1"],
];

fn is_there() -> bool {
    let there = Command::new("fio").arg("--version").output().is_ok();
    if !there {
        eprintln!("SKIPPED: there is no fio here; `tests/setup.sh build` installs it as root (Debian package fio)");
    }
    there
}

fn fio(file: &Path, arguments: &[&str]) -> Output {
    let name = format!("--filename={}", file.display());
    let (block, size) = (format!("--bs={BLOCK}"), format!("--size={SIZE}"));
    let mut command = Command::new("fio");
    // It leaves its state of the verification where it runs.
    command.current_dir(std::env::temp_dir()).args(["--name=it", &name, &block, &size, "--verify=crc32c"]);
    command.args(["--verify_fatal=1", "--verify_state_save=0"]).args(arguments).output().unwrap()
}

fn write(folder: &Path) -> PathBuf {
    let file = folder.join("verified.bin");
    let written = fio(&file, &["--rw=write", "--do_verify=0"]);
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    file
}

fn verify(file: &Path, way: &[&str]) -> Result<(), String> {
    let read = fio(file, &[way, &["--readonly", "--allow_file_create=0"]].concat());
    let said = [read.stdout, read.stderr].concat();
    read.status.success().then_some(()).ok_or_else(|| format!("{way:?}: {}", String::from_utf8_lossy(&said)))
}

#[test]
fn fio_finds_every_block_right_cold_and_hot_by_every_way_to_read() {
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let original = write(folder.path());
    for way in WAYS {
        let hub = Hub::start().unwrap();
        let commit = hub.commit("acme/fio", Files::new().disk("model.safetensors", &original)).unwrap();
        let world = World::new(hub);
        let file = world.file("acme/fio", &commit, "model.safetensors");
        verify(&file, way).unwrap_or_else(|said| panic!("cold, {said}"));
        eventually("the complete file is hot", || is_hot(&fs::metadata(&file).unwrap()));
        let served = world.node().metrics.read_bytes.get();
        verify(&file, way).unwrap_or_else(|said| panic!("hot, {said}"));
        assert_eq!(world.node().metrics.read_bytes.get(), served, "the daemon served what is passed through");
        assert_eq!(world.hub.data_bytes(), fs::metadata(&original).unwrap().len(), "each byte is fetched once");
    }
}

/// Else the test above would show nothing.
#[test]
fn fio_finds_a_single_wrong_byte_by_every_way_to_read() {
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path());
    let mut byte = [0];
    let damaged = fs::File::options().read(true).write(true).open(&file).unwrap();
    damaged.read_exact_at(&mut byte, 5_000_000).unwrap();
    damaged.write_all_at(&[!byte[0]], 5_000_000).unwrap();
    for way in WAYS {
        let said = verify(&file, way).expect_err("a wrong byte passed for right");
        assert!(said.contains("verify failed"), "{said}");
    }
}
