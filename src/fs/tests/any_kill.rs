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
use proptest::sample::Index;
use rustix::io::Errno;

use super::{Home, Kill};
use crate::fs::FsError;
use crate::fs::attr::Kind;
use crate::fs::errno::errno;
use crate::fs::scratch::{Owner, RenameMode};
use crate::tree::Node;
use crate::tree::layout::{join, split};

const BYTE: &[u8] = b"x";

/// Few, so that they meet.
const NAMES: [&str; 2] = ["x", "y"];
/// `PROPTEST_CASES` sets how many there are.
fn config() -> ProptestConfig {
    const CASES: u32 = 40;
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if asked { config } else { ProptestConfig { cases: CASES, ..config } }
}

/// A change to what there is now.
#[derive(Debug)]
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
    Write(usize),
    Close(usize),
}

/// What kind of change, and which share of what there is it is about.
#[derive(Debug, Clone)]
struct Step {
    verb: Verb,
    one: Index,
    other: Index,
    mode: RenameMode,
    kills: Vec<Kill>,
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Create,
    Mkdir,
    Symlink,
    Link,
    Unlink,
    Rmdir,
    Rename,
    RenameOnto,
    Open,
    Write,
    Close,
}

fn any_step() -> impl Strategy<Value = Step> {
    use Verb::*;
    let verb = prop_oneof![
        3 => Just(Create), 2 => Just(Mkdir), 1 => Just(Symlink), 1 => Just(Link), 3 => Just(Unlink), 2 => Just(Rmdir),
        4 => Just(Rename), 4 => Just(RenameOnto), 3 => Just(Open), 3 => Just(Write), 2 => Just(Close),
    ];
    let mode =
        prop_oneof![3 => Just(RenameMode::Replace), 1 => Just(RenameMode::NoReplace), 3 => Just(RenameMode::Exchange)];
    let kill = prop_oneof![3 => (0..6u32).prop_map(Kill::After), 1 => Just(Kill::BeforeAnswer)];
    (verb, any::<Index>(), any::<Index>(), mode, proptest::collection::vec(kill, 0..3))
        .prop_map(|(verb, one, other, mode, kills)| Step { verb, one, other, mode, kills })
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

    /// What a step means now. `None`: there is nothing that it could be about.
    fn meaning(&self, step: &Step) -> Option<Change> {
        let entries: Vec<String> = shown_by_model(self.model.path(), "").into_keys().collect();
        let folders = entries.iter().filter(|path| self.at(path).is_dir()).map(String::as_str).chain([""]);
        let free: Vec<String> = folders
            .flat_map(|folder| NAMES.map(|name| join(folder, name)))
            .filter(|path| !entries.contains(path))
            .collect();
        let pick = |from: &[String], index: &Index| (!from.is_empty()).then(|| index.get(from).clone());
        let (there, new) = (pick(&entries, &step.one), pick(&free, &step.other));
        let open = (!self.open.is_empty()).then(|| step.one.index(self.open.len()));
        Some(match step.verb {
            Verb::Create => Change::Create(new?),
            Verb::Mkdir => Change::Mkdir(new?),
            Verb::Symlink => Change::Symlink(new?),
            Verb::Link => Change::Link(there?, new?),
            Verb::Unlink => Change::Unlink(there?),
            Verb::Rmdir => Change::Rmdir(there?),
            Verb::Rename => Change::Rename(there?, new?, step.mode),
            Verb::RenameOnto => Change::Rename(there?, pick(&entries, &step.other)?, step.mode),
            Verb::Open => Change::Open(there?),
            Verb::Write => Change::Write(open?),
            Verb::Close => Change::Close(open?),
        })
    }

    fn take(&mut self, step: &Step) {
        let Some(change) = self.meaning(step) else { return };
        let expected = self.on_model(&change);
        match &expected {
            // What the kernel sees by itself never comes to the daemon.
            Err(error) if Errno::from_io_error(error) != Some(Errno::NOTEMPTY) => {}
            expected => {
                let answer = self.on_mount(&change, &step.kills);
                assert_eq!(answer, expected.as_ref().map(drop).map_err(|_| Errno::NOTEMPTY), "{change:?}");
            }
        }
        self.compare(&format!("{change:?} {:?}", step.kills));
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
            Change::Write(open) => {
                let model = &self.open[*open].model;
                model.write_all_at(BYTE, model.metadata()?.len())
            }
            Change::Close(_) => Ok(()),
        }
    }

    /// The same change through daemons that die.
    fn on_mount(&mut self, change: &Change, kills: &[Kill]) -> Result<(), Errno> {
        const USER: Owner = Owner { uid: 1234, gid: 2345 };
        let parent_of = |kernel: &Self, path: &str| {
            let (folder, name) = split(path);
            (kernel.home.node(folder), name.to_owned())
        };
        let answer = match change {
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
                let (node, (parent, name)) = (self.looked_up(from).unwrap(), parent_of(self, to));
                let made = self.home.ask(kills, |fs, delivery| {
                    let name = name.clone();
                    async move { fs.link(node, parent, &name, delivery).await }
                });
                made.map(|made| self.name_came(to, made.node))
            }
            Change::Unlink(path) => {
                let (parent, name) = parent_of(self, path);
                self.looked_up(path);
                let removed = self.home.ask(kills, |fs, delivery| {
                    let name = name.clone();
                    async move { fs.unlink(parent, &name, delivery).await }
                });
                removed.map(|()| self.name_went(path))
            }
            Change::Rmdir(path) => {
                let (parent, name) = parent_of(self, path);
                self.looked_up(path);
                let removed = self.home.ask(kills, |fs, delivery| {
                    let name = name.clone();
                    async move { fs.rmdir(parent, &name, delivery).await }
                });
                removed.map(|()| self.name_went(path))
            }
            Change::Rename(from, to, mode) => {
                let (source, target) = (parent_of(self, from), parent_of(self, to));
                self.looked_up(from);
                self.looked_up(to);
                let renamed = self.home.ask(kills, |fs, delivery| {
                    let (source, target, mode) = (source.clone(), target.clone(), *mode);
                    async move { fs.rename((source.0, &source.1), (target.0, &target.1), mode, delivery).await }
                });
                renamed.map(|()| self.names_moved(from, to, *mode))
            }
            Change::Open(_) | Change::Write(_) | Change::Close(_) => self.on_open_file(change, kills),
        };
        answer.map_err(|error| Errno::from_raw_os_error(errno(&error)))
    }

    /// A change that is about an open file and no name.
    fn on_open_file(&mut self, change: &Change, kills: &[Kill]) -> Result<(), FsError> {
        match change {
            Change::Open(path) => {
                let node = self.looked_up(path).unwrap();
                let opened = self.home.ask(kills, |fs, _| async move { fs.open(node, true).await });
                let model = OpenOptions::new().read(true).write(true).open(self.at(path)).unwrap();
                opened.map(|_| self.open.push(Open { node, model }))
            }
            Change::Write(open) => {
                let Open { node, model } = &self.open[*open];
                let (node, end) = (*node, model.metadata().unwrap().len() - 1);
                self.home.ask(kills, |fs, _| async move { fs.write(node, end, BYTE).await })
            }
            Change::Close(open) => {
                let closed = self.open.remove(*open);
                self.home.fs().release(closed.node);
                self.forget_unknown(closed.node);
                Ok(())
            }
            _ => unreachable!("it is about a name"),
        }
    }

    /// It hears of what a change is about before it asks for the change.
    fn looked_up(&mut self, path: &str) -> Option<Node> {
        let node = self.home.find(path)?.node;
        self.name_came(path, node);
        Some(node)
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
            if matches!(path.as_str(), "hub" | "models") {
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
        while let Some(last) = self.open.pop() {
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
    #![proptest_config(config())]

    #[test]
    fn whatever_is_changed_and_wherever_daemons_die_the_layer_is_what_a_plain_directory_would_be(
        steps in proptest::collection::vec(any_step(), 1..80),
    ) {
        let mut kernel = Kernel::new();
        steps.iter().for_each(|step| kernel.take(step));
        kernel.finish();
    }
}
