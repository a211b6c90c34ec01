//! `weightfs verify [REPO]`

use anyhow::bail;
use clap::Args;
use serde_json::json;

use crate::api::proto::job_outcome::Outcome;
use crate::api::proto::job_request::Job;
use crate::api::proto::{Verified, VerifyJob};
use crate::config::Config;
use crate::types::{RepoId, Revision};

use super::figures::{count, size};
use super::flags::{self, DaemonFlags};
use super::format::Format;
use super::job;
use super::progress::Display;

const EXAMPLES: &str = "\
Examples:
  weightfs verify                         Everything in the cache
  weightfs verify Qwen/Qwen3-0.6B
  weightfs verify --no-repair --offline   Only look; what is damaged is fetched when it is read

Exit status: 0 if what was complete is complete, 1 if something of it is missing now.";

/// Read what is cached again, and repair it
///
/// Every block is read from the disk and checked, and complete files against the Hub's hash. What is damaged is dropped, so
/// it is never served; complete files are fetched anew at once, the others where they are read. Readers go on meanwhile.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct VerifyCommand {
    /// ORG/NAME of a model, or datasets/ORG/NAME, spaces/ORG/NAME; everything without it
    #[arg(value_name = "REPO")]
    repo: Option<RepoId>,

    /// Only this branch, tag or commit, and not every one that is known
    #[arg(long, value_name = "REV", value_parser = Revision::new, requires = "repo")]
    revision: Option<Revision>,

    /// Fetch nothing
    #[arg(long)]
    no_repair: bool,

    #[command(flatten)]
    pub settings: DaemonFlags,
}

impl VerifyCommand {
    pub fn run(self, config: &Config, format: Format) -> anyhow::Result<()> {
        let title = self.repo.as_ref().map_or_else(|| "the cache".to_owned(), RepoId::to_string);
        let order = VerifyJob {
            repo: self.repo.map(|repo| repo.to_string()),
            revision: self.revision.map(|revision| revision.to_string()),
            repair: !self.no_repair,
        };
        let quiet = flags::is_quiet(config);
        let display = Display::new(title.clone(), quiet || !format.is_human());
        let Outcome::Verified(verified) = job::run(config, Job::Verify(order), display)? else {
            bail!(job::OTHER_ANSWER)
        };
        let problem = (verified.broken_files > 0).then(|| {
            let files = match verified.broken_files {
                1 => "1 file is".to_owned(),
                files => format!("{files} files are"),
            };
            format!("{title}: {files} not complete any more; `weightfs model download`, or reading it, fetches what is missing")
        });
        let said = if quiet { String::new() } else { text(&title, &verified) };
        let value = json!({
            "files": verified.files,
            "bytes": verified.bytes,
            "damaged_files": verified.damaged_files,
            "damaged_bytes": verified.damaged_bytes,
            "repaired_files": verified.repaired_files,
            "broken_files": verified.broken_files,
        });
        format.finish(&said, value, problem)
    }
}

fn text(title: &str, verified: &Verified) -> String {
    let read = format!("{title}: {}, {} read", count(verified.files, "file"), size(verified.bytes));
    match (verified.files, verified.damaged_files) {
        (0, _) => format!("{title}: nothing of it is cached\n"),
        (_, 0) => format!("{read}; all as it must be\n"),
        (_, damaged) => format!(
            "{read}; {} damaged ({}), {} of them fetched again\n",
            count(damaged, "file"),
            size(verified.damaged_bytes),
            verified.repaired_files
        ),
    }
}
