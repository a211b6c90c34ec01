//! `weightfs model stats`

use std::io::{IsTerminal, stdout};

use clap::Args;

use crate::cli::figures::{count, size};
use crate::cli::flags::DaemonFlags;
use crate::cli::format::Format;
use crate::cli::table::{self, Columns};
use crate::config::Config;

use super::known::{self, Mounts};

/// Sum up what is in the cache
#[derive(Debug, Args)]
pub struct StatsCommand {
    /// Also each model
    #[arg(long)]
    detailed: bool,

    #[command(flatten)]
    pub settings: DaemonFlags,
}

impl StatsCommand {
    pub fn run(self, config: &Config, format: Format) -> anyhow::Result<()> {
        let repos = known::commits(config, false)?;
        let complete = repos.iter().filter(|repo| table::is_complete(repo)).count();
        let pinned = repos.iter().filter(|repo| repo.pinned).count();
        let mut value = known::totals(&repos);
        value["complete_models"] = complete.into();
        value["pinned_models"] = pinned.into();
        if self.detailed {
            value["detailed_models"] = Mounts::ask(config)?.all_json(&repos);
        }
        let text = || {
            let bytes = repos.iter().map(|repo| repo.cached_bytes).sum();
            let models = count(repos.len() as u64, "model");
            let mut text = format!("{models}, {complete} complete, {pinned} pinned, {} cached\n", size(bytes));
            if self.detailed && !repos.is_empty() {
                text.push('\n');
                table::push(&mut text, table::models(&repos, Columns::Status, stdout().is_terminal()));
            }
            text
        };
        format.print(text, || value)
    }
}
