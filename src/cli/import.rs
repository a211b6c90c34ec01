//! `weightfs import DIR`

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use crate::api::proto::ImportJob;
use crate::api::proto::job_outcome::Outcome;
use crate::api::proto::job_request::Job;
use crate::config::Config;

use super::figures::{count, size};
use super::flags::{self, DaemonFlags};
use super::format::Format;
use super::job;
use super::progress::Display;

const EXAMPLES: &str = "\
Examples:
  weightfs import ~/.cache/huggingface
  weightfs import /data/hf/hub/models--Qwen--Qwen3-0.6B
  weightfs import ~/.cache/huggingface --link";

/// Take over the cache of the Hub's own clients
///
/// Every model in it that loads offline then loads from a mount, also offline, for the same --hub-endpoint and token. It asks
/// no network. Each file is checked against its hash; one that is wrong is named and passed over. DIR is not changed and
/// may be deleted afterwards. On file systems that can, the files share their blocks on disk and take no more space.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ImportCommand {
    /// An HF_HOME, its hub folder, or the folder of one model
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Make hard links where that is possible: no copy is made, but who writes to a file in DIR later damages ours
    #[arg(long)]
    link: bool,

    #[command(flatten)]
    pub settings: DaemonFlags,
}

impl ImportCommand {
    pub fn run(self, config: &Config, format: Format) -> anyhow::Result<()> {
        let directory = std::path::absolute(&self.directory)?;
        let directory = directory.to_str().context("the name of the directory must be valid UTF-8")?.to_owned();
        let quiet = flags::is_quiet(config);
        let display = Display::new(directory.clone(), quiet || !format.is_human());
        let job = Job::Import(ImportJob { directory: directory.clone(), link: self.link });
        let Outcome::Imported(imported) = job::run(config, job, display)? else { bail!(job::OTHER_ANSWER) };
        let said = match quiet {
            true => String::new(),
            false => format!(
                "{directory}: {}, {}, {}; {} were not here before\n",
                count(imported.models, "model"),
                count(imported.files, "file"),
                size(imported.bytes),
                size(imported.new_bytes)
            ),
        };
        let problem =
            (imported.refused > 0).then(|| format!("{directory}: {} passed over", count(imported.refused, "file")));
        let value = json!({
            "directory": directory,
            "models": imported.models,
            "files": imported.files,
            "bytes": imported.bytes,
            "new_bytes": imported.new_bytes,
            "refused": imported.refused,
        });
        format.finish(&said, value, problem)
    }
}
