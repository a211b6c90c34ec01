//! What the cache has of each model and where it is to be read: what `model list`, `stats`, `status` and `validate` print.

use std::path::{Path, PathBuf};

use anyhow::bail;
use serde_json::{Value, json};

use crate::api::proto::job_outcome::Outcome;
use crate::api::proto::job_request::Job;
use crate::api::proto::{ListJob, MountStatus, RepoStatus};
use crate::cli::figures::size;
use crate::cli::progress::Display;
use crate::cli::{asking, block_on, job, table};
use crate::config::Config;
use crate::tree::layout;
use crate::types::RepoId;

/// The only kind of place that models come from, as the original's programs call it.
pub const PROVIDER: &str = "hugging-face";

/// The commits of which something is here, or all that are known.
pub fn commits(config: &Config, all: bool) -> anyhow::Result<Vec<RepoStatus>> {
    let Outcome::Listed(listed) = job::run(config, Job::List(ListJob {}), Display::none())? else {
        bail!(job::OTHER_ANSWER)
    };
    let shown = |repo: &RepoStatus| all || repo.cached_bytes > 0 || repo.pinned || table::is_complete(repo);
    Ok(listed.repos.into_iter().filter(shown).collect())
}

/// The mounts that show the cache.
pub struct Mounts(Vec<MountStatus>);

impl Mounts {
    /// Those of the daemon that has the cache directory; none if it has ended.
    pub fn ask(config: &Config) -> anyhow::Result<Self> {
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let cache = real(&config.settings.cache_directory);
        let (daemons, _) = block_on(async { Ok(asking::daemons(&config.settings.runtime_directory).await) })?;
        let ours = daemons.into_iter().filter(|daemon| real(Path::new(&daemon.status.cache_directory)) == cache);
        let mounts = ours.flat_map(|daemon| daemon.status.mounts).filter(|mount| !mount.detached);
        Ok(Self(mounts.collect()))
    }

    /// The folder of a commit's files.
    pub fn path(&self, repo: &str, endpoint: &str, commit: &str) -> Option<PathBuf> {
        let mount = self.0.iter().find(|mount| mount.endpoint == endpoint)?;
        let (repo, commit) = (repo.parse::<RepoId>().ok()?, commit.parse().ok()?);
        Some(Path::new(&mount.directory).join(layout::commit_path(&repo, commit)))
    }

    /// The fields of `status` and those of the original.
    pub fn json(&self, repo: &RepoStatus) -> Value {
        let mut value = table::model_json(repo);
        value["provider"] = PROVIDER.into();
        value["name"] = repo.repo.as_str().into();
        value["size"] = repo.cached_bytes.into();
        value["formatted_size"] = size(repo.cached_bytes).into();
        value["path"] = json!(self.path(&repo.repo, &repo.endpoint, &repo.commit));
        value
    }

    pub fn all_json(&self, repos: &[RepoStatus]) -> Value {
        repos.iter().map(|repo| self.json(repo)).collect()
    }
}

/// `total_models`, `total_size` (for people, as the original has it) and `total_bytes`.
pub fn totals(repos: &[RepoStatus]) -> Value {
    let bytes: u64 = repos.iter().map(|repo| repo.cached_bytes).sum();
    json!({ "total_models": repos.len(), "total_size": size(bytes), "total_bytes": bytes })
}
