//! `weightfs model …`: one file a command.

mod clear;
mod download;
mod init;
mod known;
mod list;
mod pin;
mod stats;
mod status;
mod validate;

use clap::{Args, Subcommand};

use crate::api::proto::ModelName;
use crate::cli::format::Format;
use crate::config::{Config, Layer};
use crate::types::{RepoId, Revision};

/// Download, list, check, pin and clear models in the cache
#[derive(Debug, Args)]
pub struct ModelCommand {
    #[command(subcommand)]
    command: Model,
}

#[derive(Debug, Subcommand)]
enum Model {
    Init(init::InitCommand),
    Download(download::DownloadCommand),
    List(list::ListCommand),
    Status(status::StatusCommand),
    Stats(stats::StatsCommand),
    Validate(validate::ValidateCommand),
    Pin(pin::PinCommand),
    Unpin(pin::UnpinCommand),
    Clear(clear::ClearCommand),
    ClearAll(clear::ClearAllCommand),
}

impl ModelCommand {
    pub fn settings(&self) -> &Layer {
        match &self.command {
            Model::Init(command) => &command.settings.layer,
            Model::Download(command) => &command.settings.layer,
            Model::List(command) => &command.settings.layer,
            Model::Status(command) => &command.settings.layer,
            Model::Stats(command) => &command.settings.layer,
            Model::Validate(command) => &command.settings.layer,
            Model::Pin(command) => &command.settings.layer,
            Model::Unpin(command) => &command.settings.layer,
            Model::Clear(command) => &command.settings.layer,
            Model::ClearAll(command) => &command.settings.layer,
        }
    }

    pub fn run(self, config: &Config, format: Format) -> anyhow::Result<()> {
        match self.command {
            Model::Init(command) => command.run(config, format),
            Model::Download(command) => command.run(config, format),
            Model::List(command) => command.run(config, format),
            Model::Status(command) => command.run(config, format),
            Model::Stats(command) => command.run(config, format),
            Model::Validate(command) => command.run(config, format),
            Model::Pin(command) => command.run(config, format),
            Model::Unpin(command) => command.run(config, format),
            Model::Clear(command) => command.run(config, format),
            Model::ClearAll(command) => command.run(config, format),
        }
    }
}

/// A model as it is named on the command line.
#[derive(Debug, Clone, Args)]
pub struct ModelArguments {
    /// ORG/NAME of a model, or datasets/ORG/NAME, spaces/ORG/NAME
    #[arg(value_name = "REPO")]
    pub repo: RepoId,

    /// A branch, a tag, refs/pr/N or a commit
    #[arg(long, value_name = "REV", default_value = Revision::MAIN, value_parser = Revision::new)]
    pub revision: Revision,
}

impl ModelArguments {
    pub fn title(&self) -> String {
        match self.revision.as_str() {
            Revision::MAIN => self.repo.to_string(),
            revision => format!("{}@{revision}", self.repo),
        }
    }

    /// As they would be typed.
    pub fn arguments(&self) -> String {
        match self.revision.as_str() {
            Revision::MAIN => self.repo.to_string(),
            revision => format!("{} --revision {revision}", self.repo),
        }
    }

    pub fn name(&self) -> ModelName {
        ModelName { repo: self.repo.to_string(), revision: self.revision.to_string() }
    }
}
