//! What a node counts and how it stands, over HTTP: `/metrics` for Prometheus, `/healthz` for who watches over processes.
//!
//! The daemon starts it for `weightfs serve` where `server.metrics_port` is set, and stops it. It only reads. Whoever reaches the
//! port is answered, so there is nothing in it that a token would have to guard: no names of models, users or paths.

mod text;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::Figure;

/// Whoever comes when so many are connected waits for one to go.
const CONNECTIONS: usize = 64;
/// How long a request may take to arrive, and a connection may say nothing.
const REQUEST: Duration = Duration::from_secs(10);
/// How long a connection is kept. Who has one asks by the next one then.
const CONNECTION: Duration = Duration::from_secs(60);
/// How long the disk may take to say how full it is.
const LOOK: Duration = Duration::from_secs(2);
/// How long what has been answered may take to get out.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Out of descriptors, it does not ask for the next connection at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Every figure as it is now. It may wait for a disk.
type Look = dyn Fn() -> Vec<(Figure, u64)> + Send + Sync;

#[derive(Clone)]
struct Ground {
    look: Arc<Look>,
    /// One looks at the disk at a time: a disk that hangs holds one thread and not one for each who asks.
    looking: Arc<Semaphore>,
    draining: CancellationToken,
}

/// The page while it is served.
pub struct Figures {
    pub address: SocketAddr,
    draining: CancellationToken,
    stop: CancellationToken,
    connections: TaskTracker,
}

impl Figures {
    /// Answers from now on.
    pub fn start(listener: TcpListener, look: Arc<Look>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (draining, stop) = (CancellationToken::new(), CancellationToken::new());
        let connections = TaskTracker::new();
        let ground = Ground { look, looking: Arc::new(Semaphore::new(1)), draining: draining.clone() };
        connections.spawn(accept(listener, pages(ground), stop.clone(), connections.clone()));
        Ok(Self { address, draining, stop, connections })
    }

    /// From now on `/healthz` says that this daemon is about to end.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    pub async fn stop(&self) {
        self.stop.cancel();
        self.connections.close();
        let _ = tokio::time::timeout(LAST_WORDS, self.connections.wait()).await;
    }
}

fn pages(ground: Ground) -> Router {
    Router::new().route("/metrics", get(metrics)).route("/healthz", get(health)).with_state(ground)
}

async fn metrics(State(ground): State<Ground>) -> impl IntoResponse {
    match tokio::time::timeout(LOOK, figures(&ground)).await {
        Ok(Some(figures)) => {
            let page = text::page(env!("CARGO_PKG_VERSION"), &figures);
            (StatusCode::OK, [(CONTENT_TYPE, text::CONTENT_TYPE)], page)
        }
        _ => {
            let why = "the cache's disk does not say how full it is\n".to_owned();
            (StatusCode::SERVICE_UNAVAILABLE, [(CONTENT_TYPE, "text/plain")], why)
        }
    }
}

async fn figures(ground: &Ground) -> Option<Vec<(Figure, u64)>> {
    let turn = ground.looking.clone().acquire_owned().await.ok()?;
    let look = ground.look.clone();
    let look = move || {
        let figures = look();
        drop(turn);
        figures
    };
    tokio::task::spawn_blocking(look).await.ok()
}

/// That this process answers; nothing that it depends on, since starting it anew would mend none of that.
async fn health(State(ground): State<Ground>) -> (StatusCode, &'static str) {
    if ground.draining.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "ending\n");
    }
    (StatusCode::OK, "ok\n")
}

async fn accept(listener: TcpListener, pages: Router, stop: CancellationToken, connections: TaskTracker) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    let next = async || {
        let seat = seats.clone().acquire_owned().await.expect("the semaphore is never closed");
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return (stream, seat),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    };
    while let Some((stream, seat)) = stop.run_until_cancelled(next()).await {
        let answering = answer(stream, pages.clone(), stop.clone());
        connections.spawn(async move {
            answering.await;
            drop(seat);
        });
    }
}

/// One connection, to its end.
async fn answer(stream: TcpStream, pages: Router, stop: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages));
    let mut connection = pin!(connection);
    tokio::select! {
        // How it went concerns nobody but who asked.
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = tokio::time::sleep(CONNECTION) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(LAST_WORDS, connection).await;
}

#[cfg(test)]
mod tests;
