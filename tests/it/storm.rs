//! A mount under everything at once, while its daemon is killed and replaced: no error, no wrong byte, nobody stands still.
//!
//! What happens is thrown by dice. A failure prints their seed: `WEIGHTFS_STORM_SEED` brings the same choices again (not the
//! same timing), `WEIGHTFS_STORM_KILLS` sets how many kills there are. With `--nocapture` each storm prints how long its
//! users had to wait.

mod builds;
mod listers;
mod processes;
mod pulse;
mod readers;
mod scene;
mod writers;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use test_hub::Files;

use crate::harness::{Dice, eventually, number_from};
use crate::machine::{error, is_mounted};
use crate::originals::{self, Original};
use crate::passthrough::is_hot;
use listers::{Lister, Rule};
use processes::Role;
use pulse::{Outcome, Pulse};
use readers::{Holding, Mapped, Opening, Random, Sequential};
use scene::Scene;
use writers::{Churner, Writer};

const MIB: usize = 1 << 20;
const KILLS: usize = 50;
const KILLS_IN_FULL: usize = 500;
const UPGRADES: usize = 10;
/// A model that nothing is known of comes so many times in a cold storm, each of 24 MiB.
const AGES: usize = 6;
/// So slow that something is under way at every kill.
const SLOW_LINK: u64 = 16 * MIB as u64;
const LONGEST_LIFE_MS: usize = 400;
/// Some are killed while they start.
const LONGEST_START_MS: usize = 30;
/// 40 MiB
const MANY_PAGES: u64 = 10_000;
const LASTING_FILES: usize = 500;
/// Longer than anybody may stand still, with room for a machine that is slow today.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody who uses the mount.
trait User: Send {
    /// A few operations. An error ends the storm.
    fn turn(&mut self, storm: &Storm, pulse: &Pulse) -> Outcome;
}

/// What the users of one storm share with the one who kills.
struct Storm<'a> {
    scene: &'a Scene,
    ages: &'a [Vec<Original>],
    /// How many ages have begun.
    begun: AtomicUsize,
    pulses: Vec<Pulse>,
    kills: Mutex<Vec<Instant>>,
    failures: Mutex<Vec<String>>,
    is_over: AtomicBool,
    /// Pages that were not in memory after they were dropped.
    dropped: AtomicU64,
}

impl Storm<'_> {
    fn choose(&self, dice: &mut Dice) -> &Original {
        originals::choose(self.ages, self.begun.load(Ordering::Acquire), dice)
    }

    fn path(&self, original: &Original) -> PathBuf {
        self.scene.directory.join(&original.path)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    fn use_until_over(&self, user: &mut dyn User, pulse: &Pulse) {
        while !self.is_over() {
            if let Err(failure) = user.turn(self, pulse) {
                self.failures.lock().push(failure);
                self.is_over.store(true, Ordering::Release);
            }
        }
    }

    /// Everybody does something more.
    fn wait_for_progress(&self) {
        let before: Vec<u64> = self.pulses.iter().map(Pulse::operations).collect();
        let goes_on = |(pulse, before): (&Pulse, &u64)| pulse.operations() > before + 5;
        let all_go_on = || self.pulses.iter().zip(&before).all(goes_on);
        if !self.wait_until(|| self.is_over() || all_go_on()) {
            self.failures.lock().push(format!("somebody stands still: {}", self.describe()));
        }
    }

    fn wait_until(&self, condition: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while !condition() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        condition()
    }

    fn describe(&self) -> String {
        self.pulses.iter().map(|pulse| format!("\n  {}", pulse.describe())).collect()
    }
}

/// Whoever fails ends it for all. Who then still waits in the kernel is let go by the death of everything that could answer.
struct EndsForAll<'a>(&'a Storm<'a>);

impl Drop for EndsForAll<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
        if !self.0.wait_until(|| self.0.pulses.iter().all(Pulse::has_ended)) {
            self.0.failures.lock().push(format!("somebody does not return: {}", self.0.describe()));
            self.0.scene.end_all();
        }
    }
}

/// What is on the Hub, and what is in the writable layer before a storm.
struct Stage {
    scene: Scene,
    ages: Vec<Vec<Original>>,
    snapshot: PathBuf,
    files_of_snapshot: BTreeSet<String>,
    lasting: BTreeSet<String>,
    seed: u64,
}

impl Stage {
    fn set(scene: Scene, ages: usize) -> Self {
        let seed = number_from("WEIGHTFS_STORM_SEED").unwrap_or_else(rand::random);
        println!("WEIGHTFS_STORM_SEED={seed}");
        let ages = originals::publish(&scene.hub, ages);
        let files_of_snapshot: BTreeSet<String> = (0..300).map(|number| format!("part-{number:03}.txt")).collect();
        let files = files_of_snapshot.iter().fold(Files::new(), |files, name| files.text(name.as_str(), name.as_str()));
        let commit = scene.hub.commit("acme/many", files).unwrap();
        let snapshot = scene.directory.join(format!("hub/models--acme--many/snapshots/{commit}"));
        scene.mount();
        let lasting = scene.fill(&scene.directory.join("assets/shared"), LASTING_FILES);
        Self { scene, ages, snapshot, files_of_snapshot, lasting, seed }
    }

    /// Twenty who use the mount at once.
    fn crowd(&self, name: &str) -> Vec<(&'static str, Box<dyn User>)> {
        let shared = self.scene.directory.join("assets/shared");
        let own = |number: usize| self.scene.directory.join(format!("assets/{name}-{number}"));
        let mut seed = self.seed;
        let mut dice = || {
            seed = seed.wrapping_add(1);
            Dice::new(seed)
        };
        let hub = self.scene.directory.join("hub");
        vec![
            ("sequential", Box::new(Sequential::new(dice()))),
            ("sequential", Box::new(Sequential::new(dice()))),
            ("sequential", Box::new(Sequential::new(dice()))),
            ("random", Box::new(Random::new(dice()))),
            ("random", Box::new(Random::new(dice()))),
            ("random", Box::new(Random::new(dice()))),
            ("mapped", Box::new(Mapped::new(dice()))),
            ("mapped", Box::new(Mapped::new(dice()))),
            ("mapped", Box::new(Mapped::new(dice()))),
            ("opening", Box::new(Opening::new(dice()))),
            ("opening", Box::new(Opening::new(dice()))),
            ("holding", Box::new(Holding::new(dice()))),
            ("holding", Box::new(Holding::new(dice()))),
            ("listing", Box::new(Lister::new(hub, Rule::Grows(BTreeSet::new()), dice()))),
            (
                "listing",
                Box::new(Lister::new(self.snapshot.clone(), Rule::Exactly(self.files_of_snapshot.clone()), dice())),
            ),
            ("listing", Box::new(Lister::new(shared.clone(), Rule::AmongOthers(self.lasting.clone()), dice()))),
            ("writing", Box::new(Writer::new(own(0), dice()))),
            ("writing", Box::new(Writer::new(own(1), dice()))),
            ("writing", Box::new(Writer::new(own(2), dice()))),
            ("churning", Box::new(Churner::new(shared, name, dice()))),
        ]
    }

    /// Lets everybody loose on the first `begun` ages, and does `act` meanwhile. Nobody may notice anything of it. Returns
    /// how many pages were found to have left the memory.
    fn storm(&self, name: &str, begun: usize, act: impl FnOnce(&Storm)) -> u64 {
        let mut crowd = self.crowd(name);
        let without = std::env::var("STORM_WITHOUT").unwrap_or_default();
        crowd.retain(|(kind, _)| !without.contains(kind));
        let pulses = crowd.iter().enumerate().map(|(number, (kind, _))| Pulse::new(kind, number)).collect();
        let storm = Storm {
            scene: &self.scene,
            ages: &self.ages,
            begun: AtomicUsize::new(begun),
            pulses,
            kills: Mutex::new(Vec::new()),
            failures: Mutex::new(Vec::new()),
            is_over: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        };
        let start = Instant::now();
        thread::scope(|scope| {
            for ((_, mut user), pulse) in crowd.into_iter().zip(&storm.pulses) {
                let storm = &storm;
                scope.spawn(move || {
                    storm.use_until_over(user.as_mut(), pulse);
                    // A mapping or a handle that is given back may wait too.
                    drop(user);
                    pulse.end();
                });
            }
            let _end = EndsForAll(&storm);
            storm.wait_for_progress();
            act(&storm);
            storm.wait_for_progress();
        });
        let kills = storm.kills.lock();
        println!("{name}: {} kills in {:.1?}", kills.len(), start.elapsed());
        println!("{}", pulse::table(&storm.pulses, &kills));
        let failures = storm.failures.lock();
        assert!(failures.is_empty(), "{name}: after {} kills:\n{}", kills.len(), failures.join("\n"));
        storm.dropped.load(Ordering::Relaxed)
    }

    /// What was fetched in part is fetched in full, and complete files go past the daemon where `passthrough` says so.
    fn warm_up(&self, passthrough: bool) {
        self.scene.limit_bandwidth(None);
        for original in self.ages.iter().flatten() {
            let path = self.scene.directory.join(&original.path);
            assert!(fs::read(&path).unwrap() == original.bytes, "{} reads wrong", path.display());
            let is_as_expected = || fs::metadata(&path).is_ok_and(|metadata| is_hot(&metadata) == passthrough);
            if original.is_large() {
                eventually("complete files are passed through as set", is_as_expected);
            }
        }
    }
}

/// Kills daemons, some of them while they start.
struct Killer {
    dice: Dice,
    killed: BTreeSet<i32>,
}

impl Killer {
    fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed), killed: BTreeSet::new() }
    }

    fn run(&mut self, storm: &Storm, kills: usize) {
        for _ in 0..kills {
            if self.dice.once_in(3) {
                thread::sleep(Duration::from_millis(self.dice.below(LONGEST_START_MS + 1) as u64));
            } else {
                self.wait_until_served(storm.scene);
                thread::sleep(Duration::from_millis(self.dice.below(LONGEST_LIFE_MS) as u64));
            }
            if storm.is_over() {
                return;
            }
            self.kill(storm);
        }
    }

    fn kill(&mut self, storm: &Storm) {
        let daemon = storm.scene.another(Role::Daemon, &self.killed);
        storm.kills.lock().push(Instant::now());
        daemon.kill();
        self.killed.insert(daemon.pid);
    }

    fn wait_until_served(&self, scene: &Scene) {
        eventually("the next daemon serves", || scene.serving().is_some_and(|pid| !self.killed.contains(&pid)));
    }

    /// `status` tells of the one that serves now.
    fn assert_another_serves(&self, scene: &Scene) {
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

#[test]
fn nobody_notices_ten_upgrades() {
    let mut scene = Scene::new();
    let builds = builds::two(&scene.path("builds"));
    let program = scene.path("weightfs");
    builds[0].install_at(&program);
    scene.install(&program);
    let stage = Stage::set(scene, 3);
    let scene = &stage.scene;
    scene.limit_bandwidth(Some(SLOW_LINK));
    assert_eq!(scene.served()["version"], builds[0].version);
    stage.storm("upgrades", 1, |storm| {
        let mut before = scene.served()["pid"].clone();
        for number in 1..=UPGRADES {
            storm.begun.store(1 + number * 2 / UPGRADES, Ordering::Release);
            let build = &builds[number % 2];
            build.install_at(&program);
            storm.kills.lock().push(Instant::now());
            let output = scene.run(&["upgrade"]);
            assert!(output.status.success(), "upgrade {number}: {}", error(&output));
            let mut served = scene.served();
            eventually("the new program serves", || {
                served = scene.served();
                served["version"] == build.version
            });
            assert_ne!(served["pid"], before);
            before = served["pid"].clone();
            if storm.is_over() {
                return;
            }
        }
    });
    assert_eq!(scene.all(Role::Daemon).len(), 1);
    scene.umount();
}

/// What an upgrade to a program that cannot serve says.
fn upgrade_in_vain(script: &str) -> String {
    let mut stage = on_an_installed_program(Scene::new());
    let program = stage.scene.path("weightfs");
    let served = stage.scene.served();
    builds::install_script(&program, script);
    stage.scene.install(builds::PROGRAM.as_ref());
    let mut said = String::new();
    stage.storm("an upgrade in vain", 1, |storm| {
        let output = storm.scene.run(&["upgrade"]);
        assert_eq!(output.status.code(), Some(1), "{}", error(&output));
        said = error(&output);
        assert_eq!(storm.scene.served()["pid"], served["pid"], "the old one serves");
    });
    stage.scene.umount();
    said
}

/// The program lies where it can be replaced.
fn on_an_installed_program(mut scene: Scene) -> Stage {
    let program = scene.path("weightfs");
    fs::copy(builds::PROGRAM, &program).unwrap();
    scene.install(&program);
    Stage::set(scene, 1)
}

#[test]
fn a_new_program_that_fails_leaves_the_old_one_serving() {
    let said = upgrade_in_vain("#!/bin/sh\nexit 7\n");
    assert!(said.contains("exit status 7"), "{said}");
}

#[test]
fn a_new_program_that_hangs_leaves_the_old_one_serving() {
    let said = upgrade_in_vain("#!/bin/sh\nexec sleep 1000\n");
    assert!(said.contains("could not serve within"), "{said}");
}

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
            let said = "another one keeps the mounts from now on";
            eventually("another holder has taken over", || scene.log().matches(said).count() == holders.len());
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
        processes.iter().for_each(processes::Process::kill);
        eventually("nobody serves the mount", || File::open(&config).is_err());
        scene.mount();
        assert!(fs::read(&config).unwrap() == stage.ages[0][0].bytes);
    }
    scene.umount();
}

#[test]
fn a_daemon_that_cannot_be_started_any_more_is_given_up_with_a_word_and_an_error() {
    let mut stage = on_an_installed_program(Scene::new().with("WEIGHTFS_DAEMON_GIVE_UP_SECONDS", "2"));
    builds::install_script(&stage.scene.path("weightfs"), "#!/bin/sh\nexit 7\n");
    stage.scene.install(builds::PROGRAM.as_ref());
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
    scene.mount();
    assert!(fs::read(scene.directory.join(&large.path)).unwrap() == large.bytes);
    scene.umount();
}

/// Who waits in the kernel is let go however the test ends.
struct EndsProcesses<'a>(&'a Scene);

impl Drop for EndsProcesses<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end_all();
        }
    }
}

#[test]
#[ignore = "tried without kills"]
fn calm() {
    let stage = Stage::set(Scene::new(), 6);
    stage.scene.limit_bandwidth(Some(SLOW_LINK));
    stage.storm("calm cold", 1, |storm| {
        for n in 1..=6 {
            storm.begun.store(n, Ordering::Release);
            thread::sleep(Duration::from_secs(2))
        }
    });
    stage.warm_up(true);
    stage.storm("calm warm", AGES, |_| thread::sleep(Duration::from_secs(5)));
    stage.scene.umount();
}
