//! `weightfs model clear REPO` and `clear-all`

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::api::proto::job_outcome::Outcome;
use crate::api::proto::job_request::Job;
use crate::api::proto::{ClearJob, Cleared};
use crate::cli::figures::size;
use crate::cli::flags::{self, DaemonFlags};
use crate::cli::format::Format;
use crate::cli::job;
use crate::cli::progress::Display;
use crate::config::Config;
use crate::types::{RepoId, Revision};

use super::known::PROVIDER;

/// Files in use that are named; of more the number is told.
const NAMED: usize = 10;

/// Take a model out of the cache
///
/// What another model or commit has too stays, and so does what some program has open; the command then says so and fails.
/// A pinned model is refused. What was taken out is fetched again when it is read.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weightfs model clear Qwen/Qwen3-0.6B\n  weightfs model clear Qwen/Qwen3-0.6B --revision v1.0"
)]
pub struct ClearCommand {
    /// ORG/NAME of a model, or datasets/ORG/NAME, spaces/ORG/NAME
    #[arg(value_name = "REPO")]
    repo: RepoId,

    /// Only this branch, tag or commit, and not every one that is known
    #[arg(long, value_name = "REV", value_parser = Revision::new)]
    revision: Option<Revision>,

    #[command(flatten)]
    pub settings: DaemonFlags,
}

/// Take everything out of the cache that is neither pinned nor open
#[derive(Debug, Args)]
pub struct ClearAllCommand {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    pub settings: DaemonFlags,
}

impl ClearCommand {
    pub fn run(self, config: &Config, format: Format) -> anyhow::Result<()> {
        let title = match &self.revision {
            Some(revision) => format!("{}@{revision}", self.repo),
            None => self.repo.to_string(),
        };
        let revision = self.revision.map(|revision| revision.to_string());
        let order = ClearJob { repo: Some(self.repo.to_string()), revision };
        // There is one record, the cache's own, and it says what is on the disk.
        let fields = json!({
            "model_name": self.repo.to_string(),
            "provider": PROVIDER,
            "registry_cleared": true,
            "registry_warning": null,
        });
        clear(config, &title, order, fields, format)
    }
}

impl ClearAllCommand {
    pub fn run(self, config: &Config, format: Format) -> anyhow::Result<()> {
        ensure!(
            self.yes || io::stdin().is_terminal(),
            "this would take every model out of the cache {} that is not pinned; --yes says that it is meant",
            config.settings.cache_directory.display()
        );
        if !self.yes && !confirmed(config)? {
            return format.finish("Nothing was done.\n", json!({ "message": "nothing was done" }), None);
        }
        let order = ClearJob { repo: None, revision: None };
        let fields = json!({ "registry_records_cleared": 0, "registry_records_failed": 0 });
        clear(config, "the cache", order, fields, format)
    }
}

fn confirmed(config: &Config) -> anyhow::Result<bool> {
    let cache = config.settings.cache_directory.display();
    eprint!("Take every model out of the cache {cache} that is not pinned? [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn clear(config: &Config, title: &str, order: ClearJob, mut value: Value, format: Format) -> anyhow::Result<()> {
    let display = Display::new(title.to_owned(), flags::is_quiet(config) || !format.is_human());
    let Outcome::Cleared(cleared) = job::run(config, Job::Clear(order), display)? else { bail!(job::OTHER_ANSWER) };
    let text = text(title, &cleared);
    value["message"] = text.trim_end().into();
    value["files"] = cleared.files.into();
    value["freed_bytes"] = cleared.freed_bytes.into();
    value["shared_bytes"] = cleared.shared_bytes.into();
    value["pinned_bytes"] = cleared.pinned_bytes.into();
    value["in_use"] = json!(cleared.in_use);
    let problem = (!cleared.in_use.is_empty()).then(|| in_use(&cleared.in_use));
    format.finish(&text, value, problem)
}

fn text(title: &str, cleared: &Cleared) -> String {
    let mut text = match cleared.files {
        0 => format!("{title}: nothing was taken out"),
        _ => format!("{title}: {} freed", size(cleared.freed_bytes)),
    };
    if cleared.shared_bytes > 0 {
        text.push_str(&format!("; {} stay, other models or commits have the same", size(cleared.shared_bytes)));
    }
    if cleared.pinned_bytes > 0 {
        text.push_str(&format!("; {} stay, they are pinned", size(cleared.pinned_bytes)));
    }
    text + "\n"
}

fn in_use(files: &[String]) -> String {
    let mut text = format!("{} files are in use and stay; end what reads them and try again:", files.len());
    for file in files.iter().take(NAMED) {
        text.push_str(&format!("\n  {file}"));
    }
    if files.len() > NAMED {
        text.push_str("\n  …");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_told_with_its_reason() {
        let cleared = Cleared { files: 2, freed_bytes: 2048, shared_bytes: 1024, pinned_bytes: 0, in_use: Vec::new() };
        let expected = "acme/tiny: 2.0 KiB freed; 1.0 KiB stay, other models or commits have the same\n";
        assert_eq!(text("acme/tiny", &cleared), expected);
        assert_eq!(text("acme/tiny", &Cleared::default()), "acme/tiny: nothing was taken out\n");
        let many: Vec<_> = (0..11).map(|number| number.to_string()).collect();
        assert!(in_use(&many).ends_with("\n  9\n  …"));
    }
}
