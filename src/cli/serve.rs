//! `weightfs serve`

use anyhow::bail;
use clap::Args;

use crate::api::listen::Place;
use crate::api::service::read_token;
use crate::config::Config;
use crate::daemon::holding::Call;
use crate::daemon::ready::Starter;
use crate::daemon::{First, Serving, logging};

use super::flags::ServeFlags;
use super::reaching;

const EXAMPLES: &str = "\
Examples:
  weightfs serve
  weightfs serve --host 127.0.0.1 --port 8080
  weightfs serve --metrics-port 9401
  weightfs serve --cache-directory /data/weightfs --log-format json";

/// Serve models to other machines, until told to end
///
/// The node daemon for a service manager or a container: it stays in the foreground, logs to standard error and answers
/// gRPC on server.host:server.port, with the services of ModelExpress, so that its clients work against it unchanged.
/// `weightfs mount DIR` on the same cache directory adds mounts to it. It ends on SIGTERM or SIGINT only: then it answers
/// what is under way (server.shutdown_timeout_seconds), unmounts and goes. With server.metrics_port it shows its figures to
/// Prometheus at /metrics, over HTTP.
///
/// It asks the Hub with its own token (--token-file, HF_TOKEN or an existing login). HF_HUB_OFFLINE does not count here;
/// --offline does.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeCommand {
    #[command(flatten)]
    pub settings: ServeFlags,
}

impl ServeCommand {
    pub fn run(&self, config: &Config) -> anyhow::Result<()> {
        let mut starter = Starter::from_environment(&config.surroundings)?;
        logging::init(config)?;
        let serving = serving(config)?;
        let call = Call::of(config, true);
        crate::daemon::run(config, First::Serve(serving), call, &mut starter)
    }
}

fn serving(config: &Config) -> anyhow::Result<Serving> {
    let settings = &config.settings;
    let (port, figures) = (settings.server_port.get(), settings.server_metrics_port.map(|port| port.get()));
    if figures == Some(port) {
        bail!("server.port and server.metrics_port are both {port}; give one of them another port");
    }
    let place = |port, setting| Place { host: settings.server_host.as_str().to_owned(), port: port as u16, setting };
    let patience = settings.server_shutdown_timeout_seconds.duration();
    Ok(Serving {
        service: place(port, "server.port (--port)"),
        token: settings.server_token_file.as_deref().map(read_token).transpose()?,
        figures: figures.map(|port| place(port, "server.metrics_port (--metrics-port)")),
        identity: reaching::identity(config, None)?,
        patience: settings.server_graceful_shutdown.then_some(patience),
    })
}
