//! Two listeners on a thread and runtime of their own, so that a test's paused clock or blocking code does not touch
//! them, and that stopping closes every connection at once.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::admin;
use crate::exchange::{Disconnected, World, exchange};
use crate::log::Host;
use crate::wire::{Flushes, Wire};

const WORKERS: usize = 2;
/// After a failed accept, for instance without free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

pub struct Listeners {
    pub hub: TcpListener,
    pub cdn: TcpListener,
}

impl Listeners {
    pub fn bind(hub: SocketAddr, cdn: SocketAddr) -> io::Result<Self> {
        let bind = |address| {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok::<_, io::Error>(listener)
        };
        Ok(Listeners { hub: bind(hub)?, cdn: bind(cdn)? })
    }
}

/// A running server; dropping it stops it.
pub struct Server {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(world: Arc<World>, listeners: Listeners) -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(WORKERS).enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("test-hub".to_owned());
        let thread = thread.spawn(move || run(runtime, world, listeners, stopped))?;
        Ok(Server { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Server {
    /// Returns when both ports are closed.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic over there has been reported there.
            let _ = thread.join();
        }
    }
}

fn run(runtime: Runtime, world: Arc<World>, listeners: Listeners, stopped: oneshot::Receiver<Infallible>) {
    runtime.block_on(async {
        let hub = listen(Arc::clone(&world), Host::Hub, listeners.hub);
        let cdn = listen(world, Host::Cdn, listeners.cdn);
        tokio::select! {
            _ = stopped => {}
            Err(error) = hub => tracing::error!("the Hub's listener failed: {error}"),
            Err(error) = cdn => tracing::error!("the CDN's listener failed: {error}"),
        }
    });
    // Dropping the runtime drops every connection, and waits for reads from disk, which are short.
    drop(runtime);
}

async fn listen(world: Arc<World>, host: Host, listener: TcpListener) -> io::Result<Infallible> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(Arc::clone(&world), host, stream));
            }
            Err(error) => {
                tracing::warn!("accept failed: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(world: Arc<World>, host: Host, stream: TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("no TCP_NODELAY: {error}");
    }
    let (wire, flushes) = Wire::new(stream);
    let service = service_fn(move |request: Request<Incoming>| {
        answer(Arc::clone(&world), host, request.map(Body::new), flushes.clone())
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(wire), service);
    // Clients that leave early and faults that cut a body end here; both are expected.
    if let Err(error) = connection.await {
        tracing::debug!("connection ended: {error}");
    }
}

async fn answer(world: Arc<World>, host: Host, request: Request, flushes: Flushes) -> Result<Response, Disconnected> {
    if host == Host::Hub && request.uri().path().starts_with(admin::PREFIX) {
        return Ok(admin::answer(world, request).await);
    }
    exchange(world, host, request, flushes).await
}
