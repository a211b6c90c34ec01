//! The volumes of this node: from a wish to a bind mount, and to its end.
//!
//! `node` calls it. What was begun goes on when the kubelet stops waiting, and the kubelet's next call finds it done. Whatever is
//! about one target follows each other; so does whatever is about one of the daemon's mounts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tonic::{Code, Status};

use crate::attributes::{Model, View, Wish};
use crate::binds::{self, Access, BindError};
use crate::daemon::{Asker, Daemon, Shown};
use crate::events::{Events, Pod};
use crate::health::{Condition, Health};
use crate::locks::Locks;
use crate::mountinfo;
use crate::records::{Record, Records, short_digest};
use crate::warming::Warming;

/// Longer than the daemon takes to answer what a bind asks it.
const BIND: Duration = Duration::from_secs(40);
/// What somebody who looks at a pod is to do about a volume that was healed for containers that start later.
const DIED: &str = "the connection behind a weightfs volume has ended: containers that have run since before get errors from it. \
     Delete the pod, or end these containers: those that start from now on read the volume again";

/// A volume as the kubelet wants it.
pub struct Order {
    pub volume_id: String,
    pub target: PathBuf,
    pub wish: Wish,
    pub asker: Asker,
    pub pod: Option<Pod>,
}

pub struct Volumes {
    pub daemon: Daemon,
    pub records: Records,
    pub health: Health,
    /// Where the daemon mounts for this driver.
    mounts: PathBuf,
    warming: Warming,
    events: Events,
    targets: Locks,
    by_mount: Locks,
}

/// What is to be bound, once the daemon's mount is there.
struct Plan {
    mount: PathBuf,
    source: PathBuf,
    access: Access,
    shown: Vec<Shown>,
    files: u64,
    bytes: u64,
}

impl Volumes {
    pub fn new(daemon: Daemon, records: Records, mounts: PathBuf, events: Events) -> Arc<Self> {
        let (warming, health) = (Warming::new(daemon.clone()), Health::default());
        let (targets, by_mount) = (Locks::default(), Locks::default());
        Arc::new(Self { daemon, records, health, mounts, warming, events, targets, by_mount })
    }

    /// Returns once the target shows the volume. The same again is fine, and changes nothing.
    pub async fn publish(self: &Arc<Self>, order: Order) -> Result<(), Status> {
        let volumes = self.clone();
        let work = async move {
            let _turn = volumes.targets.lock(&order.target).await;
            volumes.publish_in_turn(order).await
        };
        tokio::spawn(work).await.unwrap_or_else(|_| Err(broken()))
    }

    /// Whether a volume of ours is at `target`: a program may run on it.
    pub fn is_published(&self, target: &Path) -> bool {
        matches!(mountinfo::at(target), Ok(Some(mount)) if mount.is_ours)
    }

    async fn publish_in_turn(&self, order: Order) -> Result<(), Status> {
        let mounted = mountinfo::at(&order.target).map_err(|error| unreadable(&error))?;
        match (self.records.get(&order.target), mounted) {
            (_, Some(mount)) if !mount.is_ours => Err(refuse(BindError::Foreign(order.target))),
            (Some(record), _) if record.volume_id != order.volume_id => {
                let text = format!("{}: volume {} is published there", order.target.display(), record.volume_id);
                Err(Status::failed_precondition(text))
            }
            (Some(record), Some(_)) => {
                self.publish_again(&order, &record).await;
                Ok(())
            }
            (None, Some(_)) => {
                let target = order.target.display();
                tracing::warn!(%target, "a volume without a record stays as it is until it is unpublished");
                Ok(())
            }
            (_, None) => self.publish_anew(order).await,
        }
    }

    async fn publish_anew(&self, order: Order) -> Result<(), Status> {
        let plan = self.plan(&order).await?;
        let record = Record {
            volume_id: order.volume_id.clone(),
            target: order.target.clone(),
            mount: plan.mount.clone(),
            source: plan.source.clone(),
            read_only: plan.access == Access::ReadOnly,
            files: plan.files,
            bytes: plan.bytes,
            shown: plan.shown.clone(),
        };
        let turn = self.by_mount.lock(&plan.mount).await;
        // Before anything is there that only it tells of.
        self.records.put(record.clone()).map_err(|error| unwritable(&error))?;
        let done = async {
            self.ensure_mount(&order, &plan.mount, &plan.shown).await?;
            self.bind(&record).await
        };
        if let Err(status) = done.await {
            drop(turn);
            self.give_up(&record).await;
            return Err(status);
        }
        if order.wish.warm {
            self.warming.start(&order.target, order.asker, plan.shown);
        }
        tracing::info!(volume = order.volume_id, target = %order.target.display(), source = %plan.source.display(), "published");
        Ok(())
    }

    /// Who it is and which commits it is of: the Hub is asked now, so that a wrong name is an event of the pod and not an
    /// error in the middle of a program.
    async fn plan(&self, order: &Order) -> Result<Plan, Status> {
        let Order { wish, asker, .. } = order;
        match &wish.view {
            View::Model { model, sub_path } => {
                let found = self.daemon.resolve(asker, model).await?;
                let folder = found.folder.ok_or_else(|| no_tree(model))?;
                let mount = self.shared_mount(asker);
                let source = mount.join(folder).join(sub_path);
                let source = source.components().collect();
                let shown = vec![Shown { model: model.clone(), commit: Some(found.commit) }];
                Ok(Plan { mount, source, access: Access::ReadOnly, shown, files: found.files, bytes: found.bytes })
            }
            View::HfHome { models } => {
                let mount = self.own_mount(&order.target);
                let (mut shown, mut files, mut bytes) = (Vec::new(), 0, 0);
                for model in models {
                    let found = self.daemon.resolve(asker, model).await?;
                    (files, bytes) = (files + found.files, bytes + found.bytes);
                    let commit = model.revision.is_some().then_some(found.commit);
                    shown.push(Shown { model: model.clone(), commit });
                }
                Ok(Plan { source: mount.clone(), mount, access: Access::Writable, shown, files, bytes })
            }
        }
    }

    /// One for each identity: whoever has another token has another connection to the kernel, with names of its own.
    fn shared_mount(&self, asker: &Asker) -> PathBuf {
        let text = format!("{}\0{}", asker.endpoint, asker.token.as_deref().unwrap_or_default());
        self.mounts.join(format!("identity-{}", short_digest(text.as_bytes())))
    }

    /// One for each target: an HF_HOME has a writable layer, and a list of what it shows.
    fn own_mount(&self, target: &Path) -> PathBuf {
        self.mounts.join(format!("volume-{}", short_digest(target.as_os_str().as_encoded_bytes())))
    }

    async fn ensure_mount(&self, order: &Order, mount: &Path, shown: &[Shown]) -> Result<(), Status> {
        let directory = mount.to_owned();
        let made = blocking(move || match mountinfo::at(&directory)? {
            // Making what a dead daemon has left would fail; the next one takes it away.
            Some(_) => Ok(()),
            None => std::fs::create_dir_all(&directory),
        });
        made.await?.map_err(|error| unwritable(&error))?;
        match &order.wish.view {
            View::Model { .. } => self.daemon.ensure_mount(mount, &order.asker).await,
            View::HfHome { .. } => self.daemon.ensure_pod_mount(mount, &order.asker, shown).await,
        }
    }

    async fn bind(&self, record: &Record) -> Result<(), Status> {
        let Record { source, target, read_only, .. } = record.clone();
        let access = if read_only { Access::ReadOnly } else { Access::Writable };
        let bound = blocking(move || {
            binds::make_target(&target)?;
            binds::bind(&source, &target, access)
        });
        match tokio::time::timeout(BIND, bound).await {
            Ok(bound) => bound?.map_err(refuse),
            Err(_) => Err(Status::unavailable("the daemon's mount does not answer; it is tried again")),
        }
    }

    /// A volume that came to nothing leaves nothing behind. The kubelet tries again, or unpublishes it.
    async fn give_up(&self, record: &Record) {
        let target = record.target.clone();
        let cleared = blocking(move || binds::clear(&target)).await;
        if let Ok(Err(error)) = cleared {
            tracing::warn!(%error, "a volume that failed is left behind until it is unpublished");
            return;
        }
        let _ = self.forget(record).await;
    }

    /// The kubelet repeats itself about once a minute. It never fails and never unmounts: a program runs on this. A bind whose
    /// connection is dead gets the new one on top, for containers that start from now on.
    async fn publish_again(&self, order: &Order, record: &Record) {
        if let Err(status) = self.heal(order, record).await {
            tracing::warn!(target = %record.target.display(), cause = status.message(), "a volume stays as it is");
        }
    }

    async fn heal(&self, order: &Order, record: &Record) -> Result<(), Status> {
        let served = self.daemon.status().await?.mounts;
        let is_served = served.iter().any(|mount| !mount.detached && Path::new(&mount.directory) == record.mount);
        if is_served && is_bound(record)? {
            return Ok(());
        }
        // With the token that it has by now.
        let mount = if record.read_only { self.shared_mount(&order.asker) } else { record.mount.clone() };
        let _turn = self.by_mount.lock(&mount).await;
        let below = record.source.strip_prefix(&record.mount).unwrap_or(Path::new(""));
        let healed = Record { source: mount.join(below).components().collect(), mount, ..record.clone() };
        self.ensure_mount(order, &healed.mount, &healed.shown).await?;
        if !is_bound(&healed)? {
            tracing::warn!(target = %record.target.display(), "its connection is dead; new containers get a new one");
            self.bind(&healed).await?;
            if let Some(pod) = &order.pod {
                self.events.warn(pod, DIED);
            }
        }
        self.records.put(healed).map_err(|error| unwritable(&error))
    }

    /// Works without the daemon, the network and the token, whatever is or is not there.
    pub async fn unpublish(self: &Arc<Self>, volume_id: String, target: PathBuf) -> Result<(), Status> {
        let volumes = self.clone();
        let work = async move {
            let _turn = volumes.targets.lock(&target).await;
            volumes.unpublish_in_turn(&volume_id, &target).await
        };
        tokio::spawn(work).await.unwrap_or_else(|_| Err(broken()))
    }

    async fn unpublish_in_turn(&self, volume_id: &str, target: &Path) -> Result<(), Status> {
        self.warming.stop(target);
        let cleared = target.to_owned();
        blocking(move || binds::clear(&cleared)).await?.map_err(refuse)?;
        if let Some(record) = self.records.get(target) {
            self.forget(&record).await?;
            tracing::info!(volume = volume_id, target = %target.display(), "unpublished");
        }
        Ok(())
    }

    /// Drops the record, and the daemon's mount with the last volume that is a part of it.
    async fn forget(&self, record: &Record) -> Result<(), Status> {
        let _turn = self.by_mount.lock(&record.mount).await;
        self.records.remove(&record.target).map_err(|error| unwritable(&error))?;
        if !self.records.uses(&record.mount) {
            self.end_mount(&record.mount).await;
        }
        Ok(())
    }

    /// What fails here is done by the next reconciliation.
    async fn end_mount(&self, mount: &Path) {
        if let Err(status) = self.daemon.unmount(mount).await {
            tracing::warn!(mount = %mount.display(), cause = status.message(), "the daemon was not told; unmounted without it");
        }
        let directory = mount.to_owned();
        if let Ok(Err(error)) = blocking(move || binds::clear(&directory)).await {
            tracing::warn!(%error, "a mount that nobody uses stays for now");
        }
    }

    /// Brings the records, the kernel's list and the daemon's mounts together: a driver that was killed left them apart.
    pub async fn reconcile(&self) {
        for record in self.records.all() {
            let _turn = self.targets.lock(&record.target).await;
            // The kubelet removes a pod's directory last. Who asks for it looks at no mount: the target is below.
            let is_gone = record.target.parent().is_some_and(|parent| matches!(parent.try_exists(), Ok(false)));
            if is_gone && self.records.get(&record.target).is_some() {
                tracing::info!(target = %record.target.display(), "its pod is gone");
                let _ = self.unpublish_in_turn(&record.volume_id, &record.target).await;
            }
        }
        let Ok(mounts) = mountinfo::all() else { return };
        for mount in mounts.iter().filter(|mount| mount.is_ours && mount.directory.starts_with(&self.mounts)) {
            let _turn = self.by_mount.lock(&mount.directory).await;
            if !self.records.uses(&mount.directory) {
                self.end_mount(&mount.directory).await;
            }
        }
    }

    /// What is known of a target, from memory and the kernel's list alone.
    pub fn condition(&self, record: &Record) -> Condition {
        match is_bound(record) {
            Ok(true) => self.health.condition(),
            Ok(false) => Condition::abnormal("its connection has ended: delete the pod, so that it gets a new one"),
            Err(status) => Condition::abnormal(status.message()),
        }
    }
}

/// Whether the target shows the connection that the daemon's mount has now.
fn is_bound(record: &Record) -> Result<bool, Status> {
    let mounts = mountinfo::all().map_err(|error| unreadable(&error))?;
    let device = |path: &Path| mounts.iter().rfind(|mount| mount.directory == path).map(|mount| &mount.device);
    Ok(device(&record.mount).is_some() && device(&record.mount) == device(&record.target))
}

fn no_tree(model: &Model) -> Status {
    Status::invalid_argument(format!("{}: there is no plain tree of it; use view: hf-home", model.repo))
}

fn refuse(error: BindError) -> Status {
    let code = match &error {
        error if error.is_absence() => Code::NotFound,
        error if error.is_no_folder() => Code::InvalidArgument,
        BindError::Foreign(_) => Code::FailedPrecondition,
        _ => Code::Internal,
    };
    Status::new(code, error.to_string())
}

fn unreadable(error: &std::io::Error) -> Status {
    Status::internal(format!("cannot read the list of mounts: {error}"))
}

fn unwritable(error: &std::io::Error) -> Status {
    Status::internal(format!("cannot write in the driver's directory: {error}"))
}

fn broken() -> Status {
    Status::internal("the driver broke while it did this; its log says why")
}

async fn blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
    tokio::task::spawn_blocking(job).await.map_err(|_| broken())
}
