//! What programs change in the writable layer while daemons die and others take over: everything happens once, and nobody
//! but the daemons notices.
//!
//! Kills come at random moments. A failure prints the dice's seed: `WEIGHTFS_CHANGES_SEED` brings the same moments again,
//! `WEIGHTFS_CHANGES_KILLS` sets how many there are.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::fs::{CWD, Dir, RenameFlags};
use rustix::io::Errno;

use crate::harness::{Dice, eventually, number_from};
use crate::machine::Machine;

const WRITERS: usize = 4;
const KILLS: u64 = 40;
const LONGEST_LIFE_MS: usize = 80;

fn mounted() -> (Machine, PathBuf) {
    let mut machine = Machine::new();
    let home = machine.directory("hf");
    machine.succeed(&["mount", home.to_str().unwrap()]);
    (machine, home)
}

/// The daemon that serves now, if `status` can tell.
fn serving(machine: &Machine) -> Option<Pid> {
    let pid = machine.daemons().first()?["pid"].as_i64()?;
    Some(Pid::from_raw(pid as i32))
}

fn kill_daemon(machine: &Machine) {
    let old = serving(machine).unwrap();
    kill(old, Signal::SIGKILL).unwrap();
    eventually("another daemon serves", || serving(machine).is_some_and(|pid| pid != old));
}

fn rename(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(CWD, from, CWD, to, flags)?)
}

/// One of each change, each of which must succeed, and everything as it was before.
fn change_and_change_back(own: &Path, round: u64) -> io::Result<()> {
    let at = |name: &str| own.join(name);
    fs::create_dir(at("folder"))?;
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(at("folder/new"))?;
    file.write_all_at(&round.to_le_bytes(), 0)?;
    fs::write(at("old"), "old")?;
    let replaced = File::open(at("old"))?;
    fs::rename(at("folder/new"), at("old"))?;
    assert_eq!(fs::read(at("old"))?, round.to_le_bytes());
    assert_eq!(io::read_to_string(&replaced)?, "old", "an open file that was replaced");
    assert_eq!(replaced.metadata()?.nlink(), 0);
    fs::hard_link(at("old"), at("second"))?;
    symlink("second", at("link"))?;
    assert_eq!(fs::read(at("link"))?, round.to_le_bytes());
    let taken = rename(&at("second"), &at("old"), RenameFlags::NOREPLACE);
    assert_eq!(taken.unwrap_err().raw_os_error(), Some(Errno::EXIST.raw_os_error()));
    fs::write(at("folder/other"), "other")?;
    rename(&at("folder"), &at("second"), RenameFlags::EXCHANGE)?;
    assert_eq!(fs::read(at("second/other"))?, b"other");
    assert_eq!(fs::read(at("folder"))?, round.to_le_bytes());
    let full = fs::remove_dir(at("second"));
    assert_eq!(full.unwrap_err().raw_os_error(), Some(Errno::NOTEMPTY.raw_os_error()));
    for name in ["second/other", "link", "folder", "old"] {
        fs::remove_file(at(name))?;
    }
    let mut kept = [0; 8];
    file.read_exact_at(&mut kept, 0)?;
    assert_eq!(kept, round.to_le_bytes(), "an open file without a name");
    file.write_all_at(b"more", 8)?;
    assert_eq!((file.metadata()?.len(), file.metadata()?.nlink()), (12, 0));
    fs::remove_dir(at("second"))?;
    assert_eq!(fs::read_dir(own)?.count(), 0);
    Ok(())
}

#[test]
fn every_change_happens_once_however_often_the_daemon_dies() {
    let seed = number_from("WEIGHTFS_CHANGES_SEED").unwrap_or_else(rand_seed);
    let kills = number_from("WEIGHTFS_CHANGES_KILLS").unwrap_or(KILLS);
    println!("WEIGHTFS_CHANGES_SEED={seed}");
    let (machine, home) = mounted();
    let (is_over, has_failed, rounds) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (own, is_over, has_failed, rounds) = (home.join(writer.to_string()), &is_over, &has_failed, &rounds);
            fs::create_dir(&own).unwrap();
            scope.spawn(move || {
                let mut round = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let changed = std::panic::catch_unwind(|| change_and_change_back(&own, round));
                    if !matches!(changed, Ok(Ok(()))) {
                        eprintln!("writer {writer}, round {round}: {changed:?}");
                        has_failed.store(true, Ordering::Relaxed);
                        return;
                    }
                    round += 1;
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut dice = Dice::new(seed);
        for _ in 0..kills {
            thread::sleep(Duration::from_millis(dice.below(LONGEST_LIFE_MS) as u64));
            if has_failed.load(Ordering::Relaxed) {
                break;
            }
            kill_daemon(&machine);
        }
        let so_far = rounds.load(Ordering::Relaxed);
        eventually("they go on", || {
            has_failed.load(Ordering::Relaxed) || rounds.load(Ordering::Relaxed) > so_far + WRITERS as u64
        });
        is_over.store(true, Ordering::Relaxed);
    });
    println!("{} rounds of changes, {kills} kills", rounds.load(Ordering::Relaxed));
    assert!(!has_failed.load(Ordering::Relaxed), "WEIGHTFS_CHANGES_SEED={seed}");
    eventually("what was open without a name takes up no room", || orphans(&machine).is_empty());
}

fn rand_seed() -> u64 {
    u64::from(std::process::id())
}

/// The names in the one folder of files without names.
fn orphans(machine: &Machine) -> Vec<String> {
    let views = fs::read_dir(machine.path("cache/views")).unwrap().map(|entry| entry.unwrap().path());
    let folder = views.into_iter().find(|path| path.extension() == Some("orphans".as_ref())).unwrap();
    crate::harness::names(&folder)
}

#[test]
fn a_listing_goes_on_behind_the_last_entry_under_the_next_daemon() {
    const LASTING: usize = 3000;
    let (machine, home) = mounted();
    let folder = home.join("folder");
    fs::create_dir(&folder).unwrap();
    let lasting: Vec<String> = (0..LASTING).map(|number| format!("lasting-{number}")).collect();
    for name in &lasting {
        File::create_new(folder.join(name)).unwrap();
    }
    let others = |name: &str| -> Vec<PathBuf> {
        (0..LASTING).step_by(10).map(|number| folder.join(format!("{name}-{number}"))).collect()
    };
    for gone in others("going") {
        File::create_new(gone).unwrap();
    }
    let name = |name: &CStr| name.to_str().unwrap().to_owned();
    let mut listing = Dir::read_from(File::open(&folder).unwrap()).unwrap();
    let mut seen: Vec<String> =
        listing.by_ref().take(LASTING / 2).map(|entry| name(entry.unwrap().file_name())).collect();
    kill_daemon(&machine);
    for (gone, come) in others("going").into_iter().zip(others("coming")) {
        fs::rename(gone, come).unwrap();
    }
    fs::write(folder.join("new"), "new").unwrap();
    fs::rename(folder.join("new"), folder.join(&lasting[7])).unwrap();
    seen.extend(listing.map(|entry| name(entry.unwrap().file_name())));
    let unique: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(unique.len(), seen.len(), "nothing comes twice");
    assert!(lasting.iter().all(|name| unique.contains(name)), "nothing that stayed is left out");
}
