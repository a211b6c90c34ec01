//! The daemon is replaced by one of another build.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::SLOW_LINK;
use super::builds::{self, Build};
use super::crowd::Stage;
use super::processes::Role;
use super::scene::Scene;
use crate::harness::{Dice, eventually};
use crate::machine::error;

const UPGRADES: usize = 10;
/// Some are over by then.
const LONGEST_UPGRADE_MS: usize = 500;

/// Two builds, the first of which serves.
fn stage_of_two_builds() -> (Stage, [Build; 2], PathBuf) {
    let mut scene = Scene::new();
    let builds = builds::two(&scene.path("builds"));
    let program = scene.path("weightfs");
    builds[0].install_at(&program);
    scene.install(&program);
    let stage = Stage::set(scene, 3);
    stage.scene.limit_bandwidth(Some(SLOW_LINK));
    assert_eq!(stage.scene.served()["version"], builds[0].version);
    (stage, builds, program)
}

#[test]
fn nobody_notices_ten_upgrades() {
    let (stage, builds, program) = stage_of_two_builds();
    let scene = &stage.scene;
    stage.storm("upgrades", 1, |storm| {
        let mut before = scene.served()["pid"].clone();
        for number in 1..=UPGRADES {
            storm.begun.store(1 + number * 2 / UPGRADES, Ordering::Release);
            let build = &builds[number % 2];
            build.install_at(&program);
            storm.kills.lock().push(Instant::now());
            if number % 3 == 0 {
                scene.the(Role::Holder).signal(Signal::HUP);
            } else {
                let output = scene.run(&["upgrade"]);
                assert!(output.status.success(), "upgrade {number}: {}", error(&output));
                assert_eq!(scene.served()["version"], build.version, "the command returns when it is done");
            }
            eventually("the new program serves", || scene.served()["version"] == build.version);
            let now = scene.served()["pid"].clone();
            assert_ne!(now, before);
            before = now;
            if storm.is_over() {
                return;
            }
        }
    });
    assert_eq!(scene.all(Role::Daemon).len(), 1);
    scene.umount();
}

#[test]
fn nobody_notices_kills_in_the_middle_of_upgrades() {
    let (stage, builds, program) = stage_of_two_builds();
    let scene = &stage.scene;
    let mut dice = Dice::new(stage.seed);
    let mut succeeded = 0;
    stage.storm("kills in upgrades", 3, |storm| {
        for number in 1..=UPGRADES {
            builds[number % 2].install_at(&program);
            let mut upgrade = scene.begin(&["upgrade"]);
            thread::sleep(Duration::from_millis(dice.below(LONGEST_UPGRADE_MS) as u64));
            // The old one, or the new one, whichever it is by then.
            let daemons = scene.all(Role::Daemon);
            if !daemons.is_empty() {
                storm.kills.lock().push(Instant::now());
                daemons[dice.below(daemons.len())].kill();
            }
            eventually("the command returns", || upgrade.try_wait().unwrap().is_some());
            succeeded += usize::from(upgrade.wait().unwrap().success());
            storm.wait_for_progress();
            if storm.is_over() {
                return;
            }
        }
    });
    println!("{succeeded} upgrades of {UPGRADES} succeeded");
    eventually("one daemon serves", || scene.all(Role::Daemon).len() == 1 && scene.status().is_object());
    scene.umount();
}

/// What an upgrade to a program that cannot serve says. The old one goes on.
fn upgrade_in_vain(scene: &Scene) -> String {
    let before = scene.served();
    let output = scene.run(&["upgrade"]);
    assert_eq!(output.status.code(), Some(1), "{}", error(&output));
    assert_eq!(scene.served()["pid"], before["pid"]);
    error(&output)
}

#[test]
fn nobody_notices_that_a_new_program_fails() {
    let mut stage = Stage::set_with_own_program(Scene::new());
    builds::install_script(&stage.scene.path("weightfs"), "#!/bin/sh\nexit 7\n");
    stage.scene.install(&builds::program());
    stage.storm("upgrades in vain", 1, |storm| {
        for _ in 0..3 {
            let said = upgrade_in_vain(storm.scene);
            assert!(said.contains("exit status 7"), "{said}");
        }
    });
    stage.scene.umount();
}

#[test]
fn a_new_program_that_hangs_leaves_the_old_one_serving() {
    // Nobody else is there: it takes a minute to find out.
    let mut stage = Stage::set_with_own_program(Scene::new());
    builds::install_script(&stage.scene.path("weightfs"), "#!/bin/sh\nexec sleep 1000\n");
    stage.scene.install(&builds::program());
    let said = upgrade_in_vain(&stage.scene);
    assert!(said.contains("could not serve within"), "{said}");
    stage.warm_up(true);
    stage.scene.umount();
}

#[test]
fn a_holder_that_came_after_the_program_was_replaced_upgrades_to_the_new_one() {
    let mut scene = Scene::new();
    let builds = builds::two(&scene.path("builds"));
    let program = scene.path("weightfs");
    builds[0].install_at(&program);
    scene.install(&program);
    scene.mount();
    let holder = scene.the(Role::Holder);
    builds[1].install_at(&program);
    holder.kill();
    scene.wait_for_holder(1);
    assert_eq!(scene.served()["version"], builds[0].version);
    let output = scene.run(&["upgrade"]);
    assert!(output.status.success(), "{}", error(&output));
    assert_eq!(scene.served()["version"], builds[1].version);
    scene.umount();
}
