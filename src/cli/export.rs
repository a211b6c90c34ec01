//! `weightfs export REPO DIR`

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use crate::api::proto::ExportJob;
use crate::api::proto::job_outcome::Outcome;
use crate::api::proto::job_request::Job;
use crate::config::Config;

use super::figures::{count, size};
use super::flags::{self, DaemonFlags};
use super::format::Format;
use super::job;
use super::model::ModelArguments;
use super::progress::Display;

const EXAMPLES: &str = "\
Examples:
  weightfs export Qwen/Qwen3-0.6B ./qwen
  weightfs export Qwen/Qwen3-0.6B /media/stick/hub --hub-cache
  HF_HUB_CACHE=/media/stick/hub HF_HUB_OFFLINE=1 python my_program.py";

/// Write a model into a directory, as plain files
///
/// What is not cached is fetched first. Files that are there already and equal are left alone; each gets its name only when
/// it is whole. On file systems that can, the files share their blocks with the cache and take no more space.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ExportCommand {
    #[command(flatten)]
    model: ModelArguments,

    /// Where to write; it is made where it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// As the Hub's own clients keep it (blobs, snapshots, refs): DIR is what HF_HUB_CACHE names
    #[arg(long)]
    hub_cache: bool,

    #[command(flatten)]
    pub settings: DaemonFlags,
}

impl ExportCommand {
    pub fn run(self, config: &Config, format: Format) -> anyhow::Result<()> {
        let directory = std::path::absolute(&self.directory)?;
        let directory = directory.to_str().context("the name of the directory must be valid UTF-8")?.to_owned();
        let job = ExportJob {
            model: Some(self.model.name()),
            directory: directory.clone(),
            hub_cache: self.hub_cache,
            umask: umask(),
        };
        let quiet = flags::is_quiet(config);
        let display = Display::new(self.model.title(), quiet || !format.is_human());
        let Outcome::Exported(exported) = job::run(config, Job::Export(job), display)? else {
            bail!(job::OTHER_ANSWER)
        };
        let commit = exported.commit.get(..12).unwrap_or(&exported.commit);
        let said = match quiet {
            true => String::new(),
            false => format!(
                "{} ({commit}): {}, {} in {directory}; {} written\n",
                self.model.title(),
                count(exported.files, "file"),
                size(exported.bytes),
                size(exported.written_bytes)
            ),
        };
        let value = json!({
            "model_name": self.model.repo.to_string(),
            "resolved_revision": exported.commit,
            "path": directory,
            "files": exported.files,
            "bytes": exported.bytes,
            "written_bytes": exported.written_bytes,
        });
        format.finish(&said, value, None)
    }
}

/// It can only be read by setting it.
fn umask() -> u32 {
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mask);
    mask.bits()
}
