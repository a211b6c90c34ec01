//! The record of what this node knows and holds: the only SQL.
//!
//! One writer thread batches what it is given into transactions; a few read-only connections answer questions at once
//! (WAL: they never wait for the writer). Called by `cache` and `tree`. No reader of model data ever waits for it.

mod blobs;
mod contents;
mod keeps;
mod nodes;
mod repos;
mod schema;
mod uses;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};

pub use blobs::{BlobRow, FileStamp, LandedBlock, Seal, StoredChunk};
pub use contents::{CachedContent, Owner};
pub use keeps::KeepRow;
pub use nodes::{NodeRow, ViewId};
pub use repos::{GrantScope, Pin, RepoAccess, RepoRow};
pub use uses::{HeldBlob, ModelId};

/// Blocks to a row of the `blocks` table.
pub const CHUNK_BLOCKS: u32 = 64;

#[derive(Debug, thiserror::Error)]
pub enum DbError {
    #[error("{path}: {source}")]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error(
        "{path}: its schema is version {found}, newer than this program's {known}: use the weightfs that wrote it, or another cache directory"
    )]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("{path}: it was made for {what} {found}, this program uses {expected}: use another cache directory")]
    Foreign { path: PathBuf, what: &'static str, found: String, expected: String },
    #[error("database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the database could not write: {0}")]
    NotWritten(String),
    #[error("the database takes no more writes; the daemon's log says why")]
    Closed,
}

/// A handle that every part shares.
pub struct Database {
    uuid: String,
    /// Closed before the writer: the last connection folds the log into the database and removes it.
    readers: Vec<Mutex<Connection>>,
    writer: writer::Writer,
    next_reader: AtomicUsize,
}

impl Database {
    const READERS: usize = 4;
    /// How long a connection waits for another process's lock.
    const BUSY: Duration = Duration::from_secs(30);

    /// Opens or creates the database at `path` and brings its schema up to date.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        let open_error = |source| DbError::Open { path: path.to_owned(), source };
        let mut connection = Connection::open(path).map_err(open_error)?;
        Self::configure(&connection).map_err(open_error)?;
        let uuid = schema::migrate(&mut connection, path)?;
        let mut readers = Vec::with_capacity(Self::READERS);
        for _ in 0..Self::READERS {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let reader = Connection::open_with_flags(path, flags).map_err(open_error)?;
            reader.busy_timeout(Self::BUSY).map_err(open_error)?;
            readers.push(Mutex::new(reader));
        }
        Ok(Self { uuid, writer: writer::Writer::start(connection), readers, next_reader: AtomicUsize::new(0) })
    }

    // NORMAL: a commit is ordered, not synced. What must survive a power cut is synced before it is recorded, and a
    // record that is lost costs one more fetch.
    fn configure(connection: &Connection) -> Result<(), rusqlite::Error> {
        connection.busy_timeout(Self::BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        connection.pragma_update(None, "journal_size_limit", 64 << 20)
    }

    /// Names this database for good; a live mount is bound to it.
    pub fn uuid(&self) -> &str {
        &self.uuid
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
        Ok(job(&connection)?)
    }
}

/// Seconds since 1970, as the tables keep time.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
