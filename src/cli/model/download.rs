//! `weightfs model download REPO`

use anyhow::bail;
use clap::Args;
use serde_json::json;

use crate::api::proto::job_outcome::Outcome;
use crate::api::proto::job_request::Job;
use crate::api::proto::{DownloadJob, Downloaded};
use crate::cli::figures::{count, size};
use crate::cli::flags::{self, DaemonFlags};
use crate::cli::format::Format;
use crate::cli::job;
use crate::cli::progress::Display;
use crate::config::Config;

use super::ModelArguments;
use super::known::{Mounts, PROVIDER};

/// The daemon of this machine does it, and asks the Hub.
const STRATEGY: &str = "Direct";

const EXAMPLES: &str = "\
Examples:
  weightfs model download Qwen/Qwen3-0.6B
  weightfs model download Qwen/Qwen3-0.6B --revision refs/pr/3 --pin
  weightfs model download datasets/acme/words --include '*.parquet' --exclude 'test/*'";

/// Bring a model into the cache before somebody reads it
///
/// Every file is fetched, checked against the Hub's hash and kept; what is here already is not fetched again. Stopped
/// halfway, by Ctrl-C or otherwise, the same command goes on from there. It works with a mount and without one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DownloadCommand {
    #[command(flatten)]
    model: ModelArguments,

    /// Only files that match; may be given more than once. `*` also stands for `/`, `DIR/` for all that is in DIR
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,

    /// Not those files that match; may be given more than once
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,

    /// Also keep it from being evicted, as `weightfs model pin` does
    #[arg(long)]
    pin: bool,

    #[command(flatten)]
    pub settings: DaemonFlags,
}

impl DownloadCommand {
    pub fn run(self, config: &Config, format: Format) -> anyhow::Result<()> {
        let Self { model, include, exclude, pin, .. } = self;
        let order = DownloadJob { model: Some(model.name()), include, exclude, pin };
        let quiet = flags::is_quiet(config);
        let display = Display::new(model.title(), quiet || !format.is_human());
        let mut value = json!({ "model_name": model.repo.to_string(), "provider": PROVIDER, "strategy": STRATEGY });
        let done = match job::run(config, Job::Download(order), display) {
            Ok(Outcome::Downloaded(done)) => done,
            Ok(_) => bail!(job::OTHER_ANSWER),
            Err(error) => return format.finish("", value, Some(crate::cli::sentence(&error))),
        };
        let text = text(&model, &done);
        if format.is_human() {
            return if quiet { Ok(()) } else { crate::cli::print(&text) };
        }
        let path =
            Mounts::ask(config)?.path(&model.repo.to_string(), config.settings.hub_endpoint.as_str(), &done.commit);
        value["message"] = text.trim_end().into();
        value["resolved_revision"] = done.commit.as_str().into();
        value["path"] = json!(path);
        value["files"] = done.files.into();
        value["bytes"] = done.bytes.into();
        value["fetched_bytes"] = done.fetched_bytes.into();
        format.finish(&text, value, None)
    }
}

fn text(model: &ModelArguments, done: &Downloaded) -> String {
    let commit = done.commit.get(..12).unwrap_or(&done.commit);
    let fetched = match done.fetched_bytes {
        0 => "nothing had to be fetched".to_owned(),
        bytes => format!("{} fetched", size(bytes)),
    };
    let files = count(done.files, "file");
    format!("{} ({commit}): {files}, {}, all here; {fetched}\n", model.title(), size(done.bytes))
}
