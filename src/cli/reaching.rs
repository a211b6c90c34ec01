//! The daemon of a cache directory: asked if it runs, started if not.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::api::client::ClientError;
use crate::config::Config;
use crate::daemon::background::{self, Started};
use crate::daemon::directories::Directories;
use crate::daemon::lock::{self, Holder, LockState};
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
    mut ask: impl AsyncFnMut(&Holder) -> Result<T, ClientError>,
) -> anyhow::Result<Reached<T>> {
    let directories = Directories::prepare(config)?;
    let deadline = Instant::now() + PATIENCE;
    let mut away = "it has not said where it listens".to_owned();
    while Instant::now() < deadline {
        match lock::probe(&directories.cache)? {
            LockState::Free => {
                let patience = deadline.saturating_duration_since(Instant::now());
                let started = background::start(&start.arguments, &start.hidden, &directories.log, patience).await?;
                if started == Started::Ready {
                    return Ok(Reached::Started);
                }
            }
            LockState::Held(None) => {}
            LockState::Held(Some(holder)) => match ask(&holder).await {
                Ok(answer) => return Ok(Reached::Answered(answer)),
                Err(ClientError::Away { cause, .. }) => away = cause,
                Err(late @ ClientError::Late { .. }) => {
                    let (pid, log) = (holder.pid, directories.log.display());
                    bail!("{late}; its log {log} may say why. If it hangs, `kill -9 {pid}` and try again");
                }
                Err(error) => bail!(error),
            },
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!(no_answer(&directories.cache, &directories.log, &away))
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
