//! A server for one test, and clients of it.

use std::process::{Child, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use test_hub::{Files, Hub};
use tonic::transport::{Channel, Endpoint};
use weightfs::api::wire::model::model_service_client::ModelServiceClient;
use weightfs::api::wire::model::{FileChunk, ModelDownloadRequest, ModelFilesRequest, ModelStatus, ModelStatusUpdate};

use crate::harness::{eventually, noise};
use crate::machine::{Machine, error};

pub const MIB: usize = 1 << 20;
pub const MODEL: &str = "acme/big";

/// A Hub with one model: a small file, an empty one, one in a folder, and weights.
pub fn hub(weights: usize) -> (Hub, String, Vec<u8>) {
    let hub = Hub::start().unwrap();
    let bytes = noise(3, weights);
    let files = Files::new()
        .text("config.json", "{}")
        .text("empty.txt", "")
        .text("sub/notes.txt", "notes")
        .bytes("model.safetensors", bytes.clone());
    let commit = hub.commit(MODEL, files).unwrap();
    (hub, commit, bytes)
}

/// All that the link carries.
pub fn set_bandwidth(hub: &Hub, bytes_per_second: Option<u64>) {
    let mut options = hub.options();
    options.link_bandwidth = bytes_per_second;
    hub.set_options(options);
}

pub struct Server {
    pub machine: Machine,
    pub port: u16,
    pub runtime: tokio::runtime::Runtime,
    child: Option<Child>,
}

impl Server {
    pub fn start(hub: &Hub) -> Self {
        Self::start_with(hub, &[])
    }

    /// With more variables.
    pub fn start_with(hub: &Hub, variables: &[(&str, &str)]) -> Self {
        Self::start_on(Machine::at(hub.endpoint()), variables)
    }

    pub fn start_on(machine: Machine, variables: &[(&str, &str)]) -> Self {
        Self::start_at("127.0.0.1", machine, variables)
    }

    pub fn start_at(host: &str, machine: Machine, variables: &[(&str, &str)]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut server = Self { machine, port: test_hub::free_port(), runtime, child: None };
        server.spawn(host, variables);
        server
    }

    fn spawn(&mut self, host: &str, variables: &[(&str, &str)]) {
        let mut command = self.machine.command(&["serve", "--host", host, "--port", &self.port.to_string()]);
        command.envs(variables.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.child = Some(command.spawn().unwrap());
        self.await_ready();
    }

    fn await_ready(&mut self) {
        let (port, child) = (self.port, self.child.as_mut().unwrap());
        let mut ended = false;
        eventually("it listens", || {
            ended = child.try_wait().unwrap().is_some();
            ended || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        if ended {
            panic!("it ended: {}", error(&self.child.take().unwrap().wait_with_output().unwrap()));
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub async fn channel(&self) -> Channel {
        Endpoint::new(self.url()).unwrap().connect().await.unwrap()
    }

    pub async fn models(&self) -> ModelServiceClient<Channel> {
        ModelServiceClient::new(self.channel().await)
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.as_ref().unwrap().id() as i32), signal).unwrap();
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_some()
    }

    /// Tells it to end and waits for that.
    pub fn end(mut self) -> Output {
        self.signal(Signal::SIGTERM);
        self.await_end()
    }

    /// Ends it, and starts another one on the same machine.
    pub fn restart(&mut self) {
        self.signal(Signal::SIGTERM);
        assert!(self.await_end().status.success());
        self.spawn("127.0.0.1", &[]);
    }

    pub fn await_end(&mut self) -> Output {
        let mut child = self.child.take().unwrap();
        eventually("it has ended", || child.try_wait().unwrap().is_some());
        child.wait_with_output().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub fn wanted(model: &str, revision: Option<&str>) -> ModelDownloadRequest {
    ModelDownloadRequest {
        model_name: model.to_owned(),
        revision: revision.map(str::to_owned),
        ..ModelDownloadRequest::default()
    }
}

pub fn files_of(model: &str) -> ModelFilesRequest {
    ModelFilesRequest { model_name: model.to_owned(), ..ModelFilesRequest::default() }
}

/// A client of whoever listens there now, if anybody does.
pub async fn models_at(url: &str) -> Option<ModelServiceClient<Channel>> {
    let channel = Endpoint::new(url.to_owned()).unwrap().connect().await.ok()?;
    Some(ModelServiceClient::new(channel))
}

/// Every update to the last one.
pub async fn ensure(client: &mut ModelServiceClient<Channel>, request: ModelDownloadRequest) -> Vec<ModelStatusUpdate> {
    let mut stream = client.ensure_model_downloaded(request).await.unwrap().into_inner();
    let mut updates = Vec::new();
    while let Some(update) = stream.message().await.unwrap() {
        updates.push(update);
    }
    updates
}

/// Brings a model here.
pub async fn download(client: &mut ModelServiceClient<Channel>, model: &str) {
    let last = ensure(client, wanted(model, None)).await.pop().unwrap();
    assert_eq!(last.status(), ModelStatus::Downloaded, "{last:?}");
}

pub async fn chunks(
    client: &mut ModelServiceClient<Channel>,
    request: ModelFilesRequest,
) -> Result<Vec<FileChunk>, tonic::Status> {
    let mut stream = client.stream_model_files(request).await?.into_inner();
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.message().await? {
        chunks.push(chunk);
    }
    Ok(chunks)
}
