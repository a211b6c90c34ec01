//! Complete files: read by the kernel itself, at the right moment, and never with a wrong byte.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::mm::{MapFlags, ProtFlags};
use test_hub::{Files, Hub};

use crate::harness::{NodeOptions, World, eventually, noise};

const MIB: usize = 1 << 20;

/// A model of one file, in a world that passes complete files through.
struct Model {
    world: World,
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Model {
    /// Waits until the content is on record as complete and proved: from then on only an open handle keeps it cold.
    fn until_sealed(&self) {
        let path = self.world.cache_directory().join("models.db");
        let db = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let sealed = "SELECT count(*) FROM blobs WHERE sealed_at IS NOT NULL AND size = ?1";
        let size = self.bytes.len() as i64;
        eventually("the content is sealed", || db.query_row(sealed, [size], |row| row.get::<_, i64>(0)).unwrap() == 1);
    }

    fn new(len: usize) -> Self {
        Self::with(len, NodeOptions::default())
    }

    fn with(len: usize, options: NodeOptions) -> Self {
        let hub = Hub::start().unwrap();
        let bytes = noise(11, len);
        let commit = hub.commit("acme/big", Files::new().bytes("model.safetensors", bytes.clone())).unwrap();
        let world = World::with(hub, options, None);
        let path = world.file("acme/big", &commit, "model.safetensors");
        Self { world, path, bytes }
    }

    fn read_all(&self) {
        assert!(fs::read(&self.path).unwrap() == self.bytes);
    }

    fn is_hot(&self) -> bool {
        is_hot(&fs::metadata(&self.path).unwrap())
    }

    /// Reads everything once, and waits until the name leads past the daemon.
    fn heat(&self) {
        self.read_all();
        eventually("the complete file is hot", || self.is_hot());
    }

    fn stored(&self) -> PathBuf {
        self.world.stored(&self.path, self.bytes.len())
    }

    /// Bytes that the daemon served.
    fn served(&self) -> u64 {
        self.world.node().metrics.read_bytes.get()
    }
}

/// The last bits of a number are 0 for what the daemon serves.
pub fn is_hot(metadata: &Metadata) -> bool {
    metadata.ino() & 0xffff != 0
}

/// A whole file in memory, as a loader maps it.
pub struct Map {
    start: *mut std::ffi::c_void,
    len: usize,
}

impl Map {
    pub fn of(file: &File, len: usize) -> Self {
        let null = std::ptr::null_mut();
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe { rustix::mm::mmap(null, len, ProtFlags::READ, MapFlags::SHARED, file, 0) };
        Self { start: start.unwrap(), len }
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is `len` bytes long and lives as long as `self`; nobody writes to the content meanwhile.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.len) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from it any more.
        unsafe { rustix::mm::munmap(self.start, self.len) }.unwrap();
    }
}

#[test]
fn a_complete_file_is_read_without_the_daemon() {
    let model = Model::new(20 * MIB + 777);
    assert_eq!(model.world.node().passthrough(), "on");
    assert!(!model.is_hot());
    model.heat();
    let served = model.served();
    model.read_all();
    let file = File::open(&model.path).unwrap();
    assert!(Map::of(&file, model.bytes.len()).bytes() == model.bytes);
    assert_eq!(model.served(), served);
    assert!(model.world.node().metrics.passthrough_opens.get() >= 2);
}

#[test]
fn a_file_shows_the_same_cold_and_hot() {
    let model = Model::new(9 * MIB);
    let cold = fs::metadata(&model.path).unwrap();
    model.heat();
    let hot = fs::metadata(&model.path).unwrap();
    let shown = |of: &Metadata| {
        (of.len(), of.mode(), of.blocks(), of.blksize(), of.nlink(), of.uid(), of.gid(), of.modified().unwrap())
    };
    assert_eq!(shown(&cold), shown(&hot));
    assert_ne!(cold.ino(), hot.ino());
    let handle = File::open(&model.path).unwrap();
    assert_eq!(handle.metadata().unwrap().ino(), hot.ino());
}

#[test]
fn every_name_of_a_content_leads_to_one_node_and_listings_agree() {
    let model = Model::new(MIB);
    let blobs = model.world.repo("acme/big").join("blobs");
    let listed = || fs::read_dir(&blobs).unwrap().next().unwrap().unwrap();
    let check = || {
        let number = fs::metadata(&model.path).unwrap().ino();
        assert_eq!(fs::metadata(listed().path()).unwrap().ino(), number);
        assert_eq!(listed().ino(), number);
    };
    check();
    model.heat();
    check();
}

#[test]
fn a_name_moves_only_after_the_cold_handle_is_closed() {
    let model = Model::new(12 * MIB);
    let copying = File::open(&model.path).unwrap();
    let before = copying.metadata().unwrap().ino();
    model.read_all();
    model.until_sealed();
    assert_eq!(fs::metadata(&model.path).unwrap().ino(), before);
    assert_eq!(copying.metadata().unwrap().ino(), before);
    drop(copying);
    eventually("the complete file is hot", || model.is_hot());
}

#[test]
fn a_cold_handle_and_its_mapping_go_on_when_the_name_has_moved() {
    let model = Model::new(16 * MIB);
    let cold = File::open(&model.path).unwrap();
    let map = Map::of(&cold, model.bytes.len());
    model.read_all();
    assert!(map.bytes()[..MIB] == model.bytes[..MIB]);
    drop(cold);
    model.until_sealed();
    assert!(!model.is_hot(), "a mapping is a handle too");
    rustix::fs::fadvise(File::open(&model.path).unwrap(), 0, None, rustix::fs::Advice::DontNeed).unwrap();
    assert!(map.bytes() == model.bytes);
    drop(map);
    eventually("the complete file is hot", || model.is_hot());
    model.read_all();
}

#[test]
fn a_file_changed_behind_the_daemons_back_is_served_right() {
    let model = Model::new(12 * MIB);
    model.heat();
    let first = fs::metadata(&model.path).unwrap().ino();
    let disk = File::options().write(true).open(model.stored()).unwrap();
    disk.write_all_at(b"damage", 5 * MIB as u64 + 99).unwrap();
    model.world.hub.clear_log();
    model.read_all();
    assert_eq!(model.world.hub.data_bytes(), MIB as u64, "only the damaged block");
    assert_eq!(model.world.node().metrics.damaged_blocks.get(), 1);
    assert_eq!(model.world.node().metrics.mismatched_blobs.get(), 0, "the origin is not to blame");
    model.heat();
    assert_ne!(fs::metadata(&model.path).unwrap().ino(), first, "another sealing is another node");
}

#[test]
fn a_file_touched_while_it_is_read_past_the_daemon_gives_no_error() {
    let model = Model::new(12 * MIB);
    model.heat();
    let hot = File::open(&model.path).unwrap();
    fs::set_permissions(model.stored(), fs::Permissions::from_mode(0o640)).unwrap();
    // The new open finds the change; the old one goes on.
    model.read_all();
    let mut start = vec![0; MIB];
    hot.read_exact_at(&mut start, 3 * MIB as u64).unwrap();
    assert!(start == model.bytes[3 * MIB..4 * MIB]);
    model.heat();
}

#[test]
fn after_a_restart_a_complete_file_is_hot_at_once() {
    let mut model = Model::new(12 * MIB);
    model.heat();
    model.world.restart();
    assert!(model.is_hot());
    model.read_all();
    assert_eq!(model.served(), 0);
}

#[test]
fn a_file_damaged_while_no_daemon_ran_is_found_at_its_first_open() {
    let mut model = Model::new(12 * MIB);
    model.heat();
    let disk = File::options().write(true).open(model.stored()).unwrap();
    disk.write_all_at(b"damage", 7 * MIB as u64).unwrap();
    model.world.restart();
    model.read_all();
    model.heat();
}

#[test]
fn the_setting_keeps_every_file_with_the_daemon() {
    let model = Model::with(9 * MIB, NodeOptions { passthrough: false, ..NodeOptions::default() });
    assert_eq!(model.world.node().passthrough(), "off: turned off by mount.passthrough");
    model.read_all();
    model.until_sealed();
    assert!(!model.is_hot());
    model.read_all();
}

#[test]
fn direct_reads_are_right_at_any_alignment_while_cold_and_as_on_disk_when_hot() {
    let model = Model::new(6 * MIB + 777);
    let direct = || {
        let flags = rustix::fs::OFlags::DIRECT.bits() as i32;
        File::options().read(true).custom_flags(flags).open(&model.path).unwrap()
    };
    let file = direct();
    for (offset, len) in [(0, 1), (1, 4095), (4097, MIB + 3), (5 * MIB + 1, 2 * MIB)] {
        let mut buffer = vec![0; len];
        let read = file.read_at(&mut buffer, offset as u64).unwrap();
        assert_eq!(read, len.min(model.bytes.len() - offset));
        assert!(buffer[..read] == model.bytes[offset..offset + read]);
    }
    drop(file);
    model.heat();
    let served = model.served();
    let file = direct();
    let mut aligned = Map::anonymous(2 * MIB);
    for offset in [0, 4096, 5 * MIB] {
        let read = file.read_at(aligned.bytes_mut(), offset as u64).unwrap();
        assert_eq!(read, (2 * MIB).min(model.bytes.len() - offset));
        assert!(aligned.bytes()[..read] == model.bytes[offset..offset + read]);
    }
    assert_eq!(model.served(), served);
}

impl Map {
    /// Memory that begins at a page, as direct reads want it.
    fn anonymous(len: usize) -> Self {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: as in `of`.
        let start = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), len, protection, MapFlags::PRIVATE) };
        Self { start: start.unwrap(), len }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; nobody else knows of it.
        unsafe { std::slice::from_raw_parts_mut(self.start.cast(), self.len) }
    }
}

/// Unmounted however the test ends.
struct Overlay(PathBuf);

impl Overlay {
    fn at(folder: &Path) -> Option<Self> {
        for name in ["lower", "upper", "work", "merged"] {
            fs::create_dir(folder.join(name)).unwrap();
        }
        let show = |name| folder.join(name).display().to_string();
        let options = format!("lowerdir={},upperdir={},workdir={}", show("lower"), show("upper"), show("work"));
        let mounted =
            Command::new("mount").args(["-t", "overlay", "-o", &options, "overlay", &show("merged")]).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(folder.join("merged")))
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_cache_on_a_stacked_file_system_is_served_by_the_daemon() {
    // Its own disk below: a stacked one cannot be an upper layer.
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let Some(overlay) = Overlay::at(folder.path()) else {
        eprintln!("skipped: no overlay file system here");
        return;
    };
    let hub = Hub::start().unwrap();
    let bytes = noise(11, 9 * MIB);
    let commit = hub.commit("acme/big", Files::new().bytes("model.safetensors", bytes.clone())).unwrap();
    let world = World::within(tempfile::tempdir_in(&overlay.0).unwrap(), hub, NodeOptions::default(), None);
    assert!(world.node().passthrough().contains("stacked file system"), "{}", world.node().passthrough());
    let path = world.file("acme/big", &commit, "model.safetensors");
    for _ in 0..2 {
        assert!(fs::read(&path).unwrap() == bytes);
    }
    assert_eq!(world.node().metrics.passthrough_opens.get(), 0);
}

#[test]
fn opens_that_race_with_sealing_never_fail() {
    let model = Model::new(3 * MIB);
    model.heat();
    let start = Instant::now();
    let running = || start.elapsed() < Duration::from_secs(4);
    // Readers that never pause together would keep the file cold.
    let pause = || start.elapsed().as_millis() % 60 >= 40;
    thread::scope(|scope| {
        for reader in 0..8 {
            let model = &model;
            scope.spawn(move || {
                let mut buffer = vec![0; 4096];
                let mut at = reader * 4096;
                while running() {
                    let file = File::open(&model.path).unwrap();
                    file.read_exact_at(&mut buffer, at as u64).unwrap();
                    assert!(buffer == model.bytes[at..at + 4096]);
                    if reader == 0 {
                        assert!(Map::of(&file, model.bytes.len()).bytes()[at..at + 4096] == buffer);
                    }
                    drop(file);
                    at = (at + 13 * 4096) % (2 * MIB);
                    while pause() {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            });
        }
        // Each touch ends a sealing and begins the next.
        let stored = model.stored();
        scope.spawn(move || {
            let mut mode = 0o600;
            while running() {
                fs::set_permissions(&stored, fs::Permissions::from_mode(mode)).unwrap();
                mode ^= 0o044;
                thread::sleep(Duration::from_millis(430));
            }
        });
    });
    let passed = model.world.node().metrics.passthrough_opens.get();
    model.heat();
    let sealings = fs::metadata(&model.path).unwrap().ino() & 0xffff;
    assert!(sealings > 3 && passed > 3, "the race was run: {sealings} sealings, {passed} opens passed through");
}

/// Mounts, reads the file twice, tells the status and unmounts, in a user namespace that is none of the kernel's own.
const UNPRIVILEGED: &str = r#"
weightfs=$1 directory=$2 file=$3
"$weightfs" mount "$directory" || exit 1
cmp "$directory/$file" "$4" && sleep 1 && cmp "$directory/$file" "$4"
result=$?
"$weightfs" status --format json-pretty
"$weightfs" umount "$directory"
exit $result
"#;

#[test]
fn without_the_privilege_complete_files_are_served_by_the_daemon() {
    let hub = Hub::start().unwrap();
    let bytes = noise(11, 9 * MIB);
    let commit = hub.commit("acme/big", Files::new().bytes("model.safetensors", bytes.clone())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (directory, expected) = (folder.path().join("hf"), folder.path().join("expected"));
    fs::create_dir(&directory).unwrap();
    fs::write(&expected, &bytes).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", UNPRIVILEGED, "sh"]);
    command.args([env!("CARGO_BIN_EXE_weightfs").as_ref(), directory.as_path()]);
    command.arg(format!("hub/models--acme--big/snapshots/{commit}/model.safetensors")).arg(expected);
    command.env("HOME", folder.path()).env("HF_ENDPOINT", hub.endpoint());
    command.env("WEIGHTFS_CACHE_DIRECTORY", folder.path().join("cache"));
    command.env("WEIGHTFS_RUNTIME_DIRECTORY", folder.path().join("run"));
    for name in ["HF_HOME", "HF_TOKEN", "HF_HUB_OFFLINE", "WEIGHTFS_CONFIG"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if said.contains("unshare failed") {
        eprintln!("skipped: no user namespaces here");
        return;
    }
    assert!(output.status.success(), "{said}");
    assert!(said.contains("off: the daemon lacks CAP_SYS_ADMIN"), "{said}");
    assert!(said.contains(r#""passthrough_opens": 0"#), "{said}");
}
