//! `weightfs mount DIR`

use std::path::{Path, PathBuf};

use anyhow::ensure;
use clap::Args;

use crate::api::client::{Client, ClientError};
use crate::api::proto::MountRequest;
use crate::config::{Config, PassthroughWish};
use crate::control::MountOrder;
use crate::daemon::holding::Call;
use crate::daemon::lock::Owner;
use crate::daemon::ready::Starter;
use crate::daemon::{First, logging};
use crate::fs::mount;

use super::flags::MountFlags;
use super::reaching::{self, Start};

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
    pub settings: MountFlags,
}

impl MountCommand {
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let mut starter = Starter::from_environment(&config.surroundings)?;
        logging::init(&config)?;
        let order = order(&mount::resolve(&self.directory), &config)?;
        let call = Call::of(&config, self.foreground);
        if !starter.waits() && !self.foreground && call.is_none() {
            return super::block_on(in_background(&config, &order));
        }
        super::daemon::run(&config, First::Mount(order), call, &mut starter)
    }
}

pub fn order(directory: &Path, config: &Config) -> anyhow::Result<MountOrder> {
    let settings = &config.settings;
    ensure!(directory.to_str().is_some(), "{}: the name of a mount must be valid UTF-8", directory.display());
    for name in config.hidden_variables(Some(directory)) {
        tracing::warn!("{name} leads into a weightfs mount; the daemon looks for a login elsewhere");
    }
    Ok(MountOrder {
        directory: directory.to_owned(),
        identity: reaching::identity(config, Some(directory))?,
        allow_other: settings.mount_allow_other,
        passthrough: settings.mount_passthrough == PassthroughWish::Auto,
        drop_behind: settings.mount_drop_behind_bytes.map(|bytes| bytes.get()),
        pod: None,
    })
}

async fn in_background(config: &Config, order: &MountOrder) -> anyhow::Result<()> {
    // This program again, which then knows by a variable that it is the daemon.
    // How much this command prints is not how much the daemon logs.
    let arguments = std::env::args_os().skip(1).filter(|word| word != "-q" && word != "--quiet").collect();
    let start = Start { arguments, hidden: config.hidden_variables(Some(&order.directory)) };
    reaching::reach(config, &start, async |owner| ask(owner, order).await).await.map(drop)
}

async fn ask(owner: &Owner, order: &MountOrder) -> Result<(), ClientError> {
    let request = MountRequest {
        directory: order.directory.display().to_string(),
        endpoint: order.identity.endpoint.to_string(),
        token: order.identity.token.as_ref().map(|token| token.secret().to_owned()),
        offline: order.identity.offline,
        allow_other: order.allow_other,
        passthrough_off: !order.passthrough,
        drop_behind_bytes: order.drop_behind,
        pod: None,
    };
    Client::connect(&owner.socket).await?.mount(request).await.map(drop)
}
