//! The mount that is compared with the plain files, and what must be true of it at every step.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::sample::Index;
use rustix::io::Errno;
use test_hub::{Fault, Hub, Target};
use weightfs::cache::{Evicted, IntegritySettings, SpaceSettings};
use weightfs::types::{Blob, BlobId};

use super::contents::{self, Commit, Name, REPOS, SMALL, SMALLEST_SMALL};
use super::steps::{Case, How, Node, Place, SLOTS, Step, Trouble};
use crate::harness::{NodeOptions, World, eventually};
use crate::passthrough::Map;

/// A file system's own rounding, and what names take.
const ROUNDING: u64 = 1 << 20;

/// A file that somebody has open. A mapping stays though its handle was closed.
struct Open {
    content: usize,
    means: Means,
}

enum Means {
    Handle(File),
    Mapping(Option<Map>),
}

pub struct Real {
    /// Closed before the mount goes.
    slots: [Option<Open>; SLOTS],
    world: World,
    commits: Vec<Commit>,
    names: Vec<Name>,
    /// Commits that an operator wants kept.
    kept: HashSet<usize>,
    /// What was whole when it was kept.
    must_stay: HashSet<usize>,
    /// What was damaged once may be fetched again, and offline it cannot be.
    damaged: HashSet<usize>,
    offline: bool,
    before_read: bool,
    /// What the cache may take at most: the limit, or what there was when it was lowered.
    bound: u64,
    /// Where each branch has been, and which of that was seen last.
    branches: [(Vec<usize>, usize); REPOS.len()],
    /// A second wrong hash of the same content would be the end of it.
    has_sent_wrong_bytes: bool,
}

impl Real {
    pub fn new(case: &Case) -> Self {
        let hub = Hub::start().unwrap();
        let commits = contents::publish(&hub);
        let first = |repo| commits.iter().position(|commit| commit.repo == repo).unwrap();
        let branches = std::array::from_fn(|repo| (vec![first(repo)], 0));
        let world = World::with(hub, options(&case.first, case.before_read), None);
        let real = Self {
            world,
            commits,
            names: contents::names(),
            slots: std::array::from_fn(|_| None),
            kept: HashSet::new(),
            must_stay: HashSet::new(),
            offline: false,
            bound: limit(&case.first, case.before_read).unwrap_or(u64::MAX),
            before_read: case.before_read,
            damaged: HashSet::new(),
            branches,
            has_sent_wrong_bytes: false,
        };
        // From here on every name is known, and only contents can be out of reach.
        real.names.iter().for_each(|name| assert!(fs::symlink_metadata(real.path(name)).is_ok()));
        (0..REPOS.len()).for_each(|repo| assert!(fs::read(real.branch(repo)).is_ok()));
        real
    }

    pub fn take(&mut self, step: &Step) {
        match step {
            Step::Read { name, place } => self.read(name.get(&self.names), place),
            Step::ReadWhole { name } => self.read_whole(name.get(&self.names)),
            Step::Open { slot, name, how } => self.open(*slot, name.index(self.names.len()), *how),
            Step::ReadOpen { slot, place } => self.read_open(*slot, place),
            Step::Close { slot } => self.slots[*slot] = None,
            Step::DropPages { name } => self.drop_pages(name.get(&self.names)),
            Step::Evict { name } => self.evict(name.get(&self.names)),
            Step::Keep { commit } => self.keep(commit.index(self.commits.len())),
            Step::Release { commit } => self.release(commit.index(self.commits.len())),
            Step::Verify { name } => self.verify(name.get(&self.names)),
            Step::Flush => self.world.node().flush(),
            Step::MoveBranch { repo, commit } => self.move_branch(*repo, commit.index(self.commits.len())),
            Step::LookAtBranch { repo } => self.look_at_branch(*repo),
            Step::Trouble(trouble) => self.trouble(trouble),
            Step::Restart(node) => self.restart(node),
            Step::Damage { name, at } => self.damage(name.index(self.names.len()), at),
        }
        self.check();
    }

    /// In the end, with all well again, everything is there.
    pub fn finish(&mut self) {
        self.world.hub.clear_faults();
        self.restart(&Node::default());
        self.names.iter().for_each(|name| self.read_whole(name));
        for repo in 0..REPOS.len() {
            let (history, _) = &self.branches[repo];
            let newest = &self.commits[*history.last().unwrap()].hash;
            eventually("the branch has moved", || fs::read_to_string(self.branch(repo)).unwrap() == *newest);
        }
        self.check();
    }

    /// True after every step.
    fn check(&self) {
        let used = self.world.node().cache().space().used;
        assert!(used <= self.bound, "{used} bytes, and {} is the limit", self.bound);
        let disk = self.world.disk_usage();
        assert!(
            disk <= self.bound.saturating_add(ROUNDING),
            "{disk} bytes on the disk, and {} is the limit",
            self.bound
        );
        for content in &self.must_stay {
            assert!(self.is_whole(*content), "content {content} is kept and gone");
        }
    }

    fn path(&self, name: &Name) -> PathBuf {
        let commit = &self.commits[name.commit];
        self.world.file(REPOS[commit.repo], &commit.hash, name.path)
    }

    fn branch(&self, repo: usize) -> PathBuf {
        self.world.repo(REPOS[repo]).join("refs/main")
    }

    fn read(&self, name: &Name, place: &Place) {
        let right = contents::bytes(name.content);
        let was_whole = self.is_here(name.content);
        let (at, end) = within(place, right.len());
        let mut found = vec![0; end - at];
        let read = File::open(self.path(name)).and_then(|file| file.read_exact_at(&mut found, at as u64));
        self.judge(name.content, was_whole, read.map(|()| found == right[at..end]));
    }

    fn read_whole(&self, name: &Name) {
        let was_whole = self.is_here(name.content);
        let read = fs::read(self.path(name));
        self.judge(name.content, was_whole, read.map(|found| found == contents::bytes(name.content)));
    }

    /// A reader is right or, offline and of what is not all here, refused.
    fn judge(&self, content: usize, was_whole: bool, is_right: io::Result<bool>) {
        match is_right {
            Ok(is_right) => assert!(is_right, "content {content} reads wrong"),
            Err(error) => {
                assert!(self.offline, "content {content}: {error}");
                assert!(!was_whole, "content {content} is all here, and offline: {error}");
                assert_eq!(Errno::from_io_error(&error), Some(Errno::IO), "content {content}: {error}");
            }
        }
    }

    fn open(&mut self, slot: usize, name: usize, how: How) {
        let name = &self.names[name];
        let file = File::open(self.path(name)).unwrap();
        let len = contents::bytes(name.content).len();
        let means = match how {
            How::Read => Means::Handle(file),
            // Offline a page that is not here would be a signal; and nothing cannot be mapped.
            How::Mapped if self.offline && !self.is_here(name.content) => Means::Handle(file),
            How::Mapped => Means::Mapping((len > 0).then(|| Map::of(&file, len))),
        };
        self.slots[slot] = Some(Open { content: name.content, means });
    }

    fn read_open(&self, slot: usize, place: &Place) {
        let Some(Open { content, means }) = &self.slots[slot] else { return };
        let right = contents::bytes(*content);
        let (at, end) = within(place, right.len());
        match means {
            Means::Handle(file) => {
                let was_whole = self.is_here(*content);
                let mut found = vec![0; end - at];
                let read = file.read_exact_at(&mut found, at as u64);
                self.judge(*content, was_whole, read.map(|()| found == right[at..end]));
            }
            Means::Mapping(map) => {
                let found = map.as_ref().map_or(&[][..], |map| &map.bytes()[at..end]);
                assert!(found == &right[at..end], "content {content} is mapped wrong");
            }
        }
    }

    /// So that the next read of it comes to the daemon, or to its disk.
    fn drop_pages(&self, name: &Name) {
        let file = File::open(self.path(name)).unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }

    fn evict(&self, name: &Name) {
        let content = name.content;
        let evicted = self.world.node().evict(self.blob(name));
        let is_open = self.slots.iter().flatten().any(|open| open.content == content);
        let is_kept = self.contents_of_kept().contains(&content);
        let may_go = !is_open && !is_kept;
        assert!(may_go || !matches!(evicted, Evicted::Freed(_)), "content {content} is in use or kept, and evicted");
    }

    fn keep(&mut self, commit: usize) {
        let Commit { repo, hash } = &self.commits[commit];
        self.world.node().keep(self.world.hub.endpoint(), REPOS[*repo], hash);
        self.kept.insert(commit);
        // What is whole and not recorded may still turn out wrong.
        self.world.node().flush();
        self.must_stay = self.contents_of_kept().into_iter().filter(|content| self.is_here(*content)).collect();
    }

    fn release(&mut self, commit: usize) {
        let Commit { repo, hash } = &self.commits[commit];
        self.world.node().release(self.world.hub.endpoint(), REPOS[*repo], hash);
        self.kept.remove(&commit);
        let kept = self.contents_of_kept();
        self.must_stay.retain(|content| kept.contains(content));
    }

    fn contents_of_kept(&self) -> HashSet<usize> {
        self.names.iter().filter(|name| self.kept.contains(&name.commit)).map(|name| name.content).collect()
    }

    fn move_branch(&mut self, repo: usize, commit: usize) {
        if self.commits[commit].repo == repo {
            self.world.hub.set_branch(REPOS[repo], "main", &self.commits[commit].hash).unwrap();
            self.branches[repo].0.push(commit);
        }
    }

    /// A branch is somewhere it has been, and never goes back.
    fn look_at_branch(&mut self, repo: usize) {
        let shown = fs::read_to_string(self.branch(repo)).unwrap();
        let (history, seen) = &mut self.branches[repo];
        let since = history[*seen..].iter().position(|commit| self.commits[*commit].hash == shown);
        *seen += since.unwrap_or_else(|| panic!("{} went back to {shown}", REPOS[repo]));
    }

    fn trouble(&mut self, trouble: &Trouble) {
        let cdn = Fault::on(Target::Cdn).times(1);
        let fault = match trouble {
            Trouble::BrokenBody { after } => cdn.cut_after(*after),
            Trouble::ServerError { times } => Fault::new().times(*times).status(503),
            Trouble::Disconnect => cdn.disconnect(),
            Trouble::IgnoredRange => cdn.ignore_range(),
            Trouble::ShortRange => cdn.shorten_range(1000),
            Trouble::ExpiredUrls => return self.world.hub.expire_urls(),
            Trouble::WrongByte { .. } if self.has_sent_wrong_bytes => return,
            Trouble::WrongByte { at } => {
                self.has_sent_wrong_bytes = true;
                let fault = if self.before_read { cdn } else { cdn.path(SMALL) };
                fault.corrupt_at(at.index(SMALLEST_SMALL) as u64)
            }
        };
        self.world.hub.add_fault(fault);
    }

    fn restart(&mut self, node: &Node) {
        self.slots = std::array::from_fn(|_| None);
        self.world.restart_with(options(node, self.before_read), None, node.offline);
        self.restarted(node);
    }

    /// A byte of the cache's file changes while no daemon runs.
    fn damage(&mut self, name: usize, at: &Index) {
        self.slots = std::array::from_fn(|_| None);
        let name = &self.names[name];
        let stored = self.world.stored(&self.path(name), contents::bytes(name.content).len());
        let node = Node::default();
        self.world.restart_after(options(&node, self.before_read), |_| flip(&stored, at));
        self.damaged.insert(name.content);
        // What is found damaged while the Hub is away is struck off, and its file is swept.
        self.must_stay.remove(&name.content);
        self.restarted(&node);
    }

    fn restarted(&mut self, node: &Node) {
        self.offline = node.offline;
        let used = self.world.node().cache().space().used;
        self.bound = limit(node, self.before_read).map_or(u64::MAX, |limit| limit.max(used));
    }

    /// Damage is found, and nothing else is taken for it.
    fn verify(&self, name: &Name) {
        let verified = self.world.node().verify(self.blob(name));
        assert!(verified.damaged_bytes == 0 || self.damaged.contains(&name.content), "{verified:?}");
    }

    fn blob(&self, name: &Name) -> Blob {
        let target = fs::read_link(self.path(name)).unwrap();
        let etag = target.file_name().unwrap().to_str().unwrap();
        Blob { id: BlobId::from_etag(etag).unwrap(), size: contents::bytes(name.content).len() as u64 }
    }

    /// Whether a content must read without the Hub.
    fn is_here(&self, content: usize) -> bool {
        self.is_whole(content) && !self.damaged.contains(&content)
    }

    /// Whether the disk has all of a content, whatever it is worth.
    fn is_whole(&self, content: usize) -> bool {
        let len = contents::bytes(content).len();
        let name = self.names.iter().find(|name| name.content == content).unwrap();
        let stored = fs::metadata(self.world.stored(&self.path(name), len));
        len > 0 && stored.is_ok_and(|stored| stored.blocks() * 512 >= len as u64)
    }
}

fn options(node: &Node, before_read: bool) -> NodeOptions {
    let space = SpaceSettings { max_size: limit(node, before_read), ..SpaceSettings::default() };
    let check_every_read = node.check_every_read;
    let integrity = IntegritySettings { proved_before_read: before_read, check_every_read, scrub_interval: None };
    // A look at a branch asks the Hub; and no machine is so slow that a fetch is given up.
    let (refresh, give_up) = (Duration::ZERO, Duration::from_secs(60));
    NodeOptions { refresh, give_up, passthrough: node.passthrough, space, integrity, ..NodeOptions::default() }
}

fn limit(node: &Node, before_read: bool) -> Option<u64> {
    node.limit_mib.filter(|_| !before_read).map(|limit| limit << 20)
}

/// Of a file that is there and not empty.
fn flip(stored: &Path, at: &Index) {
    let Ok(file) = File::options().read(true).write(true).open(stored) else { return };
    let len = file.metadata().unwrap().len();
    if len > 0 {
        let (at, mut byte) = (at.index(len as usize) as u64, [0]);
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[!byte[0]], at).unwrap();
    }
}

/// A place in a file of `len` bytes; of an empty one, its end.
fn within(place: &Place, len: usize) -> (usize, usize) {
    let at = if len == 0 { 0 } else { place.at.index(len) };
    (at, len.min(at + place.len))
}
