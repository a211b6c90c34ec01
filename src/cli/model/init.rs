//! `weightfs model init`

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use crate::cli::flags::DaemonFlags;
use crate::cli::format::Format;
use crate::config::Config;
use crate::daemon::directories::Directories;

const EXAMPLES: &str = "\
Examples:
  weightfs model init --cache-directory /data/weightfs
  weightfs -e http://models.example:8001 model init";

/// Make the cache directory, and a configuration file that names it and the service
///
/// What it writes is --cache-directory and --endpoint, or what is in effect without them. `weightfs config init` writes a file with
/// every setting.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct InitCommand {
    /// Where to write the configuration; without it, where weightfs looks for one
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace a configuration that is there and says something else
    #[arg(long)]
    overwrite: bool,

    #[command(flatten)]
    pub settings: DaemonFlags,
}

impl InitCommand {
    pub fn run(self, config: &Config, format: Format) -> anyhow::Result<()> {
        let storage = Directories::prepare(config)?.cache;
        let storage = storage.to_str().context("the name of the cache directory must be valid UTF-8")?;
        let endpoint = config.settings.client_endpoint.as_str();
        let path = self.output.clone().or(config.read_file.clone()).unwrap_or(config.places.config_file.clone());
        // JSON's strings are YAML's.
        let text = format!(
            "# Written by `weightfs model init`.\ncache:\n  directory: {}\nclient:\n  endpoint: {}\n",
            json!(storage),
            json!(endpoint)
        );
        self.write(&path, &text)?;
        let said = format!("{}: the cache is {storage}, the service {endpoint}\n", path.display());
        let value = json!({ "storage_path": storage, "server_endpoint": endpoint, "config_path": path });
        format.finish(&said, value, None)
    }

    fn write(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        let place = path.display();
        match std::fs::read_to_string(path) {
            Ok(there) if there == text => return Ok(()),
            Ok(_) if !self.overwrite => bail!(
                "{place}: there is a configuration already; edit it, or --overwrite replaces it, or --output FILE names another"
            ),
            _ => {}
        }
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).with_context(|| format!("{}: cannot make it", folder.display()))?;
        }
        std::fs::write(path, text).with_context(|| format!("{place}: cannot write it"))
    }
}
