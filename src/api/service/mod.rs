//! The network service: gRPC over TCP for other machines, with the packages of ModelExpress.
//!
//! The daemon starts it for `weightfs serve` only and stops it. Handlers translate; what they ask for is done by
//! [`crate::control`], always as the server's own identity. It opens nothing that control does not give it.

mod action;
mod auth;
mod ensure;
mod guarded;
mod health;
mod lingering;
mod models;
mod source_id;
mod sources;
mod stream;
mod weights;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::server::NamedService;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::control::{Node, Shelf};
use crate::types::Token;

use super::wire;
use super::wire::api::api_service_server::ApiServiceServer;
use super::wire::health::health_service_server::HealthServiceServer;
use super::wire::model::model_service_server::ModelServiceServer;
use super::wire::p2p::p2p_service_server::P2pServiceServer;

use lingering::Lingering;

pub use auth::{TokenError, read_token};

/// Whether others than this machine's own programs can reach it.
pub fn is_public(address: IpAddr) -> bool {
    !address.is_loopback()
}

/// What every handler needs.
#[derive(Clone)]
struct Ground {
    node: Arc<Node>,
    shelf: Arc<Shelf>,
    /// Counts the answers under way.
    answers: TaskTracker,
    /// Cut off what still streams.
    cut: CancellationToken,
}

/// The service while it runs.
pub struct Service {
    pub address: SocketAddr,
    ground: Ground,
    health: HealthReporter,
    stop: CancellationToken,
    /// The last connection is closed.
    delivered: CancellationToken,
    serving: Mutex<Option<JoinHandle<()>>>,
}

/// For `grpc.health.v1`, by their full names; the empty name stands for all.
const NAMES: [&str; 5] = [
    "",
    HealthServiceServer::<health::Health>::NAME,
    ApiServiceServer::<action::Actions>::NAME,
    ModelServiceServer::<models::Models>::NAME,
    P2pServiceServer::<sources::Sources>::NAME,
];

impl Service {
    /// Engines publish what they hold in messages of this size; their own clients have the same limit.
    const LARGEST_REQUEST: usize = 100 << 20;
    /// How long the last words may take to get out.
    const LAST_WORDS: Duration = Duration::from_secs(1);
    /// How long what has been answered may take to reach who asked, which is as slow as that one reads. Who watches the
    /// health for ever takes all of it.
    const DELIVERY: Duration = Duration::from_secs(5);

    /// Answers from now on.
    pub async fn start(
        listener: TcpListener,
        node: Arc<Node>,
        shelf: Arc<Shelf>,
        token: Option<Token>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let ground = Ground { node, shelf, answers: TaskTracker::new(), cut: CancellationToken::new() };
        let admit = auth::Admission::new(token);
        let (health, health_service) = tonic_health::server::health_reporter();
        for name in NAMES {
            health.set_service_status(name, ServingStatus::Serving).await;
        }
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let v1 = reflection().build_v1().map_err(io::Error::other)?;
        let v1alpha = reflection().build_v1alpha().map_err(io::Error::other)?;
        let models = ModelServiceServer::new(models::Models { ground: ground.clone() });
        let sources = P2pServiceServer::new(sources::Sources { ground: ground.clone() })
            .max_decoding_message_size(Self::LARGEST_REQUEST);
        let server = Server::builder()
            // Who is gone is found out, and does not keep a stream.
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .http2_keepalive_timeout(Some(Duration::from_secs(20)))
            // A prober shows no token, and learns nothing but that the service is there.
            .add_service(health_service)
            .add_service(InterceptedService::new(v1, admit.clone()))
            .add_service(InterceptedService::new(v1alpha, admit.clone()))
            .add_service(HealthServiceServer::with_interceptor(
                health::Health { ground: ground.clone() },
                admit.clone(),
            ))
            .add_service(ApiServiceServer::with_interceptor(action::Actions, admit.clone()))
            .add_service(InterceptedService::new(models, admit.clone()))
            .add_service(InterceptedService::new(sources, admit));
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let delivered = CancellationToken::new();
        let ended = delivered.clone().drop_guard();
        let serving = tokio::spawn(async move {
            let _ended = ended;
            let connections = TcpListenerStream::new(listener).map(|stream| stream.and_then(Lingering::new));
            let served = server.serve_with_incoming_shutdown(connections, stopped).await;
            if let Err(cause) = served {
                tracing::error!(%cause, "the network service broke; mounts and the control socket go on");
            }
        });
        Ok(Self { address, ground, health, stop, delivered, serving: Mutex::new(Some(serving)) })
    }

    /// Takes nothing new, and returns when what is under way has been answered. Dropped before that, everything goes on.
    pub async fn drain(&self) {
        for name in NAMES {
            self.health.set_service_status(name, ServingStatus::NotServing).await;
        }
        self.stop.cancel();
        self.ground.answers.close();
        self.ground.answers.wait().await;
        // An answer is made before it is read.
        let _ = tokio::time::timeout(Self::DELIVERY, self.delivered.cancelled()).await;
    }

    /// Ends what still streams, with a word to those who listen.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.ground.cut.cancel();
        let Some(serving) = self.serving.lock().take() else { return };
        let abort = serving.abort_handle();
        // Somebody may watch the health for ever.
        if tokio::time::timeout(Self::LAST_WORDS, serving).await.is_err() {
            abort.abort();
        }
    }
}
