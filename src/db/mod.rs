//! The record of what this node knows and holds: the only SQL.
//!
//! One writer thread batches what it is given into transactions; a few read-only connections answer questions at once
//! (with a write-ahead log they never wait for the writer). Called by `cache` and `tree`. No reader of model data ever waits for it.

mod blobs;
mod contents;
mod damage;
mod keeps;
mod lists;
mod nodes;
mod opening;
mod renames;
mod repos;
mod schema;
mod sources;
#[cfg(test)]
pub mod trouble;
mod uses;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, RwLock};
use rusqlite::Connection;

pub use blobs::{BlobRow, FileStamp, LandedBlock, Seal, StoredChunk};
pub use contents::{CachedContent, Owner};
pub use keeps::KeepRow;
pub use nodes::{NodeRow, ViewId};
pub use opening::DatabaseSettings;
pub use renames::{Begun, RequestNumber};
pub use repos::{GrantScope, Pin, RepoAccess, RepoRow};
pub use sources::SourceRow;
pub use uses::{HeldBlob, ModelId};

use crate::metrics::Metrics;

/// Blocks to a row of the `blocks` table.
pub const CHUNK_BLOCKS: u32 = 64;

#[derive(Debug, thiserror::Error)]
pub enum DbError {
    #[error("{path}: the database cannot be opened: {source}; set database.path to another place if this stays so")]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error("{path}: the database cannot lie here: {source}; set database.path to another place")]
    Place { path: PathBuf, source: std::io::Error },
    #[error(
        "{path}: this is no file, so it cannot be the database; move it away or set database.path to another place"
    )]
    NotAFile { path: PathBuf },
    #[error(
        "{path}: this file is no database; set database.path to another place, or, if it once was weightfs's database, move it away: a new one is then made from the contents in the cache"
    )]
    NotADatabase { path: PathBuf },
    #[error(
        "{path}: the database cannot be written to: {cause}; give this user the right to write it and its folder, or set database.path to another place"
    )]
    ReadOnly { path: PathBuf, cause: String },
    #[error(
        "{path}: another process keeps the database locked, for {} s by now; end that process (`fuser -v {path}` shows it), or set database.path to another place", waited.as_secs()
    )]
    Locked { path: PathBuf, waited: Duration },
    #[error(
        "{path}: the database is damaged: {cause}; move it away: a new one is then made from the contents in the cache"
    )]
    Damaged { path: PathBuf, cause: String },
    #[error(
        "{path}: its schema is version {found}, newer than this program's {known}: use the weightfs that wrote it, or another cache directory"
    )]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("{path}: it was made for {what} {found}, this program uses {expected}: use another cache directory")]
    Foreign { path: PathBuf, what: &'static str, found: String, expected: String },
    #[error(
        "the database is damaged: {0}; unmount and mount again: it is then made anew from the contents in the cache"
    )]
    FoundDamaged(String),
    #[error("database: {0}")]
    Sqlite(rusqlite::Error),
    #[error("the database could not write: {0}")]
    NotWritten(String),
    #[error("the database takes no more writes; the daemon's log says why")]
    Closed,
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        if damage::is_damage(&error) { DbError::FoundDamaged(error.to_string()) } else { DbError::Sqlite(error) }
    }
}

/// A handle that every part shares.
pub struct Database {
    uuid: String,
    is_new: bool,
    /// Closed before the writer: the last connection folds the log into the database and removes it.
    readers: Vec<Mutex<Connection>>,
    writer: writer::Writer,
    next_reader: AtomicUsize,
    /// Without a write-ahead log readers and the writer take turns.
    turns: Option<Arc<RwLock<()>>>,
    watch: Arc<damage::Watch>,
}

impl Database {
    /// Opens or creates the database at `path`, with the usual settings.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        Self::open_with(path, &DatabaseSettings::default(), Arc::default())
    }

    /// Whether a daemon of this program could open what lies at `path`, while another one may have it in use. Changes
    /// nothing.
    pub fn check(path: &Path, settings: &DatabaseSettings) -> Result<(), DbError> {
        opening::check(path, settings)
    }

    /// Opens or creates the database at `path` and brings its schema up to date. A damaged one is moved aside and a new
    /// one takes its place; see [`Database::is_new`].
    pub fn open_with(path: &Path, settings: &DatabaseSettings, metrics: Arc<Metrics>) -> Result<Self, DbError> {
        let opened = match opening::open(path, settings) {
            Err(DbError::Damaged { cause, .. }) => {
                let aside = damage::set_aside(path)?;
                metrics.database_damages.add(1);
                tracing::error!(
                    path = %path.display(), cause, kept = %aside.display(),
                    "the database is damaged: it is kept aside, and a new one is made from the contents in the cache"
                );
                opening::open(path, settings)?
            }
            opened => opened?,
        };
        let watch = Arc::new(damage::Watch::new(path, metrics));
        let turns = (!opened.wal).then(Arc::<RwLock<()>>::default);
        Ok(Self {
            uuid: opened.uuid,
            is_new: opened.is_new,
            readers: opened.readers.into_iter().map(Mutex::new).collect(),
            writer: writer::Writer::start(opened.writer, turns.clone(), watch.clone()),
            next_reader: AtomicUsize::new(0),
            turns,
            watch,
        })
    }

    /// Names this database for good; a live mount is bound to it.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// Whether it was empty when it was opened: then what lies in the cache is not on record.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Says that nothing is written any more. A database that was left without this word is checked when it is opened.
    pub async fn close(&self) -> Result<(), DbError> {
        if self.watch.is_sound() { self.write(schema::set_unused).await } else { Ok(()) }
    }

    /// Runs `job` inside the next transaction and answers once that is committed.
    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, DbError> {
        self.writer.submit(job).await
    }

    fn read<T>(&self, job: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>) -> Result<T, DbError> {
        let turn = self.next_reader.fetch_add(1, Ordering::Relaxed);
        let idle = self.readers.iter().find_map(|reader| reader.try_lock());
        let connection = idle.unwrap_or_else(|| self.readers[turn % self.readers.len()].lock());
        let _turn = self.turns.as_ref().map(|turns| turns.read());
        let answer = job(&connection);
        answer.inspect_err(|error| self.watch.look_at(error)).map_err(DbError::from)
    }
}

/// Seconds since 1970, as most tables keep time.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
