use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::cache::{SpaceState, Traffic};
use crate::db::DbError;
use crate::fs::mount::{MountError, UnmountError};
use crate::fs::session::SessionError;
use crate::metrics::Metrics;

/// Mounts in memory: a directory is free, refused or in use, and the kernel lets go when a test says so.
#[derive(Default)]
struct TestPlane {
    mounts: Mutex<Vec<Arc<TestMount>>>,
    /// How many were asked for.
    asked: Mutex<u32>,
    /// Lets a job come to its end.
    work: Notify,
}

#[derive(Default)]
struct TestMount {
    let_go: CancellationToken,
    busy: bool,
    /// Still open in some process when it was detached.
    open: bool,
    /// Out of the kernel's list, though nobody here has noticed.
    taken_away: AtomicBool,
}

#[async_trait]
impl Plane for TestPlane {
    async fn resume(&self, held: HeldMount) -> Result<Arc<dyn Mounted>, SessionError> {
        self.mount(&MountOrder::of(&held.header)).await
    }

    async fn resolve(&self, model: &ModelName) -> Result<Resolved, ControlError> {
        Err(ControlError::Refused(format!("{model}: there is no Hub")))
    }

    fn upgrade(&self) -> io::Result<Option<u32>> {
        Err(io::Error::other("there is no holder"))
    }

    async fn mount(&self, order: &MountOrder) -> Result<Arc<dyn Mounted>, SessionError> {
        *self.asked.lock() += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
        let name = order.directory.display().to_string();
        if name.contains("missing") {
            return Err(MountError::NoDirectory { directory: order.directory.clone() }.into());
        }
        let mount = TestMount { busy: name.contains("busy"), open: name.contains("open"), ..TestMount::default() };
        let mount = Arc::new(mount);
        self.mounts.lock().push(mount.clone());
        Ok(mount)
    }

    fn repos(&self) -> Result<Vec<RepoRow>, DbError> {
        Ok(Vec::new())
    }

    fn cached_bytes(&self) -> Result<u64, DbError> {
        Ok(7)
    }

    fn space(&self) -> SpaceState {
        SpaceState { limit: Some(10), used: 7, free: 3 }
    }

    fn traffic(&self) -> Traffic {
        Traffic { flights: 5, fetches: 2 }
    }

    fn counters(&self) -> Vec<(Figure, u64)> {
        Metrics::FIGURES.iter().map(|figure| (*figure, 3)).collect()
    }

    async fn run(&self, _: Job, _: &Progress) -> Result<Outcome, ControlError> {
        self.work.notified().await;
        Ok(Outcome::Listed(Vec::new()))
    }
}

#[async_trait]
impl Mounted for TestMount {
    async fn finished(&self) {
        self.let_go.cancelled().await;
    }

    fn passthrough(&self) -> String {
        "on".to_owned()
    }

    fn survival(&self) -> String {
        "on".to_owned()
    }

    async fn unmount(&self, lazy: bool) -> Result<(), UnmountError> {
        if self.busy && !lazy {
            return Err(UnmountError::Busy { directory: "/busy".into(), processes: Vec::new(), mounts: Vec::new() });
        }
        if !self.open {
            self.let_go.cancel();
        }
        Ok(())
    }

    fn is_in_place(&self) -> bool {
        !self.taken_away.load(Ordering::SeqCst)
    }
}

fn node() -> (Arc<Node>, Arc<TestPlane>) {
    let plane = Arc::new(TestPlane::default());
    (Node::new(plane.clone(), "/var/cache/w".into(), vec!["/run/w/control.sock".into()]), plane)
}

fn order(directory: &str) -> MountOrder {
    MountOrder {
        directory: directory.into(),
        identity: Identity::new("http://hub", None, false),
        allow_other: false,
        passthrough: true,
        drop_behind: None,
        pod: None,
    }
}

fn directories(node: &Node) -> Vec<String> {
    node.states().iter().map(|mount| mount.order.directory.display().to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_directory_is_mounted_once_even_when_two_ask_at_the_same_time() {
    let (node, plane) = node();
    let (first, second) = tokio::join!(node.mount(order("/a")), node.mount(order("/a")));
    first.unwrap();
    assert_eq!(
        second.unwrap_err().to_string(),
        "/a: weightfs is mounted there already; `weightfs umount /a` takes it away"
    );
    assert_eq!(*plane.asked.lock(), 1);
    node.mount(order("/b")).await.unwrap();
    assert_eq!(directories(&node), ["/a", "/b"]);
}

#[tokio::test(start_paused = true)]
async fn the_node_ends_with_its_last_mount_and_takes_no_other() {
    let (node, _) = node();
    node.mount(order("/a")).await.unwrap();
    node.mount(order("/b")).await.unwrap();
    let first = node.unmount("/a".into(), false).await.unwrap();
    assert_eq!(first, Unmounted { daemon_ends: false, detached: false });
    assert!(tokio::time::timeout(Duration::from_secs(60), node.ended()).await.is_err());
    let last = node.unmount("/b".into(), false).await.unwrap();
    assert_eq!(last, Unmounted { daemon_ends: true, detached: false });
    node.ended().await;
    assert!(matches!(node.mount(order("/c")).await, Err(ControlError::Ending)));
}

#[tokio::test(start_paused = true)]
async fn a_mount_that_somebody_else_took_away_ends_the_node_too() {
    let (node, plane) = node();
    node.mount(order("/a")).await.unwrap();
    plane.mounts.lock()[0].let_go.cancel();
    node.ended().await;
    assert!(directories(&node).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failed_first_mount_ends_the_node_and_a_failed_second_one_does_not() {
    let (node, _) = node();
    node.mount(order("/a")).await.unwrap();
    let error = node.mount(order("/missing")).await.unwrap_err().to_string();
    assert!(error.contains("/missing does not exist"), "{error}");
    assert_eq!(directories(&node), ["/a"]);

    let (node, _) = self::node();
    node.mount(order("/missing")).await.unwrap_err();
    node.ended().await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_directory_is_not_unmounted_and_the_known_ones_are_named() {
    let (node, _) = node();
    node.mount(order("/a")).await.unwrap();
    node.mount(order("/b")).await.unwrap();
    let error = node.unmount("/x".into(), false).await.unwrap_err().to_string();
    assert_eq!(error, "/x: this daemon has no mount there; it has: /a, /b");
    assert!(matches!(node.mount(order("relative")).await, Err(ControlError::BadRequest(_))));
}

#[tokio::test(start_paused = true)]
async fn a_mount_over_what_the_daemon_works_with_is_refused() {
    let (node, plane) = node();
    for directory in ["/var/cache/w", "/var/cache", "/run/w", "/"] {
        let refused = node.mount(order(directory)).await;
        assert!(matches!(refused, Err(ControlError::OverOwnPath { .. })), "{directory}");
    }
    assert_eq!(*plane.asked.lock(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_busy_mount_stays_until_it_is_unmounted_lazily() {
    let (node, _) = node();
    node.mount(order("/busy")).await.unwrap();
    let error = node.unmount("/busy".into(), false).await.unwrap_err();
    assert!(matches!(error, ControlError::Unmount(UnmountError::Busy { .. })));
    assert_eq!(directories(&node), ["/busy"]);
    assert!(node.unmount("/busy".into(), true).await.unwrap().daemon_ends);
}

#[tokio::test(start_paused = true)]
async fn a_detached_mount_keeps_the_node_and_frees_its_directory() {
    let (node, plane) = node();
    node.mount(order("/open")).await.unwrap();
    let end = node.unmount("/open".into(), true).await.unwrap();
    assert_eq!(end, Unmounted { daemon_ends: false, detached: true });
    assert!(node.states()[0].detached);
    node.mount(order("/open")).await.unwrap();
    assert_eq!(directories(&node), ["/open", "/open"]);
    plane.mounts.lock()[0].let_go.cancel();
    node.until(|register| register.entries.len() == 1).await;
    assert!(!node.states()[0].detached);
}

#[tokio::test(start_paused = true)]
async fn told_to_end_it_unmounts_all_and_the_busy_ones_lazily_within_the_deadline() {
    let (node, _) = node();
    for directory in ["/a", "/busy", "/open"] {
        node.mount(order(directory)).await.unwrap();
    }
    let start = tokio::time::Instant::now();
    node.end(Duration::from_secs(5)).await;
    assert!(start.elapsed() <= Duration::from_secs(15));
    assert_eq!(directories(&node), ["/open"]);
    node.ended().await;
    assert!(matches!(node.mount(order("/c")).await, Err(ControlError::Ending)));
}

#[tokio::test(start_paused = true)]
async fn a_mount_under_way_when_the_node_is_told_to_end_does_not_stay() {
    let (node, plane) = node();
    let (mounted, ()) = tokio::join!(node.mount(order("/a")), async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        node.end(Duration::from_secs(5)).await;
    });
    assert!(matches!(mounted, Err(ControlError::Ending)));
    assert!(plane.mounts.lock()[0].let_go.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_does_not_leave_a_mount_halfway() {
    let (node, _) = node();
    let impatient = tokio::time::timeout(Duration::from_millis(1), node.mount(order("/a"))).await;
    assert!(impatient.is_err());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(node.unmount("/a".into(), false).await.unwrap().daemon_ends);
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_umount_8_has_just_freed_can_be_mounted_again_at_once() {
    let (node, plane) = node();
    node.mount(order("/other")).await.unwrap();
    node.mount(order("/a")).await.unwrap();
    let freed = plane.mounts.lock()[1].clone();
    freed.taken_away.store(true, Ordering::SeqCst);
    let noticed = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        freed.let_go.cancel();
    };
    let (mounted, ()) = tokio::join!(node.mount(order("/a")), noticed);
    mounted.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_last_mount_does_not_end_a_node_that_works_and_the_last_job_does() {
    let (node, plane) = node();
    node.mount(order("/a")).await.unwrap();
    let seat = node.begin().unwrap();
    let job = tokio::spawn({
        let node = node.clone();
        async move { node.run(seat, Job::List, &Progress::new().0).await }
    });
    assert!(!node.unmount("/a".into(), false).await.unwrap().daemon_ends);
    assert!(!node.is_ending());
    plane.work.notify_one();
    job.await.unwrap().unwrap();
    node.ended().await;
    assert!(matches!(node.begin(), Err(ControlError::Ending)));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_dropped_gives_its_seat_back_and_one_goes_when_the_node_is_told_to_end() {
    let (node, _) = node();
    let (progress, _follower) = Progress::new();
    let job = node.run(node.begin().unwrap(), Job::List, &progress);
    assert!(tokio::time::timeout(Duration::from_secs(1), job).await.is_err());
    node.ended().await;

    let (node, _) = self::node();
    let (progress, _follower) = Progress::new();
    let job = node.run(node.begin().unwrap(), Job::List, &progress);
    let (outcome, ()) = tokio::join!(job, node.end(Duration::from_secs(5)));
    assert!(matches!(outcome, Err(ControlError::Stopped)));
}

#[tokio::test(start_paused = true)]
async fn what_others_ask_before_the_first_mount_does_not_end_the_node() {
    let (node, plane) = node();
    let starting = node.begin().unwrap();
    plane.work.notify_one();
    node.run(node.begin().unwrap(), Job::List, &Progress::new().0).await.unwrap();
    node.mount(order("/a")).await.unwrap();
    drop(starting);
    assert!(!node.is_ending());
}

#[tokio::test(start_paused = true)]
async fn figures_tell_mounts_in_their_places_from_those_that_are_only_still_open() {
    let (node, _) = node();
    node.mount(order("/a")).await.unwrap();
    node.mount(order("/open")).await.unwrap();
    node.unmount("/open".into(), true).await.unwrap();
    let figures = node.figures();
    let value = |name| figures.iter().find(|(figure, _)| figure.name == name).unwrap().1;
    assert_eq!(["mounts", "detached_mounts", "surviving_mounts"].map(value), [1, 1, 2]);
    assert_eq!(["cache_limit_bytes", "cache_bytes", "cache_free_bytes"].map(value), [10, 7, 3]);
    assert_eq!(["flights", "fetches", "read_bytes"].map(value), [5, 2, 3]);
}
