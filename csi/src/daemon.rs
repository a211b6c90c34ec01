//! The node's daemon, asked over its control socket. Every question has a deadline; nothing here retries.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status, Streaming};

use crate::attributes::Model;
use crate::proto::control::control_client::ControlClient;
use crate::proto::control::job_request::Job;
use crate::proto::control::{
    Caller, DownloadJob, JobEvent, JobRequest, ModelName, MountRequest, PodView, ResolveReply, ResolveRequest,
    ShownModel, StatusReply, StatusRequest, UnmountRequest,
};

const CONNECT: Duration = Duration::from_secs(5);
const STATUS: Duration = Duration::from_secs(10);
/// The Hub may be asked; the kubelet waits for two minutes.
const RESOLVE: Duration = Duration::from_secs(60);
const CHANGE: Duration = Duration::from_secs(60);

/// Who asks the Hub. Never printed.
#[derive(Clone)]
pub struct Asker {
    pub endpoint: String,
    pub token: Option<String>,
}

impl Asker {
    fn caller(&self) -> Caller {
        Caller { endpoint: self.endpoint.clone(), token: self.token.clone(), offline: false }
    }
}

/// A model whose revision was resolved, if one was named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    pub model: Model,
    pub commit: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Daemon {
    socket: PathBuf,
}

impl Daemon {
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    pub async fn status(&self) -> Result<StatusReply, Status> {
        self.within(STATUS, async |mut client| client.status(StatusRequest {}).await).await
    }

    pub async fn resolve(&self, asker: &Asker, model: &Model) -> Result<ResolveReply, Status> {
        let request = ResolveRequest { caller: Some(asker.caller()), model: Some(name(model, None)) };
        self.within(RESOLVE, async |mut client| client.resolve(request).await).await
    }

    /// The plain trees of everything that `asker` may see.
    pub async fn ensure_mount(&self, directory: &Path, asker: &Asker) -> Result<(), Status> {
        self.mount(directory, asker, None).await
    }

    /// An HF_HOME of its own: with nothing in it but `shown`, or the whole Hub.
    pub async fn ensure_pod_mount(&self, directory: &Path, asker: &Asker, shown: &[Shown]) -> Result<(), Status> {
        let only = shown.iter().map(|Shown { model, commit }| ShownModel {
            repo: model.repo.clone(),
            revision: model.revision.clone(),
            commit: commit.clone(),
        });
        self.mount(directory, asker, Some(PodView { only: only.collect() })).await
    }

    async fn mount(&self, directory: &Path, asker: &Asker, pod: Option<PodView>) -> Result<(), Status> {
        let request = MountRequest {
            directory: text(directory),
            endpoint: asker.endpoint.clone(),
            token: asker.token.clone(),
            allow_other: true,
            pod,
            ..MountRequest::default()
        };
        match self.within(CHANGE, async |mut client| client.mount(request).await).await {
            Err(status) if status.code() == Code::AlreadyExists => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// Nothing there is fine.
    pub async fn unmount(&self, directory: &Path) -> Result<(), Status> {
        let request = UnmountRequest { directory: text(directory), lazy: true };
        match self.within(CHANGE, async |mut client| client.unmount(request).await).await {
            Err(status) if status.code() == Code::NotFound => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// Brings a model here for as long as the answers are listened to.
    pub async fn download(
        &self,
        asker: &Asker,
        model: &Model,
        commit: Option<&str>,
    ) -> Result<Streaming<JobEvent>, Status> {
        let download = DownloadJob { model: Some(name(model, commit)), ..DownloadJob::default() };
        let request = JobRequest { caller: Some(asker.caller()), job: Some(Job::Download(download)) };
        self.within(STATUS, async |mut client| client.run(request).await).await
    }

    async fn within<T>(
        &self,
        patience: Duration,
        ask: impl AsyncFnOnce(ControlClient<Channel>) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, Status> {
        let work = async { ask(self.connect().await?).await };
        match tokio::time::timeout(patience, work).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            // It ended while it was asked: what is true in a moment may be something else.
            Ok(Err(status)) if matches!(status.code(), Code::Unknown | Code::Cancelled) => {
                Err(self.away(status.message().to_owned()))
            }
            Ok(Err(status)) if status.code() == Code::Unimplemented => Err(Status::failed_precondition(format!(
                "{}: the weightfs daemon is older than this driver: upgrade it",
                self.socket.display()
            ))),
            Ok(Err(status)) => Err(status),
            Err(_) => Err(self.away(format!("it did not answer within {} s", patience.as_secs()))),
        }
    }

    async fn connect(&self) -> Result<ControlClient<Channel>, Status> {
        let channel = dial(&self.socket).await;
        channel.map(ControlClient::new).map_err(|error| {
            let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), |cause| cause.to_string());
            self.away(cause)
        })
    }

    fn away(&self, cause: String) -> Status {
        Status::unavailable(format!("{}: the weightfs daemon does not answer: {cause}", self.socket.display()))
    }
}

/// A connection to who listens at `socket`.
pub async fn dial(socket: &Path) -> Result<Channel, tonic::transport::Error> {
    let path = socket.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    // Nobody looks the name up.
    Endpoint::from_static("http://localhost").connect_timeout(CONNECT).connect_with_connector(connector).await
}

fn name(model: &Model, commit: Option<&str>) -> ModelName {
    let revision = commit.unwrap_or_else(|| model.revision_or_main()).to_owned();
    ModelName { repo: model.repo.clone(), revision }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
