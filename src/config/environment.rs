//! Settings from environment variables: our own, and those that the Hub's clients know.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use mount_helper::{HOLDER_VARIABLE, STANDBY_VARIABLE};

use super::error::ConfigError;
use super::layers::{Given, Layer, Source, Written};
use super::settings::{SETTINGS, Setting, setting};

const PREFIX: &str = "WEIGHTFS_";
const CONFIG_VARIABLE: &str = "WEIGHTFS_CONFIG";
/// The descriptor on which a daemon in the background says that it is ready. Not for users.
pub const READY_VARIABLE: &str = "WEIGHTFS_READY_FD";
/// Tells a holder which daemon runs already.
pub const ADOPT_VARIABLE: &str = "WEIGHTFS_ADOPT";
/// With which a caller tells the Hub's clients to ask no network.
pub const OFFLINE_VARIABLES: [&str; 2] = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"];
/// What is no setting.
const OWN: [&str; 5] = [CONFIG_VARIABLE, READY_VARIABLE, ADOPT_VARIABLE, HOLDER_VARIABLE, STANDBY_VARIABLE];

/// What the process was started with.
#[derive(Clone)]
pub struct Surroundings {
    /// Empty variables are left out: they count as not set.
    pub variables: BTreeMap<String, String>,
    pub working_directory: PathBuf,
    pub home: Option<PathBuf>,
    pub uid: u32,
}

/// Names only: a value may be a token.
impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("variables", &self.variables.keys()).finish_non_exhaustive()
    }
}

impl Surroundings {
    pub fn current() -> Result<Self, ConfigError> {
        let mut variables = BTreeMap::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) if value.is_empty() => {}
                Ok(value) => drop(variables.insert(name, value)),
                Err(_) if name.starts_with(PREFIX) || name.starts_with("HF_") => {
                    return Err(ConfigError::NotText { name });
                }
                Err(_) => {}
            }
        }
        let working_directory = std::env::current_dir().unwrap_or_else(|_| "/".into());
        let home = std::env::home_dir().filter(|home| home.is_absolute());
        Ok(Self { variables, working_directory, home, uid: nix::unistd::geteuid().as_raw() })
    }

    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The file that `--config` or WEIGHTFS_CONFIG names. It must be there, unlike the default one.
    pub fn config_file(&self, flag: Option<PathBuf>) -> Option<PathBuf> {
        let named = flag.or_else(|| self.variable(CONFIG_VARIABLE).map(PathBuf::from));
        named.map(|path| self.absolute(&path))
    }

    pub fn absolute(&self, path: &Path) -> PathBuf {
        self.working_directory.join(path)
    }

    fn given(&self, name: &str, word: &str) -> Given {
        Given {
            written: Written::Word(word.to_owned()),
            source: Source::Environment(name.to_owned()),
            base: Some(self.working_directory.clone()),
            home: self.home.clone(),
        }
    }
}

/// `WEIGHTFS_CACHE_DIRECTORY` and its like. A name that no setting has is an error, since it was meant to do something.
pub fn own_layer(surroundings: &Surroundings) -> Result<Layer, ConfigError> {
    let mut layer = Layer::default();
    for (name, value) in surroundings.variables.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        match SETTINGS.iter().find(|setting| setting.variable() == *name) {
            Some(setting) => give(&mut layer, setting, surroundings.given(name, value))?,
            None if OWN.contains(&name.as_str()) => {}
            None if is_service_link(name, value) => {}
            None => {
                let allowed: Vec<_> = SETTINGS.iter().map(Setting::variable).collect();
                let allowed = format!("{CONFIG_VARIABLE}, {}", allowed.join(", "));
                return Err(ConfigError::UnknownVariable { name: name.clone(), allowed });
            }
        }
    }
    Ok(layer)
}

/// Kubernetes sets `NAME_SERVICE_HOST`, `NAME_PORT=tcp://…` and more for every service; one may be called `weightfs`.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_address = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let of_a_port = ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| name.contains(protocol)) && name.contains("_PORT_");
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT") && is_address
        || of_a_port
}

/// HF_ENDPOINT, HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE, read as the Hub's own clients read them. Those that say where a
/// token is are for [`super::token`].
pub fn hub_layer(surroundings: &Surroundings) -> Result<Layer, ConfigError> {
    let mut layer = Layer::default();
    if let (Some(value), Some(setting)) = (surroundings.variable("HF_ENDPOINT"), setting("hub.endpoint")) {
        give(&mut layer, setting, surroundings.given("HF_ENDPOINT", value))?;
    }
    let first = OFFLINE_VARIABLES.into_iter().find_map(|name| surroundings.variable(name).map(|value| (name, value)));
    if let (Some((name, value)), Some(setting)) = (first, setting("hub.offline")) {
        // Any other word means no to the clients; it must not be an error here.
        let on = ["1", "on", "yes", "true"].contains(&value.to_ascii_lowercase().as_str());
        give(&mut layer, setting, surroundings.given(name, if on { "true" } else { "false" }))?;
    }
    Ok(layer)
}

fn give(layer: &mut Layer, setting: &'static Setting, given: Given) -> Result<(), ConfigError> {
    setting.check(&given)?;
    layer.0.insert(setting.key, given);
    Ok(())
}
