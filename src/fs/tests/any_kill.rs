//! Any sequence of changes, with daemons that die at any step of any of them, against a plain directory: every answer is
//! what the directory gives, and so is what lies there afterwards.
//!
//! The kernel is played here: it knows what there is, refuses what cannot be, holds nodes by their paths, and keeps files
//! open whose names go.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rustix::io::Errno;

use super::{Home, Kill};
use crate::fs::attr::Kind;
use crate::fs::errno::errno;
use crate::fs::scratch::{Owner, RenameMode};
use crate::tree::Node;
use crate::tree::layout::{join, split};

/// Few, so that they meet.
const NAMES: [&str; 2] = ["x", "y"];
const CASES: u32 = 40;

#[derive(Debug, Clone)]
enum Change {
    Create(String),
    Mkdir(String),
    Symlink(String),
    Link(String, String),
    Unlink(String),
    Rmdir(String),
    Rename(String, String, RenameMode),
    Open(String),
    /// Of those that are open.
    Write(usize, u8),
    Close(usize),
}

#[derive(Debug, Clone)]
struct Step {
    change: Change,
    kills: Vec<Kill>,
}

fn any_path() -> impl Strategy<Value = String> {
    let depth = prop_oneof![4 => Just(1usize), 3 => Just(2), 1 => Just(3)];
    depth
        .prop_flat_map(|depth| proptest::collection::vec(proptest::sample::select(&NAMES[..]), depth))
        .prop_map(|names| names.join("/"))
}

fn any_step() -> impl Strategy<Value = Step> {
    let mode = prop_oneof![Just(RenameMode::Replace), Just(RenameMode::NoReplace), Just(RenameMode::Exchange)];
    let change = prop_oneof![
        3 => any_path().prop_map(Change::Create),
        4 => any_path().prop_map(Change::Mkdir),
        1 => any_path().prop_map(Change::Symlink),
        2 => (any_path(), any_path()).prop_map(|(from, to)| Change::Link(from, to)),
        3 => any_path().prop_map(Change::Unlink),
        2 => any_path().prop_map(Change::Rmdir),
        8 => (any_path(), any_path(), mode).prop_map(|(from, to, mode)| Change::Rename(from, to, mode)),
        3 => any_path().prop_map(Change::Open),
        3 => (0..8usize, any::<u8>()).prop_map(|(open, byte)| Change::Write(open, byte)),
        1 => (0..8usize).prop_map(Change::Close),
    ];
    let kill = prop_oneof![3 => (0..6u32).prop_map(Kill::After), 1 => Just(Kill::BeforeAnswer)];
    (change, proptest::collection::vec(kill, 0..3)).prop_map(|(change, kills)| Step { change, kills })
}

/// A file that somebody has open, here and in the model.
struct Open {
    node: Node,
    model: File,
}

struct Kernel {
    home: Home,
    model: tempfile::TempDir,
    /// The names it has heard of.
    known: BTreeMap<String, Node>,
    open: Vec<Open>,
}

impl Kernel {
    fn new() -> Self {
        let (home, model) = (Home::new(), tempfile::tempdir().unwrap());
        Self { home, model, known: BTreeMap::new(), open: Vec::new() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.model.path().join(path)
    }

    fn take(&mut self, step: &Step) {
        let expected = self.on_model(&step.change);
        }
        match &expected {
            // What the kernel sees by itself never comes to the daemon.
            Err(error) if Errno::from_io_error(error) != Some(Errno::NOTEMPTY) => {}
            expected => {
                let answer = self.on_mount(step);
                assert_eq!(answer, expected.as_ref().map(drop).map_err(|_| Errno::NOTEMPTY), "{step:?}");
            }
        }
        self.compare(&format!("{step:?}"));
    }

    /// The same change to a plain directory.
    fn on_model(&mut self, change: &Change) -> io::Result<()> {
        match change {
            Change::Create(path) => File::create_new(self.at(path)).map(drop),
            Change::Mkdir(path) => fs::create_dir(self.at(path)),
            Change::Symlink(path) => symlink("nowhere", self.at(path)),
            Change::Link(from, to) => fs::hard_link(self.at(from), self.at(to)),
            Change::Unlink(path) => fs::remove_file(self.at(path)),
            Change::Rmdir(path) => fs::remove_dir(self.at(path)),
            Change::Rename(from, to, _) if from == to => Err(Errno::INVAL.into()),
            Change::Rename(from, to, mode) => {
                let flags = match mode {
                    RenameMode::Replace => rustix::fs::RenameFlags::empty(),
                    RenameMode::NoReplace => rustix::fs::RenameFlags::NOREPLACE,
                    RenameMode::Exchange => rustix::fs::RenameFlags::EXCHANGE,
                };
                Ok(rustix::fs::renameat_with(rustix::fs::CWD, self.at(from), rustix::fs::CWD, self.at(to), flags)?)
            }
            Change::Open(path) => {
                OpenOptions::new().read(true).write(true).custom_flags(NOFOLLOW).open(self.at(path)).map(drop)
            }
            Change::Write(open, byte) => {
                let open = self.open.get(*open).ok_or(Errno::BADF)?;
                let len = open.model.metadata()?.len();
                open.model.write_all_at(&[*byte], len)
            }
            Change::Close(open) if *open < self.open.len() => Ok(()),
            Change::Close(_) => Err(Errno::BADF.into()),
        }
    }

    /// The same change through daemons that die.
    fn on_mount(&mut self, step: &Step) -> Result<(), Errno> {
        const USER: Owner = Owner { uid: 1234, gid: 2345 };
        let parent_of = |kernel: &Self, path: &str| {
            let (folder, name) = split(path);
            (kernel.home.node(folder), name.to_owned())
        };
        let kills = &step.kills;
        let answer = match &step.change {
            Change::Create(path) => {
                let (parent, name) = parent_of(self, path);
                let made = self.home.ask(kills, |fs, delivery| {
                    let name = name.clone();
                    async move {
                        let made = fs.create(parent, &name, 0o644, USER, true, delivery).await?;
                        fs.release(made.node);
                        Ok(made)
                    }
                });
                made.map(|made| self.name_came(path, made.node))
            }
            Change::Mkdir(path) => {
                let (parent, name) = parent_of(self, path);
                let made = self.home.ask(kills, |fs, delivery| {
                    let name = name.clone();
                    async move { fs.mkdir(parent, &name, 0o755, USER, delivery).await }
                });
                made.map(|made| self.name_came(path, made.node))
            }
            Change::Symlink(path) => {
                let (parent, name) = parent_of(self, path);
                let made = self.home.ask(kills, |fs, delivery| {
                    let name = name.clone();
                    async move { fs.symlink(parent, &name, "nowhere", USER, delivery).await }
                });
                made.map(|made| self.name_came(path, made.node))
            }
            Change::Link(from, to) => {
                let (node, (parent, name)) = (self.home.node(from), parent_of(self, to));
                let made = self.home.ask(kills, |fs, delivery| {
                    let name = name.clone();
                    async move { fs.link(node, parent, &name, delivery).await }
                });
                made.map(|made| self.name_came(to, made.node))
            }
            Change::Unlink(path) => {
                let (parent, name) = parent_of(self, path);
                self.home.node(path);
                let removed = self.home.ask(kills, |fs, delivery| {
                    let name = name.clone();
                    async move { fs.unlink(parent, &name, delivery).await }
                });
                removed.map(|()| self.name_went(path))
            }
            Change::Rmdir(path) => {
                let (parent, name) = parent_of(self, path);
                let removed = self.home.ask(kills, |fs, delivery| {
                    let name = name.clone();
                    async move { fs.rmdir(parent, &name, delivery).await }
                });
                removed.map(|()| self.name_went(path))
            }
            Change::Rename(from, to, mode) => {
                let (source, target) = (parent_of(self, from), parent_of(self, to));
                self.home.node(from);
                let renamed = self.home.ask(kills, |fs, delivery| {
                    let (source, target, mode) = (source.clone(), target.clone(), *mode);
                    async move { fs.rename((source.0, &source.1), (target.0, &target.1), mode, delivery).await }
                });
                renamed.map(|()| self.names_moved(from, to, *mode))
            }
            Change::Open(path) => {
                let node = self.home.node(path);
                self.known.insert(path.clone(), node);
                let opened = self.home.ask(kills, |fs, _| async move { fs.open(node, true).await });
                let model = OpenOptions::new().read(true).write(true).open(self.at(path)).unwrap();
                opened.map(|_| self.open.push(Open { node, model }))
            }
            Change::Write(open, byte) => {
                let Open { node, model } = &self.open[*open];
                let (node, end, byte) = (*node, model.metadata().unwrap().len() - 1, *byte);
                self.home.ask(kills, |fs, _| async move { fs.write(node, end, &[byte]).await })
            }
            Change::Close(open) => {
                let closed = self.open.remove(*open);
                self.home.fs().release(closed.node);
                self.forget_unknown(closed.node);
                Ok(())
            }
        };
        answer.map_err(|error| Errno::from_raw_os_error(errno(&error)))
    }

    fn name_came(&mut self, path: &str, node: Node) {
        self.known.insert(path.to_owned(), node);
    }

    fn name_went(&mut self, path: &str) {
        let below = format!("{path}/");
        let gone: Vec<String> =
            self.known.keys().filter(|known| *known == path || known.starts_with(&below)).cloned().collect();
        for path in gone {
            if let Some(node) = self.known.remove(&path) {
                self.forget_unknown(node);
            }
        }
    }

    fn names_moved(&mut self, from: &str, to: &str, mode: RenameMode) {
        let take = |known: &mut BTreeMap<String, Node>, root: &str| -> Vec<(String, Node)> {
            let below = format!("{root}/");
            let all: Vec<String> =
                known.keys().filter(|path| *path == root || path.starts_with(&below)).cloned().collect();
            all.into_iter().map(|path| (path[root.len()..].to_owned(), known.remove(&path).unwrap())).collect()
        };
        let moved = take(&mut self.known, from);
        let other = take(&mut self.known, to);
        self.known.extend(moved.into_iter().map(|(rest, node)| (format!("{to}{rest}"), node)));
        if mode == RenameMode::Exchange {
            self.known.extend(other.into_iter().map(|(rest, node)| (format!("{from}{rest}"), node)));
        } else {
            other.into_iter().for_each(|(_, node)| self.forget_unknown(node));
        }
    }

    /// The kernel forgets a node that has no name and that nobody has open.
    fn forget_unknown(&self, node: Node) {
        if self.open.iter().all(|open| open.node != node) && self.known.values().all(|known| *known != node) {
            self.home.fs().forget(node);
        }
    }

    fn compare(&self, after: &str) {
        assert_eq!(self.shown("", Node::ROOT), shown_by_model(self.model.path(), ""), "after {after}");
        for (path, node) in &self.known {
            let found = self.home.find(path).map(|attr| attr.node);
            assert_eq!(found, Some(*node), "the kernel knows {path} after {after}");
        }
        for open in &self.open {
            let (mut model, mut expected) = (&open.model, Vec::new());
            model.rewind().unwrap();
            model.read_to_end(&mut expected).unwrap();
            let read = self.home.read(open.node).unwrap_or_else(|error| panic!("{error} after {after}"));
            assert_eq!(read, expected, "an open file after {after}");
            let links = self.home.run(self.home.fs().attr(open.node)).unwrap().nlink;
            assert_eq!(u64::from(links), model.metadata().unwrap().nlink(), "its names after {after}");
        }
    }

    /// Everything that the mount shows below a folder.
    fn shown(&self, path: &str, node: Node) -> BTreeMap<String, String> {
        let mut shown = BTreeMap::new();
        for entry in &self.home.run(self.home.fs().list(node)).unwrap()[2..] {
            let path = join(path, &entry.name);
            if path == "hub" {
                continue;
            }
            let attr = self.home.find(&path).unwrap();
            assert_eq!((attr.node, attr.kind), (entry.node, entry.kind), "{path}");
            match attr.kind {
                Kind::Folder => {
                    shown.insert(path.clone(), "folder".to_owned());
                    shown.extend(self.shown(&path, attr.node));
                }
                Kind::File => drop(shown.insert(path, format!("{:?}", self.home.read(attr.node).unwrap()))),
                Kind::Link => {
                    let target = self.home.run(self.home.fs().link_target(attr.node)).unwrap();
                    shown.insert(path, String::from_utf8(target).unwrap());
                }
            }
        }
        shown
    }

    fn finish(mut self) {
        while !self.open.is_empty() {
            let last = self.open.pop().unwrap();
            self.home.fs().release(last.node);
            self.forget_unknown(last.node);
        }
        assert_eq!(self.home.orphans(), 0, "nobody has a file open");
    }
}

const NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;

fn shown_by_model(root: &Path, path: &str) -> BTreeMap<String, String> {
    let mut shown = BTreeMap::new();
    for entry in fs::read_dir(root.join(path)).unwrap() {
        let entry = entry.unwrap();
        let path = join(path, entry.file_name().to_str().unwrap());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            shown.insert(path.clone(), "folder".to_owned());
            shown.extend(shown_by_model(root, &path));
        } else if kind.is_symlink() {
            shown.insert(path, fs::read_link(entry.path()).unwrap().to_str().unwrap().to_owned());
        } else {
            shown.insert(path, format!("{:?}", fs::read(entry.path()).unwrap()));
        }
    }
    shown
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_changed_and_wherever_daemons_die_the_layer_is_what_a_plain_directory_would_be(
        steps in proptest::collection::vec(any_step(), 1..40),
    ) {
        let mut kernel = Kernel::new();
        steps.iter().for_each(|step| kernel.take(step));
        kernel.finish();
    }
}
