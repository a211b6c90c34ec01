//! The command line: one file a command. It reads arguments and prints answers; the work is done below.

mod asking;
mod daemon;
mod export;
mod figures;
mod flags;
mod holder;
mod import;
mod job;
mod model;
mod mount;
mod plan;
mod progress;
mod reaching;
mod reference;
mod serve;
mod status;
mod table;
mod umount;
mod upgrade;
mod verify;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError, Layer, OFFLINE_VARIABLES, Surroundings};

use flags::CommonFlags;
pub use reference::reference;

const EXAMPLES: &str = "\
Examples:
  mkdir -p ~/hf && weightfs mount ~/hf     Mount the Hub; the command returns once it can be read
  HF_HOME=~/hf vllm serve Qwen/Qwen3-0.6B  Use it: files are fetched as they are read
  weightfs model download Qwen/Qwen3-0.6B  Fetch a model now, before it is read
  weightfs status                          What is mounted and how much of it is cached
  weightfs umount ~/hf                     Unmount; what was fetched stays in the cache

Exit status: 0 done, 1 failed, 2 wrong arguments or settings.";

/// Models of the Hugging Face Hub as files that are fetched when they are read.
///
/// A mount is a virtual HF_HOME: programs find every model there by its plain id, without a download step.
#[derive(Debug, Parser)]
#[command(name = "weightfs", version, after_help = EXAMPLES, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    common: CommonFlags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Mount(mount::MountCommand),
    MountPlan(plan::PlanCommand),
    Umount(umount::UmountCommand),
    Serve(serve::ServeCommand),
    Upgrade(upgrade::UpgradeCommand),
    Status(status::StatusCommand),
    Model(model::ModelCommand),
    Verify(verify::VerifyCommand),
    Import(import::ImportCommand),
    Export(export::ExportCommand),
    Daemon(daemon::DaemonCommand),
    Holder(holder::HolderCommand),
    /// Write notices to the kernel; started by a daemon
    #[command(hide = true)]
    Notices,
}

/// Does what the process's arguments say.
pub fn run() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    match command.run(common) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("weightfs: {}", sentence(&error));
            ExitCode::from(if error.is::<ConfigError>() { 2 } else { 1 })
        }
    }
}

impl Command {
    fn run(self, common: CommonFlags) -> anyhow::Result<ExitCode> {
        let mut surroundings = Surroundings::current()?;
        if let Command::Serve(_) = self {
            // Of whoever started it by hand: a service is offline only if its own settings say so.
            OFFLINE_VARIABLES.iter().for_each(|name| drop(surroundings.variables.remove(*name)));
        }
        // It reads no settings: what it keeps must not depend on a file that somebody is editing.
        if let Command::Holder(command) = self {
            return command.run(&surroundings);
        }
        if let Command::Notices = self {
            mount_helper::notices::serve(io::stdin())?;
            return Ok(ExitCode::SUCCESS);
        }
        let load = |layer: Layer| Config::load(layer, common.config.clone(), surroundings.clone());
        match self {
            Command::Mount(command) => {
                let config = load(common.layer.with(command.settings.layer.clone()))?;
                command.run(config)
            }
            Command::Serve(command) => command.run(&load(common.layer.with(command.settings.layer.clone()))?),
            Command::MountPlan(command) => command.run(&load(common.layer.with(command.settings.layer.clone()))?),
            Command::Umount(command) => command.run(&load(common.layer.clone())?),
            Command::Upgrade(command) => command.run(&load(common.layer.clone())?),
            Command::Status(command) => command.run(&load(common.layer.clone())?),
            Command::Model(command) => {
                let config = load(common.layer.with(command.settings().clone()))?;
                command.run(&config)
            }
            Command::Verify(command) => {
                let config = load(common.layer.with(command.settings.layer.clone()))?;
                command.run(&config)
            }
            Command::Import(command) => {
                let config = load(common.layer.with(command.settings.layer.clone()))?;
                command.run(&config)
            }
            Command::Export(command) => {
                let config = load(common.layer.with(command.settings.layer.clone()))?;
                command.run(&config)
            }
            Command::Daemon(command) => command.run(&load(common.layer.with(command.settings.layer.clone()))?),
            Command::Holder(_) | Command::Notices => Ok(()),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The error and its causes in one line, without those that the text before them tells already.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.contains(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    text
}

/// What a command was asked for, on standard output.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever read it has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// The commands that only ask need one thread.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_cause_is_told_once() {
        let inner: anyhow::Result<()> = Err(anyhow::anyhow!("no such file"));
        let error = inner.context("/x: cannot read: no such file").context("it failed").unwrap_err();
        assert_eq!(sentence(&error), "it failed: /x: cannot read: no such file");
    }
}
