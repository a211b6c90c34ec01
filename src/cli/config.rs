//! `weightfs config …`

use std::io::{IsTerminal, Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use comfy_table::Cell;
use serde_json::{Value, json};

use crate::config::{Config, ConfigError, Layer, Places, Source, Surroundings, sample};

use super::flags::CommonFlags;
use super::format::Format;
use super::table;

const EXAMPLES: &str = "\
Examples:
  weightfs config init                     Write a file with every setting, to be edited
  weightfs config show                     What is set, and by what
  weightfs config show --format json | jq '.settings[] | select(.layer != \"default\")'
  weightfs config validate model-express.yaml";

/// Write, show and check the configuration
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ConfigCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write a file with every setting and its default, none of them set
    Init {
        /// Where to; `-` is standard output. Without it, where weightfs looks for it
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,

        /// Replace a file that is there
        #[arg(long)]
        overwrite: bool,
    },
    /// Print each setting, its value and where that comes from
    ///
    /// Flags of this command count as they would for another one. Tokens are no settings and are never shown.
    Show,
    /// Check a file and the environment; exit status 0 or 1
    Validate {
        /// A YAML file; without it the one that would be read
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

impl ConfigCommand {
    pub fn run(self, common: &CommonFlags, surroundings: &Surroundings, format: Format) -> anyhow::Result<()> {
        let load = |file| Config::load(common.layer.clone(), file, surroundings.clone());
        match self.verb {
            Verb::Init { output, overwrite } => {
                let places = Places::find(surroundings)?;
                let output = output.or_else(|| common.config.clone()).unwrap_or_else(|| places.config_file.clone());
                init(&output, &sample(&places)?, overwrite, format)
            }
            Verb::Show => {
                let config = load(common.config.clone())?;
                format.print(|| text(&config), || show(&config))
            }
            Verb::Validate { file } => validate(load(file.or_else(|| common.config.clone())), format),
        }
    }
}

/// For `--validate-config` with the flags of any command in `layer`.
pub fn validate_all(common: &CommonFlags, layer: Layer, surroundings: &Surroundings) -> anyhow::Result<()> {
    validate(Config::load(layer, common.config.clone(), surroundings.clone()), common.format)
}

/// A wrong setting is what was asked for here, and not a wrong use of the command.
fn validate(config: Result<Config, ConfigError>, format: Format) -> anyhow::Result<()> {
    let config = match config {
        Ok(config) => config,
        Err(error) if format.is_human() => bail!("{error}"),
        Err(error) => {
            let errors: Vec<_> = error.all().iter().map(ConfigError::to_string).collect();
            return format.finish("", json!({ "valid": false, "errors": errors }), Some(error.to_string()));
        }
    };
    let mut lines = String::new();
    for remark in &config.remarks {
        lines.push_str(&format!("{remark}\n"));
    }
    lines.push_str("Configuration is valid ✓\n\n");
    lines.push_str(&text(&config));
    let mut value = show(&config);
    value["valid"] = true.into();
    format.finish(&lines, value, None)
}

fn init(output: &Path, text: &str, overwrite: bool, format: Format) -> anyhow::Result<()> {
    if output == Path::new("-") {
        return super::print(text);
    }
    let place = output.display();
    if let Some(folder) = output.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("{}: cannot make it", folder.display()))?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true);
    match overwrite {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    let mut file = match options.open(output) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{place}: it is there already; --overwrite replaces it, --output FILE names another one")
        }
        Err(error) => bail!("{place}: cannot write it: {error}"),
    };
    file.write_all(text.as_bytes()).with_context(|| format!("{place}: cannot write it"))?;
    format.finish(&format!("{place} is written; nothing is set in it yet\n"), json!({ "path": output }), None)
}

fn text(config: &Config) -> String {
    let mut table = table::table(&["SETTING", "VALUE", "FROM"], stdout().is_terminal());
    for (setting, value) in config.settings.values() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let from = config.source(setting.key).map_or_else(|| "default".to_owned(), Source::to_string);
        table.add_row([Cell::new(setting.key), Cell::new(value), Cell::new(from)]);
    }
    let mut text = String::new();
    table::push(&mut text, table);
    text
}

fn show(config: &Config) -> Value {
    let row = |(setting, value): (&crate::config::Setting, Value)| {
        let mut row = json!({ "key": setting.key, "value": value, "variable": setting.variable() });
        match config.source(setting.key) {
            None => row["layer"] = "default".into(),
            Some(Source::CommandLine(_)) => row["layer"] = "command line".into(),
            Some(Source::Environment(_)) => row["layer"] = "environment".into(),
            Some(Source::File { path, line }) => {
                row["layer"] = "file".into();
                row["file"] = path.display().to_string().into();
                row["line"] = (*line).into();
            }
        }
        row["from"] = config.source(setting.key).map(Source::to_string).into();
        row
    };
    json!({
        "config_file": config.read_file,
        "remarks": config.remarks,
        "settings": config.settings.values().into_iter().map(row).collect::<Vec<_>>(),
    })
}
