//! The daemon is killed, at work and while it starts.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::SLOW_LINK;
use super::crowd::{Stage, Storm};
use super::processes::Role;
use super::scene::Scene;
use crate::harness::{Dice, eventually, number_from};

const KILLS: usize = 50;
const KILLS_IN_FULL: usize = 500;
/// A model that nothing is known of comes so many times in a cold storm, each of 24 MiB.
const AGES: usize = 6;
const LONGEST_LIFE_MS: usize = 400;
/// Some are killed while they start.
const LONGEST_START_MS: usize = 30;
/// 40 MiB
const MANY_PAGES: u64 = 10_000;

/// Kills daemons, some of them while they start.
pub struct Killer {
    dice: Dice,
    killed: BTreeSet<i32>,
}

impl Killer {
    pub fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed), killed: BTreeSet::new() }
    }

    fn run(&mut self, storm: &Storm, kills: usize) {
        for _ in 0..kills {
            if self.dice.once_in(3) {
                thread::sleep(Duration::from_millis(self.dice.below(LONGEST_START_MS + 1) as u64));
            } else {
                storm.wait_until_answered();
                thread::sleep(Duration::from_millis(self.dice.below(LONGEST_LIFE_MS) as u64));
            }
            if storm.is_over() {
                return;
            }
            self.kill(storm);
        }
    }

    pub fn kill(&mut self, storm: &Storm) {
        let daemon = storm.scene.another(Role::Daemon, &self.killed);
        storm.kills.lock().push(Instant::now());
        daemon.kill();
        self.killed.insert(daemon.pid);
    }

    pub fn wait_until_served(&self, scene: &Scene) {
        eventually("the next daemon serves", || scene.serving().is_some_and(|pid| !self.killed.contains(&pid)));
    }

    /// `status` tells of the one that serves now.
    pub fn assert_another_serves(&self, scene: &Scene) {
        self.wait_until_served(scene);
        let pid = scene.served()["pid"].as_i64().unwrap() as i32;
        assert!(!self.killed.contains(&pid), "status tells of process {pid}, which was killed");
    }
}

fn kills(passthrough: bool, kills: usize) {
    let kills = number_from("WEIGHTFS_STORM_KILLS").map_or(kills, |kills| kills as usize);
    let scene = Scene::new().with("WEIGHTFS_MOUNT_PASSTHROUGH", if passthrough { "auto" } else { "off" });
    let stage = Stage::set(scene, AGES);
    let mut killer = Killer::new(stage.seed);
    stage.scene.limit_bandwidth(Some(SLOW_LINK));
    let dropped_cold = stage.storm("cold", 1, |storm| {
        for age in 1..=AGES {
            storm.begun.store(age, Ordering::Release);
            killer.run(storm, (kills / 2 * age / AGES) - (kills / 2 * (age - 1) / AGES));
        }
        killer.assert_another_serves(storm.scene);
    });
    stage.warm_up(passthrough);
    let dropped_warm = stage.storm("warm", AGES, |storm| {
        killer.run(storm, kills - kills / 2);
        killer.assert_another_serves(storm.scene);
    });
    stage.scene.umount();
    let every_read_is_served = dropped_cold > MANY_PAGES && (passthrough || dropped_warm > MANY_PAGES);
    assert!(every_read_is_served, "so few pages left the memory that the test shows nothing");
}

#[test]
fn nobody_notices_fifty_kills() {
    kills(true, KILLS);
}

#[test]
fn nobody_notices_fifty_kills_where_the_daemon_serves_every_byte() {
    kills(false, KILLS);
}

#[test]
#[ignore = "long: make test-full"]
fn nobody_notices_five_hundred_kills() {
    kills(true, KILLS_IN_FULL);
    kills(false, KILLS_IN_FULL);
}
