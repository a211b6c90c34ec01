//! `weightfs model pin REPO` and `unpin REPO`

use anyhow::bail;
use clap::Args;
use serde_json::json;

use crate::api::proto::job_outcome::Outcome;
use crate::api::proto::job_request::Job;
use crate::api::proto::{PinJob, UnpinJob};
use crate::cli::figures::size;
use crate::cli::flags::DaemonFlags;
use crate::cli::format::Format;
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
    pub fn run(self, config: &Config, format: Format) -> anyhow::Result<()> {
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
        let value = json!({
            "message": format!("{model} is pinned"),
            "model_name": self.model.repo.to_string(),
            "resolved_revision": pinned.commit,
            "bytes": pinned.bytes,
            "cached_bytes": pinned.cached_bytes,
        });
        format.finish(&format!("{model} is pinned; {here}\n"), value, None)
    }
}

impl UnpinCommand {
    pub fn run(self, config: &Config, format: Format) -> anyhow::Result<()> {
        let order = UnpinJob { model: Some(self.model.name()) };
        let Outcome::Unpinned(_) = job::run(config, Job::Unpin(order), Display::none())? else {
            bail!(job::OTHER_ANSWER)
        };
        let text = format!("{} is not pinned any more", self.model.title());
        let value = json!({ "message": text, "model_name": self.model.repo.to_string() });
        format.finish(&format!("{text}\n"), value, None)
    }
}
