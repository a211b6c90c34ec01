//! Those who list folders, a few entries at a time: each name once, and none missing.

use std::collections::BTreeSet;
use std::io;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};

use super::crowd::{Storm, User};
use super::pulse::{Outcome, Pulse};
use crate::harness::Dice;

/// What the names in a folder must be.
pub enum Rule {
    /// These and no others.
    Exactly(BTreeSet<String>),
    /// Those of any earlier listing, and new ones.
    Grows(BTreeSet<String>),
    /// These, and others that come and go.
    AmongOthers(BTreeSet<String>),
}

pub struct Lister {
    folder: PathBuf,
    rule: Rule,
    dice: Dice,
}

impl Lister {
    pub fn new(folder: PathBuf, rule: Rule, dice: Dice) -> Self {
        Self { folder, rule, dice }
    }

    /// Through a small buffer, so that the daemon is asked many times for one listing.
    fn list(&mut self, pulse: &Pulse) -> Outcome<BTreeSet<String>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = self.folder.as_path();
        let open = pulse.run("open", folder, || Ok(openat(CWD, folder, flags, Mode::empty())?))?;
        let mut buffer = [MaybeUninit::uninit(); 1 << 10];
        let mut entries = RawDir::new(open, &mut buffer);
        let mut names = BTreeSet::new();
        loop {
            let entry = pulse.run("list", folder, || entries.next().transpose().map_err(io::Error::from))?;
            let Some(entry) = entry else { return Ok(names) };
            let name = entry.file_name().to_string_lossy().into_owned();
            pulse.check(names.insert(name.clone()), folder, &format!("{name} twice in one listing"))?;
            if self.dice.once_in(200) {
                thread::sleep(Duration::from_millis(self.dice.below(60) as u64));
            }
        }
    }
}

impl User for Lister {
    fn turn(&mut self, _: &Storm, pulse: &Pulse) -> Outcome {
        let mut names = self.list(pulse)?;
        for dots in [".", ".."] {
            pulse.check(names.remove(dots), &self.folder, &format!("no {dots}"))?;
        }
        let expected = match &self.rule {
            Rule::Exactly(expected) | Rule::Grows(expected) | Rule::AmongOthers(expected) => expected,
        };
        assert_has_all(&names, expected, &self.folder, pulse)?;
        match &mut self.rule {
            Rule::Exactly(expected) => {
                let others: Vec<&String> = names.difference(expected).collect();
                pulse.check(others.is_empty(), &self.folder, &format!("{others:?} besides"))?;
            }
            Rule::Grows(known) => *known = names,
            Rule::AmongOthers(_) => {}
        }
        Ok(())
    }
}

fn assert_has_all(names: &BTreeSet<String>, expected: &BTreeSet<String>, folder: &Path, pulse: &Pulse) -> Outcome {
    let missing: Vec<&String> = expected.difference(names).collect();
    pulse.check(missing.is_empty(), folder, &format!("{missing:?} missing in a listing of {}", names.len()))
}
