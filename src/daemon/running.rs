//! The parts of a running daemon: built in order, the lowest first, and stopped the other way round.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use mount_helper::notices::Messenger;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::api::{self, socket};
use crate::cache::{BlockCache, CacheSettings, IntegritySettings, SpaceSettings};
use crate::config::{CheckedReads, Config, ProofTime, Settings, XetUse};
use crate::control::{JobSeat, Node, Parts, Shelf};
use crate::db::{Database, DatabaseSettings};
use crate::fs::notices::Courier;
use crate::fs::survival::{Keeper, MountName};
use crate::metrics::Metrics;
use crate::origin::hub::{HubOrigin, HubSettings, XetWish};
use crate::tree::{Tree, TreeSettings};

use super::Serving;
use super::directories::Directories;
use super::doors::{Doors, Listeners, Opening};
use super::signals::Signals;
use super::sources;

/// How long a question about names may take at the most: somebody sits before the `ls` that asks it.
pub(super) const NAMES_GIVE_UP: Duration = Duration::from_secs(20);
/// How long answers on the control socket may take to get out.
const ANSWERS: Duration = Duration::from_secs(3);
/// For the answer to whoever asked for the hand-over. Readers wait meanwhile only for what is not here.
const LAST_WORD: Duration = Duration::from_millis(500);
/// How long the last word to the database may take.
const RECORDED: Duration = Duration::from_secs(5);

/// The process that writes notices to the kernel: this program again.
fn notices_command() -> Command {
    let mut command = Command::new("/proc/self/exe");
    // It needs nothing from there, and a token may be among it.
    command.arg0("weightfs").arg("notices").env_clear();
    command
}

pub(super) fn database_settings(settings: &Settings) -> DatabaseSettings {
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

fn xet_wish(wanted: XetUse) -> XetWish {
    match wanted {
        XetUse::Auto => XetWish::Auto,
        XetUse::Always => XetWish::Always,
        XetUse::Never => XetWish::Never,
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
        min_free_percent: settings.cache_eviction_policy_min_free_space_percent.map(|percent| percent.get()),
    }
}

/// The parts of a running daemon, lowest first.
pub(super) struct Running {
    db: Arc<Database>,
    cache: Arc<BlockCache>,
    pub(super) node: Arc<Node>,
    parts: Arc<Parts>,
    keeper: Option<Arc<Keeper>>,
    doors: Arc<Doors>,
    api: tokio::task::JoinHandle<()>,
    stop_api: CancellationToken,
    /// Goes last, and before the lock.
    _socket: socket::SocketFile,
}

impl Running {
    /// With a seat that was taken before anybody could ask: what others ask for and end does not end the node before its
    /// own first task has begun.
    pub(super) fn start(
        config: &Config,
        directories: &Directories,
        keeper: Option<Arc<Keeper>>,
    ) -> anyhow::Result<(Self, JobSeat)> {
        let settings = &config.settings;
        let metrics = Arc::new(Metrics::default());
        let db = Arc::new(Database::open_with(&directories.database, &database_settings(settings), metrics.clone())?);
        let give_up = settings.origin_give_up_seconds.duration();
        let hub_settings = HubSettings {
            give_up: give_up.min(NAMES_GIVE_UP),
            xet: xet_wish(settings.origin_xet),
            ..HubSettings::default()
        };
        let hub = Arc::new(HubOrigin::new(hub_settings, metrics.clone()));
        if !settings.hub_offline {
            hub.prepare();
        }
        let memory = settings.cache_memory_bytes.get();
        let (space, integrity) = (space_settings(settings), integrity_settings(settings));
        let cache_settings = CacheSettings { give_up, memory, space, integrity };
        let routes = Arc::new(sources::routes(settings, hub, &metrics));
        let cache = BlockCache::open(&directories.cache, db.clone(), routes.clone(), metrics.clone(), cache_settings)?;
        let refresh = settings.hub_refresh_seconds.duration();
        let tree = Tree::new(db.clone(), routes, TreeSettings { refresh });
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
        let doors = Arc::default();
        Ok((Self { db, cache, node, parts, keeper, doors, api, stop_api, _socket: socket }, seat))
    }

    /// Answers other machines from now on. Without listeners it is tried for as long as it takes: then there are mounts
    /// that must not wait for it.
    pub(super) async fn open_doors(&self, serving: &Serving, listeners: Option<Listeners>) -> io::Result<()> {
        let shelf = Arc::new(Shelf::new(self.parts.clone(), serving.identity.clone()));
        let opening = Opening { serving: serving.clone(), node: self.node.clone(), shelf, doors: self.doors.clone() };
        match listeners {
            Some(listeners) => opening.open(listeners).await,
            None => {
                opening.insist();
                Ok(())
            }
        }
    }

    /// Lets other machines have their answers, until `patience` ends or somebody insists by a signal, which is the answer.
    pub(super) async fn drain(&self, why: &str, patience: Duration, signals: &mut Signals) -> Option<&'static str> {
        let draining = self.doors.drain()?;
        info!("{why}: answering what is under way, for {} s at the most", patience.as_secs());
        tokio::select! {
            drained = tokio::time::timeout(patience, draining) => {
                if drained.is_err() {
                    warn!("answers that are not done by now are broken off");
                }
                None
            }
            name = signals.next() => {
                warn!("{name}: answers under way are broken off");
                Some(name)
            }
        }
    }

    /// From now on this daemon is followed by another one when it dies.
    pub(super) async fn is_ready(&self) {
        self.tell_keeper(|keeper| keeper.ready()).await;
    }

    async fn tell_keeper(&self, word: impl FnOnce(&Keeper) -> io::Result<()> + Send + 'static) {
        let Some(keeper) = self.keeper.clone() else { return };
        let told = tokio::task::spawn_blocking(move || word(&keeper)).await;
        if let Ok(Err(cause)) = told {
            warn!(%cause, "the holder was not told");
        }
    }

    /// Whether another daemon goes on when this one is told to end.
    pub(super) fn is_followed(&self) -> bool {
        self.keeper.as_ref().is_some_and(|keeper| keeper.is_followed())
    }

    /// Ends a mount that cannot be taken over.
    pub(super) async fn let_go(&self, name: MountName) {
        let let_go = move |keeper: &Keeper| {
            let unmounted = keeper.unmount(&name, true);
            keeper.forget(&name);
            unmounted
        };
        self.tell_keeper(let_go).await;
    }

    /// Records what there is and ends, whatever goes on: what is not answered comes again to the next daemon. So nothing is
    /// stopped here, since what is stopped might answer with an error.
    pub(super) async fn hand_over(self) -> ! {
        info!("recording what is here; the next daemon takes over");
        self.stop_api.cancel();
        let recorded = tokio::time::timeout(RECORDED, self.cache.record());
        // Whoever asked for this learns of it meanwhile.
        let doors = self.doors.clone();
        let answered = tokio::time::timeout(LAST_WORD, async { tokio::join!(self.api, doors.shut()) });
        if tokio::join!(recorded, answered).0.is_err() {
            warn!("the disk is slow: what was fetched last is fetched again");
        }
        let status = self.keeper.map_or(0, |keeper| keeper.hand_over_status());
        std::process::exit(status)
    }

    /// The highest first. Each step has its deadline.
    pub(super) async fn stop(self) {
        self.doors.shut().await;
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
