//! The command line: one file a command. It reads arguments and prints answers; the work is done below.

mod asking;
mod config;
mod daemon;
mod export;
mod figures;
mod flags;
mod format;
mod generated;
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
mod service;
mod status;
mod table;
mod umount;
mod upgrade;
mod verify;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{Config, ConfigError, Layer, OFFLINE_VARIABLES, Surroundings};

use flags::CommonFlags;
use format::Format;
pub use reference::reference;

const EXAMPLES: &str = "\
Examples:
  mkdir -p ~/hf && weightfs mount ~/hf     Mount the Hub; the command returns once it can be read
  HF_HOME=~/hf vllm serve Qwen/Qwen3-0.6B  Use it: files are fetched as they are read
  weightfs model download Qwen/Qwen3-0.6B  Fetch a model now, before it is read
  weightfs status                          What is mounted and how much of it is cached
  weightfs umount ~/hf                     Unmount; what was fetched stays in the cache

With --format json an error is {\"success\":false,\"error\":…} on standard output.

Exit status: 0 done, 1 failed, 2 wrong arguments or settings.";

/// Models of the Hugging Face Hub as files that are fetched when they are read.
///
/// A mount is a virtual HF_HOME: programs find every model there by its plain id, without a download step.
#[derive(Debug, Parser)]
#[command(name = "weightfs", version, after_help = EXAMPLES, disable_help_subcommand = true)]
#[command(arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    common: CommonFlags,
    /// None is needed with --validate-config only.
    #[command(subcommand)]
    command: Option<Command>,
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
    Health(service::HealthCommand),
    Api(service::ApiCommand),
    Config(config::ConfigCommand),
    Completions(generated::CompletionsCommand),
    Man(generated::ManCommand),
    Daemon(daemon::DaemonCommand),
    Holder(holder::HolderCommand),
    /// Write notices to the kernel; started by a daemon
    #[command(hide = true)]
    Notices,
}

/// Does what the process's arguments say.
pub fn run() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    let format = common.format;
    let done = match command {
        None if common.validate => validate(&common, Layer::default()),
        None => Cli::command().error(ErrorKind::MissingSubcommand, "a command is missing").exit(),
        Some(command) => command.run(common),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            format.fail(&error);
            ExitCode::from(if error.is::<ConfigError>() { 2 } else { 1 })
        }
    }
}

fn validate(common: &CommonFlags, layer: Layer) -> anyhow::Result<ExitCode> {
    config::validate_all(common, common.layer.clone().with(layer), &Surroundings::current()?)?;
    Ok(ExitCode::SUCCESS)
}

impl Command {
    /// What its own flags set.
    fn settings(&self) -> Layer {
        match self {
            Command::Mount(command) => command.settings.layer.clone(),
            Command::MountPlan(command) => command.settings.layer.clone(),
            Command::Serve(command) => command.settings.layer.clone(),
            Command::Model(command) => command.settings().clone(),
            Command::Verify(command) => command.settings.layer.clone(),
            Command::Import(command) => command.settings.layer.clone(),
            Command::Export(command) => command.settings.layer.clone(),
            Command::Daemon(command) => command.settings.layer.clone(),
            _ => Layer::default(),
        }
    }

    fn run(self, common: CommonFlags) -> anyhow::Result<ExitCode> {
        if common.validate {
            return validate(&common, self.settings());
        }
        let mut surroundings = Surroundings::current()?;
        if let Command::Serve(_) = self {
            // Of whoever started it by hand: a service is offline only if its own settings say so.
            OFFLINE_VARIABLES.iter().for_each(|name| drop(surroundings.variables.remove(*name)));
        }
        let format = common.format;
        // Those that read no settings, or other ones: what a holder keeps must not depend on a file that somebody is editing.
        match self {
            Command::Holder(command) => return command.run(&surroundings),
            Command::Notices => mount_helper::notices::serve(io::stdin())?,
            Command::Completions(command) => command.run()?,
            Command::Man(command) => command.run()?,
            Command::Config(command) => command.run(&common, &surroundings, format)?,
            command => {
                let layer = common.layer.clone().with(command.settings());
                command.work(Config::load(layer, common.config, surroundings)?, format)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn work(self, config: Config, format: Format) -> anyhow::Result<()> {
        match self {
            Command::Mount(command) => command.run(config),
            Command::MountPlan(command) => command.run(&config),
            Command::Umount(command) => command.run(&config),
            Command::Serve(command) => command.run(&config),
            Command::Health(command) => command.run(&config, format),
            Command::Api(command) => command.run(&config, format),
            Command::Upgrade(command) => command.run(&config, format),
            Command::Status(command) => command.run(&config, format),
            Command::Model(command) => command.run(&config, format),
            Command::Verify(command) => command.run(&config, format),
            Command::Import(command) => command.run(&config, format),
            Command::Export(command) => command.run(&config, format),
            Command::Daemon(command) => command.run(&config),
            // They have been run.
            Command::Holder(_) | Command::Notices | Command::Completions(_) | Command::Man(_) | Command::Config(_) => {
                Ok(())
            }
        }
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
