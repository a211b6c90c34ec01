//! `weightfs model download REPO`

use anyhow::bail;
use clap::Args;

use crate::api::proto::DownloadJob;
use crate::api::proto::job_outcome::Outcome;
use crate::api::proto::job_request::Job;
use crate::cli::figures::{count, size};
use crate::cli::flags::DaemonFlags;
use crate::cli::job;
use crate::cli::progress::Display;
use crate::config::Config;

use super::ModelArguments;

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

    /// Show no progress
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    pub settings: DaemonFlags,
}

impl DownloadCommand {
    pub fn run(self, config: &Config) -> anyhow::Result<()> {
        let Self { model, include, exclude, pin, quiet, .. } = self;
        let order = DownloadJob { model: Some(model.name()), include, exclude, pin };
        let display = Display::new(model.title(), quiet);
        let Outcome::Downloaded(done) = job::run(config, Job::Download(order), display)? else {
            bail!(job::OTHER_ANSWER)
        };
        let commit = done.commit.get(..12).unwrap_or(&done.commit);
        let fetched = match done.fetched_bytes {
            0 => "nothing had to be fetched".to_owned(),
            bytes => format!("{} fetched", size(bytes)),
        };
        if quiet {
            return Ok(());
        }
        let files = count(done.files, "file");
        crate::cli::print(&format!(
            "{} ({commit}): {files}, {}, all here; {fetched}\n",
            model.title(),
            size(done.bytes)
        ))
    }
}
