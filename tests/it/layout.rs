//! The virtual HF_HOME looks exactly as huggingface_hub writes one.

use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;
use test_hub::{Files, Hub};

use crate::harness::{World, errno, eventually, names, noise};

const ENOENT: i32 = Errno::NOENT.raw_os_error();

fn tiny() -> (World, String) {
    let hub = Hub::start().unwrap();
    let files = Files::new()
        .text("config.json", "{\"a\": 1}\n")
        .text("1_Pooling/config.json", "{}")
        .bytes("model.safetensors", noise(1, 3 << 20));
    let commit = hub.commit("acme/tiny", files).unwrap();
    (World::new(hub), commit)
}

#[test]
fn a_repo_nobody_declared_appears_on_lookup() {
    let (world, commit) = tiny();
    assert_eq!(names(&world.mount_point().join("hub")), [""; 0], "nothing is listed before it is known");
    let main = fs::read(world.repo("acme/tiny").join("refs/main")).unwrap();
    assert_eq!(main, commit.as_bytes(), "forty digits and no newline");
    assert_eq!(names(&world.mount_point().join("hub")), ["models--acme--tiny"]);
    assert_eq!(names(&world.repo("acme/tiny").join("snapshots")), [commit.as_str()]);
}

#[test]
fn a_snapshot_lists_every_file_and_links_into_blobs() {
    let (world, commit) = tiny();
    let snapshot = world.repo("acme/tiny").join("snapshots").join(&commit);
    assert_eq!(names(&snapshot), ["1_Pooling", "config.json", "model.safetensors"]);
    assert_eq!(names(&snapshot.join("1_Pooling")), ["config.json"]);
    let link = fs::read_link(snapshot.join("1_Pooling/config.json")).unwrap();
    assert!(link.starts_with("../../../blobs"), "{link:?}");
    let weights = fs::metadata(snapshot.join("model.safetensors")).unwrap();
    assert!(weights.is_file() && weights.len() == 3 << 20 && weights.blocks() == weights.len().div_ceil(512));
    assert_eq!(names(&world.repo("acme/tiny").join("blobs")).len(), 3);
    assert_eq!(world.hub.data_bytes(), 0, "looking costs no contents");
}

#[test]
fn any_commit_is_found_by_its_hash() {
    let (world, first) = tiny();
    let second = world.hub.commit("acme/tiny", Files::new().text("config.json", "new")).unwrap();
    assert_eq!(fs::read(world.file("acme/tiny", &second, "config.json")).unwrap(), b"new");
    assert_eq!(fs::read(world.file("acme/tiny", &first, "config.json")).unwrap(), b"{\"a\": 1}\n");
    let unknown = "0".repeat(40);
    assert_eq!(errno(fs::metadata(world.repo("acme/tiny").join("snapshots").join(unknown))), ENOENT);
}

#[test]
fn tags_pull_requests_and_other_kinds_of_repo_resolve() {
    let (world, commit) = tiny();
    world.hub.set_tag("acme/tiny", "v1", &commit).unwrap();
    world.hub.set_branch("acme/tiny", "refs/pr/1", &commit).unwrap();
    let refs = world.repo("acme/tiny").join("refs");
    for name in ["v1", "refs/pr/1", "main"] {
        assert_eq!(fs::read_to_string(refs.join(name)).unwrap(), commit, "{name}");
    }
    assert_eq!(names(&refs), ["main", "refs", "v1"]);
    assert_eq!(errno(fs::metadata(refs.join("nothing"))), ENOENT);
    assert_eq!(errno(fs::metadata(refs.join(&commit))), ENOENT, "a commit needs no ref");

    let data = world.hub.commit("datasets/acme/rows", Files::new().text("rows.csv", "1,2\n")).unwrap();
    let rows = world.mount_point().join("hub/datasets--acme--rows/snapshots").join(data).join("rows.csv");
    assert_eq!(fs::read(rows).unwrap(), b"1,2\n");
}

#[test]
fn an_absent_repo_is_enoent_and_is_asked_for_once() {
    let (world, _) = tiny();
    for _ in 0..5 {
        assert_eq!(errno(fs::metadata(world.repo("acme/nothing"))), ENOENT);
    }
    let asked = world.hub.log().iter().filter(|request| request.path.contains("acme/nothing")).count();
    assert_eq!(asked, 1);
}

#[test]
fn no_exist_is_there_for_what_the_commit_lacks_and_only_for_that() {
    let (world, commit) = tiny();
    let absent = world.repo("acme/tiny").join(".no_exist").join(&commit);
    assert_eq!(fs::read(absent.join("added_tokens.json")).unwrap(), b"");
    assert_eq!(errno(fs::metadata(absent.join("config.json"))), ENOENT);
    assert_eq!(names(&absent), [""; 0]);
}

#[test]
fn a_moved_branch_is_seen_when_its_pin_is_old_and_never_mixes() {
    let hub = Hub::start().unwrap();
    let first = hub.commit("acme/tiny", Files::new().text("config.json", "old")).unwrap();
    let options = crate::harness::NodeOptions { refresh: std::time::Duration::ZERO, ..Default::default() };
    let world = World::with(hub, options, None);
    let main = world.repo("acme/tiny").join("refs/main");
    assert_eq!(fs::read_to_string(&main).unwrap(), first);
    let second = world.hub.commit("acme/tiny", Files::new().text("config.json", "new")).unwrap();
    eventually("the pin is refreshed", || fs::read_to_string(&main).unwrap() == second);
    assert_eq!(fs::read(world.file("acme/tiny", &first, "config.json")).unwrap(), b"old");
}
