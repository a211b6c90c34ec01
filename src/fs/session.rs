//! One live mount: from an empty directory to a tree that answers, and to its end.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use fuser::SessionACL;
use mount_helper::notices::Notice;
use tokio::sync::watch;

use super::backing::Backings;
use super::behind::Span;
use super::connection;
use super::error::FsError;
use super::fuse::Adapter;
use super::model_fs::ModelFs;
use super::mount::{self, MountError, MountOptions, UnmountError};
use super::notices::{self, Courier, Notices};
use super::passthrough::MovedName;
use super::pod::Pod;
use super::scratch::{self, Owner, Scratch, ScratchError};
use super::survival::{Agreement, Header, HeldMount, Keeper, KeptMount, MountName, StateFile};
use super::view::{self, View};
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
    /// A mount for one pod.
    pub pod: Option<Pod>,
}

impl MountPlan {
    /// As a daemon before this one was asked.
    pub fn of(header: &Header) -> Self {
        Self {
            directory: header.directory.clone().into(),
            allow_other: header.allow_other,
            passthrough: header.passthrough,
            drop_behind: header.drop_behind,
            identity: header.identity(),
            pod: header.pod.clone(),
        }
    }

    /// For the daemon after this one.
    fn header(&self, directory: &Path, database: &str, agreement: Agreement) -> Header {
        Header {
            format: Header::format(self.pod.as_ref()),
            database: database.to_owned(),
            directory: directory.to_string_lossy().into_owned(),
            endpoint: self.identity.endpoint.to_string(),
            token: self.identity.token.as_ref().map(|token| token.secret().to_owned()),
            offline: self.identity.offline,
            allow_other: self.allow_other,
            passthrough: self.passthrough,
            drop_behind: self.drop_behind,
            agreement,
            pod: self.pod.clone(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    TakeOver(#[from] FsError),
    #[error("{}: the kernel and the daemon could not agree: {source}", .directory.display())]
    Handshake { directory: PathBuf, source: io::Error },
    #[error(
        "{}: the mount was served from another database, whose file numbers this one does not know; it cannot go on",
        .directory.display()
    )]
    OtherDatabase { directory: PathBuf },
}

/// What every mount of a daemon stands on.
#[derive(Clone)]
pub struct Ground {
    pub tree: Arc<Tree>,
    pub cache: Arc<BlockCache>,
    pub metrics: Arc<Metrics>,
    /// Below it lie the writable layers of all mounts.
    pub cache_directory: PathBuf,
    /// The database's own name, by which node numbers are told from those of another one.
    pub database: String,
    /// Who keeps the mounts when this daemon dies.
    pub keeper: Option<Arc<Keeper>>,
    pub courier: Courier,
}

/// Who keeps a mount, and what of it.
type KeptBy = (Arc<Keeper>, Arc<KeptMount>);

/// A mount that answers. Dropping it does not unmount: `unmount` does, and then `finished` returns.
pub struct Session {
    directory: PathBuf,
    fs: Weak<ModelFs>,
    survival: String,
    kept: Option<(Arc<Keeper>, MountName)>,
    ended: watch::Receiver<bool>,
    /// What is to go when the mount has gone.
    brief: Option<Brief>,
}

/// What a pod's mount leaves, and where.
struct Brief {
    tree: Arc<Tree>,
    layer: PathBuf,
    directory: PathBuf,
}

impl Session {
    const THREADS: usize = 4;

    /// Mounts and returns once the kernel and the daemon have agreed. On an error nothing stays mounted.
    ///
    /// It does not look into the mount: a daemon that waits for its own answer could not even be killed.
    pub async fn start(plan: MountPlan, ground: Ground) -> Result<Self, SessionError> {
        let options = MountOptions { directory: plan.directory.clone(), allow_other: plan.allow_other };
        let keeper = ground.keeper.clone();
        let mounted = blocking(move || match given(keeper.as_deref(), &options.directory) {
            Some(mounted) => Ok(mounted),
            None => mount::mount(options),
        });
        let mounted = mounted.await?;
        let directory = mounted.directory.clone();
        let started = Self::begin(plan, mounted, ground).await;
        if started.is_err() {
            let failed = directory.clone();
            let unmounted = blocking(move || mount::unmount(&failed, true)).await;
            if let Err(error) = unmounted {
                tracing::error!(%error, "a mount that failed to start is left behind");
            }
        }
        started
    }

    async fn begin(plan: MountPlan, mounted: mount::Mounted, ground: Ground) -> Result<Self, SessionError> {
        let directory = mounted.directory;
        let fs = Self::model_fs(&plan, directory.clone(), &ground, true).await?;
        let adapter = Adapter::new(fs.clone(), tokio::runtime::Handle::current());
        let device = mounted.device;
        let handshake = blocking(move || {
            let begun = connection::begin(adapter, Self::config(), &device);
            begun.map(|(session, agreement)| (session, agreement, device))
        });
        let failed = |source| SessionError::Handshake { directory: directory.clone(), source };
        let (session, agreement, device) = handshake.await.map_err(failed)?;
        let kept = Self::keep(&plan, &directory, &ground, agreement, &device).await;
        if let Ok((_, kept)) = &kept {
            fs.passthrough.keep_in(kept.clone());
        }
        Self::try_passthrough(&fs, &device, kept.as_ref().ok(), &ground.cache).await;
        Self::raise_read_ahead(directory.clone()).await;
        let layer = fs.view.scratch_directory(&ground.cache_directory);
        Self::serve(fs, session, device, ground.courier, directory, layer, kept)
    }

    /// Goes on with a mount that an earlier daemon served. Its readers have waited meanwhile.
    pub async fn resume(held: HeldMount, ground: Ground) -> Result<Self, SessionError> {
        let HeldMount { kept, header, backings } = held;
        let plan = MountPlan::of(&header);
        let directory = plan.directory.clone();
        if header.database != ground.database {
            return Err(SessionError::OtherDatabase { directory });
        }
        let fs = Self::model_fs(&plan, directory.clone(), &ground, false).await?;
        let adapter = Adapter::new(fs.clone(), tokio::runtime::Handle::current());
        let keeper = ground.keeper.clone().map(|keeper| (keeper, kept.clone()));
        if let Some((keeper, kept)) = &keeper {
            keeper.is_kept(kept.clone());
        }
        fs.passthrough.keep_in(kept.clone());
        Self::try_passthrough(&fs, &kept.device, keeper.as_ref(), &ground.cache).await;
        let taking = fs.clone();
        blocking(move || taking.take_over(backings)).await?;
        let resuming = kept.clone();
        let resumed = blocking(move || {
            let session = connection::resume(adapter, Self::config(), &resuming.device, &header.agreement)?;
            Ok((session, resuming.device.try_clone()?))
        });
        let failed = |source| SessionError::Handshake { directory: directory.clone(), source };
        let (session, device) = resumed.await.map_err(failed)?;
        let forgotten = fs.clone();
        tokio::spawn(blocking(move || {
            forgotten.forget_orphans(|node| notices::is_known(&kept.device, node));
        }));
        let kept = keeper.ok_or_else(|| "nobody keeps it".to_owned());
        let layer = fs.view.scratch_directory(&ground.cache_directory);
        Self::serve(fs, session, device, ground.courier, directory, layer, kept)
    }

    async fn model_fs(
        plan: &MountPlan,
        directory: PathBuf,
        ground: &Ground,
        fresh: bool,
    ) -> Result<Arc<ModelFs>, SessionError> {
        let owner = Owner { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
        let view = View {
            directory,
            identity: plan.identity.clone(),
            shared: plan.allow_other,
            passthrough: plan.passthrough,
            drop_behind: plan.drop_behind,
            owner,
            pod: plan.pod.clone(),
        };
        let Ground { tree, cache, metrics, .. } = ground.clone();
        let layer = view.scratch_directory(&ground.cache_directory);
        if view.pod.is_some() && fresh {
            // What a daemon that was killed has left of a pod before this one.
            let old = layer.clone();
            blocking(move || scratch::remove(&old)).await?;
        }
        let scratch = Scratch::open(layer)?;
        let nodes = tree.nodes(&view.directory.to_string_lossy(), fresh).await?;
        Ok(Arc::new(ModelFs::new(view, tree, cache, metrics, nodes, scratch)))
    }

    /// Puts the mount where a later daemon finds it, or says why it ends with this one.
    async fn keep(
        plan: &MountPlan,
        directory: &Path,
        ground: &Ground,
        agreement: Agreement,
        device: &OwnedFd,
    ) -> Result<KeptBy, String> {
        let nobody = "nobody keeps it: the daemon is in the foreground, or daemon.held is false";
        let keeper = ground.keeper.clone().ok_or(nobody)?;
        if !agreement.has_resend() {
            return Err("this kernel cannot send requests again; Linux 6.9 and newer can".to_owned());
        }
        let header = plan.header(directory, &ground.database, agreement);
        let (directory, device) = (directory.to_owned(), device.try_clone());
        let keep = move || {
            let (name, state) = (MountName::of(&directory)?, StateFile::create(&header)?);
            let kept = Arc::new(KeptMount { name, device: device?, state });
            keeper.keep(kept.clone())?;
            io::Result::Ok((keeper, kept))
        };
        blocking(keep).await.map_err(|error| error.to_string())
    }

    async fn try_passthrough(fs: &Arc<ModelFs>, device: &OwnedFd, keeper: Option<&KeptBy>, cache: &BlockCache) {
        let holder = keeper.map(|(keeper, kept)| (keeper.clone(), kept.name.clone()));
        let backings = device.try_clone().map(|device| Backings::new(device, holder));
        let (fs, sample) = (fs.clone(), cache.sample_file());
        blocking(move || fs.passthrough.try_out(backings, sample)).await;
    }

    fn serve(
        fs: Arc<ModelFs>,
        session: fuser::Session<Adapter>,
        device: OwnedFd,
        courier: Courier,
        directory: PathBuf,
        layer: PathBuf,
        kept: Result<KeptBy, String>,
    ) -> Result<Self, SessionError> {
        let survival = kept.as_ref().map_or_else(|why| format!("off: {why}"), |_| "on".to_owned());
        let (place, passthrough) = (directory.display(), fs.passthrough());
        tracing::info!(directory = %place, passthrough, survival, "how it is served");
        let device = Arc::new(device);
        let alone = kept.is_err().then(|| MountName::of(&directory).ok()).flatten();
        let notices = || Notices::new(device.clone(), courier.clone(), alone.clone());
        let known = Arc::downgrade(&fs);
        let brief = fs.view.pod.as_ref().map(|_| Brief { tree: fs.tree.clone(), layer, directory: directory.clone() });
        let ended = Self::run(session, directory.clone())?;
        tokio::spawn(Self::drop_behind(fs.clone(), notices(), ended.clone()));
        tokio::spawn(Self::move_names(fs, notices(), ended.clone()));
        let kept = kept.ok().map(|(keeper, kept)| (keeper, kept.name.clone()));
        if let Some((keeper, name)) = kept.clone() {
            tokio::spawn(Self::forget(keeper, name, ended.clone()));
        }
        Ok(Self { directory, fs: known, survival, kept, ended, brief })
    }

    /// A mount that has ended is not to be kept.
    async fn forget(keeper: Arc<Keeper>, name: MountName, mut ended: watch::Receiver<bool>) {
        let _ = ended.wait_for(|ended| *ended).await;
        blocking(move || keeper.forget(&name)).await;
    }

    /// Takes it from its directory; with `lazy` even while it is in use.
    pub async fn unmount(&self, lazy: bool) -> Result<(), UnmountError> {
        let (directory, kept) = (self.directory.clone(), self.kept.clone());
        let work = move || match kept {
            // The holder may be the one who mounted it.
            Some((keeper, name)) if !mount::may_mount() => {
                keeper.unmount(&name, lazy).map_err(|error| mount::refused(directory, error))
            }
            _ => mount::unmount(&directory, lazy),
        };
        blocking(work).await
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
    async fn move_names(fs: Arc<ModelFs>, mut notices: Notices, mut ended: watch::Receiver<bool>) {
        loop {
            let moved = tokio::select! {
                _ = ended.wait_for(|ended| *ended) => return,
                moved = fs.moved_names() => moved,
            };
            let forget = move || {
                for MovedName { folder, name, wrong } in moved {
                    if let Some(node) = wrong {
                        notices.tell(&Notice::Pages { node: node.0, offset: 0, length: 0 });
                    }
                    notices.tell(&Notice::Name { folder: folder.0, name });
                }
                notices
            };
            notices = blocking(forget).await;
        }
    }

    /// Takes what was read of huge files out of memory: the kernel's pages of the mount, then those of the cache file.
    async fn drop_behind(fs: Arc<ModelFs>, mut notices: Notices, mut ended: watch::Receiver<bool>) {
        loop {
            let span = tokio::select! {
                _ = ended.wait_for(|ended| *ended) => return,
                span = fs.behind.next() => span,
            };
            let drop_pages = move || {
                let Span { node, range, pages } = span;
                notices.tell(&Notice::Pages { node: node.0, offset: range.start, length: range.len() });
                pages.drop_range(range);
                notices
            };
            notices = blocking(drop_pages).await;
        }
    }

    /// `on`, or `off` and why complete files are not passed through.
    pub fn passthrough(&self) -> String {
        self.fs.upgrade().map_or_else(|| "off: the mount has ended".to_owned(), |fs| fs.passthrough())
    }

    /// Whether the mount outlives its daemon: `on`, or `off` and why not.
    pub fn survival(&self) -> String {
        self.survival.clone()
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

    /// Returns once the mount is gone, whoever took it away, and with it what a pod has written.
    pub async fn finished(&self) {
        let mut ended = self.ended.clone();
        let _ = ended.wait_for(|ended| *ended).await;
        if let Some(brief) = &self.brief {
            brief.end().await;
        }
    }
}

impl Brief {
    async fn end(&self) {
        let layer = self.layer.clone();
        if let Err(error) = blocking(move || scratch::remove(&layer)).await {
            tracing::error!(%error, "what a pod has written is left behind until a daemon starts");
        }
        if let Err(error) = self.tree.forget_nodes(&self.directory.to_string_lossy()).await {
            tracing::error!(%error, "the numbers of a mount that is gone are still on record");
        }
    }
}

/// Takes away what pods have written whose mounts no daemon goes on with: those before it were killed. `kept` are the
/// directories of the others.
pub fn sweep_pods(cache_directory: &Path, kept: &[PathBuf]) -> Result<(), ScratchError> {
    let kept: Vec<_> = kept.iter().map(|directory| view::pod_layer(cache_directory, directory)).collect();
    scratch::remove_others(&view::pod_layers(cache_directory), &kept)
}

/// A connection that somebody with privilege has mounted there for this daemon.
fn given(keeper: Option<&Keeper>, directory: &Path) -> Option<mount::Mounted> {
    let directory = mount::resolve(directory);
    match keeper?.fresh(&directory) {
        Ok(device) => Some(mount::Mounted { device: device?, by: mount::Means::Helper, directory }),
        Err(error) => {
            tracing::warn!(%error, "the holder does not say whether it has a connection for this mount");
            None
        }
    }
}

async fn blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(job).await {
        Ok(done) => done,
        // Only a panic ends a blocking job early, and it is this task's to pass on.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
