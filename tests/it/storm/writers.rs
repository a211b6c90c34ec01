//! Those who write in the writable layer: after each step its effect is there, once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use super::crowd::{Storm, User};
use super::pulse::{Outcome, Pulse};
use crate::harness::{Dice, noise};

/// In a folder of its own, beside which everything that is in it is known.
pub struct Writer {
    folder: PathBuf,
    dice: Dice,
    /// Below `folder`.
    files: BTreeMap<String, Vec<u8>>,
    folders: BTreeSet<String>,
    named: usize,
}

impl Writer {
    const MOST_FILES: usize = 24;
    const MOST_FOLDERS: usize = 5;
    const LARGEST: usize = 40_000;

    pub fn new(folder: PathBuf, dice: Dice) -> Self {
        Self { folder, dice, files: BTreeMap::new(), folders: BTreeSet::new(), named: 0 }
    }

    fn begin(&mut self, pulse: &Pulse) -> Outcome {
        pulse.run("mkdir", &self.folder, || fs::create_dir_all(&self.folder))
    }

    fn new_name(&mut self) -> String {
        self.named += 1;
        let within = self.any_folder().map_or_else(String::new, |folder| format!("{folder}/"));
        format!("{within}{}", self.named)
    }

    fn any_folder(&mut self) -> Option<String> {
        let chosen = self.dice.below(self.folders.len() + 1);
        self.folders.iter().nth(chosen).cloned()
    }

    fn any_file(&mut self) -> Option<String> {
        let chosen = self.dice.below(self.files.len().max(1));
        self.files.keys().nth(chosen).cloned()
    }

    fn create(&mut self, pulse: &Pulse) -> Outcome {
        if self.files.len() >= Self::MOST_FILES {
            return self.unlink(pulse);
        }
        let name = self.new_name();
        let path = self.folder.join(&name);
        let bytes = noise(self.named as u64, 1 + self.dice.below(Self::LARGEST));
        let mut file = pulse.run("create", &path, || File::create_new(&path))?;
        pulse.run("write", &path, || file.write_all(&bytes))?;
        pulse.run("sync", &path, || file.sync_all())?;
        drop(file);
        self.files.insert(name.clone(), bytes);
        self.read_back(&name, pulse)
    }

    fn append(&mut self, pulse: &Pulse) -> Outcome {
        let Some(name) = self.any_file() else { return Ok(()) };
        let path = self.folder.join(&name);
        let line = format!("line {}\n", self.dice.below(1 << 30));
        let mut file = pulse.run("open", &path, || OpenOptions::new().append(true).open(&path))?;
        pulse.run("append", &path, || file.write_all(line.as_bytes()))?;
        drop(file);
        self.files.get_mut(&name).into_iter().for_each(|bytes| bytes.extend(line.as_bytes()));
        self.read_back(&name, pulse)
    }

    /// To a new name, or over another file.
    fn rename(&mut self, pulse: &Pulse) -> Outcome {
        let Some(from) = self.any_file() else { return Ok(()) };
        let over = self.dice.once_in(3).then(|| self.any_file()).flatten().filter(|to| *to != from);
        let to = over.unwrap_or_else(|| self.new_name());
        let (old, new) = (self.folder.join(&from), self.folder.join(&to));
        pulse.run("rename", &old, || fs::rename(&old, &new))?;
        let bytes = self.files.remove(&from).unwrap_or_default();
        self.files.insert(to.clone(), bytes);
        pulse.refuses("stat", &old, ErrorKind::NotFound, || fs::symlink_metadata(&old))?;
        self.read_back(&to, pulse)
    }

    fn unlink(&mut self, pulse: &Pulse) -> Outcome {
        let Some(name) = self.any_file() else { return Ok(()) };
        let path = self.folder.join(&name);
        pulse.run("unlink", &path, || fs::remove_file(&path))?;
        self.files.remove(&name);
        pulse.refuses("stat", &path, ErrorKind::NotFound, || fs::symlink_metadata(&path))
    }

    /// As `huggingface_hub` locks: whoever makes the file has it.
    fn lock(&mut self, pulse: &Pulse) -> Outcome {
        let path = self.folder.join("held.lock");
        drop(pulse.run("lock", &path, || File::create_new(&path))?);
        pulse.refuses("lock", &path, ErrorKind::AlreadyExists, || File::create_new(&path))?;
        pulse.run("unlock", &path, || fs::remove_file(&path))?;
        pulse.refuses("unlock", &path, ErrorKind::NotFound, || fs::remove_file(&path))
    }

    fn make_folder(&mut self, pulse: &Pulse) -> Outcome {
        if self.folders.len() >= Self::MOST_FOLDERS {
            return self.remove_folder(pulse);
        }
        self.named += 1;
        let name = format!("d{}", self.named);
        let path = self.folder.join(&name);
        pulse.run("mkdir", &path, || fs::create_dir(&path))?;
        self.folders.insert(name);
        pulse.refuses("mkdir", &path, ErrorKind::AlreadyExists, || fs::create_dir(&path))
    }

    fn remove_folder(&mut self, pulse: &Pulse) -> Outcome {
        let Some(name) = self.any_folder() else { return Ok(()) };
        let path = self.folder.join(&name);
        let prefix = format!("{name}/");
        if self.files.keys().any(|file| file.starts_with(&prefix)) {
            return pulse.refuses("rmdir", &path, ErrorKind::DirectoryNotEmpty, || fs::remove_dir(&path));
        }
        pulse.run("rmdir", &path, || fs::remove_dir(&path))?;
        self.folders.remove(&name);
        pulse.refuses("stat", &path, ErrorKind::NotFound, || fs::symlink_metadata(&path))
    }

    /// A folder with all that is in it gets another name.
    fn rename_folder(&mut self, pulse: &Pulse) -> Outcome {
        let Some(from) = self.any_folder() else { return Ok(()) };
        self.named += 1;
        let to = format!("d{}", self.named);
        let (old, new) = (self.folder.join(&from), self.folder.join(&to));
        pulse.run("rename", &old, || fs::rename(&old, &new))?;
        self.folders.remove(&from);
        self.folders.insert(to.clone());
        let moved = |name: String| match name.strip_prefix(&format!("{from}/")) {
            Some(rest) => format!("{to}/{rest}"),
            None => name,
        };
        self.files = std::mem::take(&mut self.files).into_iter().map(|(name, bytes)| (moved(name), bytes)).collect();
        self.check_all(pulse)
    }

    fn read_back(&self, name: &str, pulse: &Pulse) -> Outcome {
        let path = self.folder.join(name);
        let found = pulse.run("read", &path, || fs::read(&path))?;
        let right = &self.files[name];
        let what = || format!("{} bytes where {} were written, or others", found.len(), right.len());
        pulse.check(found == *right, &path, &what())
    }

    /// Everything that was made is there, and nothing else.
    fn check_all(&self, pulse: &Pulse) -> Outcome {
        for folder in [""].into_iter().chain(self.folders.iter().map(String::as_str)) {
            let path = self.folder.join(folder);
            let entries = pulse.run("list", &path, || fs::read_dir(&path)?.collect::<Result<Vec<_>, _>>())?;
            let mut found: Vec<String> =
                entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            found.sort();
            let right = self.names_in(folder);
            pulse.check(found == right, &path, &format!("{found:?} in it, and {right:?} were made"))?;
        }
        self.files.keys().try_for_each(|name| self.read_back(name, pulse))
    }

    fn names_in(&self, folder: &str) -> Vec<String> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let all = self.files.keys().chain(&self.folders);
        let within = all.filter_map(|name| name.strip_prefix(&prefix)).filter(|rest| !rest.contains('/'));
        let mut names: Vec<String> = within.map(str::to_owned).collect();
        names.sort();
        names
    }
}

impl User for Writer {
    fn turn(&mut self, _: &Storm, pulse: &Pulse) -> Outcome {
        if self.named == 0 {
            self.begin(pulse)?;
        }
        match self.dice.below(16) {
            0..=3 => self.create(pulse),
            4..=5 => self.append(pulse),
            6..=8 => self.rename(pulse),
            9 => self.unlink(pulse),
            10..=12 => self.lock(pulse),
            13 => self.make_folder(pulse),
            14 => self.remove_folder(pulse),
            _ if self.dice.once_in(2) => self.rename_folder(pulse),
            _ => self.check_all(pulse),
        }
    }
}

/// Adds names to a folder that others list, and takes them away.
pub struct Churner {
    folder: PathBuf,
    /// In its names, so that no other churner has them.
    mark: String,
    dice: Dice,
    there: Vec<PathBuf>,
    named: usize,
}

impl Churner {
    const MOST: usize = 40;

    pub fn new(folder: PathBuf, mark: &str, dice: Dice) -> Self {
        Self { folder, mark: mark.to_owned(), dice, there: Vec::new(), named: 0 }
    }
}

impl User for Churner {
    fn turn(&mut self, _: &Storm, pulse: &Pulse) -> Outcome {
        if self.there.len() < Self::MOST && !self.dice.once_in(3) {
            self.named += 1;
            // Names that come before, between and behind those of the others.
            let first = ["a", "lasting-3", "z"][self.dice.below(3)];
            let path = self.folder.join(format!("{first}-{}-{}", self.mark, self.named));
            pulse.run("create", &path, || File::create_new(&path))?;
            self.there.push(path);
            return Ok(());
        }
        if self.there.is_empty() {
            return Ok(());
        }
        let path = self.there.swap_remove(self.dice.below(self.there.len()));
        pulse.run("unlink", &path, || fs::remove_file(&path))
    }
}
