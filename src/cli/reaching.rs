//! The daemon of a cache directory: asked if it runs, started if not.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::api::client::ClientError;
use crate::config::Config;
use crate::daemon::background::{self, Started};
use crate::daemon::directories::Directories;
use crate::daemon::holding::{self, Recipe};
use crate::daemon::lock::{self, LockState, Owner};
use crate::types::Identity;

/// From the call to the answer, other daemons' ends and starts included.
const PATIENCE: Duration = Duration::from_secs(75);
const PAUSE: Duration = Duration::from_millis(50);

/// How to start a daemon where there is none.
pub struct Start {
    /// Of this program.
    pub arguments: Vec<OsString>,
    /// Variables that it must not see.
    pub hidden: Vec<&'static str>,
}

/// Who answered.
pub enum Reached<T> {
    /// A daemon that is started now: its arguments say what it is to do, and it has done it.
    Started,
    Answered(T),
}

/// Asks the daemon that has the cache directory, or starts one. Which of both holds may change at any moment: a daemon
/// ends, another command is faster.
pub async fn reach<T>(
    config: &Config,
    start: &Start,
    mut ask: impl AsyncFnMut(&Owner) -> Result<T, ClientError>,
) -> anyhow::Result<Reached<T>> {
    let directories = Directories::prepare(config)?;
    let deadline = Instant::now() + PATIENCE;
    let mut away = "it has not said where it listens".to_owned();
    while Instant::now() < deadline {
        match lock::probe(&directories.cache)? {
            LockState::Free => {
                let patience = deadline.saturating_duration_since(Instant::now());
                let started = start_daemon(config, start, &directories, patience).await?;
                if started == Started::Ready {
                    return Ok(Reached::Started);
                }
            }
            LockState::Held(None) => {}
            LockState::Held(Some(owner)) => match ask(&owner).await {
                Ok(answer) => return Ok(Reached::Answered(answer)),
                Err(ClientError::Away { cause, .. }) => away = cause,
                Err(late @ ClientError::Late { .. }) => {
                    let (pid, log) = (owner.pid, directories.log.display());
                    bail!("{late}; its log {log} may say why. If it hangs, `kill -9 {pid}` and try again");
                }
                Err(error) => bail!(error),
            },
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!(no_answer(&directories.cache, &directories.log, &away))
}

/// With a holder that keeps its mounts alive, unless that is not wanted.
async fn start_daemon(
    config: &Config,
    start: &Start,
    directories: &Directories,
    patience: Duration,
) -> anyhow::Result<Started> {
    let settings = &config.settings;
    let arguments = if settings.daemon_held {
        let socket = holding::new_socket(&directories.runtime, &directories.socket)?;
        let give_up = settings.daemon_give_up_seconds.duration();
        Recipe { socket, give_up, arguments: start.arguments.clone() }.words()
    } else {
        start.arguments.clone()
    };
    Ok(background::start(&arguments, &start.hidden, &directories.log, patience).await?)
}

fn no_answer(cache: &Path, log: &Path, away: &str) -> String {
    format!(
        "{}: a daemon has this cache directory, but did not answer within {} s: {away}; its log {} may say why",
        cache.display(),
        PATIENCE.as_secs(),
        log.display()
    )
}

/// Who asks: for a mount at `directory`, or for no mount.
pub fn identity(config: &Config, directory: Option<&Path>) -> anyhow::Result<Identity> {
    let token = config.token(directory)?;
    Ok(Identity::new(config.settings.hub_endpoint.as_str(), token, config.settings.hub_offline))
}
