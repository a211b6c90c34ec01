//! Being a holder: `weightfs holder`, which other commands start and nobody types.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use mount_helper::Program;
use mount_helper::holder::{First, Task, hold};

use crate::config::{ADOPT_VARIABLE, READY_VARIABLE, Surroundings};
use crate::daemon::holding;
use crate::daemon::ready::Starter;

/// Keep mounts alive while their daemon is away; started by the other commands
#[derive(Debug, Args)]
#[command(hide = true)]
pub struct HolderCommand {
    /// Where daemons find it
    #[arg(long)]
    socket: PathBuf,

    /// After how many seconds without a daemon it unmounts everything
    #[arg(long, value_name = "SECONDS")]
    give_up: u64,

    /// The daemon's arguments
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

impl HolderCommand {
    /// The exit status is that of a daemon that was never ready.
    pub fn run(self, surroundings: &Surroundings) -> anyhow::Result<ExitCode> {
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
        let task =
            Task { socket: self.socket, program, give_up: Duration::from_secs(self.give_up), first, kept: Vec::new() };
        let code = hold(task).context("the holder cannot go on")?;
        Ok(ExitCode::from(code))
    }
}
