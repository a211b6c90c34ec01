//! `weightfs model status`

use std::time::Duration;

use clap::Args;
use tokio::net::TcpStream;

use crate::cli::block_on;
use crate::cli::figures::count;
use crate::cli::flags::DaemonFlags;
use crate::cli::format::Format;
use crate::config::{Config, ServerEndpoint};

use super::known;

/// Say where models are kept, how many, and whether a service answers
///
/// The service is that of --endpoint; it is only seen whether something listens there. `weightfs status` tells of the daemons and
/// mounts of this machine.
#[derive(Debug, Args)]
pub struct StatusCommand {
    #[command(flatten)]
    pub settings: DaemonFlags,
}

impl StatusCommand {
    pub fn run(self, config: &Config, format: Format) -> anyhow::Result<()> {
        let repos = known::commits(config, false)?;
        let settings = &config.settings;
        let storage = settings.cache_directory.display().to_string();
        // A daemon has just answered for it, or was started in it.
        let accessible = settings.cache_directory.is_dir();
        let timeout = settings.client_timeout_seconds.duration();
        let available = block_on(async { Ok(listens(&settings.client_endpoint, timeout).await) })?;
        let mut value = known::totals(&repos);
        value["storage_path"] = storage.as_str().into();
        value["server_endpoint"] = settings.client_endpoint.as_str().into();
        value["storage_accessible"] = accessible.into();
        value["server_available"] = available.into();
        let text = || {
            format!(
                "Cache {storage}: {}\nModels: {}, {}\nService {}: {}\n",
                if accessible { "accessible" } else { "not accessible" },
                count(repos.len() as u64, "model"),
                value["total_size"].as_str().unwrap_or_default(),
                settings.client_endpoint.as_str(),
                if available { "something listens" } else { "nobody answers" },
            )
        };
        format.print(text, || value.clone())
    }
}

async fn listens(endpoint: &ServerEndpoint, timeout: Duration) -> bool {
    let Some(address) = endpoint.address() else { return false };
    matches!(tokio::time::timeout(timeout, TcpStream::connect(address)).await, Ok(Ok(_)))
}
