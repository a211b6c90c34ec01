//! Twenty who use one mount at once, and their end.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use test_hub::Files;

use super::builds;
use super::listers::{Lister, Rule};
use super::pulse::{self, Outcome, Pulse};
use super::readers::{Holding, Mapped, Opening, Random, Sequential};
use super::scene::Scene;
use super::writers::{Churner, Writer};
use crate::harness::{Dice, eventually, number_from};
use crate::originals::{self, Original};
use crate::passthrough::is_hot;

const LASTING_FILES: usize = 500;
/// Between the turns of a user: the next daemon is to find a processor to start on.
const REST: Duration = Duration::from_millis(2);
/// Longer than anybody may stand still, with room for a machine that is slow today.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody who uses the mount.
pub trait User: Send {
    /// A few operations. An error ends the storm.
    fn turn(&mut self, storm: &Storm, pulse: &Pulse) -> Outcome;
}

/// What the users of one storm share with the one who kills.
pub struct Storm<'a> {
    pub scene: &'a Scene,
    pub ages: &'a [Vec<Original>],
    /// How many ages have begun.
    pub begun: AtomicUsize,
    pulses: Vec<Pulse>,
    pub kills: Mutex<Vec<Instant>>,
    failures: Mutex<Vec<String>>,
    is_over: AtomicBool,
    /// Pages that were not in memory after they were dropped.
    pub dropped: AtomicU64,
}

impl Storm<'_> {
    pub fn choose(&self, dice: &mut Dice) -> &Original {
        originals::choose(self.ages, self.begun.load(Ordering::Acquire), dice)
    }

    pub fn path(&self, original: &Original) -> PathBuf {
        self.scene.directory.join(&original.path)
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    fn use_until_over(&self, user: &mut dyn User, pulse: &Pulse) {
        while !self.is_over() {
            if let Err(failure) = user.turn(self, pulse) {
                self.fail(failure);
            }
            thread::sleep(REST);
        }
    }

    /// Changes that were made: none of them is made without a daemon.
    fn changes(&self) -> u64 {
        self.pulses.iter().filter(|pulse| pulse.kind == "writing").map(Pulse::operations).sum()
    }

    /// The daemon that there is by now answers. A few changes may still be answers of one before.
    pub fn wait_until_answered(&self) {
        let before = self.changes();
        if !self.wait_until(|| self.is_over() || self.changes() > before + 10) {
            self.fail(format!("no daemon answers: {}", self.describe()));
        }
    }

    /// Everybody does something more.
    pub fn wait_for_progress(&self) {
        let before: Vec<u64> = self.pulses.iter().map(Pulse::operations).collect();
        let goes_on = |(pulse, before): (&Pulse, &u64)| pulse.operations() > before + 5;
        let all_go_on = || self.pulses.iter().zip(&before).all(goes_on);
        if !self.wait_until(|| self.is_over() || all_go_on()) {
            self.fail(format!("somebody stands still: {}", self.describe()));
        }
    }

    fn fail(&self, failure: String) {
        self.failures.lock().push(failure);
        self.is_over.store(true, Ordering::Release);
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
pub struct Stage {
    pub scene: Scene,
    pub ages: Vec<Vec<Original>>,
    snapshot: PathBuf,
    files_of_snapshot: BTreeSet<String>,
    lasting: BTreeSet<String>,
    pub seed: u64,
}

impl Stage {
    pub fn set(scene: Scene, ages: usize) -> Self {
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

    /// The same with a program that lies where it can be replaced.
    pub fn set_with_own_program(mut scene: Scene) -> Self {
        let program = scene.path("weightfs");
        fs::copy(builds::program(), &program).unwrap();
        scene.install(&program);
        Self::set(scene, 1)
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
    pub fn storm(&self, name: &str, begun: usize, act: impl FnOnce(&Storm)) -> u64 {
        let crowd = self.crowd(name);
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
        println!("{name}: {} daemons ended in {:.1?}", kills.len(), start.elapsed());
        println!("{}", pulse::table(&storm.pulses, &kills));
        let failures = storm.failures.lock();
        assert!(failures.is_empty(), "{name}: after {} daemons:\n{}", kills.len(), failures.join("\n"));
        storm.dropped.load(Ordering::Relaxed)
    }

    /// What was fetched in part is fetched in full, and complete files go past the daemon where `passthrough` says so.
    pub fn warm_up(&self, passthrough: bool) {
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
