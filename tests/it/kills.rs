//! A daemon that is killed again and again under its readers: no wrong byte, no wrong record, nothing fetched twice.
//!
//! What happens is thrown by dice. A failure prints their seed: `WEIGHTFS_KILLS_SEED` brings the same choices again (not
//! the same timing), `WEIGHTFS_KILLS` sets how many kills there are.

mod originals;
mod readers;
mod record;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use test_hub::{Fault, Hub, Target};
use weightfs::daemon::lock::{self, LockState};

use crate::harness::{Dice, eventually, number_from};
use crate::machine::Machine;
use originals::Original;
use readers::Reader;
use record::Record;

const MIB: usize = 1 << 20;
const KILLS: usize = 110;
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
    let seed = number_from("WEIGHTFS_KILLS_SEED").unwrap_or_else(rand::random);
    let kills = number_from("WEIGHTFS_KILLS").map_or(KILLS, |kills| kills as usize);
    println!("WEIGHTFS_KILLS_SEED={seed}");
    let hub = Hub::start().unwrap();
    let ages = originals::publish(&hub, AGES);
    let mut machine = Machine::at(hub.endpoint());
    let storm = Storm {
        directory: machine.directory("hf"),
        ages,
        begun: AtomicUsize::new(1),
        life: AtomicU64::new(0),
        reads: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    };
    let mut killer = Killer { hub: &hub, machine: &machine, storm: &storm, dice: Dice::new(seed), known: Record::default() };
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
    killer.read_everything();
    assert!(storm.reads.load(Ordering::Acquire) > kills as u64, "hardly anything was read");
}

/// One life of the daemon.
struct Life {
    number: u64,
    limited: bool,
    slow: Option<u64>,
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
            let slow = [None, Some(2 * MIB as u64), Some(8 * MIB as u64)][self.dice.below(3)];
            let life = Life { number: number as u64 + 1, limited: age % 2 == 1, slow };
            self.hub.set_faults(self.weather(&life));
            self.hub.clear_log();
            if self.dice.once_in(8) {
                self.kill_at_start(&life);
            } else {
                self.kill_at_work(&life);
            }
            self.judge(&life);
            survived = survived.max(self.known.blocks());
        }
        assert!(survived > 20, "so little was ever on record that the test shows nothing");
    }

    /// What is wrong on the way to the Hub in this life.
    fn weather(&mut self, life: &Life) -> Vec<Fault> {
        let mut faults = Vec::new();
        faults.extend(life.slow.map(|bandwidth| Fault::on(Target::Cdn).bandwidth(bandwidth)));
        if self.dice.once_in(4) {
            faults.push(Fault::on(Target::Cdn).times(1).cut_after(self.dice.below(3 * MIB) as u64));
        }
        faults
    }

    fn mount(&self, life: &Life, arguments: &[&str]) -> std::process::Command {
        let mut command = self.machine.command(&["mount", self.storm.directory.to_str().unwrap()]);
        command.args(arguments).env("WEIGHTFS_LOGGING_LEVEL", "debug");
        if life.limited {
            command.env("WEIGHTFS_CACHE_MAX_SIZE_BYTES", LIMIT.to_string());
        }
        command
    }

    fn kill_at_start(&mut self, life: &Life) {
        let mut command = self.mount(life, &["--foreground"]);
        let mut daemon = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(self.dice.below(LONGEST_START_MS) as u64));
        kill(Pid::from_raw(daemon.id() as i32), Signal::SIGKILL).unwrap();
        daemon.wait().unwrap();
    }

    fn kill_at_work(&mut self, life: &Life) {
        let daemon = self.start(life);
        thread::sleep(Duration::from_millis(self.dice.below(LONGEST_LIFE_MS) as u64));
        self.storm.life.store(0, Ordering::Release);
        kill(daemon, Signal::SIGKILL).unwrap();
        eventually("the daemon is dead", || lock::probe(&self.machine.path("cache")).unwrap() == LockState::Free);
    }

    /// Takes the dead mount away and mounts anew, as anybody would. From then on an error is the daemon's.
    fn start(&self, life: &Life) -> Pid {
        let output = self.mount(life, &[]).output().unwrap();
        assert!(output.status.success(), "life {}: {}", life.number, crate::machine::error(&output));
        let LockState::Held(Some(holder)) = lock::probe(&self.machine.path("cache")).unwrap() else {
            panic!("the daemon of life {} is gone", life.number);
        };
        self.storm.life.store(life.number, Ordering::Release);
        Pid::from_raw(holder.pid as i32)
    }

    /// Looks at what a life left behind, and at what it fetched.
    fn judge(&mut self, life: &Life) {
        if !life.limited {
            self.known.assert_not_fetched_again(&self.hub.log(), self.storm.originals(), life.number);
        }
        self.known = Record::read(&self.machine.path("cache"), self.storm.originals());
        // Where contents are evicted, a file may be gone or new while its record is about to be struck off.
        if !life.limited {
            self.known.assert_on_disk(&self.machine.path("cache"), self.storm.originals(), life.number);
        }
    }

    /// One last life, without a kill.
    fn read_everything(&mut self) {
        let life = Life { number: u64::MAX, limited: false, slow: None };
        self.hub.clear_faults();
        self.hub.clear_log();
        self.start(&life);
        for original in self.storm.originals() {
            let path = self.storm.directory.join(&original.path);
            assert!(fs::read(&path).unwrap() == original.bytes, "{} reads wrong", path.display());
        }
        self.machine.succeed(&["umount", self.storm.directory.to_str().unwrap()]);
        eventually("the daemon has ended", || self.machine.has_ended());
        self.judge(&life);
        self.known.assert_all_there(self.storm.originals());
        assert_no_strangers(&self.machine.path("cache/blobs"), self.storm.originals().count());
    }
}

/// Nothing lies there but one file for each content.
fn assert_no_strangers(blobs: &Path, contents: usize) {
    let found = files_below(blobs);
    assert_eq!(found.len(), contents, "{found:?}");
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
