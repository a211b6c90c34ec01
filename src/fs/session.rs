//! One live mount: from an empty directory to a tree that answers, and to its end.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use fuser::{INodeNo, SessionACL};
use tokio::sync::watch;

use super::behind::Span;
use super::fuse::Adapter;
use super::model_fs::ModelFs;
use super::mount::{self, Backings, MountError, MountOptions};
use super::passthrough::MovedName;
use super::scratch::{Owner, Scratch, ScratchError};
use super::view::View;
use crate::cache::BlockCache;
use crate::db::DbError;
use crate::metrics::Metrics;
use crate::tree::Tree;
use crate::types::Identity;

/// What to mount, where, and as whom it asks the Hub.
#[derive(Debug, Clone)]
pub struct MountPlan {
    pub directory: PathBuf,
    pub allow_other: bool,
    /// Whether the kernel is to read complete files past the daemon, where it can.
    pub passthrough: bool,
    /// From which size on a file does not stay in the page cache once it has been read.
    pub drop_behind: Option<u64>,
    pub identity: Identity,
    /// Below it lie the writable layers of all mounts.
    pub cache_directory: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("{}: the kernel and the daemon could not agree: {source}", .directory.display())]
    Handshake { directory: PathBuf, source: io::Error },
}

/// A mount that answers. Dropping it does not unmount: `mount::unmount` does, and then `finished` returns.
pub struct Session {
    directory: PathBuf,
    fs: Weak<ModelFs>,
    ended: watch::Receiver<bool>,
}

impl Session {
    const THREADS: usize = 4;

    /// Mounts and returns once the kernel and the daemon have agreed. On an error nothing stays mounted.
    ///
    /// It does not look into the mount: a daemon that waits for its own answer could not even be killed.
    pub async fn start(
        plan: MountPlan,
        tree: Arc<Tree>,
        cache: Arc<BlockCache>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, SessionError> {
        let options = MountOptions { directory: plan.directory.clone(), allow_other: plan.allow_other };
        let mounted = blocking(move || mount::mount(options)).await?;
        let directory = mounted.directory.clone();
        let started = Self::serve(plan, mounted, tree, cache, metrics).await;
        if started.is_err() {
            let failed = directory.clone();
            let unmounted = blocking(move || mount::unmount(&failed, true)).await;
            if let Err(error) = unmounted {
                tracing::error!(%error, "a mount that failed to start is left behind");
            }
        }
        started
    }

    async fn serve(
        plan: MountPlan,
        mounted: mount::Mounted,
        tree: Arc<Tree>,
        cache: Arc<BlockCache>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, SessionError> {
        let directory = mounted.directory;
        let owner = Owner { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
        let view = View {
            directory: directory.clone(),
            identity: plan.identity,
            shared: plan.allow_other,
            passthrough: plan.passthrough,
            drop_behind: plan.drop_behind,
            owner,
        };
        let scratch = Scratch::open(view.scratch_directory(&plan.cache_directory))?;
        let nodes = tree.nodes(&directory.to_string_lossy(), true).await?;
        let fs = Arc::new(ModelFs::new(view, tree, cache.clone(), metrics, nodes, scratch));
        let adapter = Adapter::new(fs.clone(), tokio::runtime::Handle::current());
        let device = mounted.device;
        let backings = device.try_clone().map(Backings::new);
        let handshake = blocking(move || fuser::Session::from_fd(adapter, device, SessionACL::All, Self::config()));
        let session =
            handshake.await.map_err(|source| SessionError::Handshake { directory: directory.clone(), source })?;
        let trying = fs.clone();
        blocking(move || trying.passthrough.try_out(backings, cache.sample_file())).await;
        Self::raise_read_ahead(directory.clone()).await;
        tracing::info!(directory = %directory.display(), passthrough = fs.passthrough(), "how complete files are served");
        let names = session.notifier();
        let known = Arc::downgrade(&fs);
        let ended = Self::run(session, directory.clone())?;
        tokio::spawn(Self::drop_behind(fs.clone(), names.clone(), ended.clone()));
        tokio::spawn(Self::move_names(fs, names, ended.clone()));
        Ok(Self { directory, fs: known, ended })
    }

    /// A reader in order waits less often. With more, one fault in a tensor reads so far around it that a look at one tensor
    /// costs more than its bytes and two blocks.
    async fn raise_read_ahead(directory: PathBuf) {
        const KIB: u32 = 256;
        let raised = blocking(move || mount::set_read_ahead(&directory, KIB)).await;
        if let Err(error) = raised {
            tracing::debug!(%error, "the kernel's read-ahead stays as it is");
        }
    }

    /// Tells the kernel to look up again what has moved. Never from inside a request: the kernel may hold the folder that
    /// it names, and wait for that request.
    async fn move_names(fs: Arc<ModelFs>, kernel: fuser::Notifier, mut ended: watch::Receiver<bool>) {
        loop {
            let moved = tokio::select! {
                _ = ended.wait_for(|ended| *ended) => return,
                moved = fs.moved_names() => moved,
            };
            let kernel = kernel.clone();
            let forget = move || {
                for MovedName { folder, name, wrong } in moved {
                    if let Some(node) = wrong
                        && let Err(error) = kernel.inval_inode(INodeNo(node.0), 0, 0)
                    {
                        tracing::debug!(%error, name, "the kernel keeps no pages of it");
                    }
                    if let Err(error) = kernel.inval_entry(INodeNo(folder.0), name.as_ref()) {
                        tracing::debug!(%error, name, "the kernel keeps a name");
                    }
                }
            };
            blocking(forget).await;
        }
    }

    /// Takes what was read of huge files out of memory: the kernel's pages of the mount, then those of the cache file.
    async fn drop_behind(fs: Arc<ModelFs>, kernel: fuser::Notifier, mut ended: watch::Receiver<bool>) {
        loop {
            let span = tokio::select! {
                _ = ended.wait_for(|ended| *ended) => return,
                span = fs.behind.next() => span,
            };
            let kernel = kernel.clone();
            let drop_pages = move || {
                let Span { node, range, pages } = span;
                // A file that the kernel has forgotten has no pages.
                if let Err(error) = kernel.inval_inode(INodeNo(node.0), range.start as i64, range.len() as i64) {
                    tracing::debug!(%error, "the kernel keeps what was read");
                }
                pages.drop_range(range);
            };
            blocking(drop_pages).await;
        }
    }

    /// `on`, or `off` and why complete files are not passed through.
    pub fn passthrough(&self) -> String {
        self.fs.upgrade().map_or_else(|| "off: the mount has ended".to_owned(), |fs| fs.passthrough())
    }

    fn config() -> fuser::Config {
        let mut config = fuser::Config::default();
        // Who may enter is the kernel's to check, by allow_other and the modes.
        config.acl = SessionACL::All;
        config.n_threads = Some(Self::THREADS);
        config
    }

    fn run(session: fuser::Session<Adapter>, directory: PathBuf) -> Result<watch::Receiver<bool>, SessionError> {
        let (end, ended) = watch::channel(false);
        let place = directory.clone();
        let serve = move || {
            match session.run() {
                Ok(()) => tracing::info!(directory = %place.display(), "unmounted"),
                Err(error) => tracing::error!(%error, directory = %place.display(), "the mount broke off"),
            }
            end.send_replace(true);
        };
        std::thread::Builder::new()
            .name("fuse-session".to_owned())
            .spawn(serve)
            .map_err(|source| SessionError::Handshake { directory, source })?;
        Ok(ended)
    }

    /// Where it is, as the kernel's list of mounts names it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns once the mount is gone, whoever took it away.
    pub async fn finished(&self) {
        let mut ended = self.ended.clone();
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

async fn blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(job).await {
        Ok(done) => done,
        // Only a panic ends a blocking job early, and it is this task's to pass on.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
