//! Asking every daemon of a runtime directory.

use std::path::{Path, PathBuf};

use crate::api::client::{Client, ClientError};
use crate::api::proto::StatusReply;
use crate::api::socket;

/// A daemon that answered.
pub struct Daemon {
    pub client: Client,
    pub status: StatusReply,
}

/// The daemons below `runtime`, and those that could not be asked. A socket that nobody is behind is neither.
pub async fn daemons(runtime: &Path) -> (Vec<Daemon>, Vec<ClientError>) {
    let asked = socket::all(runtime).into_iter().map(ask);
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for answer in futures::future::join_all(asked).await {
        match answer {
            Ok(daemon) => found.push(daemon),
            Err(ClientError::Away { .. }) => {}
            Err(problem) => problems.push(problem),
        }
    }
    (found, problems)
}

/// One of them.
pub async fn ask(socket: PathBuf) -> Result<Daemon, ClientError> {
    let mut client = Client::connect(&socket).await?;
    let status = client.status().await?;
    Ok(Daemon { client, status })
}
