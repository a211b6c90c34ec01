//! A daemon that is killed again and again under its readers: no wrong byte, no wrong record, nothing fetched twice.
//!
//! What happens is thrown by dice. A failure prints their seed: `WEIGHTFS_KILLS_SEED` brings the same choices again (not
//! the same timing), `WEIGHTFS_KILLS` sets how many kills there are.

mod readers;
mod record;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use test_hub::{Fault, Hub, Target};
use weightfs::daemon::lock::{self, LockState};

use crate::harness::{Dice, eventually, number_from};
use crate::machine::Machine;
use crate::originals::{self, Original};
use readers::Reader;
use record::Record;

const MIB: usize = 1 << 20;
const KILLS: usize = 110;
const KILLS_IN_FULL: usize = 1100;
/// The daemon's lives come in this many ages. Each begins with a model that nothing is known of.
const AGES: usize = 6;
/// Two models do not fit.
const LIMIT: usize = 30 * MIB;
const LONGEST_LIFE_MS: usize = 450;
/// Some are killed while they start.
const LONGEST_START_MS: usize = 60;

/// What the one who kills and those who read share.
struct Storm {
    directory: PathBuf,
    ages: Vec<Vec<Original>>,
    /// How many ages have begun.
    begun: AtomicUsize,
    /// The number of the daemon's life, 0 while it is dead or about to be killed.
    life: AtomicU64,
    reads: AtomicU64,
    is_over: AtomicBool,
}

impl Storm {
    fn originals(&self) -> impl Iterator<Item = &Original> {
        self.ages.iter().flatten()
    }
}

/// Whoever fails ends it for all: else the others would go on for ever.
struct EndsWithMe<'a>(&'a Storm);

impl Drop for EndsWithMe<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
    }
}

#[test]
fn a_hundred_kills_cost_no_wrong_byte_no_wrong_record_and_no_second_fetch() {
    storm(KILLS);
}

#[test]
#[ignore = "long: make test-full"]
fn a_thousand_kills_cost_no_wrong_byte_no_wrong_record_and_no_second_fetch() {
    storm(KILLS_IN_FULL);
}

fn storm(kills: usize) {
    let seed = number_from("WEIGHTFS_KILLS_SEED").unwrap_or_else(rand::random);
    let kills = number_from("WEIGHTFS_KILLS").map_or(kills, |kills| kills as usize);
    println!("WEIGHTFS_KILLS_SEED={seed}");
    let hub = Hub::start().unwrap();
    let ages = originals::publish(&hub, AGES);
    let mut machine = Machine::at(hub.endpoint()).alone();
    let storm = Storm {
        directory: machine.directory("hf"),
        ages,
        begun: AtomicUsize::new(1),
        life: AtomicU64::new(0),
        reads: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    };
    let mut killer =
        Killer { hub: &hub, machine: &machine, storm: &storm, dice: Dice::new(seed), known: Record::default() };
    thread::scope(|scope| {
        for number in 1..=4 {
            let reader = Reader::new(&storm, seed.wrapping_add(number));
            scope.spawn(move || {
                let _end = EndsWithMe(reader.storm);
                reader.run();
            });
        }
        let _end = EndsWithMe(&storm);
        killer.run(kills);
    });
    killer.live_on(&Life { number: u64::MAX - 1, is_limited: true, errand: None });
    killer.assert_limit_holds();
    killer.live_on(&Life { number: u64::MAX, is_limited: false, errand: None });
    killer.assert_all_is_there();
    assert!(storm.reads.load(Ordering::Acquire) > kills as u64, "hardly anything was read");
}

/// One life of the daemon.
struct Life {
    number: u64,
    is_limited: bool,
    errand: Option<Vec<String>>,
}

impl Life {
    /// Then a file may be gone, or new, while its record is about to be struck off, and is fetched again with good reason.
    fn evicts(&self) -> bool {
        self.is_limited || self.errand.as_ref().is_some_and(|errand| errand[1] == "clear")
    }
}

struct Killer<'a> {
    hub: &'a Hub,
    machine: &'a Machine,
    storm: &'a Storm,
    dice: Dice,
    /// What was on record when the daemon was last killed.
    known: Record,
}

impl Killer<'_> {
    fn run(&mut self, kills: usize) {
        let mut survived = 0;
        for number in 0..kills {
            if self.storm.is_over.load(Ordering::Acquire) {
                return;
            }
            let age = number * AGES / kills;
            self.storm.begun.store(age + 1, Ordering::Release);
            let life = Life { number: number as u64 + 1, is_limited: age % 2 == 1, errand: self.errand(age) };
            let weather = self.weather();
            self.hub.set_faults(weather);
            self.hub.clear_log();
            if self.dice.once_in(8) {
                self.kill_at_start(&life);
            } else {
                self.kill_at_work(&life);
            }
            self.judge(&life);
            survived = survived.max(self.known.blocks());
            if self.dice.once_in(30) {
                self.lose_the_database();
            }
        }
        let shows_nothing = kills >= KILLS && survived < 20;
        assert!(!shows_nothing, "so little was ever on record that the test shows nothing");
    }

    /// What somebody asks the daemon to do meanwhile.
    fn errand(&mut self, age: usize) -> Option<Vec<String>> {
        let model = format!("acme/age-{}", self.dice.below(age + 1));
        let words: &[&str] = match self.dice.below(12) {
            0 | 1 => &["verify", "--quiet"],
            2 => &["model", "download", "--quiet", &model],
            3 => &["model", "clear", &model],
            _ => return None,
        };
        Some(words.iter().map(|word| word.to_string()).collect())
    }

    /// What is wrong on the way to the Hub.
    fn weather(&mut self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let bandwidth = [None, Some(2 * MIB as u64), Some(8 * MIB as u64)][self.dice.below(3)];
        faults.extend(bandwidth.map(|bandwidth| Fault::on(Target::Cdn).bandwidth(bandwidth)));
        if self.dice.once_in(4) {
            faults.push(Fault::on(Target::Cdn).times(1).cut_after(self.dice.below(3 * MIB) as u64));
        }
        faults
    }

    fn command(&self, life: &Life, arguments: &[&str]) -> Command {
        let mut command = self.machine.command(arguments);
        if life.is_limited {
            command.env("WEIGHTFS_CACHE_MAX_SIZE_BYTES", LIMIT.to_string());
        }
        command
    }

    fn kill_at_start(&mut self, life: &Life) {
        let mut command = self.command(life, &["mount", "--foreground", self.storm.directory.to_str().unwrap()]);
        let mut daemon = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(self.dice.below(LONGEST_START_MS) as u64));
        kill_and_bury(&mut daemon);
    }

    fn kill_at_work(&mut self, life: &Life) {
        let daemon = self.start(life);
        let mut errand = life.errand.as_ref().map(|errand| {
            let words: Vec<&str> = errand.iter().map(String::as_str).collect();
            self.command(life, &words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        });
        if self.dice.once_in(2) {
            self.wait_for_a_read();
        }
        thread::sleep(Duration::from_millis(self.dice.below(LONGEST_LIFE_MS) as u64));
        self.storm.life.store(0, Ordering::Release);
        kill(daemon, Signal::SIGKILL).unwrap();
        // It may have come too late, and be a daemon of its own.
        errand.iter_mut().for_each(kill_and_bury);
        eventually("the daemon is dead", || lock::probe(&self.machine.path("cache")).unwrap() == LockState::Free);
    }

    /// On a machine that is slow today a life would be over before it began. Where nothing comes at all the kill does.
    fn wait_for_a_read(&self) {
        let (before, deadline) = (self.storm.reads.load(Ordering::Acquire), Instant::now() + Duration::from_secs(2));
        while self.storm.reads.load(Ordering::Acquire) == before && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Takes the dead mount away and mounts anew, as anybody would. From then on an error is the daemon's.
    fn start(&self, life: &Life) -> Pid {
        let output = self.command(life, &["mount", self.storm.directory.to_str().unwrap()]).output().unwrap();
        assert!(output.status.success(), "life {}: {}", life.number, crate::machine::error(&output));
        let LockState::Held(Some(holder)) = lock::probe(&self.machine.path("cache")).unwrap() else {
            panic!("the daemon of life {} is gone", life.number);
        };
        self.storm.life.store(life.number, Ordering::Release);
        Pid::from_raw(holder.pid as i32)
    }

    /// Later lives make up for it from the contents, and are killed at that.
    fn lose_the_database(&mut self) {
        for name in ["models.db", "models.db-wal", "models.db-shm"] {
            let _ = fs::remove_file(self.machine.path("cache").join(name));
        }
        self.known = Record::default();
    }

    /// Looks at what a life fetched, and at what it left behind.
    fn judge(&mut self, life: &Life) {
        let found = Record::read(&self.machine.path("cache"), self.storm.originals());
        if !life.evicts() {
            self.known.assert_not_fetched_again(&self.hub.log(), self.storm.originals(), life.number);
            found.assert_no_more_torn_than(&self.known, life.number);
        }
        self.known = found;
    }

    /// A life without a kill: everything is read.
    fn live_on(&mut self, life: &Life) {
        self.hub.clear_faults();
        self.hub.clear_log();
        self.start(life);
        for original in self.storm.originals() {
            let path = self.storm.directory.join(&original.path);
            assert!(fs::read(&path).unwrap() == original.bytes, "{} reads wrong", path.display());
        }
        self.machine.succeed(&["umount", self.storm.directory.to_str().unwrap()]);
        eventually("the daemon has ended", || self.machine.has_ended());
        self.judge(life);
    }

    /// What was left lying about counts too.
    fn assert_limit_holds(&self) {
        let taken: u64 = self.blobs().iter().map(|file| fs::metadata(file).unwrap().blocks() * 512).sum();
        assert!(taken <= (LIMIT + MIB) as u64, "{taken} bytes on the disk, and {LIMIT} is the limit");
    }

    fn assert_all_is_there(&self) {
        self.known.assert_all_there(self.storm.originals());
        assert_eq!(self.blobs().len(), self.storm.originals().count(), "one file for each content: {:?}", self.blobs());
    }

    fn blobs(&self) -> Vec<PathBuf> {
        files_below(&self.machine.path("cache/blobs"))
    }
}

fn kill_and_bury(process: &mut Child) {
    process.kill().unwrap();
    process.wait().unwrap();
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
