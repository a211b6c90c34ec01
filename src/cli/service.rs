//! What is asked of a service over the network: `weightfs health` and `weightfs api send`.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::api::remote::{Remote, RemoteError};
use crate::api::service::read_token;
use crate::config::Config;
use crate::daemon::logging;

use super::block_on;
use super::figures::age;
use super::format::Format;

/// A payload is a request, and no file to be moved.
const MAX_PAYLOAD: u64 = 4 << 20;

/// Ask a service whether it is well
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  weightfs health\n  weightfs -e models.example:8001 health")]
pub struct HealthCommand {}

/// Send a request to a service
#[derive(Debug, Args)]
pub struct ApiCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Ask for a named action; what it answers is printed
    #[command(
        after_help = "Examples:\n  weightfs api send ping\n  echo '{\"a\":1}' | weightfs api send ping --payload -"
    )]
    Send {
        #[arg(value_name = "ACTION")]
        action: String,

        /// What goes with it; `-` is standard input
        #[arg(long, short, value_name = "JSON", conflicts_with = "payload_file")]
        payload: Option<String>,

        /// A file with what goes with it
        #[arg(long, value_name = "FILE")]
        payload_file: Option<PathBuf>,
    },
}

/// The service of client.endpoint.
pub async fn connect(config: &Config) -> anyhow::Result<Remote> {
    let token = config.settings.client_token_file.as_deref().map(read_token).transpose()?;
    let timeout = config.settings.client_timeout_seconds.duration();
    let endpoint = config.settings.client_endpoint.as_str();
    let remote: Result<Remote, RemoteError> = Remote::connect(endpoint, timeout, token.as_ref()).await;
    Ok(remote?)
}

impl HealthCommand {
    pub fn run(self, config: &Config, format: Format) -> anyhow::Result<()> {
        logging::init(config)?;
        let health = block_on(async { Ok(connect(config).await?.health().await?) })?;
        let text = || {
            let up = age(Duration::from_secs(health.uptime));
            format!(
                "{}: {}, version {}, up {up}\n",
                config.settings.client_endpoint.as_str(),
                health.status,
                health.version
            )
        };
        format.print(text, || json!({ "version": health.version, "status": health.status, "uptime": health.uptime }))
    }
}

impl ApiCommand {
    pub fn run(self, config: &Config, format: Format) -> anyhow::Result<()> {
        logging::init(config)?;
        let Verb::Send { action, payload, payload_file } = self.verb;
        let payload = read_payload(payload, payload_file)?;
        let answer = block_on(async { Ok(connect(config).await?.send(&action, payload).await?) })?;
        ensure!(answer.success, "{action}: {}", answer.error.unwrap_or_default());
        let data = match answer.data {
            Some(bytes) => serde_json::from_slice(&bytes).context("the service answered with what is no JSON")?,
            None => Value::Null,
        };
        format.print(|| format!("{data:#}\n"), || data.clone())
    }
}

fn read_payload(payload: Option<String>, file: Option<PathBuf>) -> anyhow::Result<Option<Vec<u8>>> {
    let (text, place) = match (payload, file) {
        (None, None) => return Ok(None),
        (Some(word), _) if word != "-" => (word, "--payload".to_owned()),
        (Some(_), _) => (read_all(std::io::stdin().lock(), "standard input")?, "standard input".to_owned()),
        (None, Some(path)) => {
            let place = path.display().to_string();
            let file = std::fs::File::open(&path).with_context(|| format!("{place}: cannot read it"))?;
            (read_all(file, &place)?, place)
        }
    };
    serde_json::from_str::<Value>(&text).with_context(|| format!("{place}: the payload is no JSON"))?;
    Ok(Some(text.into_bytes()))
}

fn read_all(from: impl Read, place: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    from.take(MAX_PAYLOAD + 1).read_to_string(&mut text).with_context(|| format!("{place}: cannot read it"))?;
    ensure!(text.len() as u64 <= MAX_PAYLOAD, "{place}: a payload has at most {MAX_PAYLOAD} bytes");
    Ok(text)
}
