//! `weightfs model validate [REPO]`

use clap::Args;
use serde_json::json;

use crate::api::proto::RepoStatus;
use crate::cli::figures::{count, percent, size};
use crate::cli::flags::DaemonFlags;
use crate::cli::format::Format;
use crate::cli::table;
use crate::config::Config;
use crate::types::{RepoId, Revision};

use super::known::{self, Mounts, PROVIDER};

/// Say whether a model is here as a whole
///
/// It looks at the record of what is cached and reads nothing: `weightfs verify` reads every byte again and checks it.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 if REPO is complete, or without REPO; 1 if something of it is missing.")]
pub struct ValidateCommand {
    /// ORG/NAME of a model, or datasets/ORG/NAME, spaces/ORG/NAME; every model without it
    #[arg(value_name = "REPO")]
    repo: Option<RepoId>,

    /// A branch, a tag, refs/pr/N or a commit
    #[arg(long, value_name = "REV", default_value = Revision::MAIN, value_parser = Revision::new)]
    revision: Revision,

    #[command(flatten)]
    pub settings: DaemonFlags,
}

impl ValidateCommand {
    pub fn run(self, config: &Config, format: Format) -> anyhow::Result<()> {
        let repos = known::commits(config, false)?;
        let mounts = Mounts::ask(config)?;
        match &self.repo {
            Some(name) => self.one(name, &repos, &mounts, config, format),
            None => {
                let mut value = known::totals(&repos);
                value["models"] = mounts.all_json(&repos);
                let line = |repo: &RepoStatus| format!("{}: {}\n", repo.repo, state(repo));
                format.print(|| repos.iter().map(line).collect(), || value)
            }
        }
    }

    fn one(
        &self,
        name: &RepoId,
        repos: &[RepoStatus],
        mounts: &Mounts,
        config: &Config,
        format: Format,
    ) -> anyhow::Result<()> {
        let endpoint = config.settings.hub_endpoint.as_str();
        let asked = |repo: &&RepoStatus| {
            let revision = self.revision.as_str();
            let names_it = repo.commit == revision || repo.revision.split(',').any(|name| name == revision);
            repo.repo == name.to_string() && repo.endpoint == endpoint && names_it
        };
        let found = repos.iter().find(asked);
        let problem = match found {
            Some(repo) if table::is_complete(repo) => None,
            Some(repo) => Some(format!("{name}@{}: {}", self.revision, state(repo))),
            None => Some(format!("{name}@{} is not in the cache", self.revision)),
        };
        let value = json!({
            "model_name": name.to_string(),
            "provider": PROVIDER,
            "exists": found.is_some(),
            "complete": found.is_some_and(table::is_complete),
            "path": found.and_then(|repo| mounts.path(&repo.repo, &repo.endpoint, &repo.commit)),
            "resolved_revision": found.map(|repo| repo.commit.as_str()),
        });
        let text = found.filter(|_| problem.is_none()).map(|repo| format!("{name}: {}\n", state(repo)));
        format.finish(&text.unwrap_or_default(), value, problem)
    }
}

fn state(repo: &RepoStatus) -> String {
    let files = count(repo.files, "file");
    match table::is_complete(repo) {
        true => format!("{files}, {}, all here", size(repo.bytes)),
        false => format!(
            "{} of {files} are here, {} of {}",
            repo.complete_files,
            percent(repo.cached_bytes, repo.bytes),
            size(repo.bytes)
        ),
    }
}
