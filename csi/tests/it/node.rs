//! A node for one test: a Hub, a daemon, a driver, and a kubelet that calls it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use serde_json::Value;
use test_hub::{Files, Hub};
use tokio::net::UnixStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Uri};

/// The messages of the kubelet's protocols.
#[allow(clippy::all, missing_docs)]
pub mod csi {
    tonic::include_proto!("csi.v1");
}

#[allow(clippy::all, missing_docs)]
pub mod registration {
    tonic::include_proto!("pluginregistration");
}

use csi::node_client::NodeClient;
use csi::volume_capability::{AccessMode, AccessType, MountVolume, access_mode};
use csi::{
    NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse, NodePublishVolumeRequest, NodeUnpublishVolumeRequest,
    VolumeCapability,
};

/// Longer than anything here may take.
pub const PATIENCE: Duration = Duration::from_secs(60);
const DRIVER: &str = "csi.weightfs.dev";

pub struct Node {
    pub hub: Hub,
    pub folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    daemon: Option<Child>,
    driver: Option<Child>,
    /// Keeps the mounts while there is no daemon.
    holder: Option<Child>,
    /// What the driver told the cluster.
    events: Arc<Mutex<Vec<(String, Value)>>>,
    api: String,
}

/// A volume as a pod's author writes it.
#[derive(Clone, Default)]
pub struct Volume {
    attributes: HashMap<String, String>,
    secrets: HashMap<String, String>,
    read_only: bool,
    mount_flags: Vec<String>,
}

impl Volume {
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.attributes.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn is_home(&self) -> bool {
        self.attributes.get("view").is_none_or(|view| view == "hf-home")
    }

    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    pub fn mount_flag(mut self, flag: &str) -> Self {
        self.mount_flags.push(flag.to_owned());
        self
    }

    pub fn secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// A Hub with one small model; its commit.
pub fn hub() -> (Hub, String) {
    let hub = Hub::builder().token("reader", "hf_reader").start().unwrap();
    let files = Files::new().text("config.json", "{}").bytes("sub/model.safetensors", vec![7; 3 << 20]);
    let commit = hub.commit("acme/tiny", files).unwrap();
    (hub, commit)
}

impl Node {
    pub fn start(hub: Hub) -> Self {
        Self::start_with(hub, false)
    }

    /// With a holder, as in a cluster.
    pub fn start_held(hub: Hub) -> Self {
        Self::start_with(hub, true)
    }

    fn start_with(hub: Hub, is_held: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let events: Arc<Mutex<Vec<_>>> = Arc::default();
        let api = runtime.block_on(listen_to_events(events.clone()));
        let mut node = Self { hub, folder, runtime, daemon: None, driver: None, holder: None, events, api };
        fs::create_dir_all(node.kubelet().join("plugins_registry")).unwrap();
        fs::create_dir_all(node.kubelet().join("pods")).unwrap();
        if is_held {
            node.start_holder();
        }
        node.start_daemon();
        node.start_driver();
        node
    }

    fn holder_socket(&self) -> PathBuf {
        self.folder.path().join("run/holder.sock")
    }

    fn start_holder(&mut self) {
        fs::create_dir(self.folder.path().join("run")).unwrap();
        let mut command = program("weightfs");
        command.arg("holder").arg("--socket").arg(self.holder_socket());
        command.stdout(Stdio::null()).stderr(self.log("holder.log"));
        self.holder = Some(command.spawn().unwrap());
    }

    pub fn kubelet(&self) -> PathBuf {
        self.folder.path().join("kubelet")
    }

    pub fn csi_socket(&self) -> PathBuf {
        self.kubelet().join("plugins").join(DRIVER).join("csi.sock")
    }

    pub fn registration_socket(&self) -> PathBuf {
        self.kubelet().join("plugins_registry").join(format!("{DRIVER}-reg.sock"))
    }

    pub fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn control_socket(&self) -> PathBuf {
        let text = fs::read_to_string(self.cache().join("lock")).unwrap_or_default();
        text.lines().nth(1).unwrap_or_default().into()
    }

    pub fn start_daemon(&mut self) {
        let port = test_hub::free_port().to_string();
        let mut command = program("weightfs");
        command.args(["serve", "--host", "127.0.0.1", "--port", &port]);
        command.env("HOME", self.folder.path()).env("HF_ENDPOINT", self.hub.endpoint());
        command.env("WEIGHTFS_CACHE_DIRECTORY", self.cache());
        command.env("WEIGHTFS_RUNTIME_DIRECTORY", self.folder.path().join("run"));
        if self.holder.is_some() {
            command.env("WEIGHTFS_DAEMON_HOLDER", self.holder_socket());
        }
        command.stdout(Stdio::null()).stderr(self.log("daemon.log"));
        self.daemon = Some(command.spawn().unwrap());
        eventually("the daemon answers", || std::os::unix::net::UnixStream::connect(self.control_socket()).is_ok());
    }

    /// As the kubelet ends a container.
    pub fn end_daemon(&mut self) {
        let daemon = self.daemon.as_mut().unwrap();
        let pid = rustix::process::Pid::from_child(daemon);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        eventually("the daemon has ended", || daemon.try_wait().unwrap().is_some());
        self.daemon = None;
    }

    /// What the cluster was told, with the namespace that it was told in.
    pub fn events(&self) -> Vec<(String, Value)> {
        self.events.lock().unwrap().clone()
    }

    pub fn probes(&self) -> bool {
        let mut command = program("weightfs-csi");
        command.arg("probe").arg("--kubelet-directory").arg(self.kubelet());
        command.stderr(Stdio::null()).status().unwrap().success()
    }

    pub fn start_driver(&mut self) {
        let mut command = program("weightfs-csi");
        command.args(["--node-id", "node1", "--hub-endpoint", self.hub.endpoint()]);
        command.arg("--kubelet-directory").arg(self.kubelet());
        command.arg("--daemon-socket").arg(self.control_socket());
        command.args(["--kubernetes-api", &self.api]);
        command.stdout(Stdio::null()).stderr(self.log("driver.log"));
        self.driver = Some(command.spawn().unwrap());
        eventually("the driver answers", || {
            std::os::unix::net::UnixStream::connect(self.registration_socket()).is_ok()
        });
    }

    fn log(&self, name: &str) -> fs::File {
        fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join(name)).unwrap()
    }

    /// Without a chance to tidy up.
    pub fn kill_daemon(&mut self) {
        end(self.daemon.take());
    }

    pub fn kill_driver(&mut self) {
        end(self.driver.take());
    }

    pub fn driver_has_failed(&mut self) -> bool {
        let driver = self.driver.as_mut().unwrap();
        eventually("the driver has ended", || driver.try_wait().unwrap().is_some());
        !driver.wait().unwrap().success()
    }

    /// Where a pod's volume is to be; the kubelet makes all but the last directory.
    pub fn target(&self, pod: &str) -> PathBuf {
        let above = self.kubelet().join("pods").join(pod).join("volumes/kubernetes.io~csi/models");
        fs::create_dir_all(&above).unwrap();
        above.join("mount")
    }

    pub fn publish(&self, pod: &str, volume: &Volume) -> Result<PathBuf, Status> {
        let target = self.target(pod);
        let capability = VolumeCapability {
            access_mode: Some(AccessMode { mode: access_mode::Mode::SingleNodeWriter.into() }),
            access_type: Some(AccessType::Mount(MountVolume {
                mount_flags: volume.mount_flags.clone(),
                ..MountVolume::default()
            })),
        };
        let request = NodePublishVolumeRequest {
            volume_id: format!("csi-{pod}"),
            target_path: target.to_str().unwrap().to_owned(),
            volume_capability: Some(capability),
            readonly: volume.read_only,
            secrets: volume.secrets.clone(),
            volume_context: context(pod, volume),
        };
        self.call(async |mut client| client.node_publish_volume(request).await)?;
        Ok(target)
    }

    pub fn unpublish(&self, pod: &str) -> Result<(), Status> {
        let target_path = self.target(pod).to_str().unwrap().to_owned();
        let request = NodeUnpublishVolumeRequest { volume_id: format!("csi-{pod}"), target_path };
        self.call(async |mut client| client.node_unpublish_volume(request).await).map(drop)
    }

    pub fn stats(&self, pod: &str) -> Result<NodeGetVolumeStatsResponse, Status> {
        let volume_path = self.target(pod).to_str().unwrap().to_owned();
        let request = NodeGetVolumeStatsRequest { volume_id: format!("csi-{pod}"), volume_path };
        self.call(async |mut client| client.node_get_volume_stats(request).await)
    }

    pub fn is_abnormal(&self, pod: &str) -> bool {
        self.stats(pod).unwrap().volume_condition.unwrap().abnormal
    }

    fn call<T>(
        &self,
        ask: impl AsyncFnOnce(NodeClient<Channel>) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, Status> {
        let work = async { ask(NodeClient::new(channel(&self.csi_socket()).await)).await };
        let answer = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await });
        answer.expect("it takes too long").map(tonic::Response::into_inner)
    }

    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await }).expect("it takes too long")
    }

    /// The mounts that the daemon has for this driver.
    pub fn connections(&self) -> usize {
        mounts(&self.kubelet().join("plugins").join(DRIVER).join("mnt"))
    }

    pub fn logged(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("driver:\n{}\ndaemon:\n{}", self.logged("driver.log"), self.logged("daemon.log"));
        }
        end(self.driver.take());
        end(self.daemon.take());
        end(self.holder.take());
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let left = table.lines().filter_map(|line| line.split(' ').nth(4));
        for mount in left.filter(|mount| Path::new(mount).starts_with(self.folder.path())) {
            let _ = rustix::mount::unmount(mount, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// A pod's attributes, with what the kubelet adds.
fn context(pod: &str, volume: &Volume) -> HashMap<String, String> {
    let mut context = volume.attributes.clone();
    for (name, value) in [("name", pod), ("namespace", "models"), ("uid", "1-2-3")] {
        context.insert(format!("csi.storage.k8s.io/pod.{name}"), value.to_owned());
    }
    context
}

/// As much of a cluster's API as the driver uses; where it is.
async fn listen_to_events(events: Arc<Mutex<Vec<(String, Value)>>>) -> String {
    use axum::extract;
    let note = async move |extract::Path(namespace): extract::Path<String>,
                           extract::Json(event): extract::Json<Value>| {
        events.lock().unwrap().push((namespace, event));
        axum::http::StatusCode::CREATED
    };
    let app = axum::Router::new().route("/api/v1/namespaces/{namespace}/events", axum::routing::post(note));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    format!("http://{address}")
}

pub async fn channel(socket: &Path) -> Channel {
    let socket = socket.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap()
}

/// A program of this workspace.
fn program(name: &str) -> Command {
    let path = Path::new(env!("CARGO_BIN_EXE_weightfs-csi")).with_file_name(name);
    assert!(path.exists(), "{} is not there: cargo build -p weightfs --bin weightfs", path.display());
    let mut command = Command::new(path);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HF_") || name.starts_with("WEIGHTFS_")) {
        command.env_remove(name);
    }
    command
}

fn end(child: Option<Child>) {
    if let Some(mut child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// How many mounts there are at `path` and below it.
pub fn mounts(path: &Path) -> usize {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter_map(|line| line.split(' ').nth(4)).filter(|mount| Path::new(mount).starts_with(path)).count()
}

pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "still not: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
