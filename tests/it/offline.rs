//! Without the Hub: what is here loads as ever, and the rest fails with its reason.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use test_hub::{Files, Hub};

use crate::harness::{NodeOptions, World, errno, names, noise};
use crate::machine::Machine;

const MIB: usize = 1 << 20;
const EIO: i32 = Errno::IO.raw_os_error();
/// Whoever waits for the Hub even once waits longer.
const NO_WAIT: Duration = Duration::from_secs(5);

/// A world whose model is read, whose branches are asked for again at every look, and whose patience is long.
fn world() -> (World, String, Vec<u8>) {
    let hub = Hub::start().unwrap();
    let bytes = noise(1, 2 * MIB);
    let files = Files::new().text("config.json", "{}").bytes("model.safetensors", bytes.clone());
    let commit = hub.commit("acme/big", files).unwrap();
    let options = NodeOptions { refresh: Duration::ZERO, give_up: Duration::from_secs(30), ..NodeOptions::default() };
    let world = World::with(hub, options, None);
    assert_eq!(fs::read(world.file("acme/big", &commit, "config.json")).unwrap(), b"{}");
    assert!(fs::read(world.file("acme/big", &commit, "model.safetensors")).unwrap() == bytes);
    (world, commit, bytes)
}

fn loads_at_once(world: &World, commit: &str, bytes: &[u8]) {
    let start = Instant::now();
    for _ in 0..3 {
        assert_eq!(names(&world.mount_point().join("hub")), ["models--acme--big"]);
        assert_eq!(fs::read_to_string(world.repo("acme/big").join("refs/main")).unwrap(), commit);
        let snapshot = world.repo("acme/big").join("snapshots").join(commit);
        assert_eq!(names(&snapshot), ["config.json", "model.safetensors"]);
        assert!(!snapshot.join("added_tokens.json").exists());
        assert!(fs::read(snapshot.join("model.safetensors")).unwrap() == bytes);
    }
    assert!(start.elapsed() < NO_WAIT, "{:?}", start.elapsed());
}

#[test]
fn a_hub_that_refuses_connections_keeps_nobody_waiting_for_a_known_model() {
    let (world, commit, bytes) = world();
    world.hub.stop();
    loads_at_once(&world, &commit, &bytes);
}

#[test]
fn a_hub_that_never_answers_keeps_nobody_waiting_for_a_known_model() {
    let (world, commit, bytes) = world();
    let address = world.hub.endpoint().trim_start_matches("http://").to_owned();
    world.hub.stop();
    // The kernel takes the connections, and nobody ever says a word.
    let _silence = TcpListener::bind(address).unwrap();
    loads_at_once(&world, &commit, &bytes);
}

#[test]
fn a_hub_whose_name_does_not_resolve_keeps_nobody_waiting_for_a_known_model() {
    let mut machine = Machine::at("http://hub.invalid");
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let repo = machine.path("models--acme--tiny");
    fs::create_dir_all(repo.join("snapshots").join(commit)).unwrap();
    fs::create_dir_all(repo.join("refs")).unwrap();
    fs::write(repo.join("refs/main"), commit).unwrap();
    fs::write(repo.join("snapshots").join(commit).join("config.json"), "{}").unwrap();
    machine.succeed(&["import", repo.to_str().unwrap()]);
    let directory = machine.directory("hf");
    machine.succeed(&["mount", directory.to_str().unwrap()]);
    let start = Instant::now();
    let repo = directory.join("hub/models--acme--tiny");
    assert_eq!(fs::read_to_string(repo.join("refs/main")).unwrap(), commit);
    assert_eq!(fs::read(repo.join("snapshots").join(commit).join("config.json")).unwrap(), b"{}");
    assert!(start.elapsed() < NO_WAIT, "{:?}", start.elapsed());
}

#[test]
fn a_part_that_is_not_here_fails_at_once_and_the_log_says_which_and_why() {
    let hub = Hub::start().unwrap();
    let bytes = noise(1, 20 * MIB);
    let commit = hub.commit("acme/big", Files::new().bytes("model.safetensors", bytes.clone())).unwrap();
    let mut machine = Machine::at(hub.endpoint());
    let directory = machine.directory("hf");
    let model = directory.join("hub/models--acme--big/snapshots").join(&commit).join("model.safetensors");
    machine.succeed(&["mount", directory.to_str().unwrap()]);
    let mut buffer = vec![0; MIB];
    File::open(&model).unwrap().read_exact_at(&mut buffer, 0).unwrap();
    machine.succeed(&["umount", directory.to_str().unwrap()]);
    hub.clear_log();
    let mut mount = machine.command(&["mount", directory.to_str().unwrap()]);
    assert!(mount.env("HF_HUB_OFFLINE", "1").status().unwrap().success());
    let file = File::open(&model).unwrap();
    file.read_exact_at(&mut buffer, 0).unwrap();
    assert!(buffer == bytes[..MIB]);
    let start = Instant::now();
    assert_eq!(errno(file.read_exact_at(&mut buffer, 15 * MIB as u64)), EIO);
    assert!(start.elapsed() < NO_WAIT);
    let log = fs::read_to_string(machine.path("cache/weightfs.log")).unwrap();
    let line = log.lines().find(|line| line.contains("a read failed")).unwrap();
    for part in ["acme/big", "model.safetensors", "first=15", "offline"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let repo = machine.daemons()[0]["repos"][0].clone();
    assert_eq!((&repo["complete"], &repo["complete_files"]), (&false.into(), &0.into()));
    assert_eq!(hub.log().len(), 0, "nobody was asked");
}
