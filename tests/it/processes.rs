//! The command line and its daemons: one a cache directory, however it is started, asked, killed or unmounted.

use std::fs::{self, File};
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use test_hub::{Files, Hub};

use crate::harness::{eventually, noise};
use crate::machine::{Machine, error, is_mounted};

#[test]
fn mount_returns_once_it_can_be_read_and_umount_once_its_daemon_has_ended() {
    let mut machine = Machine::new();
    let directory = machine.directory("hf");
    let name = directory.to_str().unwrap();
    for _ in 0..5 {
        machine.succeed(&["mount", name]);
        assert!(directory.join("hub").is_dir());
        assert_eq!(machine.daemons()[0]["mounts"][0]["directory"], name);
        machine.succeed(&["umount", name]);
        assert!(!is_mounted(&directory));
        assert!(machine.has_ended());
    }
}

#[test]
fn mounts_at_the_same_time_end_up_with_one_daemon() {
    let mut machine = Machine::new();
    let directories: Vec<_> = (0..5).map(|number| machine.directory(&number.to_string())).collect();
    let mounts: Vec<Child> = directories
        .iter()
        .map(|directory| machine.command(&["mount", directory.to_str().unwrap()]).spawn().unwrap())
        .collect();
    for mut mount in mounts {
        assert!(mount.wait().unwrap().success());
    }
    let daemons = machine.daemons();
    assert_eq!(daemons.len(), 1);
    assert_eq!(daemons[0]["mounts"].as_array().unwrap().len(), 5);
    for directory in directories {
        machine.succeed(&["umount", directory.to_str().unwrap()]);
    }
    assert!(machine.has_ended());
}

#[test]
fn of_those_who_mount_the_same_directory_at_once_one_does() {
    let mut machine = Machine::new();
    let directory = machine.directory("hf");
    let mount = || machine.command(&["mount", directory.to_str().unwrap()]);
    let mounts: Vec<Child> = (0..4).map(|_| mount().spawn().unwrap()).collect();
    let done = mounts.into_iter().filter_map(|mut mount| mount.wait().unwrap().success().then_some(())).count();
    assert_eq!(done, 1);
    let said = machine.fail(1, &["mount", directory.to_str().unwrap()]);
    assert!(said.contains("mounted there already"), "{said}");
}

#[test]
fn a_killed_daemons_mount_is_taken_away_by_the_next_mount_and_by_umount() {
    let mut machine = Machine::new().alone();
    let directory = machine.directory("hf");
    let name = directory.to_str().unwrap();
    let kill_it = || {
        machine.succeed(&["mount", name]);
        // The kernel remembers this answer of the daemon beyond its death.
        assert!(fs::metadata(&directory).unwrap().is_dir());
        kill(machine.pid(), Signal::SIGKILL).unwrap();
        eventually("the daemon is dead", || fs::read_dir(&directory).is_err());
    };
    kill_it();
    machine.succeed(&["mount", name]);
    assert!(directory.join("hub").is_dir());
    machine.succeed(&["umount", name]);
    kill_it();
    machine.succeed(&["umount", name]);
    assert!(!is_mounted(&directory));
}

#[test]
fn umount_8_ends_the_daemon_and_a_mount_right_after_it_works() {
    let mut machine = Machine::new();
    let directory = machine.directory("hf");
    for _ in 0..5 {
        machine.succeed(&["mount", directory.to_str().unwrap()]);
        assert!(Command::new("umount").arg(&directory).status().unwrap().success());
    }
    eventually("the daemon has ended", || machine.has_ended());
}

#[test]
fn sigterm_unmounts_and_ends() {
    let mut machine = Machine::new();
    let directories = [machine.directory("a"), machine.directory("b")];
    for directory in &directories {
        machine.succeed(&["mount", directory.to_str().unwrap()]);
    }
    kill(machine.pid(), Signal::SIGTERM).unwrap();
    eventually("the daemon has ended", || machine.has_ended());
    assert!(!directories.iter().any(|directory| is_mounted(directory)));
}

#[test]
fn in_the_foreground_it_stays_until_it_is_interrupted() {
    let mut machine = Machine::new();
    let directory = machine.directory("hf");
    let mut daemon = machine.command(&["mount", "--foreground", directory.to_str().unwrap()]).spawn().unwrap();
    eventually("it is mounted", || machine.daemons().len() == 1 && directory.join("hub").is_dir());
    let other = machine.directory("other");
    let said = machine.fail(1, &["mount", "--foreground", other.to_str().unwrap()]);
    assert!(said.contains("leave out --foreground"), "{said}");
    kill(Pid::from_raw(daemon.id() as i32), Signal::SIGINT).unwrap();
    assert!(daemon.wait().unwrap().success());
    assert!(!is_mounted(&directory));
}

#[test]
fn a_mount_in_use_is_not_unmounted_until_it_is_lazily() {
    let mut machine = Machine::new();
    let directory = machine.directory("hf");
    let name = directory.to_str().unwrap();
    machine.succeed(&["mount", name]);
    fs::write(directory.join("stored_tokens"), "kept").unwrap();
    let file = File::open(directory.join("stored_tokens")).unwrap();
    let said = machine.fail(1, &["umount", name]);
    assert!(said.contains(&format!("pid {}", std::process::id())), "{said}");
    machine.succeed(&["umount", "--lazy", name]);
    assert!(!is_mounted(&directory));
    assert_eq!(machine.daemons()[0]["mounts"][0]["detached"], true);
    assert_eq!(std::io::read_to_string(&file).unwrap(), "kept");
    drop(file);
    eventually("the daemon has ended", || machine.has_ended());
}

#[test]
fn each_mount_has_its_callers_own_endpoint_and_token() {
    let mut machine = Machine::new();
    let (first, second) = (machine.directory("first"), machine.directory("second"));
    machine.succeed(&["mount", first.to_str().unwrap()]);
    let mut mount = machine.command(&["mount", second.to_str().unwrap(), "--offline", "--hub-endpoint", "http://h/"]);
    assert!(mount.env("HF_TOKEN", "hf_secret").status().unwrap().success());
    let mounts = &machine.daemons()[0]["mounts"];
    assert_eq!([&mounts[0]["authenticated"], &mounts[1]["authenticated"]], [false, true]);
    assert_eq!([&mounts[0]["offline"], &mounts[1]["offline"]], [false, true]);
    assert_eq!([&mounts[0]["endpoint"], &mounts[1]["endpoint"]], ["http://127.0.0.1:9", "http://h"]);
    let log = fs::read_to_string(machine.path("cache/weightfs.log")).unwrap();
    assert!(!log.contains("hf_secret"));
}

#[test]
fn caches_of_their_own_have_daemons_of_their_own() {
    let mut machine = Machine::new();
    let (first, second) = (machine.directory("first"), machine.directory("second"));
    machine.succeed(&["mount", first.to_str().unwrap()]);
    let cache = machine.path("other-cache");
    machine.succeed(&["mount", second.to_str().unwrap(), "--cache-directory", cache.to_str().unwrap()]);
    assert_eq!(machine.daemons().len(), 2);
    machine.succeed(&["umount", second.to_str().unwrap()]);
    assert_eq!(machine.daemons().len(), 1);
    assert!(is_mounted(&first));
}

#[test]
fn the_cache_never_lies_inside_a_mount_of_ours() {
    let mut machine = Machine::new();
    let (directory, other) = (machine.directory("hf"), machine.directory("other"));
    machine.succeed(&["mount", directory.to_str().unwrap()]);
    let inside = directory.join("cache");
    let said = machine.fail(1, &["mount", other.to_str().unwrap(), "--cache-directory", inside.to_str().unwrap()]);
    assert!(said.contains("lies inside the weightfs mount"), "{said}");
    let over = machine.fail(1, &["mount", machine.path("cache").to_str().unwrap()]);
    assert!(over.contains("the daemon itself works with"), "{over}");
}

#[test]
fn a_daemon_passes_over_an_hf_home_that_is_its_own_mount() {
    let mut machine = Machine::new();
    let directory = machine.directory("hf");
    let mut mount = machine.command(&["mount", directory.to_str().unwrap()]);
    let output = mount.env("HF_HOME", &directory).output().unwrap();
    assert!(output.status.success());
    assert!(error(&output).contains("HF_HOME leads into a weightfs mount"), "{}", error(&output));
    let environment = fs::read(format!("/proc/{}/environ", machine.pid())).unwrap();
    assert!(!environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(b"HF_HOME=")));
}

#[test]
fn what_keeps_a_daemon_from_starting_is_told_by_the_command_that_wanted_it() {
    let mut machine = Machine::new();
    let directory = machine.directory("hf");
    let missing = machine.fail(1, &["mount", machine.path("missing").to_str().unwrap()]);
    assert!(missing.contains("mkdir -p"), "{missing}");
    let refused = |variables: &[(&str, &str)]| {
        let mut command = machine.command(&["mount", directory.to_str().unwrap()]);
        command.envs(variables.iter().copied());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", error(&output));
        assert!(machine.has_ended());
        error(&output)
    };
    let database = machine.path("cache/models.db");
    let locked = rusqlite::Connection::open(&database).unwrap();
    locked.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let said = refused(&[("WEIGHTFS_DATABASE_CONNECTION_TIMEOUT_SECONDS", "1")]);
    assert!(said.contains("models.db") && said.contains("locked"), "{said}");
    drop(locked);
    fs::remove_file(&database).unwrap();
    fs::create_dir(&database).unwrap();
    let said = refused(&[]);
    assert!(said.contains("models.db") && said.contains("is no file"), "{said}");
    fs::remove_dir(&database).unwrap();
    let foreign = machine.path("notes.txt");
    fs::write(&foreign, "this is no database, however long it is".repeat(100)).unwrap();
    let said = refused(&[("WEIGHTFS_DATABASE_PATH", foreign.to_str().unwrap())]);
    assert!(said.contains("notes.txt") && said.contains("is no database"), "{said}");
}

#[test]
fn a_read_only_database_is_said_at_the_start() {
    let mut machine = Machine::new();
    let (directory, place) = (machine.directory("hf"), machine.path("read-only"));
    fs::create_dir(&place).unwrap();
    let database = place.join("models.db");
    let mount = |options: &str| {
        let flags = ["-t", "tmpfs", "-o", options, "tmpfs", place.to_str().unwrap()];
        assert!(std::process::Command::new("mount").args(flags).status().unwrap().success());
    };
    mount("size=4m");
    fs::write(&database, "").unwrap();
    // A file that may not be written, then a folder in which none may be made.
    let refused = [Some(&database), None].map(|file| {
        mount("remount,rw");
        if file.is_none() {
            fs::remove_file(&database).unwrap();
        }
        mount("remount,ro");
        let mut command = machine.command(&["mount", directory.to_str().unwrap()]);
        command.env("WEIGHTFS_DATABASE_PATH", &database).output().unwrap()
    });
    assert!(std::process::Command::new("umount").arg(&place).status().unwrap().success());
    for output in refused {
        assert_eq!(output.status.code(), Some(1), "{}", error(&output));
        assert!(error(&output).contains("cannot be written to"), "{}", error(&output));
    }
}

#[test]
fn a_damaged_database_keeps_no_daemon_from_starting() {
    let mut machine = Machine::new();
    let directory = machine.directory("hf");
    let name = directory.to_str().unwrap();
    for wal in ["true", "false"] {
        let mount = machine.command(&["mount", name]).env("WEIGHTFS_DATABASE_WAL_MODE", wal).output().unwrap();
        assert!(mount.status.success(), "{}", error(&mount));
        assert!(directory.join("hub").is_dir());
        assert_eq!(machine.path("cache/models.db-wal").exists(), wal == "true");
        machine.succeed(&["umount", name]);
        fs::write(machine.path("cache/models.db"), "this is no database, however long it is".repeat(100)).unwrap();
    }
    let log = fs::read_to_string(machine.path("cache/weightfs.log")).unwrap();
    assert!(log.contains("the database is damaged: it is kept aside"), "{log}");
}

#[test]
fn a_daemon_that_ends_in_good_order_leaves_a_database_that_needs_no_check() {
    let mut machine = Machine::new();
    let directory = machine.directory("hf");
    let name = directory.to_str().unwrap();
    machine.succeed(&["mount", name]);
    machine.succeed(&["umount", name]);
    let db = rusqlite::Connection::open(machine.path("cache/models.db")).unwrap();
    let in_use = "SELECT count(*) FROM meta WHERE key = 'in_use'";
    assert_eq!(db.query_row(in_use, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[test]
fn exit_codes_tell_a_failure_from_a_wrong_call() {
    let machine = Machine::new();
    assert!(machine.succeed(&["status"]).contains("No weightfs daemon is running"));
    machine.fail(1, &["umount", "/"]);
    machine.fail(2, &["mount"]);
    machine.fail(2, &["status", "--log-level", "loud"]);
    let wrong = machine.command(&["status"]).env("WEIGHTFS_CACHE_DIR", "/x").output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(machine.succeed(&["--version"]).starts_with("weightfs "));
}

/// What a daemon with these settings says of its cache once a model of 12 MiB was read through it and closed.
fn with_space_settings(settings: &[(&str, &str)], until: impl Fn(&Value) -> bool) {
    let hub = Hub::start().unwrap();
    let bytes = noise(5, 12 << 20);
    let commit = hub.commit("acme/big", Files::new().bytes("model.safetensors", bytes.clone())).unwrap();
    let mut machine = Machine::new();
    let directory = machine.directory("hf");
    let mut mount = machine.command(&["mount", directory.to_str().unwrap()]);
    mount.env("HF_ENDPOINT", hub.endpoint()).env("WEIGHTFS_CACHE_EVICTION_CHECK_INTERVAL_SECONDS", "1");
    mount.envs(settings.iter().map(|(name, value)| (format!("WEIGHTFS_CACHE_{name}"), value)));
    let output = mount.output().unwrap();
    assert!(output.status.success(), "{}", error(&output));
    let file = directory.join(format!("hub/models--acme--big/snapshots/{commit}/model.safetensors"));
    assert!(fs::read(file).unwrap() == bytes);
    eventually(&format!("{settings:?} show"), || until(&machine.daemons()[0]));
}

fn held(daemon: &Value) -> u64 {
    daemon["cache"]["cached_bytes"].as_u64().unwrap()
}

fn count(daemon: &Value, name: &str) -> u64 {
    daemon["counters"][name].as_u64().unwrap()
}

#[test]
fn every_setting_of_space_has_its_effect() {
    with_space_settings(&[("MAX_SIZE_BYTES", "4194304")], |daemon| {
        daemon["cache"]["limit_bytes"] == 4 << 20 && held(daemon) <= 4 << 20 && count(daemon, "unkept_blocks") > 0
    });
    with_space_settings(&[("EVICTION_POLICY_MAX_MODELS", "0")], |daemon| {
        held(daemon) == 0 && count(daemon, "evicted_blobs") == 1
    });
    with_space_settings(&[("EVICTION_POLICY_UNUSED_THRESHOLD_SECONDS", "1")], |daemon| {
        held(daemon) == 0 && count(daemon, "evicted_blobs") == 1
    });
    let more_than_there_is = (1_u64 << 60).to_string();
    with_space_settings(&[("EVICTION_POLICY_MIN_FREE_SPACE_BYTES", &more_than_there_is)], |daemon| {
        daemon["cache"]["free_bytes"] == 0 && held(daemon) == 0 && count(daemon, "unkept_blocks") > 0
    });
    with_space_settings(&[("EVICTION_ENABLED", "false"), ("EVICTION_POLICY_MAX_MODELS", "0")], |daemon| {
        held(daemon) == 12 << 20 && count(daemon, "evicted_blobs") == 0
    });
}
