//! Being a daemon in the background: `weightfs daemon`, which other commands start and nobody types.

use anyhow::ensure;
use clap::Args;

use crate::config::Config;
use crate::daemon::holding::Call;
use crate::daemon::ready::{Starter, Word};
use crate::daemon::{self, First, logging};

use super::flags::DaemonFlags;

/// Serve jobs and mounts until the last of them is gone; started by the other commands
#[derive(Debug, Args)]
#[command(hide = true)]
pub struct DaemonCommand {
    #[command(flatten)]
    pub settings: DaemonFlags,
}

impl DaemonCommand {
    pub fn run(&self, config: &Config) -> anyhow::Result<()> {
        let mut starter = Starter::from_environment(&config.surroundings)?;
        let call = Call::of(config, false);
        ensure!(
            starter.waits() || call.is_some(),
            "`weightfs daemon` is for weightfs itself: `weightfs mount DIR` starts a daemon"
        );
        logging::init(config)?;
        run(config, First::Jobs, call, &mut starter)
    }
}

/// Runs a daemon to its end, for whoever started it or on a terminal.
pub fn run(config: &Config, first: First, call: Option<Call>, starter: &mut Starter) -> anyhow::Result<()> {
    if starter.waits() || call.as_ref().is_some_and(Call::is_holders) {
        // The terminal that it was started from, and its directory, may go.
        nix::unistd::setsid()?;
        std::env::set_current_dir("/")?;
    }
    let outcome = daemon::run(config, first, call, starter);
    if let Err(error) = &outcome {
        // Whether anybody still listens makes no difference now.
        let _ = starter.tell(&Word::Failed(super::sentence(error)));
    }
    outcome
}
