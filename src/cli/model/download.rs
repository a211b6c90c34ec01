//! `weightfs model download REPO`

use anyhow::{bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::api::position;
use crate::api::proto::job_outcome::Outcome;
use crate::api::proto::job_request::Job;
use crate::api::proto::{DownloadJob, Downloaded};
use crate::api::remote::RemoteError;
use crate::api::wire::model::{ModelDownloadRequest, ModelProvider};
use crate::cli::figures::{count, size};
use crate::cli::flags::{self, DaemonFlags};
use crate::cli::format::Format;
use crate::cli::progress::Display;
use crate::cli::{block_on, job, service};
use crate::config::Config;
use crate::daemon::logging;
use crate::types::Revision;

use super::ModelArguments;
use super::known::{Mounts, PROVIDER};

/// Who downloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Strategy {
    /// The service of --endpoint if one is set; this machine if none is or it cannot be reached
    SmartFallback,
    /// The same, and this machine also if the service fails
    ServerFallback,
    /// The service, and nobody else
    ServerOnly,
    /// This machine
    Direct,
}

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

    /// Who downloads: this machine, or the service of --endpoint into its own cache
    #[arg(long, short, value_enum, default_value_t = Strategy::SmartFallback)]
    strategy: Strategy,

    /// Where models come from
    #[arg(long, short, value_parser = [PROVIDER], default_value = PROVIDER, hide_possible_values = true)]
    provider: String,

    /// Also keep it from being evicted, as `weightfs model pin` does
    #[arg(long)]
    pin: bool,

    #[command(flatten)]
    pub settings: DaemonFlags,
}

impl DownloadCommand {
    pub fn run(self, config: &Config, format: Format) -> anyhow::Result<()> {
        let fields = json!({
            "model_name": self.model.repo.to_string(),
            "provider": PROVIDER,
            "strategy": format!("{:?}", self.strategy),
        });
        match self.ask_service(config, format)? {
            Asked::Nobody => self.download(config, format, fields),
            Asked::Failed(problem) => format.finish("", fields, Some(problem)),
            Asked::Has(commit) => {
                let endpoint = config.settings.client_endpoint.as_str();
                let text = format!("{} ({commit}): the service {endpoint} has it\n", self.model.title());
                self.finish(config, format, fields, &text, &commit)
            }
        }
    }

    /// Loud where it falls back: otherwise nobody would know why it takes so long.
    fn ask_service(&self, config: &Config, format: Format) -> anyhow::Result<Asked> {
        let of_a_part = self.pin || !self.include.is_empty() || !self.exclude.is_empty();
        match self.strategy {
            Strategy::Direct => return Ok(Asked::Nobody),
            Strategy::ServerOnly => ensure!(
                !of_a_part,
                "a service downloads whole models: --include, --exclude and --pin go with --strategy direct"
            ),
            // Whatever listens at the default place may not be meant.
            Strategy::SmartFallback | Strategy::ServerFallback => {
                if of_a_part || config.source("client.endpoint").is_none() {
                    return Ok(Asked::Nobody);
                }
            }
        }
        logging::init(config)?;
        let quiet = flags::is_quiet(config) || !format.is_human();
        let error = match block_on(ensure_downloaded(config, &self.model, quiet)) {
            Ok(commit) => return Ok(Asked::Has(commit)),
            Err(error) => error,
        };
        let unreachable = matches!(error.downcast_ref(), Some(RemoteError::Unreachable { .. }));
        let sentence = crate::cli::sentence(&error);
        match self.strategy {
            Strategy::ServerFallback => {}
            Strategy::SmartFallback if unreachable => {}
            _ => return Ok(Asked::Failed(sentence)),
        }
        eprintln!("weightfs: {sentence}; this machine downloads it itself");
        Ok(Asked::Nobody)
    }

    fn download(self, config: &Config, format: Format, mut value: Value) -> anyhow::Result<()> {
        let Self { ref model, ref include, ref exclude, pin, .. } = self;
        let order = DownloadJob { model: Some(model.name()), include: include.clone(), exclude: exclude.clone(), pin };
        let quiet = flags::is_quiet(config);
        let display = Display::new(model.title(), quiet || !format.is_human());
        let done = match job::run(config, Job::Download(order), display) {
            Ok(Outcome::Downloaded(done)) => done,
            Ok(_) => bail!(job::OTHER_ANSWER),
            Err(error) => return format.finish("", value, Some(crate::cli::sentence(&error))),
        };
        value["files"] = done.files.into();
        value["bytes"] = done.bytes.into();
        value["fetched_bytes"] = done.fetched_bytes.into();
        self.finish(config, format, value, &text(model, &done), &done.commit)
    }

    fn finish(
        &self,
        config: &Config,
        format: Format,
        mut value: Value,
        text: &str,
        commit: &str,
    ) -> anyhow::Result<()> {
        if format.is_human() {
            return if flags::is_quiet(config) { Ok(()) } else { crate::cli::print(text) };
        }
        let hub = config.settings.hub_endpoint.as_str();
        value["message"] = text.trim_end().into();
        value["resolved_revision"] = commit.into();
        value["path"] = json!(Mounts::ask(config)?.path(&self.model.repo.to_string(), hub, commit));
        format.finish(text, value, None)
    }
}

/// What has come of asking a service.
enum Asked {
    /// This machine is to do it.
    Nobody,
    /// The commit.
    Has(String),
    Failed(String),
}

async fn ensure_downloaded(config: &Config, model: &ModelArguments, quiet: bool) -> anyhow::Result<String> {
    let request = ModelDownloadRequest {
        model_name: model.repo.to_string(),
        provider: ModelProvider::HuggingFace.into(),
        ignore_weights: false,
        revision: (model.revision.as_str() != Revision::MAIN).then(|| model.revision.to_string()),
    };
    let mut display = Display::new(model.title(), quiet);
    let remote = service::connect(config).await?;
    let update = remote.ensure(request, |update| {
        display.show(&position::read(update.message.as_deref().unwrap_or_default()));
    });
    Ok(update.await?.resolved_revision.unwrap_or_default())
}

fn text(model: &ModelArguments, done: &Downloaded) -> String {
    let commit = done.commit.get(..12).unwrap_or(&done.commit);
    let fetched = match done.fetched_bytes {
        0 => "nothing had to be fetched".to_owned(),
        bytes => format!("{} fetched", size(bytes)),
    };
    let files = count(done.files, "file");
    format!("{} ({commit}): {files}, {}, all here; {fetched}\n", model.title(), size(done.bytes))
}
