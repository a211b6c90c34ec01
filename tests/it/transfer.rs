//! Models that come from other caches and go into other folders.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use sha2::{Digest, Sha256};
use test_hub::{Files, Hub};

use crate::harness::noise;
use crate::machine::{Machine, error};

const MIB: usize = 1 << 20;
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// As `git hash-object` prints it.
const EMPTY_OBJECT: &str = "9e26dfeeb6e641a33dae4961196235bdb965b21b";

/// A cache as the Hub's own clients leave it, of a model with `config.json` and `sub/model.bin`.
fn foreign(home: &Path, bytes: &[u8]) {
    let repo = home.join("hub/models--acme--big");
    let snapshot = repo.join("snapshots").join(COMMIT);
    fs::create_dir_all(snapshot.join("sub")).unwrap();
    fs::create_dir_all(repo.join("blobs")).unwrap();
    fs::create_dir_all(repo.join("refs")).unwrap();
    fs::write(repo.join("refs/main"), COMMIT).unwrap();
    let sha = hex::encode(Sha256::digest(bytes));
    fs::write(repo.join("blobs").join(&sha), bytes).unwrap();
    fs::write(repo.join("blobs").join(EMPTY_OBJECT), "{}").unwrap();
    symlink(format!("../../../blobs/{sha}"), snapshot.join("sub/model.bin")).unwrap();
    symlink(format!("../../blobs/{EMPTY_OBJECT}"), snapshot.join("config.json")).unwrap();
}

#[test]
fn what_loaded_offline_from_another_cache_loads_from_the_mount() {
    let mut machine = Machine::at("http://hub.invalid");
    let bytes = noise(5, 20 * MIB + 7);
    foreign(&machine.path("home"), &bytes);
    let home = machine.path("home");
    let said = machine.succeed(&["import", home.to_str().unwrap()]);
    assert!(said.ends_with("1 model, 2 files, 20.0 MiB; 20.0 MiB were not here before\n"), "{said}");
    fs::remove_dir_all(&home).unwrap();
    let directory = machine.directory("hf");
    machine.succeed(&["mount", "--offline", directory.to_str().unwrap()]);
    let repo = directory.join("hub/models--acme--big");
    assert_eq!(fs::read_to_string(repo.join("refs/main")).unwrap(), COMMIT);
    let snapshot = repo.join("snapshots").join(COMMIT);
    assert!(fs::read(snapshot.join("sub/model.bin")).unwrap() == bytes);
    assert_eq!(fs::read(snapshot.join("config.json")).unwrap(), b"{}");
    assert_eq!(machine.daemons()[0]["repos"][0]["complete"], true);
    assert!(machine.succeed(&["verify"]).contains("all as it must be"));
}

#[test]
fn a_file_that_is_not_what_it_is_called_is_named_and_passed_over() {
    let machine = Machine::at("http://hub.invalid");
    let bytes = noise(5, 3 * MIB);
    let home = machine.path("home");
    foreign(&home, &bytes);
    let blob = home.join("hub/models--acme--big/blobs").join(hex::encode(Sha256::digest(&bytes)));
    let mut wrong = bytes.clone();
    wrong[MIB] ^= 1;
    fs::write(&blob, wrong).unwrap();
    let output = machine.run(&["import", home.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(error(&output).contains("it is not what it is called"), "{}", error(&output));
    let models = machine.models();
    assert_eq!((&models[0]["files"], &models[0]["cached_bytes"]), (&1.into(), &2.into()));
    fs::write(&blob, &bytes).unwrap();
    machine.succeed(&["import", home.to_str().unwrap()]);
    assert_eq!(machine.models()[0]["files"], 2, "a second run goes on");
}

#[test]
fn links_are_made_only_when_asked_for() {
    let machine = Machine::at("http://hub.invalid");
    let bytes = noise(5, 3 * MIB);
    let home = machine.path("home");
    foreign(&home, &bytes);
    let blob = home.join("hub/models--acme--big/blobs").join(hex::encode(Sha256::digest(&bytes)));
    let links = || fs::metadata(&blob).unwrap().nlink();
    machine.succeed(&["import", home.to_str().unwrap()]);
    assert_eq!(links(), 1);
    machine.succeed(&["model", "clear-all", "--yes"]);
    machine.succeed(&["import", "--link", home.to_str().unwrap()]);
    assert_eq!(links(), 2);
    machine.succeed(&["model", "clear-all", "--yes"]);
    assert_eq!(links(), 1);
    assert!(fs::read(&blob).unwrap() == bytes, "what goes here stays there");
}

#[test]
fn what_cannot_be_linked_is_copied() {
    let machine = Machine::at("http://hub.invalid");
    let bytes = noise(5, 20 * MIB);
    // No link leads from one file system to another.
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    foreign(elsewhere.path(), &bytes);
    let said = machine.succeed(&["import", "--link", elsewhere.path().to_str().unwrap()]);
    assert!(said.contains("1 model, 2 files"), "{said}");
    assert!(machine.succeed(&["verify"]).contains("all as it must be"));
}

#[test]
fn a_model_that_was_there_in_part_is_whole_where_the_hub_is() {
    let hub = Hub::start().unwrap();
    let bytes = noise(6, 2 * MIB);
    let files = Files::new().text("config.json", "{}").bytes("model.bin", bytes.clone());
    let commit = hub.commit("acme/big", files).unwrap();
    let mut machine = Machine::at(hub.endpoint());
    let repo = machine.path("models--acme--big");
    fs::create_dir_all(repo.join("snapshots").join(&commit)).unwrap();
    fs::create_dir_all(repo.join("refs")).unwrap();
    fs::write(repo.join("refs/main"), &commit).unwrap();
    fs::write(repo.join("snapshots").join(&commit).join("config.json"), "{}").unwrap();
    machine.succeed(&["import", repo.to_str().unwrap()]);
    assert_eq!(machine.models()[0]["partial"], true);
    let offline = machine.directory("offline");
    machine.succeed(&["mount", "--offline", offline.to_str().unwrap()]);
    let at = |mount: &Path, name: &str| mount.join("hub/models--acme--big/snapshots").join(&commit).join(name);
    assert_eq!(fs::read(at(&offline, "config.json")).unwrap(), b"{}");
    assert!(!at(&offline, "model.bin").exists());
    assert!(!offline.join("hub/models--acme--big/.no_exist").join(&commit).join("model.bin").exists());
    let online = machine.directory("online");
    machine.succeed(&["mount", online.to_str().unwrap()]);
    assert!(fs::read(at(&online, "model.bin")).unwrap() == bytes);
    assert_eq!(machine.models()[0]["partial"], false);
}

#[test]
fn an_export_equals_the_model_and_a_second_one_writes_nothing() {
    let hub = Hub::start().unwrap();
    let bytes = noise(6, 12 * MIB + 1);
    let commit =
        hub.commit("acme/big", Files::new().text("config.json", "{}").bytes("sub/model.bin", bytes.clone())).unwrap();
    let machine = Machine::at(hub.endpoint());
    let plain = machine.path("out/plain");
    let export = |more: &[&str]| machine.succeed(&[&["export", "acme/big", plain.to_str().unwrap()], more].concat());
    assert!(export(&[]).ends_with("12.0 MiB written\n"));
    assert!(fs::read(plain.join("sub/model.bin")).unwrap() == bytes);
    hub.stop();
    fs::write(plain.join("config.json"), "[]").unwrap();
    assert!(export(&["--offline"]).ends_with("; 2 B written\n"));
    assert_eq!(fs::read_to_string(plain.join("config.json")).unwrap(), "{}");
    assert!(export(&["--offline"]).ends_with("; 0 B written\n"));

    let cache = machine.path("out/hub");
    machine.succeed(&["export", "acme/big", cache.to_str().unwrap(), "--hub-cache", "--offline"]);
    let repo = cache.join("models--acme--big");
    assert_eq!(fs::read_to_string(repo.join("refs/main")).unwrap(), commit);
    let model = repo.join("snapshots").join(&commit).join("sub/model.bin");
    assert!(fs::read_link(&model).unwrap().starts_with("../../../blobs"));
    assert!(fs::read(&model).unwrap() == bytes);
    let mut names: Vec<_> = fs::read_dir(repo.join("blobs")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");

    machine.succeed(&["model", "clear-all", "--yes"]);
    let missing = machine.fail(1, &["export", "acme/big", plain.to_str().unwrap(), "--offline"]);
    assert!(missing.contains("2 of 2 files are not all here") && missing.contains("sub/model.bin"), "{missing}");
    machine.succeed(&["import", cache.to_str().unwrap()]);
    assert!(
        machine.succeed(&["export", "acme/big", plain.to_str().unwrap(), "--offline"]).ends_with("; 0 B written\n")
    );
}

#[test]
fn nothing_is_exported_into_a_mount_or_the_cache_nor_imported_from_a_mount() {
    let hub = Hub::start().unwrap();
    hub.commit("acme/tiny", Files::new().text("config.json", "{}")).unwrap();
    let mut machine = Machine::at(hub.endpoint());
    let directory = machine.directory("hf");
    machine.succeed(&["mount", directory.to_str().unwrap()]);
    let inside = machine.fail(1, &["export", "acme/tiny", directory.join("x").to_str().unwrap()]);
    assert!(inside.contains("inside the weightfs mount"), "{inside}");
    let cache = machine.fail(1, &["export", "acme/tiny", machine.path("cache/x").to_str().unwrap()]);
    assert!(cache.contains("inside the cache"), "{cache}");
    let import = machine.fail(1, &["import", directory.to_str().unwrap()]);
    assert!(import.contains("inside the weightfs mount"), "{import}");
    let nothing = machine.fail(1, &["import", machine.path("run").to_str().unwrap()]);
    assert!(nothing.contains("there is no model here"), "{nothing}");
}
