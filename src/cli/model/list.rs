//! `weightfs model list`

use std::io::{IsTerminal, stdout};

use clap::Args;

use crate::api::proto::RepoStatus;
use crate::cli::figures::{count, size};
use crate::cli::flags::DaemonFlags;
use crate::cli::format::Format;
use crate::cli::print;
use crate::cli::table::{self, Columns};
use crate::config::Config;

use super::known::{self, Mounts};

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

    #[command(flatten)]
    pub settings: DaemonFlags,
}

impl ListCommand {
    pub fn run(self, config: &Config, format: Format) -> anyhow::Result<()> {
        let repos = known::commits(config, self.all)?;
        if format.is_human() {
            return print(&self.text(&repos, stdout().is_terminal()));
        }
        let mut value = known::totals(&repos);
        value["models"] = Mounts::ask(config)?.all_json(&repos);
        format.print(String::new, || value)
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
