//! What happens when things break: a clear error or the right bytes, within a bounded time.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rustix::io::Errno;
use serde_json::json;
use test_hub::{Fault, Files, Hub, Target};

use crate::harness::{NodeOptions, World, errno, eventually, names, noise};

const MIB: usize = 1 << 20;
const EACCES: i32 = Errno::ACCESS.raw_os_error();
const EIO: i32 = Errno::IO.raw_os_error();
const ENOENT: i32 = Errno::NOENT.raw_os_error();

fn hub_with(repo: &str, bytes: &[u8]) -> (Hub, String) {
    let hub = Hub::start().unwrap();
    let files = Files::new().text("config.json", "{}").bytes("model.safetensors", bytes.to_vec());
    let commit = hub.commit(repo, files).unwrap();
    (hub, commit)
}

#[test]
fn a_gated_repo_is_listed_and_its_files_are_denied_without_a_grant() {
    let (hub, commit) = hub_with("acme/gated", &noise(1, MIB));
    hub.add_token("alice", "hf_alice");
    hub.set_gated("acme/gated", &["alice"]).unwrap();
    let mut world = World::new(hub);
    let file = world.file("acme/gated", &commit, "config.json");
    assert_eq!(names(file.parent().unwrap()), ["config.json", "model.safetensors"]);
    assert_eq!(errno(File::open(&file)), EACCES);
    world.restart_as(Some("hf_alice"), false);
    assert_eq!(fs::read(&file).unwrap(), b"{}");
    world.restart_as(None, false);
    assert_eq!(errno(File::open(&file)), EACCES, "what one may read stays closed to the other, cached or not");
}

#[test]
fn a_private_repo_is_absent_without_its_token() {
    let (hub, commit) = hub_with("acme/secret", &noise(1, MIB));
    hub.add_token("alice", "hf_alice");
    hub.set_private("acme/secret", &["alice"]).unwrap();
    let mut world = World::with(hub, NodeOptions::default(), Some("hf_alice"));
    let file = world.file("acme/secret", &commit, "config.json");
    assert_eq!(fs::read(&file).unwrap(), b"{}");
    world.restart_as(None, false);
    assert_eq!(errno(fs::metadata(&file)), ENOENT);
    assert_eq!(names(&world.mount_point().join("hub")), [""; 0]);
}

#[test]
fn with_the_hub_away_what_is_cached_reads_and_the_rest_is_eio_in_time() {
    let bytes = noise(1, 20 * MIB);
    let (hub, commit) = hub_with("acme/big", &bytes);
    let options = NodeOptions { give_up: Duration::from_millis(500), ..NodeOptions::default() };
    let world = World::with(hub, options, None);
    let file = File::open(world.file("acme/big", &commit, "model.safetensors")).unwrap();
    let mut buffer = vec![0; MIB];
    file.read_exact_at(&mut buffer, 0).unwrap();
    world.hub.stop();
    file.read_exact_at(&mut buffer, 0).unwrap();
    assert!(buffer == bytes[..MIB]);
    assert_eq!(errno(file.read_exact_at(&mut buffer, 15 * MIB as u64)), EIO);
    assert_eq!(errno(fs::metadata(world.repo("acme/unknown"))), EIO, "a failure is never absence");
    world.hub.restart().unwrap();
    file.read_exact_at(&mut buffer, 15 * MIB as u64).unwrap();
    assert!(buffer == bytes[15 * MIB..16 * MIB]);
}

#[test]
fn trouble_on_the_way_is_not_the_readers() {
    let bytes = noise(2, 12 * MIB);
    let (hub, commit) = hub_with("acme/big", &bytes);
    hub.set_faults(vec![
        Fault::on(Target::Cdn).times(1).cut_after(700_000),
        Fault::on(Target::Cdn).times(1).status(503),
        Fault::on(Target::Cdn).times(1).ignore_range(),
        Fault::on(Target::Resolve).times(1).status(429).rate_limit("resolvers", 1),
        Fault::on(Target::Api).times(1).status(500),
    ]);
    let world = World::new(hub);
    assert!(fs::read(world.file("acme/big", &commit, "model.safetensors")).unwrap() == bytes);
}

#[test]
fn an_expired_url_is_renewed_behind_the_readers_back() {
    let bytes = noise(2, 20 * MIB);
    let (hub, commit) = hub_with("acme/big", &bytes);
    let world = World::new(hub);
    let file = File::open(world.file("acme/big", &commit, "model.safetensors")).unwrap();
    let mut buffer = vec![0; MIB];
    for at in [0, 6, 12, 18] {
        file.read_exact_at(&mut buffer, (at * MIB) as u64).unwrap();
        assert!(buffer == bytes[at * MIB..(at + 1) * MIB]);
        world.hub.expire_urls();
    }
}

#[test]
fn hostile_names_are_left_out_and_the_rest_is_served() {
    let (hub, commit) = hub_with("acme/hostile", b"weights");
    let oid = "0".repeat(40);
    for path in ["../escape", "/etc/passwd", "a\0b", "config.json/below", "x//y", &"n".repeat(300)] {
        let entry = json!({"type": "file", "path": path, "oid": oid, "size": 3});
        hub.add_raw_tree_entry("acme/hostile", &commit, entry).unwrap();
    }
    let world = World::new(hub);
    let snapshot = world.repo("acme/hostile").join("snapshots").join(&commit);
    assert_eq!(names(&snapshot), ["config.json", "model.safetensors"]);
    assert_eq!(fs::read(snapshot.join("config.json")).unwrap(), b"{}");
}

#[test]
fn a_refresh_that_is_refused_ends_the_grant() {
    let (hub, commit) = hub_with("acme/secret", b"weights");
    hub.add_token("alice", "hf_alice");
    hub.set_private("acme/secret", &["alice"]).unwrap();
    let options = NodeOptions { refresh: Duration::ZERO, ..NodeOptions::default() };
    let world = World::with(hub, options, Some("hf_alice"));
    let main = world.repo("acme/secret").join("refs/main");
    assert_eq!(fs::read_to_string(&main).unwrap(), commit);
    world.hub.set_private("acme/secret", &[]).unwrap();
    eventually("it is listed no more", || {
        // A look at the branch starts the refresh; the kernel may answer the next look within a second itself.
        let _ = fs::read_to_string(&main);
        names(&world.mount_point().join("hub")).is_empty()
    });
}

#[test]
fn a_cache_that_lost_its_folder_is_never_reported_as_absence() {
    let (hub, commit) = hub_with("acme/tiny", b"weights");
    let world = World::new(hub);
    let file = world.file("acme/tiny", &commit, "config.json");
    fs::metadata(&file).unwrap();
    fs::remove_dir_all(world.cache_directory().join("blobs")).unwrap();
    fs::write(world.cache_directory().join("blobs"), "in the way").unwrap();
    assert_eq!(errno(fs::read(&file)), EIO);
}
