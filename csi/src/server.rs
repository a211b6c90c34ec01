//! Start and end: the two sockets that the kubelet calls, and what goes on beside its calls.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::controller::ControllerService;
use crate::daemon::Daemon;
use crate::events::Events;
use crate::identity::IdentityService;
use crate::node::NodeService;
use crate::options::Options;
use crate::proto::csi::controller_server::ControllerServer;
use crate::proto::csi::identity_server::IdentityServer;
use crate::proto::csi::node_server::NodeServer;
use crate::proto::registration::registration_server::RegistrationServer;
use crate::records::Records;
use crate::registration::RegistrationService;
use crate::volumes::Volumes;

/// Between two reconciliations. The first is at the start.
const RECONCILE: Duration = Duration::from_secs(60);
/// How long calls under way may take at the end.
const ANSWERS: Duration = Duration::from_secs(20);
/// What the kernel takes for a socket's name.
const MAX_PATH: usize = 107;

pub async fn run(options: Options) -> anyhow::Result<()> {
    for directory in [options.plugin_directory(), options.mounts_directory()] {
        make_private(&directory)?;
    }
    let records = options.records_directory();
    let records = Records::open(records.clone()).with_context(|| format!("cannot read {}", records.display()))?;
    let mounts = fs::canonicalize(options.mounts_directory())?;
    let node_id = options.node_id.clone().unwrap_or_default();
    let events = Events::new(options.kubernetes_api(), node_id.clone());
    let volumes = Volumes::new(Daemon::new(options.daemon_socket.clone()), records, mounts, events);
    let stop = CancellationToken::new();
    let (refused, mut refusals) = mpsc::channel(1);
    let calls = calls(&options, node_id, volumes.clone(), stop.clone())?;
    // Last: from now on the kubelet calls.
    let registration = registration(&options, refused, stop.clone())?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), socket = %options.csi_socket().display(), "serving");

    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let both = async { tokio::try_join!(calls, registration) };
    tokio::pin!(both);
    let refusal = tokio::select! {
        ended = &mut both => return ended.map(drop).context("a socket broke"),
        refusal = refusals.recv() => refusal,
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        () = upkeep(&volumes) => None,
    };
    // The mounts stay: pods read on, and the next driver knows them.
    let _ = fs::remove_file(options.registration_socket());
    stop.cancel();
    if tokio::time::timeout(ANSWERS, both).await.is_err() {
        tracing::warn!("calls that are not answered by now are broken off");
    }
    match refusal {
        Some(cause) => bail!("the kubelet does not take the driver: {cause}"),
        None => Ok(()),
    }
}

async fn upkeep(volumes: &Arc<Volumes>) {
    let reconciling = async {
        let mut pace = tokio::time::interval(RECONCILE);
        loop {
            pace.tick().await;
            volumes.reconcile().await;
        }
    };
    tokio::join!(reconciling, volumes.health.watch(&volumes.daemon));
}

type Serving = std::pin::Pin<Box<dyn Future<Output = Result<(), tonic::transport::Error>>>>;

fn calls(
    options: &Options,
    node_id: String,
    volumes: Arc<Volumes>,
    stop: CancellationToken,
) -> anyhow::Result<Serving> {
    let node = NodeService { volumes, node_id, hub_endpoint: options.hub_endpoint.trim_end_matches('/').to_owned() };
    let server = Server::builder()
        .add_service(IdentityServer::new(IdentityService))
        .add_service(ControllerServer::new(ControllerService::default()))
        .add_service(NodeServer::new(node));
    let listener = listen(&options.csi_socket())?;
    Ok(Box::pin(server.serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop.cancelled_owned())))
}

fn registration(options: &Options, refused: mpsc::Sender<String>, stop: CancellationToken) -> anyhow::Result<Serving> {
    let service = RegistrationService { csi_socket: options.csi_socket(), refused };
    let server = Server::builder().add_service(RegistrationServer::new(service));
    let listener = listen(&options.registration_socket())?;
    Ok(Box::pin(server.serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop.cancelled_owned())))
}

/// In the place of what a driver that was killed left there. Nobody but root calls.
fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    if path.as_os_str().len() > MAX_PATH {
        bail!("{}: too long for a socket; choose a shorter --kubelet-directory", path.display());
    }
    let unnamed = unnamed(path);
    let bound = || -> io::Result<UnixListener> {
        match fs::remove_file(&unnamed) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&unnamed)?;
        fs::set_permissions(&unnamed, fs::Permissions::from_mode(0o600))?;
        fs::rename(&unnamed, path)?;
        Ok(listener)
    };
    bound().with_context(|| format!("cannot listen on {}", path.display()))
}

/// The kubelet looks at every name in its folder but those that begin with a dot.
fn unnamed(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}"))
}

fn make_private(directory: &Path) -> anyhow::Result<()> {
    let made =
        fs::create_dir_all(directory).and_then(|()| fs::set_permissions(directory, fs::Permissions::from_mode(0o700)));
    made.with_context(|| format!("cannot make {}; is --kubelet-directory the kubelet's?", directory.display()))
}
