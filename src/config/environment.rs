//! Settings from environment variables: our own, and those that the Hub's clients know.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use mount_helper::{HOLDER_VARIABLE, STANDBY_VARIABLE};

use super::error::ConfigError;
use super::faults::Faults;
use super::layers::{Given, Layer, Source, Written};
use super::model_express::{self, Meaning};
use super::settings::{SETTINGS, Setting, setting};

const PREFIX: &str = "WEIGHTFS_";
const CONFIG_VARIABLE: &str = "WEIGHTFS_CONFIG";
/// The descriptor on which a daemon in the background says that it is ready. Not for users.
pub const READY_VARIABLE: &str = "WEIGHTFS_READY_FD";
/// Tells a holder which daemon runs already.
pub const ADOPT_VARIABLE: &str = "WEIGHTFS_ADOPT";
/// With which a caller tells the Hub's clients to ask no network.
const DISABLE_XET: &str = "HF_HUB_DISABLE_XET";
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
                Err(_) if [PREFIX, model_express::PREFIX, "HF_"].iter().any(|prefix| name.starts_with(prefix)) => {
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

    /// The file that `--config` or a variable names. It must be there, unlike the default one.
    pub fn config_file(&self, flag: Option<PathBuf>) -> Option<PathBuf> {
        let by_variable =
            || [CONFIG_VARIABLE, model_express::CONFIG_VARIABLE].iter().find_map(|name| self.variable(name));
        let named = flag.or_else(|| by_variable().map(PathBuf::from));
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
pub(super) fn own_layer(surroundings: &Surroundings, faults: &mut Faults) -> Layer {
    let mut layer = Layer::default();
    for (name, value) in surroundings.variables.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        match SETTINGS.iter().find(|setting| setting.variable() == *name) {
            // Before anything else: a service may be called weightfs-server, and WEIGHTFS_SERVER_PORT is a setting.
            _ if is_service_link(name, value) => {}
            Some(setting) => give(&mut layer, setting, surroundings.given(name, value), faults),
            None if OWN.contains(&name.as_str()) => {}
            None => {
                let allowed: Vec<_> = SETTINGS.iter().map(Setting::variable).collect();
                let allowed = format!("{CONFIG_VARIABLE}, {}", allowed.join(", "));
                faults.add(ConfigError::UnknownVariable { name: name.clone(), allowed });
            }
        }
    }
    layer
}

/// The settings under the names that a ModelExpress deployment has for them, and what is to be told of the others. They
/// are no errors: the variables of its other programs may stand beside ours.
pub(super) fn model_express_layer(surroundings: &Surroundings, faults: &mut Faults) -> (Layer, Vec<String>) {
    let (mut layer, mut remarks) = (Layer::default(), Vec::new());
    let variables = surroundings.variables.iter().filter(|(name, _)| name.starts_with(model_express::PREFIX));
    for (name, value) in variables.filter(|(name, value)| !is_service_link(name, value)) {
        match model_express::meaning(name) {
            // The name that follows from the key comes first in the alphabet, and wins.
            Meaning::Setting(setting) if layer.0.contains_key(setting.key) => {
                faults.good(setting.check(&surroundings.given(name, value)));
            }
            Meaning::Setting(setting) => give(&mut layer, setting, surroundings.given(name, value), faults),
            Meaning::Foreign => {}
            Meaning::Unknown => {
                remarks
                    .push(format!("{name} names no setting and has no effect; `weightfs config show` has all names"));
            }
        }
    }
    (layer, remarks)
}

/// Kubernetes sets `NAME_SERVICE_HOST`, `NAME_PORT=tcp://…` and more for every service of a namespace; one may be called
/// `weightfs`, `model-express` or `model-express-server`.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    // NAME_PORT_8001_TCP and, below it, _PROTO, _PORT and _ADDR.
    let of_a_port = name.match_indices("_PORT_").any(|(at, marker)| {
        let mut parts = name[at + marker.len()..].splitn(3, '_');
        parts.next().is_some_and(is_number)
            && parts.next().is_some_and(|protocol| ["TCP", "UDP", "SCTP"].contains(&protocol))
            && parts.next().is_none_or(|rest| ["PROTO", "PORT", "ADDR"].contains(&rest))
    });
    let number = name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_");
    name.ends_with("_SERVICE_HOST") || number && is_number(value) || name.ends_with("_PORT") && is_url || of_a_port
}

/// HF_ENDPOINT, HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE and HF_HUB_DISABLE_XET, read as the Hub's own clients read them. Those that say where a
/// token is are for [`super::token`].
pub(super) fn hub_layer(surroundings: &Surroundings, faults: &mut Faults) -> Layer {
    let mut layer = Layer::default();
    if let (Some(value), Some(setting)) = (surroundings.variable("HF_ENDPOINT"), setting("hub.endpoint")) {
        give(&mut layer, setting, surroundings.given("HF_ENDPOINT", value), faults);
    }
    let first = OFFLINE_VARIABLES.into_iter().find_map(|name| surroundings.variable(name).map(|value| (name, value)));
    if let (Some((name, value)), Some(setting)) = (first, setting("hub.offline")) {
        give(&mut layer, setting, surroundings.given(name, if is_on(value) { "true" } else { "false" }), faults);
    }
    if let (Some(value), Some(setting)) = (surroundings.variable(DISABLE_XET), setting("origin.xet"))
        && is_on(value)
    {
        give(&mut layer, setting, surroundings.given(DISABLE_XET, "never"), faults);
    }
    layer
}

/// Any other word means no to the clients; it must not be an error here.
fn is_on(value: &str) -> bool {
    ["1", "on", "yes", "true"].contains(&value.to_ascii_lowercase().as_str())
}

fn give(layer: &mut Layer, setting: &'static Setting, given: Given, faults: &mut Faults) {
    if faults.good(setting.check(&given)).is_some() {
        layer.0.insert(setting.key, given);
    }
}
