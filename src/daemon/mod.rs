//! The daemon: builds every part in order, serves until its last mount and job are gone or it is told to end, and stops
//! them.
//!
//! It is started by `weightfs mount`, in the background or the foreground, and in the background by every command that has
//! work for one and finds none; nothing below knows of processes.

pub mod background;
pub mod directories;
pub mod lock;
pub mod logging;
pub mod ready;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::api::{self, socket};
use crate::cache::{BlockCache, CacheSettings, IntegritySettings, SpaceSettings};
use crate::config::{CheckedReads, Config, ProofTime, Settings};
use crate::control::{JobSeat, MountOrder, Node, Parts};
use crate::db::{Database, DatabaseSettings};
use crate::metrics::Metrics;
use crate::origin::hub::{HubOrigin, HubSettings};
use crate::tree::{Tree, TreeSettings};

use directories::Directories;
use lock::{CacheLock, LockState};
use ready::{Starter, Word};

/// How long a question about names may take at the most: somebody sits before the `ls` that asks it.
const NAMES_GIVE_UP: Duration = Duration::from_secs(20);
/// How long a daemon that was started for a job waits for it.
const FIRST_JOB: Duration = Duration::from_secs(10);
/// How long a mount in use keeps a daemon that was told to end.
const UNMOUNT: Duration = Duration::from_secs(5);
/// How long answers on the control socket may take to get out.
const ANSWERS: Duration = Duration::from_secs(3);
/// How long tasks that are left may take to see that they are not wanted any more.
const TASKS: Duration = Duration::from_secs(3);

/// How long the last word to the database may take.
const RECORDED: Duration = Duration::from_secs(5);

/// What a daemon is started for.
pub enum First {
    /// The starter is told when it can be read.
    Mount(MountOrder),
    /// The starter is told when it can be asked, and asks at once.
    Jobs,
}

/// Runs a daemon to its end.
pub fn run(config: &Config, first: First, starter: &mut Starter) -> anyhow::Result<()> {
    // Private models lie in the cache: whatever is made there is the daemon's alone, however open the folder is.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    raise_open_files();
    let directories = Directories::prepare(config)?;
    let Some(lock) = CacheLock::take(&directories.cache)? else {
        return yield_to_holder(&directories, starter);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("weightfs").build()?;
    let outcome = runtime.block_on(async {
        let (running, seat) = Running::start(config, &directories, &lock)?;
        let outcome = serve(&running.node, seat, first, starter).await;
        running.stop().await;
        outcome
    });
    runtime.shutdown_timeout(TASKS);
    info!("ended");
    outcome
}

fn yield_to_holder(directories: &Directories, starter: &mut Starter) -> anyhow::Result<()> {
    if starter.waits() {
        return Ok(starter.tell(&Word::Held)?);
    }
    let pid = match lock::probe(&directories.cache)? {
        LockState::Held(Some(holder)) => format!(" (pid {})", holder.pid),
        _ => String::new(),
    };
    bail!(
        "{}: a daemon{pid} has this cache directory; leave out --foreground to mount through it, or choose another \
         --cache-directory",
        directories.cache.display()
    )
}

/// From what it was started for to the last mount and job. `seat` keeps the node until the first of them has come.
async fn serve(node: &Arc<Node>, seat: JobSeat, first: First, starter: &mut Starter) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let begun = async {
        match first {
            First::Mount(order) => mount_first(node, seat, order, starter).await,
            First::Jobs => await_first(node, seat, starter).await,
        }
    };
    tokio::select! {
        begun = begun => begun?,
        name = signals.next() => {
            node.end(UNMOUNT).await;
            bail!("ended by {name} before anything was done");
        }
    }
    tokio::select! {
        () = node.ended() => info!("the last mount and job are gone"),
        name = signals.next() => {
            info!("{name}: unmounting everything");
            node.end(UNMOUNT).await;
        }
    }
    Ok(())
}

async fn mount_first(node: &Arc<Node>, seat: JobSeat, order: MountOrder, starter: &mut Starter) -> anyhow::Result<()> {
    let directory = order.directory.clone();
    let mounted = node.mount(order).await;
    drop(seat);
    match mounted {
        Ok(()) => {
            if starter.tell(&Word::Ready).is_err() {
                warn!("the command that asked for the mount is gone; so is the mount");
                let _ = node.unmount(directory, true).await;
            }
        }
        Err(error) if node.is_ending() => bail!(error),
        // Somebody else mounted or works through the socket meanwhile: stay for that.
        Err(error) => {
            error!("{error}");
            let _ = starter.tell(&Word::Failed(error.to_string()));
        }
    }
    Ok(())
}

/// Whoever started this daemon asks at once, if it still lives.
async fn await_first(node: &Arc<Node>, seat: JobSeat, starter: &mut Starter) -> anyhow::Result<()> {
    starter.tell(&Word::Ready).context("the command that started this daemon is gone")?;
    if tokio::time::timeout(FIRST_JOB, node.asked()).await.is_err() {
        warn!("nobody asked for anything");
    }
    drop(seat);
    Ok(())
}

/// What a service manager and a terminal send to end a program.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}

/// Each blob in use is an open file: the usual soft limit of 1024 is for programs that wait in select(2).
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    if let Err(error) = raised {
        warn!(%error, "the limit of open files stays as it is; models of very many files may not all be readable at once");
    }
}

fn database_settings(settings: &Settings) -> DatabaseSettings {
    DatabaseSettings {
        wal: settings.database_wal_mode,
        readers: settings.database_pool_size.get() as usize,
        patience: settings.database_connection_timeout_seconds.duration(),
        own_place: settings.database_path.is_none(),
    }
}

fn integrity_settings(settings: &Settings) -> IntegritySettings {
    let scrub_interval = settings.cache_scrub_interval_seconds.map(|interval| interval.duration());
    IntegritySettings {
        proved_before_read: settings.cache_verify == ProofTime::BeforeRead,
        check_every_read: settings.cache_check_reads == CheckedReads::Every,
        scrub_interval: scrub_interval.filter(|interval| !interval.is_zero()),
    }
}

fn space_settings(settings: &Settings) -> SpaceSettings {
    SpaceSettings {
        max_size: settings.cache_max_size_bytes.map(|bytes| bytes.get()),
        evict: settings.cache_eviction_enabled,
        check_interval: settings.cache_eviction_check_interval_seconds.duration(),
        unused_threshold: settings.cache_eviction_policy_unused_threshold_seconds.duration(),
        max_models: settings.cache_eviction_policy_max_models.map(|models| models.get()),
        min_free: settings.cache_eviction_policy_min_free_space_bytes.map(|bytes| bytes.get()),
    }
}

/// The parts of a running daemon, lowest first.
struct Running {
    db: Arc<Database>,
    cache: Arc<BlockCache>,
    node: Arc<Node>,
    api: tokio::task::JoinHandle<()>,
    stop_api: CancellationToken,
    /// Goes last, and before the lock.
    _socket: socket::SocketFile,
}

impl Running {
    /// With a seat that was taken before anybody could ask: what others ask for and end does not end the node before its
    /// own first task has begun.
    fn start(config: &Config, directories: &Directories, lock: &CacheLock) -> anyhow::Result<(Self, JobSeat)> {
        let settings = &config.settings;
        let metrics = Arc::new(Metrics::default());
        let db = Arc::new(Database::open_with(&directories.database, &database_settings(settings), metrics.clone())?);
        let give_up = settings.origin_give_up_seconds.duration();
        let hub_settings = HubSettings { give_up: give_up.min(NAMES_GIVE_UP), ..HubSettings::default() };
        let hub = Arc::new(HubOrigin::new(hub_settings, metrics.clone()));
        if !settings.hub_offline {
            hub.prepare();
        }
        let memory = settings.cache_memory_bytes.get();
        let (space, integrity) = (space_settings(settings), integrity_settings(settings));
        let cache_settings = CacheSettings { give_up, memory, space, integrity };
        let cache = BlockCache::open(&directories.cache, db.clone(), hub.clone(), metrics.clone(), cache_settings)?;
        let refresh = settings.hub_refresh_seconds.duration();
        let tree = Tree::new(db.clone(), hub, TreeSettings { refresh });
        let parts =
            Parts { cache_directory: directories.cache.clone(), db: db.clone(), cache: cache.clone(), tree, metrics };
        let node = Node::new(Arc::new(parts), directories.cache.clone(), directories.own_paths());
        let seat = node.begin()?;

        let (listener, socket) = socket::bind(&directories.runtime, &directories.socket)?;
        lock.describe(&directories.socket)?;
        let stop_api = CancellationToken::new();
        let serving = api::serve(listener, node.clone(), stop_api.clone().cancelled_owned());
        let api = tokio::spawn(async move {
            if let Err(cause) = serving.await {
                error!(%cause, "the control socket broke; the mounts go on, `weightfs umount` does not reach them");
            }
        });
        info!(
            version = env!("CARGO_PKG_VERSION"),
            cache = %directories.cache.display(),
            socket = %directories.socket.display(),
            "started"
        );
        Ok((Self { db, cache, node, api, stop_api, _socket: socket }, seat))
    }

    /// The highest first. Each step has its deadline.
    async fn stop(self) {
        self.stop_api.cancel();
        let abort = self.api.abort_handle();
        if tokio::time::timeout(ANSWERS, self.api).await.is_err() {
            abort.abort();
        }
        self.cache.stop().await;
        match tokio::time::timeout(RECORDED, self.db.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the database is checked at the next start"),
            Err(_) => warn!("the database is slow to write; it is checked at the next start"),
        }
    }
}
