//! The daemon: builds every part in order, serves until its last mount and job are gone or it is told to end, and stops
//! them.
//!
//! It is started by `weightfs mount`, in the background or the foreground, and in the background by every command that has
//! work for one and finds none; nothing below knows of processes.

pub mod background;
pub mod directories;
mod doors;
pub mod holding;
pub mod lock;
pub mod logging;
pub mod ready;
mod running;
mod signals;
mod sources;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::api::listen::Place;
use crate::config::Config;
use crate::control::{JobSeat, MountOrder};
use crate::db::Database;
use crate::fs::session;
use crate::fs::survival::{HeldMount, Keeper};
use crate::types::{Identity, Token};

use directories::Directories;
use doors::Listeners;
use holding::{Call, Holding};
use lock::{CacheLock, LockState};
use ready::{Starter, Word};
use running::{Running, database_settings};
use signals::Signals;

/// How long a daemon that was started for a job waits for it.
const FIRST_JOB: Duration = Duration::from_secs(10);
/// How long a mount in use keeps a daemon that was told to end.
const UNMOUNT: Duration = Duration::from_secs(5);
/// How long tasks that are left may take to see that they are not wanted any more.
const TASKS: Duration = Duration::from_secs(3);

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
    /// For gRPC.
    pub service: Place,
    /// Whoever asks there must show it.
    pub token: Option<Token>,
    /// For the figures.
    pub figures: Option<Place>,
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
        // What is wrong with an address is known before anything is touched, unless readers wait for their mounts.
        let listeners = match &serving {
            Some(serving) if first.serving().is_some() => Some(Listeners::bind(serving).await?),
            _ => None,
        };
        if let Err(error) = session::sweep_pods(&directories.cache, &first.kept()) {
            warn!(%error, "what pods have written that are gone takes room until the next start");
        }
        let (running, seat) = Running::start(config, &directories, keeper)?;
        lock.describe(&directories.socket, holder.as_deref())?;
        // With this it does not end with its last mount.
        let _stays = serving.as_ref().map(|_| running.node.begin()).transpose()?;
        if let Some(serving) = &serving {
            running.open_doors(serving, listeners).await?;
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
    /// The directories of mounts that go on.
    fn kept(&self) -> Vec<PathBuf> {
        match self {
            First::TakeOver(held) => held.iter().map(|held| held.header.directory.clone().into()).collect(),
            _ => Vec::new(),
        }
    }

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
            if running.is_followed() {
                return Ok(End::HandOver);
            }
            node.end(UNMOUNT).await;
            bail!("ended by {name} before anything was done");
        }
    }
    let patience = serving.and_then(|serving| serving.patience);
    let name = tokio::select! {
        () = node.ended() => {
            info!("the last mount and job are gone");
            return Ok(End::Unneeded);
        }
        name = signals.next() => {
            if let Some(patience) = patience {
                running.drain(name, patience, signals).await;
            }
            name
        }
        Some(()) = orders.recv() => {
            // Mounts are served meanwhile. Whoever wants the end now gets it.
            let insisted = match patience {
                Some(patience) => running.drain("the next daemon waits", patience, signals).await,
                None => None,
            };
            match insisted {
                Some(name) => name,
                None => return Ok(End::HandOver),
            }
        }
    };
    if running.is_followed() {
        return Ok(End::HandOver);
    }
    info!("{name}: unmounting everything");
    node.end(UNMOUNT).await;
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

/// Each blob in use is an open file: the usual soft limit of 1024 is for programs that wait in select(2).
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    if let Err(error) = raised {
        warn!(%error, "the limit of open files stays as it is; models of very many files may not all be readable at once");
    }
}
