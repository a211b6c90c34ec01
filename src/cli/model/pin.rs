//! `weightfs model pin REPO` and `unpin REPO`

use anyhow::bail;
use clap::Args;

use crate::api::proto::job_outcome::Outcome;
use crate::api::proto::job_request::Job;
use crate::api::proto::{PinJob, UnpinJob};
use crate::cli::figures::size;
use crate::cli::flags::DaemonFlags;
use crate::cli::job;
use crate::cli::progress::Display;
use crate::config::Config;

use super::ModelArguments;

/// Keep a model from being evicted, whatever the cache's limits are
///
/// It protects what is cached of the model and what is read of it later, also when the branch moves; it fetches nothing.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weightfs model pin Qwen/Qwen3-0.6B\n  weightfs model download --pin Qwen/Qwen3-0.6B"
)]
pub struct PinCommand {
    #[command(flatten)]
    model: ModelArguments,

    #[command(flatten)]
    pub settings: DaemonFlags,
}

/// Let a model be evicted again
#[derive(Debug, Args)]
pub struct UnpinCommand {
    #[command(flatten)]
    model: ModelArguments,

    #[command(flatten)]
    pub settings: DaemonFlags,
}

impl PinCommand {
    pub fn run(self, config: &Config) -> anyhow::Result<()> {
        let order = PinJob { model: Some(self.model.name()) };
        let Outcome::Pinned(pinned) = job::run(config, Job::Pin(order), Display::none())? else {
            bail!(job::OTHER_ANSWER)
        };
        let model = self.model.title();
        let here = match pinned.bytes.saturating_sub(pinned.cached_bytes) {
            0 => format!("all of its {} are here", size(pinned.bytes)),
            _ => format!(
                "{} of {} are here; `weightfs model download {}` fetches the rest",
                size(pinned.cached_bytes),
                size(pinned.bytes),
                self.model.arguments(),
            ),
        };
        crate::cli::print(&format!("{model} is pinned; {here}\n"))
    }
}

impl UnpinCommand {
    pub fn run(self, config: &Config) -> anyhow::Result<()> {
        let order = UnpinJob { model: Some(self.model.name()) };
        let Outcome::Unpinned(_) = job::run(config, Job::Unpin(order), Display::none())? else {
            bail!(job::OTHER_ANSWER)
        };
        crate::cli::print(&format!("{} is not pinned any more\n", self.model.title()))
    }
}
