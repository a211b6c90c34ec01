//! Being a holder: `weightfs holder`, which other commands start with a daemon's arguments, and a pod without.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use mount_helper::Program;
use mount_helper::holder::{First, Task, hold, stand};

use crate::config::{ADOPT_VARIABLE, READY_VARIABLE, Surroundings};
use crate::daemon::holding;
use crate::daemon::ready::Starter;

/// Keep mounts alive while their daemon is away, for daemons that somebody else starts
///
/// Daemons with the setting daemon.holder leave their mounts here when they end, and the next one gets them when the one
/// before is gone; readers wait meanwhile. It needs no privilege and no configuration. On SIGTERM it ends once a daemon
/// serves. Mounts in the background have a holder of their own, which needs no command.
#[derive(Debug, Args)]
pub struct HolderCommand {
    /// Where daemons find it
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,

    /// After how many seconds without a daemon it gives up: readers get errors then
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    give_up: u64,

    /// The arguments of the daemon that it starts, if it is to start one
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

impl HolderCommand {
    /// The exit status is that of a daemon that was never ready.
    pub fn run(self, surroundings: &Surroundings) -> anyhow::Result<ExitCode> {
        let give_up = Duration::from_secs(self.give_up);
        if self.arguments.is_empty() {
            stand(&self.socket, give_up)
                .with_context(|| format!("{}: the holder cannot go on", self.socket.display()))?;
            return Ok(ExitCode::SUCCESS);
        }
        let starter = Starter::from_environment(surroundings)?.into_descriptor();
        let first = match surroundings.variable(ADOPT_VARIABLE) {
            Some(pid) => First::Adopt(pid.parse().with_context(|| format!("{ADOPT_VARIABLE}={pid} is no process"))?),
            None => First::Start { starter },
        };
        // The terminal that it was started from, and its directory, may go.
        let directory = std::env::current_dir().unwrap_or_else(|_| "/".into());
        nix::unistd::setsid()?;
        std::env::set_current_dir("/")?;
        let program = Program {
            path: holding::program(),
            arguments: self.arguments,
            directory,
            run_as: None,
            variable: READY_VARIABLE,
        };
        let task = Task { socket: self.socket, program, give_up, first, kept: Vec::new() };
        let code = hold(task).context("the holder cannot go on")?;
        Ok(ExitCode::from(code))
    }
}
