//! What an existing ModelExpress deployment calls the settings: its variables and the keys of its file.
//!
//! The table of settings stays the only one; what is here are other names for its rows, and advice where there is none.

use super::settings::{SETTINGS, Setting, setting};

/// Of the original's variables, and of ours under their derived names.
pub const PREFIX: &str = "MODEL_EXPRESS_";
pub const CONFIG_VARIABLE: &str = "MODEL_EXPRESS_CONFIG";

/// The original's own names, where they are not what the key gives.
const VARIABLES: &[(&str, &str)] = &[
    ("MODEL_EXPRESS_CACHE_PATH", "cache.directory"),
    ("MODEL_EXPRESS_ENDPOINT", "client.endpoint"),
    ("MODEL_EXPRESS_LOG_FORMAT", "logging.format"),
    ("MODEL_EXPRESS_LOG_LEVEL", "logging.level"),
    ("MODEL_EXPRESS_TIMEOUT", "client.timeout_seconds"),
];

/// For its clients, which may run beside us: nothing that we should do.
const OF_CLIENTS: &[&str] = &[
    "CONNECT_WAIT_SECS",
    "NO_SHARED_STORAGE",
    "PATH",
    "S3_TIMEOUT_SECS",
    "SERVER_ENDPOINT",
    "TRANSFER_CHUNK_SIZE",
    "URL",
];

/// What a variable with [`PREFIX`] means.
pub enum Meaning {
    Setting(&'static Setting),
    /// For another program.
    Foreign,
    Unknown,
}

pub fn meaning(variable: &str) -> Meaning {
    let other_name = || VARIABLES.iter().find(|(name, _)| *name == variable).and_then(|(_, key)| setting(key));
    match SETTINGS.iter().find(|setting| setting.alias() == variable).or_else(other_name) {
        Some(setting) => Meaning::Setting(setting),
        None if variable == CONFIG_VARIABLE => Meaning::Foreign,
        None if variable.strip_prefix(PREFIX).is_some_and(|rest| OF_CLIENTS.contains(&rest)) => Meaning::Foreign,
        None => Meaning::Unknown,
    }
}

/// Keys of its file that mean a setting of ours under another name.
const KEYS: &[(&str, &str)] = &[
    ("cache.eviction.check_interval", "cache.eviction.check_interval_seconds"),
    ("cache.eviction.policy.unused_threshold", "cache.eviction.policy.unused_threshold_seconds"),
];

pub fn key(key: &str) -> Option<&'static Setting> {
    KEYS.iter().find(|(theirs, _)| *theirs == key).and_then(|(_, ours)| setting(ours))
}

/// Names the one policy that there is, in the original and here.
pub const POLICY_KEY: &str = "cache.eviction.policy.type";
pub const POLICY: &str = "lru";

/// Keys of its files that cannot be taken over as they are, and what to do about them.
const ADVICE: &[(&str, &str)] = &[
    ("local_path", "write it as `cache.directory`"),
    ("security", "take it out: who may ask is decided by the network that the service listens on"),
    ("server_endpoint", "write it as `client.endpoint`"),
    ("shared_storage", "take it out: what is mounted is always shared"),
    ("timeout_secs", "write it as `client.timeout_seconds`"),
    ("transfer_chunk_size", "take it out: it is up to who asks"),
];

pub fn advice(key: &str) -> Option<&'static str> {
    ADVICE.iter().find(|(theirs, _)| *theirs == key).map(|(_, advice)| *advice)
}
