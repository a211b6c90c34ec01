//! The data plane, as far as control asks of it, and the real one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use crate::cache::{BlockCache, SpaceState, Traffic};
use crate::db::{Database, DbError, RepoRow};
use crate::fs::mount::{self, UnmountError};
use crate::fs::notices::Courier;
use crate::fs::session::{Ground, MountPlan, Session, SessionError};
use crate::fs::survival::{HeldMount, Keeper};
use crate::metrics::{Figure, Metrics};
use crate::tree::Tree;

use super::error::ControlError;
use super::job::{self, Job, ModelName, Outcome, Progress, Resolved};
use super::node::MountOrder;

/// What a node runs on. A test has one without a kernel.
#[async_trait]
pub trait Plane: Send + Sync + 'static {
    /// Returns once the mount can be read.
    async fn mount(&self, order: &MountOrder) -> Result<Arc<dyn Mounted>, SessionError>;
    /// Returns once a mount that an earlier daemon served is served by this one.
    async fn resume(&self, held: HeldMount) -> Result<Arc<dyn Mounted>, SessionError>;
    /// Reads the database, as does [`Plane::cached_bytes`]: not for a thread of the runtime.
    fn repos(&self) -> Result<Vec<RepoRow>, DbError>;
    fn cached_bytes(&self) -> Result<u64, DbError>;
    /// How full the cache is.
    fn space(&self) -> SpaceState;
    /// What is on its way into it.
    fn traffic(&self) -> Traffic;
    /// What the daemon has counted.
    fn counters(&self) -> Vec<(Figure, u64)>;
    /// Has the next daemon started beside this one; returns its process. Waits: not for a thread of the runtime.
    fn upgrade(&self) -> io::Result<Option<u32>>;
    /// Where the files of a model are in a mount.
    async fn resolve(&self, model: &ModelName) -> Result<Resolved, ControlError>;
    /// Does a job to its end; dropped, it gives it up.
    async fn run(&self, job: Job, progress: &Progress) -> Result<Outcome, ControlError>;
}

/// A live mount.
#[async_trait]
pub trait Mounted: Send + Sync + 'static {
    /// Resolves when the kernel has let go of it, whoever unmounted it.
    async fn finished(&self);
    /// Whether complete files are passed through: `on`, or `off` and why.
    fn passthrough(&self) -> String;
    /// Whether it outlives the daemon: `on`, or `off` and why not.
    fn survival(&self) -> String;
    /// Takes it from its directory; with `lazy` even while it is in use.
    async fn unmount(&self, lazy: bool) -> Result<(), UnmountError>;
    /// Whether the kernel still has it at its directory.
    fn is_in_place(&self) -> bool;
}

/// The parts of a node, built by the daemon.
pub struct Parts {
    pub cache_directory: PathBuf,
    pub db: Arc<Database>,
    pub cache: Arc<BlockCache>,
    pub tree: Arc<Tree>,
    pub metrics: Arc<Metrics>,
    /// Who keeps the mounts when this daemon dies.
    pub keeper: Option<Arc<Keeper>>,
    pub courier: Courier,
}

impl Parts {
    fn ground(&self) -> Ground {
        Ground {
            tree: self.tree.clone(),
            cache: self.cache.clone(),
            metrics: self.metrics.clone(),
            cache_directory: self.cache_directory.clone(),
            database: self.db.uuid().to_owned(),
            keeper: self.keeper.clone(),
            courier: self.courier.clone(),
        }
    }
}

#[async_trait]
impl Plane for Parts {
    async fn mount(&self, order: &MountOrder) -> Result<Arc<dyn Mounted>, SessionError> {
        let plan = MountPlan {
            directory: order.directory.clone(),
            allow_other: order.allow_other,
            passthrough: order.passthrough,
            drop_behind: order.drop_behind,
            identity: order.identity.clone(),
            pod: order.pod.clone(),
        };
        Ok(Arc::new(Session::start(plan, self.ground()).await?))
    }

    async fn resume(&self, held: HeldMount) -> Result<Arc<dyn Mounted>, SessionError> {
        Ok(Arc::new(Session::resume(held, self.ground()).await?))
    }

    fn repos(&self) -> Result<Vec<RepoRow>, DbError> {
        self.tree.repos()
    }

    fn cached_bytes(&self) -> Result<u64, DbError> {
        self.db.cached_bytes()
    }

    fn space(&self) -> SpaceState {
        self.cache.space()
    }

    fn traffic(&self) -> Traffic {
        self.cache.traffic()
    }

    fn counters(&self) -> Vec<(Figure, u64)> {
        self.metrics.all()
    }

    fn upgrade(&self) -> io::Result<Option<u32>> {
        let nobody = || {
            io::Error::other(
                "it has no holder that could hand its mounts on (a daemon in the foreground, or daemon.held is false); \
                 unmount what it serves and mount it again",
            )
        };
        self.keeper.as_ref().ok_or_else(nobody)?.upgrade()
    }

    async fn resolve(&self, model: &ModelName) -> Result<Resolved, ControlError> {
        Parts::resolve(self, model).await
    }

    async fn run(&self, job: Job, progress: &Progress) -> Result<Outcome, ControlError> {
        job::run(self, job, progress).await
    }
}

#[async_trait]
impl Mounted for Session {
    async fn finished(&self) {
        Session::finished(self).await;
    }

    fn passthrough(&self) -> String {
        Session::passthrough(self)
    }

    fn survival(&self) -> String {
        Session::survival(self)
    }

    async fn unmount(&self, lazy: bool) -> Result<(), UnmountError> {
        Session::unmount(self, lazy).await
    }

    fn is_in_place(&self) -> bool {
        mount::find(self.directory()).is_some_and(|entry| entry.is_ours())
    }
}
