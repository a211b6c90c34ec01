//! A TCP port for other machines, opened with a clear word where that cannot be.

use std::io;
use std::time::Duration;

use tokio::net::TcpListener;

/// Where to listen.
#[derive(Debug, Clone)]
pub struct Place {
    /// A name or an address.
    pub host: String,
    pub port: u16,
    /// What one sets for another port.
    pub setting: &'static str,
}

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(
        "{host}:{port}: the port is in use; set {setting} to another one, or end the program that has it (`ss -ltnp 'sport = :{port}'` shows it)"
    )]
    InUse { host: String, port: u16, setting: &'static str },
    #[error("{host}: no address of this machine; set server.host (--host) to one, or to 0.0.0.0 for all: {cause}")]
    Host { host: String, cause: io::Error },
    #[error("{host}:{port}: this user may not listen there; set {setting} to one of 1024 or above: {cause}")]
    Denied { host: String, port: u16, setting: &'static str, cause: io::Error },
    #[error("{host}:{port}: cannot listen; set server.host and {setting} to what this machine has: {cause}")]
    Listen { host: String, port: u16, setting: &'static str, cause: io::Error },
}

/// Before anything is served, so that what is wrong with it is known early.
pub async fn bind(place: &Place) -> Result<TcpListener, ListenError> {
    const LOOK_UP: Duration = Duration::from_secs(5);
    let Place { host, port, setting } = place.clone();
    let look_up = async { Ok(tokio::net::lookup_host((place.host.as_str(), port)).await?.collect::<Vec<_>>()) };
    let found = tokio::time::timeout(LOOK_UP, look_up).await;
    let addresses = match found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(addresses) => addresses,
        Err(cause) => return Err(ListenError::Host { host, cause }),
    };
    TcpListener::bind(addresses.as_slice()).await.map_err(|cause| match cause.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { host, port, setting },
        io::ErrorKind::AddrNotAvailable => ListenError::Host { host, cause },
        io::ErrorKind::PermissionDenied => ListenError::Denied { host, port, setting, cause },
        _ => ListenError::Listen { host, port, setting, cause },
    })
}
