//! `weightfs mount DIR`

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use clap::Args;

use crate::api::client::{Client, ClientError};
use crate::api::proto::MountRequest;
use crate::config::{Config, PassthroughWish};
use crate::control::MountOrder;
use crate::daemon::background::{self, Started};
use crate::daemon::directories::Directories;
use crate::daemon::lock::{self, Holder, LockState};
use crate::daemon::ready::{Starter, Word};
use crate::daemon::{self, logging};
use crate::fs::mount;
use crate::types::Identity;

use super::flags::DaemonFlags;

/// From the call to a mount that can be read, other daemons' ends and starts included.
const PATIENCE: Duration = Duration::from_secs(75);
const PAUSE: Duration = Duration::from_millis(50);

const EXAMPLES: &str = "\
Examples:
  weightfs mount ~/hf
  weightfs mount ~/hf --offline
  weightfs mount ~/hf --hub-endpoint https://hub.example --token-file ~/token
  weightfs mount ~/hf --foreground --log-level debug
  weightfs mount /mnt/hf --allow-other --cache-directory /data/weightfs";

/// Mount the Hub at a directory
///
/// The command returns once the mount can be read, and a daemon in the background serves it; its log is weightfs.log in
/// the cache directory. If a daemon runs on the cache directory already, that one is asked. It ends with its last mount.
/// An ordinary user needs fusermount3 (package fuse3).
///
/// The token is that of --token-file, else of HF_TOKEN, else of an existing login. HF_ENDPOINT and HF_HUB_OFFLINE are
/// read as the Hub's own clients read them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct MountCommand {
    /// An existing directory; what is in it is hidden while it is mounted
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Stay, and log to the terminal; Ctrl-C unmounts
    #[arg(long)]
    foreground: bool,

    #[command(flatten)]
    pub settings: DaemonFlags,
}

impl MountCommand {
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let mut starter = Starter::from_environment(&config.surroundings)?;
        logging::init(&config)?;
        let order = order(&mount::resolve(&self.directory), &config)?;
        if starter.waits() {
            // The terminal that it was started from, and its directory, may go.
            nix::unistd::setsid()?;
            std::env::set_current_dir("/")?;
        } else if !self.foreground {
            return super::block_on(in_background(&config, &order));
        }
        let outcome = daemon::run(&config, order, &mut starter);
        if let Err(error) = &outcome {
            // Whether anybody still listens makes no difference now.
            let _ = starter.tell(&Word::Failed(super::sentence(error)));
        }
        outcome
    }
}

fn order(directory: &Path, config: &Config) -> anyhow::Result<MountOrder> {
    let settings = &config.settings;
    ensure!(directory.to_str().is_some(), "{}: the name of a mount must be valid UTF-8", directory.display());
    for name in config.hidden_variables(directory) {
        tracing::warn!("{name} leads into a weightfs mount; the daemon looks for a login elsewhere");
    }
    let token = config.token(directory)?;
    let identity = Identity::new(settings.hub_endpoint.as_str(), token, settings.hub_offline);
    Ok(MountOrder {
        directory: directory.to_owned(),
        identity,
        allow_other: settings.mount_allow_other,
        passthrough: settings.mount_passthrough == PassthroughWish::Auto,
        drop_behind: settings.mount_drop_behind_bytes.map(|bytes| bytes.get()),
    })
}

/// Asks the daemon that has the cache directory, or starts one. Which of both holds may change at any moment: a daemon
/// ends, another `mount` is faster.
async fn in_background(config: &Config, order: &MountOrder) -> anyhow::Result<()> {
    let directories = Directories::prepare(config)?;
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let hidden = config.hidden_variables(&order.directory);
    let deadline = Instant::now() + PATIENCE;
    let mut away = "it has not said where it listens".to_owned();
    while Instant::now() < deadline {
        match lock::probe(&directories.cache)? {
            LockState::Free => {
                let patience = deadline.saturating_duration_since(Instant::now());
                if background::start(&arguments, &hidden, &directories.log, patience).await? == Started::Ready {
                    return Ok(());
                }
            }
            LockState::Held(None) => {}
            LockState::Held(Some(holder)) => match ask(&holder, order).await {
                Ok(()) => return Ok(()),
                Err(ClientError::Away { cause, .. }) => away = cause,
                Err(late @ ClientError::Late { .. }) => {
                    let (pid, log) = (holder.pid, directories.log.display());
                    bail!("{late}; its log {log} may say why. If it hangs, `kill -9 {pid}` and mount again");
                }
                Err(error) => bail!(error),
            },
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!(
        "{}: a daemon has this cache directory, but did not answer within {} s: {away}; its log {} may say why",
        directories.cache.display(),
        PATIENCE.as_secs(),
        directories.log.display()
    )
}

async fn ask(holder: &Holder, order: &MountOrder) -> Result<(), ClientError> {
    let request = MountRequest {
        directory: order.directory.display().to_string(),
        endpoint: order.identity.endpoint.to_string(),
        token: order.identity.token.as_ref().map(|token| token.secret().to_owned()),
        offline: order.identity.offline,
        allow_other: order.allow_other,
        passthrough_off: !order.passthrough,
        drop_behind_bytes: order.drop_behind,
    };
    Client::connect(&holder.socket).await?.mount(request).await.map(drop)
}
