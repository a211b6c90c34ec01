//! A Hub, a cache and a mount for one test, gone when it ends.

use std::fs;
use std::future::Future;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use test_hub::Hub;
use weightfs::cache::{BlockCache, CacheError, CacheSettings, Evicted, IntegritySettings, SpaceSettings, Verified};
use weightfs::db::Database;
use weightfs::fs::mount;
use weightfs::fs::notices::Courier;
use weightfs::fs::session::{Ground, MountPlan, Session, SessionError};
use weightfs::metrics::Metrics;
use weightfs::origin::dir::{DirectoryOrigin, Role};
use weightfs::origin::hub::{HubOrigin, HubSettings, XetWish};
use weightfs::origin::{Link, Mirror, Routes, Source};
use weightfs::tree::{Tree, TreeSettings};
use weightfs::types::{Blob, BlobId, Identity, Revision, Token};

/// Longer than anything here may take; a test that runs into it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cache directory and what runs on it. `Node::stop` and a new one are a restart.
pub struct Node {
    runtime: tokio::runtime::Runtime,
    cache: Arc<BlockCache>,
    db: Arc<Database>,
    tree: Arc<Tree>,
    pub metrics: Arc<Metrics>,
    directory: PathBuf,
    passthrough: bool,
    drop_behind: Option<u64>,
    sessions: Vec<Session>,
}

pub struct NodeOptions {
    pub refresh: Duration,
    pub give_up: Duration,
    pub passthrough: bool,
    pub drop_behind: Option<u64>,
    pub memory: u64,
    pub space: SpaceSettings,
    pub integrity: IntegritySettings,
    pub xet: XetWish,
    /// Repositories that lie in directories: `acme/tiny`, `dir://name`.
    pub placed: Vec<(String, PathBuf)>,
    /// Copies of the Hub clients' cache that are asked before the Hub.
    pub mirrors: Vec<PathBuf>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(3600),
            give_up: Duration::from_secs(10),
            passthrough: true,
            drop_behind: None,
            memory: 128 << 20,
            space: SpaceSettings::default(),
            integrity: IntegritySettings::default(),
            xet: XetWish::Auto,
            placed: Vec::new(),
            mirrors: Vec::new(),
        }
    }
}

/// The Hub and the directories of a test, as the daemon puts them together.
fn routes(hub: Arc<HubOrigin>, options: &NodeOptions) -> Arc<Routes> {
    let directory = |path: &Path, role| -> Arc<dyn Source> { Arc::new(DirectoryOrigin::new(path, role)) };
    let mirror = |path: &PathBuf| Link::Mirror(Mirror::new(directory(path, Role::Mirror), path.display().to_string()));
    let chain = options.mirrors.iter().map(mirror).chain([Link::Hub]).collect();
    let placed = options.placed.iter().map(|(repo, path)| (repo.parse().unwrap(), directory(path, Role::Model)));
    Arc::new(Routes::new(hub, chain, placed.collect()))
}

impl Node {
    pub fn start(directory: &Path, options: NodeOptions) -> Self {
        Self::try_start(directory, options).unwrap()
    }

    pub fn try_start(directory: &Path, options: NodeOptions) -> Result<Self, CacheError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let metrics = Arc::new(Metrics::default());
        let patience = Duration::from_millis(20);
        let settings =
            HubSettings { give_up: options.give_up, first_retry: patience, xet: options.xet, ..HubSettings::default() };
        let hub = Arc::new(HubOrigin::new(settings, metrics.clone()));
        let db = Arc::new(Database::open(&directory.join("models.db")).unwrap());
        let routes = routes(hub, &options);
        let NodeOptions { give_up, memory, space, integrity, .. } = options;
        let settings = CacheSettings { give_up, memory, space, integrity };
        let opened = {
            let _runtime = runtime.enter();
            BlockCache::open(directory, db.clone(), routes.clone(), metrics.clone(), settings)
        };
        let tree = Tree::new(db.clone(), routes, TreeSettings { refresh: options.refresh });
        Ok(Self {
            runtime,
            cache: opened?,
            db,
            tree,
            metrics,
            directory: directory.to_owned(),
            passthrough: options.passthrough,
            drop_behind: options.drop_behind,
            sessions: Vec::new(),
        })
    }

    pub fn mount(&mut self, at: &Path, identity: Identity) {
        self.mount_for(at, identity, false);
    }

    pub fn mount_for(&mut self, at: &Path, identity: Identity, allow_other: bool) {
        self.try_mount_for(at, identity, allow_other).unwrap();
    }

    pub fn try_mount_for(&mut self, at: &Path, identity: Identity, allow_other: bool) -> Result<(), SessionError> {
        fs::create_dir_all(at).unwrap();
        let plan = MountPlan {
            directory: at.to_owned(),
            allow_other,
            passthrough: self.passthrough,
            drop_behind: self.drop_behind,
            identity,
            pod: None,
        };
        let ground = Ground {
            tree: self.tree.clone(),
            cache: self.cache.clone(),
            metrics: self.metrics.clone(),
            cache_directory: self.directory.clone(),
            database: self.db.uuid().to_owned(),
            keeper: None,
            courier: Courier::Here,
        };
        let start = Session::start(plan, ground);
        self.sessions.push(self.runtime.block_on(start)?);
        Ok(())
    }

    /// Whether the first mount passes complete files through, and why not.
    pub fn passthrough(&self) -> String {
        self.sessions[0].passthrough()
    }

    pub fn cache(&self) -> &Arc<BlockCache> {
        &self.cache
    }

    /// As an operator who wants a model kept.
    pub fn keep(&self, endpoint: &str, repo: &str, commit: &str) {
        let (repo, commit) = (repo.parse().unwrap(), Revision::new(commit).unwrap());
        self.within(self.db.keep(endpoint, &repo, &commit)).unwrap();
    }

    pub fn release(&self, endpoint: &str, repo: &str, commit: &str) {
        let (repo, commit) = (repo.parse().unwrap(), Revision::new(commit).unwrap());
        self.within(self.db.release(endpoint, &repo, &commit)).unwrap();
    }

    /// Waits until what has landed is on record.
    pub fn flush(&self) {
        self.within(self.cache.flush());
    }

    /// Reads a content again from the disk.
    pub fn verify(&self, blob: Blob) -> Verified {
        self.within(self.cache.verify(blob, &mut |_| ())).unwrap()
    }

    pub fn evict(&self, blob: Blob) -> Evicted {
        self.within(self.cache.evict(blob)).unwrap()
    }

    /// Unmounts everything and ends, as a daemon does.
    pub fn stop(mut self) {
        self.unmount_all();
        self.within(self.cache.stop());
    }

    fn unmount_all(&mut self) {
        for session in std::mem::take(&mut self.sessions) {
            // A test that failed may still hold a file open.
            let lazy = std::thread::panicking();
            if let Err(error) = mount::unmount(session.directory(), lazy) {
                eprintln!("{error}");
                mount::unmount(session.directory(), true).unwrap();
            }
            self.within(session.finished());
        }
    }

    fn within<T>(&self, work: impl Future<Output = T>) -> T {
        let done = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await });
        done.expect("it takes too long")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.unmount_all();
    }
}

/// What most tests need: a Hub, a node, one mount.
pub struct World {
    pub hub: Hub,
    /// Goes before the folder that it has mounts in.
    node: Option<Node>,
    pub folder: tempfile::TempDir,
}

impl World {
    pub fn new(hub: Hub) -> Self {
        Self::with(hub, NodeOptions::default(), None)
    }

    pub fn with(hub: Hub, options: NodeOptions, token: Option<&str>) -> Self {
        Self::within(tempfile::tempdir().unwrap(), hub, options, token)
    }

    /// All of it lies in `folder`.
    pub fn within(folder: tempfile::TempDir, hub: Hub, options: NodeOptions, token: Option<&str>) -> Self {
        fs::create_dir(folder.path().join("cache")).unwrap();
        let mut world = Self { hub, folder, node: None };
        world.start(options, token, false);
        world
    }

    /// A mount that other users may enter.
    pub fn shared(hub: Hub) -> Self {
        let mut world = Self::new(hub);
        let mut node = world.node.take().unwrap();
        node.unmount_all();
        node.mount_for(&world.mount_point(), Identity::new(world.hub.endpoint(), None, false), true);
        world.node = Some(node);
        world
    }

    fn start(&mut self, options: NodeOptions, token: Option<&str>, offline: bool) {
        let mut node = Node::start(&self.cache_directory(), options);
        node.mount(&self.mount_point(), Identity::new(self.hub.endpoint(), token.map(Token::new), offline));
        self.node = Some(node);
    }

    /// The daemon ends in good order and a new one takes its place.
    pub fn restart(&mut self) {
        self.restart_as(None, false);
    }

    pub fn restart_as(&mut self, token: Option<&str>, offline: bool) {
        self.restart_with(NodeOptions::default(), token, offline);
    }

    pub fn restart_with(&mut self, options: NodeOptions, token: Option<&str>, offline: bool) {
        if let Some(node) = self.node.take() {
            node.stop();
        }
        self.start(options, token, offline);
    }

    /// The daemon ends, `change` is done to its cache directory, and a new one starts.
    pub fn restart_after(&mut self, options: NodeOptions, change: impl FnOnce(&Path)) {
        self.try_restart_after(options, change).unwrap();
    }

    /// As [`World::restart_after`], where the new one may refuse to start or to mount, and says why.
    pub fn try_restart_after(&mut self, options: NodeOptions, change: impl FnOnce(&Path)) -> Result<(), String> {
        self.node.take().unwrap().stop();
        change(&self.cache_directory());
        let mut node = Node::try_start(&self.cache_directory(), options).map_err(|error| error.to_string())?;
        let mounted = node.try_mount_for(&self.mount_point(), Identity::new(self.hub.endpoint(), None, false), false);
        self.node = Some(node);
        mounted.map_err(|error| error.to_string())
    }

    pub fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    pub fn cache_directory(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    pub fn mount_point(&self) -> PathBuf {
        self.folder.path().join("hf")
    }

    /// `hub/models--…` of a model.
    pub fn repo(&self, name: &str) -> PathBuf {
        self.mount_point().join("hub").join(format!("models--{}", name.replace('/', "--")))
    }

    /// Where the cache keeps a content of `len` bytes that has the name `file`.
    pub fn stored(&self, file: &Path, len: usize) -> PathBuf {
        let blob = fs::read_link(file).unwrap();
        let etag = blob.file_name().unwrap().to_str().unwrap().to_owned();
        let kind = if etag.len() == 64 { "sha256" } else { "git-sha1" };
        self.cache_directory().join("blobs").join(kind).join(&etag[..2]).join(format!("{etag}-{len}"))
    }

    /// The content behind a file of a snapshot.
    pub fn blob(&self, file: &Path, len: usize) -> Blob {
        let target = fs::read_link(file).unwrap();
        Blob { id: BlobId::from_etag(target.file_name().unwrap().to_str().unwrap()).unwrap(), size: len as u64 }
    }

    /// What the contents take up, as `du` has it.
    pub fn disk_usage(&self) -> u64 {
        disk_usage(&self.cache_directory().join("blobs"))
    }

    /// A file of a model's commit.
    pub fn file(&self, name: &str, commit: &str, path: &str) -> PathBuf {
        self.repo(name).join("snapshots").join(commit).join(path)
    }
}

fn disk_usage(folder: &Path) -> u64 {
    let one = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_usage(&entry.path()),
        // What was evicted between the listing and the look takes nothing.
        metadata => metadata.map_or(0, |metadata| metadata.blocks() * 512),
    };
    fs::read_dir(folder).map_or(0, |entries| entries.filter_map(Result::ok).map(one).sum())
}

/// Bytes that look like nothing else and are the same every time.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut bytes = vec![0; len];
    for word in bytes.chunks_mut(8) {
        word.copy_from_slice(&dice.roll().to_le_bytes()[..word.len()]);
    }
    bytes
}

/// Chances that come again with their seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// One of `0..end`.
    pub fn below(&mut self, end: usize) -> usize {
        // The upper half is the better one.
        (((self.roll() >> 32) * end as u64) >> 32) as usize
    }

    /// Once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// A whole number in the environment, by which somebody replays or prolongs a test.
pub fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}: no whole number")))
}

/// The error number of what must fail.
pub fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

/// The names in a folder, in order.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Waits for a condition, not for time.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "still not: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
