//! `weightfs model list`

use std::io::{IsTerminal, stdout};

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::api::proto::job_outcome::Outcome;
use crate::api::proto::job_request::Job;
use crate::api::proto::{ListJob, RepoStatus};
use crate::cli::figures::{count, size};
use crate::cli::flags::DaemonFlags;
use crate::cli::progress::Display;
use crate::cli::table::{self, Columns};
use crate::cli::{job, print};
use crate::config::Config;

const EXAMPLES: &str = "\
Examples:
  weightfs model list
  weightfs model list --detailed
  weightfs model list --format json | jq '.models[] | select(.complete) | .repo'";

/// List the models in the cache
///
/// One line for each commit of which something is cached or that is pinned. What is `complete` loads with no network.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ListCommand {
    /// Also the whole commit, the files and the Hub
    #[arg(long)]
    detailed: bool,

    /// Also what is known by name and of which nothing is cached
    #[arg(long)]
    all: bool,

    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,

    #[command(flatten)]
    pub settings: DaemonFlags,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For people
    Human,
    /// For programs; docs/CLI.md names the fields
    Json,
}

impl ListCommand {
    pub fn run(self, config: &Config) -> anyhow::Result<()> {
        let Outcome::Listed(listed) = job::run(config, Job::List(ListJob {}), Display::none())? else {
            bail!(job::OTHER_ANSWER)
        };
        let shown = |repo: &RepoStatus| self.all || repo.cached_bytes > 0 || repo.pinned || table::is_complete(repo);
        let repos: Vec<_> = listed.repos.into_iter().filter(shown).collect();
        print(&match self.format {
            Format::Human => self.text(&repos, stdout().is_terminal()),
            Format::Json => {
                format!("{:#}\n", json!({ "models": repos.iter().map(table::model_json).collect::<Vec<_>>() }))
            }
        })
    }

    fn text(&self, repos: &[RepoStatus], terminal: bool) -> String {
        if repos.is_empty() {
            return "Nothing is cached yet. `weightfs model download REPO` fetches a model.\n".to_owned();
        }
        let mut text = String::new();
        let columns = if self.detailed { Columns::Detailed } else { Columns::Short };
        table::push(&mut text, table::models(repos, columns, terminal));
        let complete = repos.iter().filter(|repo| table::is_complete(repo)).count();
        let bytes = repos.iter().map(|repo| repo.cached_bytes).sum();
        let models = count(repos.len() as u64, "model");
        text.push_str(&format!("\n{models}, {complete} complete, {} cached\n", size(bytes)));
        text
    }
}
