//! A mount without a kernel: what it answers, and what the next daemon makes of requests that come to it again.

mod again;
mod any_kill;
mod listings;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::attr::Attr;
use super::delivery::{Attempt, Delivery, death};
use super::error::FsError;
use super::lookup::Lookup;
use super::scratch::{Owner, Scratch};
use super::{ModelFs, View};
use crate::cache::{BlockCache, CacheSettings, IntegritySettings, SpaceSettings};
use crate::db::{Database, RequestNumber};
use crate::metrics::Metrics;
use crate::origin::hub::{HubOrigin, HubSettings};
use crate::tree::{Node, Tree, TreeSettings};
use crate::types::{Identity, Token};

/// A cache directory, one mount of it, and the daemon that serves it now.
pub(super) struct Home {
    pub(super) runtime: tokio::runtime::Runtime,
    pub(super) folder: tempfile::TempDir,
    pub(super) db: Arc<Database>,
    tree: Arc<Tree>,
    cache: Arc<BlockCache>,
    view: View,
    fs: Arc<ModelFs>,
    /// The kernel's number of the last request.
    last: u64,
}

/// Where a daemon's death finds a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kill {
    /// After so many of its steps, or before the answer where it has fewer.
    After(u32),
    BeforeAnswer,
}

impl Home {
    pub(super) fn new() -> Self {
        Self::with_token(None)
    }

    pub(super) fn with_token(token: Option<&str>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let db = Arc::new(Database::open(&folder.path().join("models.db")).unwrap());
        let metrics = Arc::new(Metrics::default());
        let hub = Arc::new(HubOrigin::new(HubSettings::default(), metrics.clone()));
        let settings = CacheSettings {
            give_up: Duration::from_secs(10),
            memory: 16 << 20,
            space: SpaceSettings::default(),
            integrity: IntegritySettings::default(),
        };
        let entered = runtime.enter();
        let cache = BlockCache::open(folder.path(), db.clone(), hub.clone(), metrics, settings).unwrap();
        drop(entered);
        let tree = Tree::new(db.clone(), hub, TreeSettings { refresh: Duration::from_secs(3600) });
        let view = View {
            directory: PathBuf::from("/mnt/hf"),
            identity: Identity::new("http://hub", token.map(Token::new), true),
            shared: false,
            passthrough: false,
            drop_behind: None,
            owner: Owner { uid: 0, gid: 0 },
            pod: None,
        };
        let fs = serve(&runtime, &folder, &view, &tree, &cache, true);
        Self { runtime, folder, db, tree, cache, view, fs, last: 0 }
    }

    pub(super) fn fs(&self) -> &Arc<ModelFs> {
        &self.fs
    }

    /// The daemon is gone with all it remembers, and the next one has the mount.
    pub(super) fn take_over(&mut self) {
        self.fs = serve(&self.runtime, &self.folder, &self.view, &self.tree, &self.cache, false);
    }

    /// The mount is gone as well.
    pub(super) fn mount_afresh(&mut self) {
        self.fs = serve(&self.runtime, &self.folder, &self.view, &self.tree, &self.cache, true);
    }

    /// A request from the kernel to the daemon, which may die over it again and again until one answers.
    pub(super) fn ask<T, W: Future<Output = Result<T, FsError>>>(
        &mut self,
        kills: &[Kill],
        work: impl Fn(Arc<ModelFs>, Delivery) -> W,
    ) -> Result<T, FsError> {
        self.last += 2;
        let mut delivery = Delivery { request: RequestNumber(self.last), attempt: Attempt::First };
        for kill in kills {
            let attempt = || self.runtime.block_on(work(self.fs.clone(), delivery)).map(drop);
            let steps = match kill {
                Kill::After(steps) => *steps,
                Kill::BeforeAnswer => u32::MAX,
            };
            // What it answered, if it came to that, nobody has heard.
            let _ = death::killed_after(steps, attempt);
            self.take_over();
            delivery.attempt = Attempt::Again;
        }
        self.runtime.block_on(work(self.fs.clone(), delivery))
    }

    pub(super) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// What the kernel would find at `path`.
    pub(super) fn find(&self, path: &str) -> Option<Attr> {
        let mut found: Option<Attr> = None;
        for name in path.split('/') {
            let parent = found.map_or(Node::ROOT, |attr| attr.node);
            match self.run(self.fs.lookup(parent, name)).unwrap() {
                Lookup::Found(attr) => found = Some(attr),
                Lookup::Absent(_) => return None,
            }
        }
        found
    }

    /// The node of a folder; the root for the empty path.
    pub(super) fn node(&self, path: &str) -> Node {
        if path.is_empty() { Node::ROOT } else { self.find(path).expect("it is there").node }
    }

    pub(super) fn read(&self, node: Node) -> Result<Vec<u8>, FsError> {
        let mut buffer = Vec::new();
        match self.fs.try_read(node, crate::types::ByteRange::at(0, 1 << 16), &mut buffer)? {
            super::read::TryRead::Ready(bytes) => Ok(bytes.to_vec()),
            super::read::TryRead::Missing(..) => panic!("no content of the Hub is read here"),
        }
    }

    /// The layer's folder on disk.
    pub(super) fn layer(&self) -> PathBuf {
        self.view.scratch_directory(self.folder.path())
    }

    pub(super) fn on_disk(&self, path: &str) -> PathBuf {
        self.layer().join(path)
    }

    /// How many files without a name are kept.
    pub(super) fn orphans(&self) -> usize {
        let mut folder = self.layer().into_os_string();
        folder.push(".orphans");
        std::fs::read_dir(Path::new(&folder)).unwrap().count()
    }
}

fn serve(
    runtime: &tokio::runtime::Runtime,
    folder: &tempfile::TempDir,
    view: &View,
    tree: &Arc<Tree>,
    cache: &Arc<BlockCache>,
    fresh: bool,
) -> Arc<ModelFs> {
    let scratch = Scratch::open(view.scratch_directory(folder.path())).unwrap();
    let nodes = runtime.block_on(tree.nodes(&view.directory.to_string_lossy(), fresh)).unwrap();
    let metrics = Arc::new(Metrics::default());
    Arc::new(ModelFs::new(view.clone(), tree.clone(), cache.clone(), metrics, nodes, scratch))
}
