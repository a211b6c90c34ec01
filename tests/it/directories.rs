//! Models that lie in directories, through a mount: in place of the Hub's, beside it, and under `dir/`.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use sha2::{Digest, Sha256};
use test_hub::{Fault, Files, Hub, Target};

use crate::harness::{NodeOptions, World, errno, eventually, names, noise};

const LEN: usize = (5 << 20) + 3;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), "{}").unwrap();
    fs::write(folder.path().join("model.safetensors"), noise(3, LEN)).unwrap();
    folder
}

fn world_with(placed: &[(&str, &Path)]) -> World {
    let placed = placed.iter().map(|(repo, path)| ((*repo).to_owned(), path.to_path_buf())).collect();
    World::with(Hub::start().unwrap(), NodeOptions { placed, ..NodeOptions::default() }, None)
}

/// A copy of what the Hub's clients keep of a commit.
fn hub_cache(commit: &str, path: &str, bytes: &[u8]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let repo = root.path().join("models--acme--big");
    let etag = hex::encode(Sha256::digest(bytes));
    let snapshot = repo.join("snapshots").join(commit);
    for folder in [repo.join("blobs"), repo.join("refs"), snapshot.clone()] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(repo.join("refs/main"), commit).unwrap();
    fs::write(repo.join("blobs").join(&etag), bytes).unwrap();
    symlink(format!("../../blobs/{etag}"), snapshot.join(path)).unwrap();
    root
}

fn files_below(folders: &[PathBuf]) -> Vec<fs::Metadata> {
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let (mut files, mut below) = (Vec::new(), Vec::new());
    for entry in entries.map(Result::unwrap) {
        match entry.metadata().unwrap() {
            metadata if metadata.is_dir() => below.push(entry.path()),
            metadata => files.push(metadata),
        }
    }
    if !below.is_empty() {
        files.extend(files_below(&below));
    }
    files
}

#[test]
fn a_model_in_a_directory_is_found_by_its_id_without_the_hub() {
    let files = folder();
    let world = world_with(&[("acme/mine", files.path())]);
    assert_eq!(names(&world.mount_point().join("hub")), ["models--acme--mine"], "it is listed before it is asked for");
    let commit = fs::read_to_string(world.repo("acme/mine").join("refs/main")).unwrap();
    assert_eq!(fs::read(world.file("acme/mine", &commit, "config.json")).unwrap(), b"{}");
    assert!(fs::read(world.file("acme/mine", &commit, "model.safetensors")).unwrap() == noise(3, LEN));
    assert_eq!(world.hub.log().len(), 0, "{:?}", world.hub.log());
}

#[test]
fn a_directory_is_a_tree_of_its_own_too() {
    let files = folder();
    let world = world_with(&[("dir://pvc", files.path())]);
    let shown = world.mount_point().join("dir/pvc");
    assert_eq!(names(&world.mount_point().join("dir")), ["pvc"]);
    assert_eq!(names(&shown), ["config.json", "model.safetensors"]);
    assert!(fs::read(shown.join("model.safetensors")).unwrap() == noise(3, LEN));
    assert_eq!(errno(fs::metadata(world.mount_point().join("dir/none"))), Errno::NOENT.raw_os_error());
    assert_eq!(names(&world.mount_point().join("hub")), [""; 0], "it has no place there");
}

#[test]
fn a_directory_that_changes_is_a_new_commit_and_what_was_read_of_the_old_one_stays() {
    let files = folder();
    let world = world_with(&[("dir://pvc", files.path())]);
    let shown = world.mount_point().join("dir/pvc");
    let old = fs::read_link(&shown).unwrap();
    assert!(fs::read(shown.join("model.safetensors")).unwrap() == noise(3, LEN));
    fs::write(files.path().join("model.safetensors"), noise(4, LEN)).unwrap();
    fs::write(files.path().join("config.json"), "changed").unwrap();
    eventually("the change is seen", || fs::read_link(&shown).unwrap() != old);
    assert!(fs::read(shown.join("model.safetensors")).unwrap() == noise(4, LEN));
    let old = world.mount_point().join("dir").join(old);
    assert!(fs::read(old.join("model.safetensors")).unwrap() == noise(3, LEN), "it is in the cache");
    // What had not been read is gone for good: that is an error, never the new bytes.
    assert_eq!(errno(fs::read(old.join("config.json"))), Errno::IO.raw_os_error());
}

#[test]
fn equal_files_of_two_directories_and_the_hub_are_stored_once() {
    let (one, other) = (folder(), folder());
    let world = world_with(&[("dir://one", one.path()), ("acme/other", other.path())]);
    let commit = world.hub.commit("acme/hub", Files::new().bytes("model.safetensors", noise(3, LEN))).unwrap();
    let models: [PathBuf; 3] = [
        world.mount_point().join("dir/one/model.safetensors"),
        world.mount_point().join("models/acme/other/model.safetensors"),
        world.file("acme/hub", &commit, "model.safetensors"),
    ];
    for model in &models {
        assert!(fs::read(model).unwrap() == noise(3, LEN));
    }
    let stored = || {
        let folders = ["local", "sha256"].map(|kind| world.cache_directory().join("blobs").join(kind));
        files_below(&folders).into_iter().filter(|file| file.len() == LEN as u64).map(|file| file.ino()).collect()
    };
    eventually("three names of one file", || {
        let inodes: Vec<u64> = stored();
        inodes.len() == models.len() && inodes.iter().all(|inode| *inode == inodes[0])
    });
    eventually("that is on record", || world.node().metrics.shared_blobs.get() == 2);
    // None of them has to be proved anew, and so each stays where the kernel reads it.
    for model in &models {
        let inode = || fs::metadata(model).unwrap().ino();
        eventually("it is passed through", || inode() & 0xffff == 1);
        assert!(fs::read(model).unwrap() == noise(3, LEN));
        assert_eq!(inode() & 0xffff, 1, "its first sealing");
    }
}

#[test]
fn what_a_mirror_has_costs_the_hub_no_bytes_and_the_rest_comes_from_the_hub() {
    let hub = Hub::start().unwrap();
    let files = Files::new().bytes("model.safetensors", noise(3, LEN)).bytes("other.safetensors", noise(5, LEN));
    let commit = hub.commit("acme/big", files).unwrap();
    let cache = hub_cache(&commit, "model.safetensors", &noise(3, LEN));
    let mirrors = vec![cache.path().to_owned()];
    let world = World::with(hub, NodeOptions { mirrors, ..NodeOptions::default() }, None);
    assert!(fs::read(world.file("acme/big", &commit, "model.safetensors")).unwrap() == noise(3, LEN));
    assert_eq!(world.hub.data_bytes(), 0);
    assert!(fs::read(world.file("acme/big", &commit, "other.safetensors")).unwrap() == noise(5, LEN));
    assert_eq!(world.hub.data_bytes(), LEN as u64);
}

#[test]
fn a_file_of_a_mirror_on_the_same_disk_is_not_copied() {
    let hub = Hub::start().unwrap();
    let commit = hub.commit("acme/big", Files::new().bytes("model.safetensors", noise(3, LEN))).unwrap();
    let cache = hub_cache(&commit, "model.safetensors", &noise(3, LEN));
    let theirs = files_below(&[cache.path().join("models--acme--big/blobs")]);
    let mirrors = vec![cache.path().to_owned()];
    let world = World::with(hub, NodeOptions { mirrors, ..NodeOptions::default() }, None);
    let model = world.file("acme/big", &commit, "model.safetensors");
    assert!(fs::read(&model).unwrap() == noise(3, LEN));
    assert_eq!(fs::metadata(world.stored(&model, LEN)).unwrap().ino(), theirs[0].ino(), "it is their file");
    // Who cleans up there takes nothing away here.
    fs::remove_dir_all(cache.path().join("models--acme--big")).unwrap();
    assert!(fs::read(&model).unwrap() == noise(3, LEN));
    assert_eq!(world.hub.data_bytes(), 0);
}

#[test]
fn a_mirror_with_wrong_bytes_is_found_out_and_the_hub_is_asked() {
    let hub = Hub::start().unwrap();
    // Small enough to be proved before its first byte is served.
    let commit = hub.commit("acme/big", Files::new().bytes("model.safetensors", noise(3, LEN))).unwrap();
    let cache = hub_cache(&commit, "model.safetensors", &noise(3, LEN));
    let blobs = cache.path().join("models--acme--big/blobs");
    let blob = fs::read_dir(blobs).unwrap().next().unwrap().unwrap().path();
    fs::write(blob, noise(6, LEN)).unwrap();
    let mirrors = vec![cache.path().to_owned()];
    let world = World::with(hub, NodeOptions { mirrors, ..NodeOptions::default() }, None);
    assert!(fs::read(world.file("acme/big", &commit, "model.safetensors")).unwrap() == noise(3, LEN));
    assert_eq!(world.hub.data_bytes(), LEN as u64);
}

#[test]
fn while_the_hub_is_away_a_mirror_tells_the_names_that_it_has() {
    let hub = Hub::start().unwrap();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let cache = hub_cache(commit, "model.safetensors", &noise(3, LEN));
    hub.set_faults(Fault::on(Target::Api).status(503));
    let mirrors = vec![cache.path().to_owned()];
    let give_up = std::time::Duration::from_secs(1);
    let world = World::with(hub, NodeOptions { mirrors, give_up, ..NodeOptions::default() }, None);
    assert_eq!(fs::read_to_string(world.repo("acme/big").join("refs/main")).unwrap(), commit);
    let model = world.mount_point().join("models/acme/big");
    assert_eq!(names(&model), ["model.safetensors"]);
    assert!(fs::read(model.join("model.safetensors")).unwrap() == noise(3, LEN));
}
