//! The directories of a daemon: made, made absolute, and refused where they cannot work.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::api::socket;
use crate::config::Config;
use crate::fs::mount::{containing_mount, is_network_fs, resolve};

#[derive(Debug, Clone)]
pub struct Directories {
    /// Without links: its text names the daemon.
    pub cache: PathBuf,
    pub database: PathBuf,
    pub runtime: PathBuf,
    pub socket: PathBuf,
    /// What a daemon in the background writes on its standard output and error.
    pub log: PathBuf,
    /// Where models lie. As the settings have it: a file server that is away must not be asked for it.
    sources: Vec<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("{path}: the {what} lies inside the weightfs mount {mount}; set {key} to a place outside it")]
    InsideOurMount { what: &'static str, key: &'static str, path: PathBuf, mount: PathBuf },
    #[error("{path}: cannot use this as the cache directory: {cause}; set cache.directory to another")]
    Cache { path: PathBuf, cause: io::Error },
    #[error(
        "{path}: the database lies on a network file system, where SQLite's locks do not hold; set database.path to a local disk"
    )]
    NetworkDatabase { path: PathBuf },
    #[error("{path}: cannot tell which file system the database is on: {cause}")]
    Database { path: PathBuf, cause: io::Error },
}

impl Directories {
    /// Decides by text first: a look into a mount of ours could wait for the daemon that is about to start.
    pub fn prepare(config: &Config) -> Result<Self, DirectoryError> {
        let settings = &config.settings;
        let cache = settings.cache_directory.as_path();
        let database = settings.database();
        outside(cache, "cache directory", "cache.directory")?;
        outside(&database, "database", "database.path")?;
        outside(&settings.runtime_directory, "runtime directory", "runtime_directory")?;
        if let Some(path) = &settings.logging_file {
            outside(path, "log", "logging.file")?;
        }
        let sources = settings.source_directories();
        for (key, path) in &sources {
            outside(path, "directory with models", key)?;
        }

        let unusable = |cause| DirectoryError::Cache { path: cache.to_owned(), cause };
        DirBuilder::new().recursive(true).mode(0o700).create(cache).map_err(unusable)?;
        let cache = fs::canonicalize(cache).map_err(unusable)?;
        let unknown = |cause| DirectoryError::Database { path: database.clone(), cause };
        if is_network_fs(&database).map_err(unknown)? {
            return Err(DirectoryError::NetworkDatabase { path: database });
        }
        let default_cache = fs::canonicalize(&config.places.cache).unwrap_or_else(|_| config.places.cache.clone());
        let socket = socket::path(&settings.runtime_directory, &default_cache, &cache);
        let log = cache.join("weightfs.log");
        let sources = sources.into_iter().map(|(_, path)| path.to_owned()).collect();
        Ok(Self { cache, database, runtime: settings.runtime_directory.clone(), socket, log, sources })
    }

    /// What the daemon works with, its own places without links.
    pub fn own_paths(&self) -> Vec<PathBuf> {
        let own = [&self.cache, &self.database, &self.socket].map(|path| resolve(path));
        own.into_iter().chain(self.sources.iter().cloned()).collect()
    }
}

fn outside(path: &Path, what: &'static str, key: &'static str) -> Result<(), DirectoryError> {
    match containing_mount(path) {
        Some(mount) => Err(DirectoryError::InsideOurMount { what, key, path: path.to_owned(), mount: mount.directory }),
        None => Ok(()),
    }
}
