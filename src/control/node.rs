//! The node: its mounts, from the first to the last.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::cache::SpaceState;
use crate::db::RepoRow;
use crate::fs::mount;
use crate::fs::pod::Pod;
use crate::fs::session::{MountPlan, SessionError};
use crate::fs::survival::{Header, HeldMount};
use crate::metrics::{Figure, Levels};
use crate::types::Identity;

use super::error::ControlError;
use super::job::{Job, ModelName, Outcome, Progress, Resolved};
use super::parts::{Mounted, Plane};

/// How long a mount may take to answer.
const MOUNT: Duration = Duration::from_secs(45);
/// How long the kernel may take to let go of a mount that it agreed to end.
const LET_GO: Duration = Duration::from_secs(20);
/// How long a lazily unmounted one is watched before it counts as still in use.
const LAZY: Duration = Duration::from_secs(1);

/// A mount as asked for.
#[derive(Debug, Clone)]
pub struct MountOrder {
    pub directory: PathBuf,
    pub identity: Identity,
    pub allow_other: bool,
    /// Whether the kernel is to read complete files past the daemon, where it can.
    pub passthrough: bool,
    /// From which size on a file does not stay in the page cache once it has been read.
    pub drop_behind: Option<u64>,
    /// A mount for one pod.
    pub pod: Option<Pod>,
}

impl MountOrder {
    /// As a daemon before this one was asked.
    pub fn of(header: &Header) -> Self {
        let MountPlan { directory, allow_other, passthrough, drop_behind, identity, pod } = MountPlan::of(header);
        Self { directory, identity, allow_other, passthrough, drop_behind, pod }
    }
}

#[derive(Debug, Clone)]
pub struct MountState {
    pub order: MountOrder,
    /// Out of its directory, still open in some process.
    pub detached: bool,
    /// `on`, or `off` and why; empty while it is being mounted.
    pub passthrough: String,
    /// Whether it outlives the daemon: `on`, or `off` and why not; empty while it is being mounted.
    pub survival: String,
}

/// What an unmount came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unmounted {
    pub daemon_ends: bool,
    pub detached: bool,
}

#[derive(Debug)]
pub struct NodeStatus {
    pub version: &'static str,
    pub pid: u32,
    pub uptime: Duration,
    pub cache_directory: PathBuf,
    pub cached_bytes: u64,
    pub space: SpaceState,
    /// Where it answers other machines, once it does.
    pub service: Option<SocketAddr>,
    pub mounts: Vec<MountState>,
    pub repos: Vec<RepoRow>,
    pub counters: Vec<(Figure, u64)>,
}

/// A number for each mount of this process: a directory can be mounted again while its former mount is still in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct MountId(u64);

struct Entry {
    state: MountState,
    /// `None` while it is being mounted.
    mounted: Option<Arc<dyn Mounted>>,
}

#[derive(Default)]
struct Register {
    entries: BTreeMap<MountId, Entry>,
    next: u64,
    /// Jobs under way.
    jobs: u64,
    /// Jobs and mounts that ever began.
    begun: u64,
    /// Set once, when the last mount and job are gone or the node was told to end: nothing begins after it.
    ending: bool,
}

/// Shared by everyone who asks. It ends itself when its last mount and its last job are gone; see [`Node::ended`].
pub struct Node {
    plane: Arc<dyn Plane>,
    cache_directory: PathBuf,
    /// What the daemon itself works with: a mount over it would make the daemon wait for itself.
    own_paths: Vec<PathBuf>,
    started: Instant,
    service: OnceLock<SocketAddr>,
    register: Mutex<Register>,
    /// Ticks when the register changed.
    changes: watch::Sender<()>,
}

impl Node {
    /// `own_paths` are without links, as is the cache directory, which need not be among them.
    pub fn new(plane: Arc<dyn Plane>, cache_directory: PathBuf, mut own_paths: Vec<PathBuf>) -> Arc<Self> {
        own_paths.push(cache_directory.clone());
        Arc::new(Self {
            plane,
            cache_directory,
            own_paths,
            started: Instant::now(),
            service: OnceLock::new(),
            register: Mutex::default(),
            changes: watch::Sender::new(()),
        })
    }

    /// Returns once the mount can be read. A caller that goes away does not stop it halfway.
    pub async fn mount(self: &Arc<Self>, mut order: MountOrder) -> Result<(), ControlError> {
        if !order.directory.is_absolute() {
            let text = format!("`{}` is not an absolute path", order.directory.display());
            return Err(ControlError::BadRequest(text));
        }
        order.directory = mount::resolve(&order.directory);
        if let Some(path) = self.own_paths.iter().find(|path| path.starts_with(&order.directory)) {
            return Err(ControlError::OverOwnPath { directory: order.directory, path: path.clone() });
        }
        let node = self.clone();
        tokio::spawn(async move { node.mount_to_the_end(order).await }).await.unwrap_or(Err(ControlError::Broken))
    }

    async fn mount_to_the_end(self: Arc<Self>, order: MountOrder) -> Result<(), ControlError> {
        self.let_go_of(&order.directory).await;
        let seat = self.take_seat(&order, false)?;
        self.seat_mount(seat, &order, self.plane.mount(&order)).await
    }

    /// Goes on with a mount that an earlier daemon served; returns once it is served.
    pub async fn resume(self: &Arc<Self>, held: HeldMount) -> Result<(), ControlError> {
        let order = MountOrder::of(&held.header);
        let detached = !held.is_in_place();
        let seat = self.take_seat(&order, detached)?;
        self.seat_mount(seat, &order, self.plane.resume(held)).await
    }

    async fn seat_mount(
        &self,
        seat: Seat,
        order: &MountOrder,
        mounting: impl Future<Output = Result<Arc<dyn Mounted>, SessionError>>,
    ) -> Result<(), ControlError> {
        let mounting = tokio::time::timeout(MOUNT, mounting).await;
        let late = || ControlError::Deadline { directory: order.directory.clone(), action: "mount", after: MOUNT };
        let mounted = mounting.map_err(|_| late())??;
        if !self.seat(seat.id, mounted.clone()) {
            // The node was told to end meanwhile and did not know of this one.
            let _ = tokio::time::timeout(LET_GO, mounted.unmount(true)).await;
            return Err(ControlError::Ending);
        }
        info!(directory = %order.directory.display(), endpoint = %order.identity.endpoint, "mounted");
        tokio::spawn(async move {
            mounted.finished().await;
            drop(seat);
        });
        Ok(())
    }

    /// A mount that umount(8) has just taken away leaves the register a moment later: whoever mounts again right then
    /// waits for that moment.
    async fn let_go_of(&self, directory: &Path) {
        let known = self.register.lock().at(directory).and_then(|(id, entry)| Some((id, entry.mounted.clone()?)));
        if let Some((id, mounted)) = known
            && !mounted.is_in_place()
        {
            let gone = self.until(|register| !register.entries.contains_key(&id));
            let _ = tokio::time::timeout(LET_GO, gone).await;
        }
    }

    /// Enters the mount before it is there, so that no second one and no ending comes in between.
    fn take_seat(self: &Arc<Self>, order: &MountOrder, detached: bool) -> Result<Seat, ControlError> {
        let mut register = self.register.lock();
        if register.ending {
            return Err(ControlError::Ending);
        }
        if !detached && register.at(&order.directory).is_some() {
            return Err(ControlError::AlreadyMounted { directory: order.directory.clone() });
        }
        let id = MountId(register.next);
        register.next += 1;
        register.begun += 1;
        let state = MountState { order: order.clone(), detached, passthrough: String::new(), survival: String::new() };
        register.entries.insert(id, Entry { state, mounted: None });
        self.changes.send_replace(());
        Ok(Seat { node: self.clone(), id })
    }

    /// Whether the mount may stay.
    fn seat(&self, id: MountId, mounted: Arc<dyn Mounted>) -> bool {
        let mut register = self.register.lock();
        let stays = !register.ending;
        if let Some(entry) = register.entries.get_mut(&id).filter(|_| stays) {
            entry.mounted = Some(mounted);
        }
        stays
    }

    /// Takes the mount at `directory` away; returns when the kernel has let go of it, or, if `lazy`, when it is out of
    /// the directory.
    pub async fn unmount(self: &Arc<Self>, directory: PathBuf, lazy: bool) -> Result<Unmounted, ControlError> {
        let node = self.clone();
        let directory = mount::resolve(&directory);
        let work = async move { node.unmount_to_the_end(&directory, lazy).await };
        tokio::spawn(work).await.unwrap_or(Err(ControlError::Broken))
    }

    async fn unmount_to_the_end(&self, directory: &Path, lazy: bool) -> Result<Unmounted, ControlError> {
        let (id, mounted) = self.mounted_at(directory)?;
        let late = || ControlError::Deadline { directory: directory.to_owned(), action: "unmount", after: LET_GO };
        tokio::time::timeout(LET_GO, mounted.unmount(lazy)).await.map_err(|_| late())??;
        if let Some(entry) = self.register.lock().entries.get_mut(&id) {
            entry.state.detached = true;
        }
        let patience = if lazy { LAZY } else { LET_GO };
        let gone = self.until(|register| !register.entries.contains_key(&id));
        let gone = tokio::time::timeout(patience, gone).await.is_ok();
        if !gone && !lazy {
            return Err(late());
        }
        Ok(Unmounted { daemon_ends: self.register.lock().ending, detached: !gone })
    }

    fn mounted_at(&self, directory: &Path) -> Result<(MountId, Arc<dyn Mounted>), ControlError> {
        let register = self.register.lock();
        let found = register.at(directory);
        if let Some((id, Entry { mounted: Some(mounted), .. })) = found {
            return Ok((id, mounted.clone()));
        }
        let mounts: Vec<_> =
            register.entries.values().map(|entry| entry.state.order.directory.display().to_string()).collect();
        let mounts = if mounts.is_empty() { "none".to_owned() } else { mounts.join(", ") };
        Err(ControlError::NotMounted { directory: directory.to_owned(), mounts })
    }

    /// Has the next daemon started, which takes over from this one. Returns its process
    /// where it is known.
    pub async fn upgrade(self: &Arc<Self>) -> Result<Option<u32>, ControlError> {
        let node = self.clone();
        let work = tokio::task::spawn_blocking(move || node.plane.upgrade());
        work.await.unwrap_or_else(|_| Err(io::Error::other("it broke off"))).map_err(ControlError::Upgrade)
    }

    /// From now on other machines are answered there.
    pub fn serves_at(&self, address: SocketAddr) {
        let _ = self.service.set(address);
    }

    pub async fn status(self: &Arc<Self>) -> Result<NodeStatus, ControlError> {
        let node = self.clone();
        let look = move || {
            Ok(NodeStatus {
                version: env!("CARGO_PKG_VERSION"),
                pid: std::process::id(),
                uptime: node.started.elapsed(),
                cache_directory: node.cache_directory.clone(),
                cached_bytes: node.plane.cached_bytes()?,
                space: node.plane.space(),
                service: node.service.get().copied(),
                mounts: node.states(),
                repos: node.plane.repos()?,
                counters: node.plane.counters(),
            })
        };
        tokio::task::spawn_blocking(look).await.unwrap_or(Err(ControlError::Broken))
    }

    /// How it stands and what it has counted. It looks at the disk: not for a thread of the runtime.
    pub fn figures(&self) -> Vec<(Figure, u64)> {
        self.levels().all().into_iter().chain(self.plane.counters()).collect()
    }

    fn levels(&self) -> Levels {
        let (space, traffic, mounts) = (self.plane.space(), self.plane.traffic(), self.states());
        let count = |which: fn(&MountState) -> bool| mounts.iter().filter(|mount| which(mount)).count() as u64;
        Levels {
            uptime_seconds: self.started.elapsed().as_secs(),
            cache_bytes: space.used,
            cache_limit_bytes: space.limit,
            cache_free_bytes: space.free,
            mounts: count(|mount| !mount.detached),
            detached_mounts: count(|mount| mount.detached),
            surviving_mounts: count(|mount| mount.survival == "on"),
            flights: traffic.flights as u64,
            fetches: traffic.fetches as u64,
        }
    }

    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    fn states(&self) -> Vec<MountState> {
        self.register.lock().entries.values().map(Entry::now).collect()
    }

    /// Enters a job: the node does not end before it does.
    pub fn begin(self: &Arc<Self>) -> Result<JobSeat, ControlError> {
        let mut register = self.register.lock();
        if register.ending {
            return Err(ControlError::Ending);
        }
        register.jobs += 1;
        register.begun += 1;
        self.changes.send_replace(());
        Ok(JobSeat { node: self.clone() })
    }

    /// Does a job to its end. Dropped, it is given up; so it is when the node is told to end.
    pub async fn run(&self, seat: JobSeat, job: Job, progress: &Progress) -> Result<Outcome, ControlError> {
        let outcome = tokio::select! {
            outcome = self.plane.run(job, progress) => outcome,
            () = self.ended() => Err(ControlError::Stopped),
        };
        drop(seat);
        outcome
    }

    /// Where the files of a model are in a mount. The plane has its own deadline for the Hub.
    pub async fn resolve(self: &Arc<Self>, model: &ModelName) -> Result<Resolved, ControlError> {
        let _seat = self.begin()?;
        self.plane.resolve(model).await
    }

    /// Resolves when anything has begun besides the first job, which is that of whoever waits here.
    pub async fn asked(&self) {
        self.until(|register| register.begun > 1 || register.ending).await;
    }

    /// Resolves when the last mount and job are gone; from then on none is accepted. Before the first it waits for that.
    pub async fn ended(&self) {
        self.until(|register| register.ending).await;
    }

    pub fn is_ending(&self) -> bool {
        self.register.lock().ending
    }

    async fn until(&self, condition: impl Fn(&Register) -> bool) {
        let mut changes = self.changes.subscribe();
        while !condition(&self.register.lock()) {
            // The sender lives as long as this node.
            let _ = changes.changed().await;
        }
    }

    /// Takes every mount away, by force of laziness those that are still in use after `patience`, and waits as long
    /// again for the kernel. What is left then is left to the end of the process.
    pub async fn end(&self, patience: Duration) {
        let all: Vec<_> = {
            let mut register = self.register.lock();
            register.ending = true;
            self.changes.send_replace(());
            register.entries.values().filter(|entry| !entry.state.detached).filter_map(Entry::live).collect()
        };
        let unmounts = all.into_iter().map(|(directory, mounted)| end_one(directory, mounted, patience));
        futures::future::join_all(unmounts).await;
        let all_gone = self.until(|register| register.entries.is_empty());
        if tokio::time::timeout(patience, all_gone).await.is_err() {
            warn!("some mounts are still open in some process; they end with this daemon");
        }
    }
}

/// Tries for `patience`, then takes the mount out of its directory whoever uses it.
async fn end_one(directory: PathBuf, mounted: Arc<dyn Mounted>, patience: Duration) {
    const PAUSE: Duration = Duration::from_millis(200);
    let politely = async {
        while let Err(cause) = mounted.unmount(false).await {
            tracing::debug!(directory = %directory.display(), %cause, "not unmounted yet");
            tokio::time::sleep(PAUSE).await;
        }
    };
    if tokio::time::timeout(patience, politely).await.is_ok() {
        return;
    }
    warn!(directory = %directory.display(), "still in use: unmounted lazily; its readers will see errors");
    let lazily = tokio::time::timeout(patience, mounted.unmount(true));
    if let Ok(Err(cause)) = lazily.await {
        warn!(directory = %directory.display(), %cause, "could not be unmounted");
    }
}

impl Entry {
    fn now(&self) -> MountState {
        let Some(mounted) = &self.mounted else { return self.state.clone() };
        MountState { passthrough: mounted.passthrough(), survival: mounted.survival(), ..self.state.clone() }
    }

    fn live(&self) -> Option<(PathBuf, Arc<dyn Mounted>)> {
        Some((self.state.order.directory.clone(), self.mounted.clone()?))
    }
}

impl Register {
    /// The mount in `directory`. A detached one is in none any more.
    fn at(&self, directory: &Path) -> Option<(MountId, &Entry)> {
        let found = |entry: &&Entry| entry.state.order.directory == directory && !entry.state.detached;
        self.entries.iter().find(|(_, entry)| found(entry)).map(|(id, entry)| (*id, entry))
    }

    fn end_if_idle(&mut self) {
        self.ending |= self.entries.is_empty() && self.jobs == 0;
    }
}

/// A place in the register; it is given up when this goes, and with the last one the node ends.
struct Seat {
    node: Arc<Node>,
    id: MountId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut register = self.node.register.lock();
        register.entries.remove(&self.id);
        register.end_if_idle();
        self.node.changes.send_replace(());
    }
}

/// A place for a job; it is given up when this goes, and with the last one, and no mount, the node ends.
pub struct JobSeat {
    node: Arc<Node>,
}

impl Drop for JobSeat {
    fn drop(&mut self) {
        let mut register = self.node.register.lock();
        register.jobs -= 1;
        register.end_if_idle();
        self.node.changes.send_replace(());
    }
}

#[cfg(test)]
mod tests;
