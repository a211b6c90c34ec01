//! The holder dies, alone or with its daemon, or cannot do its work any more.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::Signal;

use super::builds;
use super::crowd::Stage;
use super::kills::Killer;
use super::processes::{Process, Role};
use super::scene::Scene;
use crate::harness::eventually;
use crate::machine::is_mounted;

#[test]
fn nobody_notices_that_the_holder_is_killed_and_then_the_daemon() {
    let stage = Stage::set(Scene::new(), 1);
    let scene = &stage.scene;
    stage.storm("holders", 1, |storm| {
        let mut holders = BTreeSet::new();
        let mut killer = Killer::new(stage.seed);
        for _ in 0..5 {
            let holder = scene.another(Role::Holder, &holders);
            holder.kill();
            holders.insert(holder.pid);
            storm.wait_for_progress();
            scene.wait_for_holder(holders.len());
            killer.kill(storm);
            killer.assert_another_serves(scene);
            storm.wait_for_progress();
            if storm.is_over() {
                return;
            }
        }
    });
    scene.umount();
}

#[test]
fn a_daemon_killed_together_with_its_holder_is_taken_away_by_the_next_mount() {
    let stage = Stage::set(Scene::new(), 1);
    let scene = &stage.scene;
    let config = scene.directory.join(&stage.ages[0][0].path);
    for _ in 0..3 {
        let processes = [scene.the(Role::Holder), scene.the(Role::Daemon)];
        processes.iter().for_each(Process::kill);
        eventually("nobody serves the mount", || File::open(&config).is_err());
        scene.mount();
        assert!(fs::read(&config).unwrap() == stage.ages[0][0].bytes);
    }
    scene.umount();
}

#[test]
fn a_daemon_that_cannot_be_started_any_more_is_given_up_with_a_word_and_an_error() {
    let scene = Scene::new().with("WEIGHTFS_DAEMON_GIVE_UP_SECONDS", "2");
    let settings = scene.path("settings.yaml");
    fs::write(&settings, "").unwrap();
    let stage = Stage::set(scene.with("WEIGHTFS_CONFIG", settings.to_str().unwrap()), 1);
    // As somebody leaves it who is editing.
    fs::write(&settings, "cache: [").unwrap();
    let scene = &stage.scene;
    let large = &stage.ages[0][3];
    let open = File::open(scene.directory.join(&large.path)).unwrap();
    thread::scope(|scope| {
        let _end = EndsProcesses(scene);
        let listing = scope.spawn(|| while fs::read_dir(scene.directory.join("hub")).is_ok() {});
        scene.the(Role::Daemon).kill();
        eventually("whoever lists gets an error", || listing.is_finished());
        eventually("the holder has ended", || scene.processes().is_empty());
    });
    assert!(open.read_at(&mut [0; 1], large.blob.size - 1).is_err());
    assert!(!is_mounted(&scene.directory));
    let log = scene.log();
    assert!(log.contains("no daemon could serve for 2 s") && log.contains("mount again"), "{log}");
    fs::write(&settings, "").unwrap();
    scene.mount();
    assert!(fs::read(scene.directory.join(&large.path)).unwrap() == large.bytes);
    scene.umount();
}

#[test]
fn a_mount_whose_database_is_another_one_is_mounted_anew() {
    let stage = Stage::set(Scene::new(), 1);
    let scene = &stage.scene;
    let small = &stage.ages[0][1];
    let open = File::open(scene.directory.join(&small.path)).unwrap();
    let (holder, daemon) = (scene.the(Role::Holder), scene.the(Role::Daemon));
    holder.signal(Signal::STOP);
    daemon.kill();
    assert!(daemon.ends_within(Duration::from_secs(20)).unwrap());
    for name in ["models.db", "models.db-wal", "models.db-shm"] {
        let _ = fs::remove_file(scene.path("cache").join(name));
    }
    holder.signal(Signal::CONT);
    eventually("the mount can be read", || {
        fs::read(scene.directory.join(&small.path)).is_ok_and(|bytes| bytes == small.bytes)
    });
    let refused = open.metadata().unwrap_err();
    assert_eq!(Errno::from_io_error(&refused), Some(Errno::NOTCONN));
    assert!(scene.log().contains("it is mounted anew, and its readers see errors"), "{}", scene.log());
    drop(open);
    // The next daemon takes over the new mount, as any.
    scene.the(Role::Daemon).kill();
    assert!(fs::read(scene.directory.join(&small.path)).unwrap() == small.bytes);
    scene.umount();
}

#[test]
fn a_program_that_was_broken_meanwhile_does_not_keep_the_one_before_it_from_serving() {
    let mut stage = Stage::set_with_own_program(Scene::new());
    builds::install_script(&stage.scene.path("weightfs"), "#!/bin/sh\nexit 7\n");
    stage.scene.install(&builds::program());
    let scene = &stage.scene;
    let small = &stage.ages[0][1];
    for _ in 0..3 {
        scene.the(Role::Daemon).kill();
        assert!(fs::read(scene.directory.join(&small.path)).unwrap() == small.bytes);
    }
    assert!(scene.log().contains("the program that did before is started again"), "{}", scene.log());
    scene.umount();
}

/// Who waits in the kernel is let go however the test ends.
pub struct EndsProcesses<'a>(pub &'a Scene);

impl Drop for EndsProcesses<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end_all();
        }
    }
}
