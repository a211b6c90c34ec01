//! What may be set, and what it is set to: defaults < YAML file < environment < command line, merged key by key.
//!
//! `settings` is the one table; names of environment variables, checks, flags and docs/CONFIGURATION.md derive from it.
//! A wrong key or value is an error that says where it stands and what is allowed; nothing falls back silently.

mod environment;
mod error;
mod file;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod layers;
mod places;
mod reference;
mod settings;
mod token;
mod value;

pub use environment::{ADOPT_VARIABLE, OFFLINE_VARIABLES, READY_VARIABLE, Surroundings};
pub use error::ConfigError;
pub use layers::{Given, Layer, Source, Written};
pub use places::Places;
pub use reference::reference;
pub use settings::{Flag, SETTINGS, Setting, Settings, setting};
pub use value::{CheckedReads, Endpoint, Host, LogFormat, LogLevel, PassthroughWish, ProofTime, Seconds};

use std::path::PathBuf;

/// The settings of one run and where each came from.
#[derive(Debug, Clone)]
pub struct Config {
    pub settings: Settings,
    pub places: Places,
    pub surroundings: Surroundings,
    /// That of `--config`.
    pub file: Option<PathBuf>,
    /// Highest first; the command line is always there.
    layers: Vec<Layer>,
}

impl Config {
    /// Reads the file and the environment and lays `command_line` over them. `file` is that of `--config`.
    pub fn load(command_line: Layer, file: Option<PathBuf>, surroundings: Surroundings) -> Result<Self, ConfigError> {
        let places = Places::find(&surroundings)?;
        let mut layers =
            vec![command_line, environment::own_layer(&surroundings)?, environment::hub_layer(&surroundings)?];
        if let Some(path) = surroundings.config_file(file.clone()) {
            layers.push(file::read(&path, &surroundings)?);
        } else if places.config_file.exists() {
            layers.push(file::read(&places.config_file, &surroundings)?);
        }
        let settings = Settings::from_layers(&layers, &places)?;
        Ok(Self { settings, places, surroundings, file, layers })
    }

    /// What flags gave.
    pub fn command_line(&self) -> &Layer {
        &self.layers[0]
    }

    /// Where the value of `key` came from; `None` is the default.
    pub fn source(&self, key: &str) -> Option<&Source> {
        layers::highest(&self.layers, key).map(|given| &given.source)
    }
}

#[cfg(test)]
mod tests;
