//! The mount that is compared with the plain files, and what must be true of it at every step.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use test_hub::{Fault, Hub, Target};
use weightfs::cache::{Evicted, SpaceSettings};
use weightfs::types::{Blob, BlobId};

use super::contents::{self, Commit, Name, REPOS, SMALL, SMALLEST_SMALL};
use super::steps::{How, Node, Place, SLOTS, Step, Trouble};
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
    offline: bool,
    /// What the cache may take at most: the limit, or what there was when it was lowered.
    bound: u64,
    /// Where each branch has been, and which of that was seen last.
    branches: [(Vec<usize>, usize); REPOS.len()],
    /// A second wrong hash of the same content would be the end of it.
    has_sent_wrong_bytes: bool,
}

impl Real {
    pub fn new(node: &Node) -> Self {
        let hub = Hub::start().unwrap();
        let commits = contents::publish(&hub);
        let first = |repo| commits.iter().position(|commit| commit.repo == repo).unwrap();
        let branches = std::array::from_fn(|repo| (vec![first(repo)], 0));
        let world = World::with(hub, options(node), None);
        let real = Self {
            world,
            commits,
            names: contents::names(),
            slots: std::array::from_fn(|_| None),
            kept: HashSet::new(),
            must_stay: HashSet::new(),
            offline: false,
            bound: node.limit(),
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
            Step::Flush => self.world.node().flush(),
            Step::MoveBranch { repo, commit } => self.move_branch(*repo, commit.index(self.commits.len())),
            Step::LookAtBranch { repo } => self.look_at_branch(*repo),
            Step::Trouble(trouble) => self.trouble(trouble),
            Step::Restart(node) => self.restart(node),
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
        assert!(disk <= self.bound.saturating_add(ROUNDING), "{disk} bytes on the disk, and {} is the limit", self.bound);
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
        let was_whole = self.is_whole(name.content);
        let (at, end) = within(place, right.len());
        let mut found = vec![0; end - at];
        let read = File::open(self.path(name)).and_then(|file| file.read_exact_at(&mut found, at as u64));
        self.judge(name.content, was_whole, read.map(|()| found == right[at..end]));
    }

    fn read_whole(&self, name: &Name) {
        let was_whole = self.is_whole(name.content);
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
            How::Mapped if self.offline && !self.is_whole(name.content) => Means::Handle(file),
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
                let was_whole = self.is_whole(*content);
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
        self.must_stay = self.contents_of_kept().into_iter().filter(|content| self.is_whole(*content)).collect();
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
                cdn.path(SMALL).corrupt_at(at.index(SMALLEST_SMALL) as u64)
            }
        };
        self.world.hub.add_fault(fault);
    }

    fn restart(&mut self, node: &Node) {
        self.slots = std::array::from_fn(|_| None);
        self.world.restart_with(options(node), None, node.offline);
        self.offline = node.offline;
        self.bound = node.limit().max(self.world.node().cache().space().used);
    }

    fn blob(&self, name: &Name) -> Blob {
        let target = fs::read_link(self.path(name)).unwrap();
        let etag = target.file_name().unwrap().to_str().unwrap();
        Blob { id: BlobId::from_etag(etag).unwrap(), size: contents::bytes(name.content).len() as u64 }
    }

    /// Whether the disk has all of a content.
    fn is_whole(&self, content: usize) -> bool {
        let len = contents::bytes(content).len();
        let name = self.names.iter().find(|name| name.content == content).unwrap();
        let stored = fs::metadata(self.world.stored(&self.path(name), len));
        len > 0 && stored.is_ok_and(|stored| stored.blocks() * 512 >= len as u64)
    }
}

fn options(node: &Node) -> NodeOptions {
    let space = SpaceSettings { max_size: node.limit_mib.map(|limit| limit << 20), ..SpaceSettings::default() };
    // A look at a branch asks the Hub; and no machine is so slow that a fetch is given up.
    let (refresh, give_up) = (Duration::ZERO, Duration::from_secs(60));
    NodeOptions { refresh, give_up, passthrough: node.passthrough, space, ..NodeOptions::default() }
}

/// A place in a file of `len` bytes; of an empty one, its end.
fn within(place: &Place, len: usize) -> (usize, usize) {
    let at = if len == 0 { 0 } else { place.at.index(len) };
    (at, len.min(at + place.len))
}
