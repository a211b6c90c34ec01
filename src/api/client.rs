//! The caller's end of a control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::error::Elapsed;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Response, Status, Streaming};

use super::proto::control_client::ControlClient;
use super::proto::job_event::Event;
use super::proto::{
    JobEvent, JobRequest, MountReply, MountRequest, StatusReply, StatusRequest, UnmountReply, UnmountRequest,
    UpgradeReply, UpgradeRequest,
};

const CONNECT: Duration = Duration::from_secs(5);
const STATUS: Duration = Duration::from_secs(10);
/// A daemon that works says so every second.
const SILENCE: Duration = Duration::from_secs(30);
/// A mount or an unmount may wait for the kernel and for readers, within deadlines of the daemon's own.
const CHANGE: Duration = Duration::from_secs(60);
/// The next daemon checks itself first.
const UPGRADE: Duration = Duration::from_secs(100);

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there, or the daemon is on its way out: what holds now may not hold in a moment.
    #[error("{socket}: no daemon answers: {cause}")]
    Away { socket: PathBuf, cause: String },
    #[error("{socket}: this user may not control that daemon: {cause}")]
    Denied { socket: PathBuf, cause: String },
    /// The daemon's own words.
    #[error("{0}")]
    Refused(String),
    /// It has no such mount.
    #[error("{0}")]
    NotFound(String),
    #[error(
        "{socket}: the daemon speaks another version of the protocol ({cause}); unmount what it serves and mount again with this version"
    )]
    OtherVersion { socket: PathBuf, cause: String },
    #[error("{socket}: the daemon did not answer in time: {cause}")]
    Late { socket: PathBuf, cause: String },
}

/// A job under way in the daemon.
pub struct Following {
    client: Client,
    events: Streaming<JobEvent>,
}

impl Following {
    /// The next event. The one with the outcome is the last.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        loop {
            let message = match tokio::time::timeout(SILENCE, self.events.message()).await {
                Ok(Ok(message)) => message,
                Ok(Err(status)) => return Err(self.client.explain(status)),
                Err(late) => {
                    return Err(ClientError::Late { socket: self.client.socket.clone(), cause: late.to_string() });
                }
            };
            match message {
                Some(JobEvent { event: Some(event) }) => return Ok(event),
                // Of a newer daemon.
                Some(JobEvent { event: None }) => {}
                None => {
                    let cause = "it ended in the middle of its work".to_owned();
                    return Err(ClientError::Away { socket: self.client.socket.clone(), cause });
                }
            }
        }
    }
}

/// A connection to one daemon.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    inner: ControlClient<Channel>,
}

impl Client {
    pub async fn connect(socket: &Path) -> Result<Self, ClientError> {
        // Asked first by hand: tonic wraps the cause too deep to tell a refusal from an absence.
        let probe = tokio::time::timeout(CONNECT, UnixStream::connect(socket)).await;
        match probe {
            Ok(Ok(_)) => {}
            Ok(Err(cause)) if cause.kind() == io::ErrorKind::PermissionDenied => {
                return Err(ClientError::Denied { socket: socket.to_owned(), cause: cause.to_string() });
            }
            Ok(Err(cause)) => return Err(ClientError::Away { socket: socket.to_owned(), cause: cause.to_string() }),
            Err(late) => return Err(ClientError::Late { socket: socket.to_owned(), cause: late.to_string() }),
        }
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // The name is not looked up; HTTP wants one.
        let channel = Endpoint::from_static("http://localhost").connect_timeout(CONNECT);
        let channel = channel.connect_with_connector(connector).await;
        let away =
            |cause: tonic::transport::Error| ClientError::Away { socket: socket.to_owned(), cause: cause.to_string() };
        Ok(Self { socket: socket.to_owned(), inner: ControlClient::new(channel.map_err(away)?) })
    }

    pub async fn status(&mut self) -> Result<StatusReply, ClientError> {
        let answer = tokio::time::timeout(STATUS, self.inner.status(StatusRequest {})).await;
        self.read(answer)
    }

    pub async fn mount(&mut self, request: MountRequest) -> Result<MountReply, ClientError> {
        let answer = tokio::time::timeout(CHANGE, self.inner.mount(request)).await;
        self.read(answer)
    }

    pub async fn unmount(&mut self, request: UnmountRequest) -> Result<UnmountReply, ClientError> {
        let answer = tokio::time::timeout(CHANGE, self.inner.unmount(request)).await;
        self.read(answer)
    }

    pub async fn upgrade(&mut self) -> Result<UpgradeReply, ClientError> {
        let answer = tokio::time::timeout(UPGRADE, self.inner.upgrade(UpgradeRequest {})).await;
        self.read(answer)
    }

    /// Starts a job. It ends when what is returned goes.
    pub async fn run(mut self, request: JobRequest) -> Result<Following, ClientError> {
        let answer = tokio::time::timeout(STATUS, self.inner.run(request)).await;
        let events = self.read(answer)?;
        Ok(Following { client: self, events })
    }

    fn read<T>(&self, answer: Result<Result<Response<T>, Status>, Elapsed>) -> Result<T, ClientError> {
        match answer {
            Ok(Ok(reply)) => Ok(reply.into_inner()),
            Ok(Err(status)) => Err(self.explain(status)),
            Err(late) => Err(ClientError::Late { socket: self.socket.clone(), cause: late.to_string() }),
        }
    }

    fn explain(&self, status: Status) -> ClientError {
        let socket = self.socket.clone();
        let cause = status.message().to_owned();
        match status.code() {
            Code::Unavailable => ClientError::Away { socket, cause },
            // A connection that breaks off: the daemon ended while it was asked.
            Code::Unknown | Code::Cancelled => ClientError::Away { socket, cause },
            Code::PermissionDenied => ClientError::Denied { socket, cause },
            Code::Unimplemented => ClientError::OtherVersion { socket, cause },
            Code::NotFound => ClientError::NotFound(cause),
            Code::DeadlineExceeded => ClientError::Late { socket, cause },
            _ => ClientError::Refused(cause),
        }
    }
}
