//! `weightfs upgrade`

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use clap::Args;

use crate::api::client::ClientError;
use crate::api::proto::UpgradeReply;
use crate::config::Config;
use crate::daemon;
use crate::daemon::lock::{self, LockState};

use super::asking::{self, Daemon};

/// From the old daemon's last word to the new one's first.
const TAKE_OVER: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

const EXAMPLES: &str = "\
Examples:
  weightfs upgrade  After a new version was installed: every daemon is replaced by one of it";

/// Replace running daemons by the version that is installed now
///
/// The mounts stay, and whoever reads from them notices a short pause at the most. The new version is started beside the
/// old one and checks whether it can serve; if it cannot, the old one goes on and the command says why. Downloads that
/// are under way end with the old daemon; the same command goes on where they stopped. SIGHUP to the process `weightfs
/// holder` does the same.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct UpgradeCommand {}

impl UpgradeCommand {
    pub fn run(&self, config: &Config) -> anyhow::Result<()> {
        daemon::logging::init(config)?;
        super::block_on(upgrade_all(&config.settings.runtime_directory))
    }
}

async fn upgrade_all(runtime: &Path) -> anyhow::Result<()> {
    let (daemons, problems) = asking::daemons(runtime).await;
    for problem in &problems {
        tracing::warn!("{problem}");
    }
    ensure!(!daemons.is_empty(), "{}: no daemon runs here; the next one is of this version", runtime.display());
    let mut failures = Vec::new();
    for daemon in daemons {
        let cache = daemon.status.cache_directory.clone();
        match upgrade(daemon).await {
            Ok(text) => super::print(&format!("{cache}: {text}\n"))?,
            Err(error) => failures.push(format!("{cache}: {}", super::sentence(&error))),
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// What has come of it.
async fn upgrade(mut daemon: Daemon) -> anyhow::Result<String> {
    let (old, version) = (daemon.status.pid, daemon.status.version.clone());
    let mounts = daemon.status.mounts.iter().filter(|mount| !mount.detached).count();
    let next = match daemon.client.upgrade().await {
        Ok(UpgradeReply { pid: Some(pid) }) => Some(pid),
        // Which may wait for this command to end before it does anything.
        Ok(UpgradeReply { pid: None }) => {
            return Ok(format!(
                "version {version}, process {old} hands over to the one that the service manager starts"
            ));
        }
        // It was faster gone than its answer came.
        Err(ClientError::Away { .. }) => None,
        Err(ClientError::Refused(why)) => bail!("the daemon goes on as it was: {why}"),
        Err(error) => bail!(error),
    };
    let cache = Path::new(&daemon.status.cache_directory);
    let deadline = Instant::now() + TAKE_OVER;
    while Instant::now() < deadline {
        let owner = match lock::probe(cache)? {
            LockState::Held(owner) => owner,
            // The holder is about to start it.
            LockState::Free => None,
        };
        if let Some(owner) = owner.filter(|owner| owner.pid != old)
            && let Ok(now) = asking::ask(owner.socket).await
        {
            let status = now.status;
            // Its mounts come back one by one.
            if status.mounts.iter().filter(|mount| !mount.survival.is_empty()).count() < mounts {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            ensure!(
                next.is_none_or(|next| next == status.pid),
                "the new version could not serve after all: the former one does again (version {}, process {}); the log \
                 says why",
                status.version,
                status.pid
            );
            return Ok(format!(
                "version {version}, process {old} -> version {}, process {}",
                status.version, status.pid
            ));
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("the new daemon did not answer within {} s; its log may say why", TAKE_OVER.as_secs())
}
