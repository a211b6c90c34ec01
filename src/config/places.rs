//! Where things are unless a setting says otherwise: the system's folders for root, the XDG ones for a user.

use std::path::{Path, PathBuf};

use super::environment::Surroundings;
use super::error::ConfigError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    pub cache: PathBuf,
    pub runtime: PathBuf,
    pub config_file: PathBuf,
}

impl Places {
    pub fn find(surroundings: &Surroundings) -> Result<Self, ConfigError> {
        if surroundings.uid == 0 {
            return Ok(Self {
                cache: "/var/cache/weightfs".into(),
                runtime: "/run/weightfs".into(),
                config_file: "/etc/weightfs/config.yaml".into(),
            });
        }
        // The XDG specification: a relative path is as none.
        let xdg = |name| surroundings.variable(name).map(Path::new).filter(|path| path.is_absolute());
        let base = |name, below_home| match (xdg(name), &surroundings.home) {
            (Some(path), _) => Ok(path.join("weightfs")),
            (None, Some(home)) => Ok(home.join(below_home).join("weightfs")),
            (None, None) => Err(ConfigError::NoHome { uid: surroundings.uid }),
        };
        let runtime = match xdg("XDG_RUNTIME_DIR") {
            Some(path) => path.join("weightfs"),
            None => format!("/tmp/weightfs-{}", surroundings.uid).into(),
        };
        Ok(Self {
            cache: base("XDG_CACHE_HOME", ".cache")?,
            runtime,
            config_file: base("XDG_CONFIG_HOME", ".config")?.join("config.yaml"),
        })
    }
}
