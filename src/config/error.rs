//! What can be wrong with a setting.

use std::io;
use std::path::PathBuf;

use super::layers::Source;

/// Each text names the place, the key and what is allowed there.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{source_name}: `{key}` is {found}; it must be {expected}", source_name = .place)]
    BadValue { place: Source, key: &'static str, found: String, expected: String },
    #[error("{place}: there is no setting `{key}`; allowed here: {allowed}")]
    UnknownKey { place: Source, key: String, allowed: String },
    #[error("{place}: there is no setting `{key}`: {advice}")]
    ForeignKey { place: Source, key: String, advice: &'static str },
    #[error("{place}: `{key}` is given twice: as `{name}` here, and above under its other name; leave one of them")]
    Twice { place: Source, key: &'static str, name: String },
    #[error("{name}: there is no setting of that name; allowed: {allowed}")]
    UnknownVariable { name: String, allowed: String },
    #[error("{name}: its value is not valid UTF-8")]
    NotText { name: String },
    #[error("{path}: not valid YAML: {cause}")]
    Syntax { path: PathBuf, cause: String },
    #[error("{path}: cannot read the configuration: {cause}")]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("no home directory is known for uid {uid}: set HOME, or XDG_CACHE_HOME and XDG_CONFIG_HOME")]
    NoHome { uid: u32 },
    #[error("{} settings are wrong:{}", .0.len(), .0.iter().map(|fault| format!("\n  {fault}")).collect::<String>())]
    Several(Vec<ConfigError>),
}

impl ConfigError {
    /// Each by itself.
    pub fn all(&self) -> &[ConfigError] {
        match self {
            ConfigError::Several(faults) => faults,
            fault => std::slice::from_ref(fault),
        }
    }
}
