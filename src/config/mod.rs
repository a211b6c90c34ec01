//! What may be set, and what it is set to: defaults < YAML file < environment < command line, merged key by key.
//!
//! `settings` is the one table; names of environment variables, checks, flags and docs/CONFIGURATION.md derive from it.
//! A wrong key or value is an error that says where it stands and what is allowed; nothing falls back silently.

mod environment;
mod error;
mod faults;
mod file;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod layers;
mod model_express;
mod places;
mod reference;
mod sample;
mod settings;
mod sources;
mod token;
mod value;

pub use environment::{ADOPT_VARIABLE, OFFLINE_VARIABLES, READY_VARIABLE, Surroundings};
pub use error::ConfigError;
pub use layers::{Given, Layer, Source, Written};
pub use places::Places;
pub use reference::reference;
pub use sample::sample;
pub use settings::{Flag, SETTINGS, Setting, Settings, setting};
pub use sources::ChainPlace;
pub use value::{
    CheckedReads, Endpoint, Host, LogFormat, LogLevel, PassthroughWish, PathStyleWish, ProofTime, Seconds,
    ServerEndpoint, XetUse,
};

use std::path::PathBuf;

use faults::Faults;

/// The settings of one run and where each came from.
#[derive(Debug, Clone)]
pub struct Config {
    pub settings: Settings,
    pub places: Places,
    pub surroundings: Surroundings,
    /// That of `--config`.
    pub file: Option<PathBuf>,
    /// The file that was read.
    pub read_file: Option<PathBuf>,
    /// What somebody should know who looks for why a setting has no effect.
    pub remarks: Vec<String>,
    /// Highest first; the command line is always there.
    layers: Vec<Layer>,
}

impl Config {
    /// Reads the file and the environment and lays `command_line` over them. `file` is that of `--config`. The error tells all
    /// that is wrong.
    pub fn load(command_line: Layer, file: Option<PathBuf>, surroundings: Surroundings) -> Result<Self, ConfigError> {
        let places = Places::find(&surroundings)?;
        let mut faults = Faults::default();
        let (model_express, remarks) = environment::model_express_layer(&surroundings, &mut faults);
        let own = environment::own_layer(&surroundings, &mut faults);
        let mut layers = vec![command_line, own, model_express, environment::hub_layer(&surroundings, &mut faults)];
        let named = surroundings.config_file(file.clone());
        let read_file = named.or_else(|| Some(places.config_file.clone()).filter(|path| path.exists()));
        if let Some(path) = &read_file {
            layers.push(file::read(path, &surroundings, &mut faults));
        }
        faults.into_result()?;
        let settings = Settings::from_layers(&layers, &places)?;
        Ok(Self { settings, places, surroundings, file, read_file, remarks, layers })
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
