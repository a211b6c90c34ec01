//! The daemon: builds every part in order, serves until its last mount and job are gone or it is told to end, and stops
//! them.
//!
//! It is started by `weightfs mount`, in the background or the foreground, and in the background by every command that has
//! work for one and finds none; nothing below knows of processes.

pub mod background;
pub mod directories;
pub mod holding;
pub mod lock;
pub mod logging;
pub mod ready;

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, bail};
use mount_helper::notices::Messenger;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::api::service::{self, Service, ServiceOrder};
use crate::api::{self, socket};
use crate::cache::{BlockCache, CacheSettings, IntegritySettings, SpaceSettings};
use crate::config::{CheckedReads, Config, ProofTime, Settings};
use crate::control::{JobSeat, MountOrder, Node, Parts, Shelf};
use crate::db::{Database, DatabaseSettings};
use crate::fs::notices::Courier;
use crate::fs::survival::{HeldMount, Keeper, MountName};
use crate::metrics::Metrics;
use crate::origin::hub::{HubOrigin, HubSettings};
use crate::tree::{Tree, TreeSettings};
use crate::types::Identity;

use directories::Directories;
use holding::{Call, Holding};
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

/// For the answer to whoever asked for the hand-over. Readers wait meanwhile only for what is not here.
const LAST_WORD: Duration = Duration::from_millis(500);
/// How long the last word to the database may take.
const RECORDED: Duration = Duration::from_secs(5);

/// What a daemon is started for.
pub enum First {
    /// The starter is told when it can be read.
    Mount(MountOrder),
    /// The starter is told when it can be asked, and asks at once.
    Jobs,
    /// Readers wait for it.
    TakeOver(Vec<HeldMount>),
    /// Other machines ask it, and it stays until it is told to end.
    Serve(Serving),
}

/// What it takes to serve other machines.
#[derive(Clone)]
pub struct Serving {
    pub order: ServiceOrder,
    /// As whom models are asked for.
    pub identity: Identity,
    /// How long answers under way may take when the daemon is told to end; `None`: they are broken off.
    pub patience: Option<Duration>,
}

/// Why a daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The last mount and job are gone, or somebody told it to.
    Unneeded,
    /// Another daemon goes on with its mounts.
    HandOver,
}

/// Runs a daemon to its end.
pub fn run(config: &Config, first: First, call: Option<Call>, starter: &mut Starter) -> anyhow::Result<()> {
    // Private models lie in the cache: whatever is made there is the daemon's alone, however open the folder is.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    raise_open_files();
    let directories = Directories::prepare(config)?;
    let holding = match call {
        None => None,
        Some(call) => match call.answer(|| check(config, &directories), &config.surroundings)? {
            Some(holding) => Some(holding),
            None => return Ok(()),
        },
    };
    let Some(lock) = CacheLock::take(&directories.cache)? else {
        return yield_to_holder(&directories, &first, starter);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("weightfs").build()?;
    let outcome = runtime.block_on(async {
        let lock = Arc::new(lock);
        let serving = first.serving().cloned();
        let mut signals = Signals::listen(serving.is_some())?;
        let Beginning { first, keeper, orders, holder } = Beginning::of(first, holding, config, &directories, &lock)?;
        // What is wrong with the address is known before anything is touched, unless readers wait for their mounts.
        let listener = match &serving {
            Some(serving) if first.serving().is_some() => Some(service::bind(&serving.order).await?),
            _ => None,
        };
        let (running, seat) = Running::start(config, &directories, keeper)?;
        lock.describe(&directories.socket, holder.as_deref())?;
        // With this it does not end with its last mount.
        let _stays = serving.as_ref().map(|_| running.node.begin()).transpose()?;
        if let Some(serving) = &serving {
            running.open_service(serving, listener).await?;
        }
        let outcome = serve(&running, seat, first, orders, starter, serving.as_ref(), &mut signals).await;
        match outcome {
            Ok(End::HandOver) => running.hand_over().await,
            Ok(End::Unneeded) => running.stop().await,
            Err(_) => running.stop().await,
        }
        outcome.map(drop)
    });
    runtime.shutdown_timeout(TASKS);
    info!("ended");
    outcome
}

/// What a daemon begins with.
struct Beginning {
    first: First,
    keeper: Option<Arc<Keeper>>,
    orders: mpsc::Receiver<()>,
    /// The socket of its holder.
    holder: Option<PathBuf>,
}

impl Beginning {
    /// With mounts that an earlier daemon served, there is nothing more urgent than those.
    fn of(
        first: First,
        holding: Option<Holding>,
        config: &Config,
        directories: &Directories,
        lock: &Arc<CacheLock>,
    ) -> anyhow::Result<Self> {
        let Some(Holding { keeper, held, orders }) = holding else {
            return Ok(Self { first, keeper: None, orders: mpsc::channel(1).1, holder: None });
        };
        let (lock, socket) = (Arc::downgrade(lock), directories.socket.clone());
        let describe = move |holder: Option<&Path>| {
            if let Some(lock) = lock.upgrade()
                && let Err(cause) = lock.describe(&socket, holder)
            {
                warn!(%cause, "others do not learn of the new holder");
            }
        };
        let holder = orders.socket().map(Path::to_owned);
        let give_up = config.settings.daemon_give_up_seconds.duration();
        let orders = orders.listen(keeper.clone(), give_up, describe)?;
        let first = if held.is_empty() { first } else { First::TakeOver(held) };
        Ok(Self { first, keeper: Some(keeper), orders, holder })
    }
}

impl First {
    fn serving(&self) -> Option<&Serving> {
        match self {
            First::Serve(serving) => Some(serving),
            _ => None,
        }
    }
}

fn yield_to_holder(directories: &Directories, first: &First, starter: &mut Starter) -> anyhow::Result<()> {
    if starter.waits() {
        return Ok(starter.tell(&Word::Held)?);
    }
    let pid = match lock::probe(&directories.cache)? {
        LockState::Held(Some(holder)) => format!(" (pid {})", holder.pid),
        _ => String::new(),
    };
    let advice = match first {
        First::Serve(_) => "unmount what it serves, which ends it",
        _ => "leave out --foreground to mount through it",
    };
    bail!(
        "{}: a daemon{pid} has this cache directory; {advice}, or choose another --cache-directory",
        directories.cache.display()
    )
}

/// Whether this daemon could serve in the place of the one that does. Touches nothing of that one's.
fn check(config: &Config, directories: &Directories) -> anyhow::Result<()> {
    Database::check(&directories.database, &database_settings(&config.settings))?;
    Ok(())
}

/// From what it was started for to the last mount and job. `seat` keeps the node until the first of them has come.
async fn serve(
    running: &Running,
    seat: JobSeat,
    first: First,
    mut orders: mpsc::Receiver<()>,
    starter: &mut Starter,
    serving: Option<&Serving>,
    signals: &mut Signals,
) -> anyhow::Result<End> {
    let node = &running.node;
    let begun = async {
        match first {
            First::Mount(order) => mount_first(running, seat, order, starter).await,
            First::Jobs => await_first(running, seat, starter).await,
            First::TakeOver(held) => take_over(running, seat, held).await,
            First::Serve(_) => {
                running.is_ready().await;
                drop(seat);
                Ok(())
            }
        }
    };
    tokio::select! {
        biased;
        begun = begun => begun?,
        name = signals.next() => {
            node.end(UNMOUNT).await;
            bail!("ended by {name} before anything was done");
        }
    }
    tokio::select! {
        () = node.ended() => info!("the last mount and job are gone"),
        name = signals.next() => {
            if let Some(patience) = serving.and_then(|serving| serving.patience) {
                running.drain(name, patience, signals).await;
            }
            info!("{name}: unmounting everything");
            node.end(UNMOUNT).await;
        }
        Some(()) = orders.recv() => return Ok(End::HandOver),
    }
    Ok(End::Unneeded)
}

/// Goes on with what an earlier daemon served. What cannot go on is mounted anew: its readers get errors, those that come
/// later do not.
async fn take_over(running: &Running, seat: JobSeat, held: Vec<HeldMount>) -> anyhow::Result<()> {
    let one = async |held: HeldMount| {
        let (order, name) = (MountOrder::of(&held.header), held.kept.name.clone());
        let directory = order.directory.clone();
        let Err(cause) = running.node.resume(held).await else { return };
        error!(directory = %directory.display(), %cause, "a mount cannot go on; it is mounted anew, and its readers see errors");
        running.let_go(name).await;
        if let Err(cause) = running.node.mount(order).await {
            error!(directory = %directory.display(), %cause, "it could not be mounted anew");
        }
    };
    futures::future::join_all(held.into_iter().map(one)).await;
    running.is_ready().await;
    drop(seat);
    Ok(())
}

async fn mount_first(running: &Running, seat: JobSeat, order: MountOrder, starter: &mut Starter) -> anyhow::Result<()> {
    let node = &running.node;
    let directory = order.directory.clone();
    let mounted = node.mount(order).await;
    drop(seat);
    match mounted {
        Ok(()) => {
            running.is_ready().await;
            if starter.tell(&Word::Ready).is_err() {
                warn!("the command that asked for the mount is gone; so is the mount");
                let _ = node.unmount(directory, true).await;
            }
        }
        Err(error) if node.is_ending() => bail!(error),
        // Somebody else mounted or works through the socket meanwhile: stay for that.
        Err(error) => {
            error!("{error}");
            running.is_ready().await;
            let _ = starter.tell(&Word::Failed(error.to_string()));
        }
    }
    Ok(())
}

/// Whoever started this daemon asks at once, if it still lives.
async fn await_first(running: &Running, seat: JobSeat, starter: &mut Starter) -> anyhow::Result<()> {
    running.is_ready().await;
    starter.tell(&Word::Ready).context("the command that started this daemon is gone")?;
    if tokio::time::timeout(FIRST_JOB, running.node.asked()).await.is_err() {
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
    /// A terminal that goes away does not end it.
    stays: bool,
}

impl Signals {
    fn listen(stays: bool) -> std::io::Result<Self> {
        Ok(Self {
            stays,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv(), if !self.stays => "SIGHUP",
        }
    }
}

/// The process that writes notices to the kernel: this program again.
fn notices_command() -> Command {
    let mut command = Command::new("/proc/self/exe");
    // It needs nothing from there, and a token may be among it.
    command.arg0("weightfs").arg("notices").env_clear();
    command
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
    parts: Arc<Parts>,
    keeper: Option<Arc<Keeper>>,
    /// For other machines, once it listens.
    service: Arc<OnceLock<Service>>,
    api: tokio::task::JoinHandle<()>,
    stop_api: CancellationToken,
    /// Goes last, and before the lock.
    _socket: socket::SocketFile,
}

impl Running {
    /// With a seat that was taken before anybody could ask: what others ask for and end does not end the node before its
    /// own first task has begun.
    fn start(
        config: &Config,
        directories: &Directories,
        keeper: Option<Arc<Keeper>>,
    ) -> anyhow::Result<(Self, JobSeat)> {
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
        let cache_directory = directories.cache.clone();
        let courier = Courier::Process(Arc::new(Messenger::new(notices_command)));
        let parts = Arc::new(Parts {
            cache_directory,
            db: db.clone(),
            cache: cache.clone(),
            tree,
            metrics,
            keeper: keeper.clone(),
            courier,
        });
        let node = Node::new(parts.clone(), directories.cache.clone(), directories.own_paths());
        let seat = node.begin()?;

        let (listener, socket) = socket::bind(&directories.runtime, &directories.socket)?;
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
        let service = Arc::default();
        Ok((Self { db, cache, node, parts, keeper, service, api, stop_api, _socket: socket }, seat))
    }

    /// Answers other machines from now on. Without a listener it is tried for as long as it takes: then there are mounts
    /// that must not wait for it.
    async fn open_service(&self, serving: &Serving, listener: Option<TcpListener>) -> anyhow::Result<()> {
        let opening = Opening {
            serving: serving.clone(),
            node: self.node.clone(),
            shelf: Arc::new(Shelf::new(self.parts.clone(), serving.identity.clone())),
            service: self.service.clone(),
        };
        match listener {
            Some(listener) => Ok(opening.open(listener).await?),
            None => {
                tokio::spawn(opening.insist());
                Ok(())
            }
        }
    }

    /// Lets other machines have their answers, until `patience` ends or somebody insists by another signal.
    async fn drain(&self, name: &str, patience: Duration, signals: &mut Signals) {
        let Some(service) = self.service.get() else { return };
        info!("{name}: answering what is under way, for {} s at the most", patience.as_secs());
        tokio::select! {
            drained = tokio::time::timeout(patience, service.drain()) => match drained {
                Ok(()) => {}
                Err(_) => warn!("answers that are not done by now are broken off"),
            },
            again = signals.next() => warn!("{again}: answers under way are broken off"),
        }
    }

    async fn stop_service(&self) {
        if let Some(service) = self.service.get() {
            service.stop().await;
        }
    }

    /// From now on this daemon is followed by another one when it dies.
    async fn is_ready(&self) {
        self.tell_keeper(|keeper| keeper.ready()).await;
    }

    async fn tell_keeper(&self, word: impl FnOnce(&Keeper) -> io::Result<()> + Send + 'static) {
        let Some(keeper) = self.keeper.clone() else { return };
        let told = tokio::task::spawn_blocking(move || word(&keeper)).await;
        if let Ok(Err(cause)) = told {
            warn!(%cause, "the holder was not told");
        }
    }

    /// Ends a mount that cannot be taken over.
    async fn let_go(&self, name: MountName) {
        let let_go = move |keeper: &Keeper| {
            let unmounted = keeper.unmount(&name, true);
            keeper.forget(&name);
            unmounted
        };
        self.tell_keeper(let_go).await;
    }

    /// Records what there is and ends, whatever goes on: what is not answered comes again to the next daemon. So nothing is
    /// stopped here, since what is stopped might answer with an error.
    async fn hand_over(self) -> ! {
        info!("the next daemon takes over");
        self.stop_api.cancel();
        let recorded = tokio::time::timeout(RECORDED, self.cache.record());
        // Whoever asked for this learns of it meanwhile.
        let service = self.service.clone();
        let broken_off = async {
            if let Some(service) = service.get() {
                service.stop().await
            }
        };
        let answered = tokio::time::timeout(LAST_WORD, async { tokio::join!(self.api, broken_off) });
        if tokio::join!(recorded, answered).0.is_err() {
            warn!("the disk is slow: what was fetched last is fetched again");
        }
        let status = self.keeper.map_or(0, |keeper| keeper.hand_over_status());
        std::process::exit(status)
    }

    /// The highest first. Each step has its deadline.
    async fn stop(self) {
        self.stop_service().await;
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
        if let Some(keeper) = self.keeper {
            // Nobody has to follow. A holder that is gone need not know.
            let _ = tokio::task::spawn_blocking(move || keeper.bye()).await;
        }
    }
}

/// A network service that is about to be opened.
struct Opening {
    serving: Serving,
    node: Arc<Node>,
    shelf: Arc<Shelf>,
    service: Arc<OnceLock<Service>>,
}

impl Opening {
    /// Between two tries. The process before this one may still have the port.
    const PAUSE: Duration = Duration::from_secs(1);

    async fn open(self, listener: TcpListener) -> io::Result<()> {
        let token = self.serving.order.token.clone();
        let is_open = token.is_none();
        let service = Service::start(listener, self.node, self.shelf, token).await?;
        info!(address = %service.address, "serving other machines");
        if is_open && service::is_public(service.address.ip()) {
            warn!(
                "whoever reaches {} may fetch, read and delete models with this server's rights at the Hub; set \
                 server.token_file, or server.host to 127.0.0.1",
                service.address
            );
        }
        let _ = self.service.set(service);
        Ok(())
    }

    async fn insist(self) {
        let mut told = false;
        loop {
            match service::bind(&self.serving.order).await {
                Ok(listener) => {
                    if let Err(cause) = self.open(listener).await {
                        error!(%cause, "the network service cannot be opened; mounts go on without it");
                    }
                    return;
                }
                Err(cause) if !told => error!(%cause, "tried again every second; mounts go on meanwhile"),
                Err(_) => {}
            }
            told = true;
            tokio::time::sleep(Self::PAUSE).await;
        }
    }
}
