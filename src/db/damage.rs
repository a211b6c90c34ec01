//! A database that is damaged: noticed, kept aside for whoever wants to look at it, and made anew.
//!
//! What it said of names comes again from the Hub, what it said of contents from the contents themselves.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::ErrorCode;

use super::{DbError, now};
use crate::metrics::Metrics;
use crate::types::{Commit, RepoId};

/// What lies beside a database and belongs to it.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];
/// Beside a database that was found damaged while it was in use.
const MARK: &str = "-damaged";
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Whether an error says that the file does not hold what was written to it.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    let corrupt = matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase));
    corrupt || is_strange_value(error) || is_strange_schema(error)
}

/// Whether a table or column that was there when the schema was made is not there any more.
fn is_strange_schema(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqlInputError { .. } => true,
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.starts_with("no such "),
        _ => false,
    }
}

/// Whether a value is of no kind that is ever written there.
pub(super) fn is_strange_value(error: &rusqlite::Error) -> bool {
    use rusqlite::Error;
    matches!(
        error,
        Error::InvalidColumnType(..)
            | Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::Utf8Error(..)
    )
}

/// Whether a file is, or was, a database: others are not ours to move.
pub(super) fn begins_as_database(path: &Path) -> bool {
    let mut start = [0; MAGIC.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && &start == MAGIC
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Takes note of damage while the database is in use.
pub(super) struct Watch {
    path: PathBuf,
    metrics: Arc<Metrics>,
    seen: AtomicBool,
}

impl Watch {
    pub(super) fn new(path: &Path, metrics: Arc<Metrics>) -> Self {
        Self { path: path.to_owned(), metrics, seen: AtomicBool::new(false) }
    }

    pub(super) fn is_sound(&self) -> bool {
        !self.seen.load(Ordering::Acquire)
    }

    /// A file list is not what was recorded. It is asked for again, and nothing else is in doubt.
    pub(super) fn damaged_list(&self, repo: &RepoId, commit: Commit) {
        self.metrics.database_damages.add(1);
        tracing::warn!(%repo, %commit, "the recorded file list is damaged; the Hub is asked for it again");
    }

    /// The first damage is said aloud, and the next start is told of it.
    pub(super) fn look_at(&self, error: &rusqlite::Error) {
        if !is_damage(error) {
            return;
        }
        self.metrics.database_damages.add(1);
        if self.seen.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::error!(
            path = %self.path.display(), %error,
            "the database is damaged; unmount and mount again: it is then rebuilt from the contents in the cache"
        );
        if let Err(error) = File::create(beside(&self.path, MARK)) {
            tracing::warn!(%error, "the next start must find the damage by itself");
        }
    }
}

/// Whether it was found damaged when it was last in use.
pub(super) fn refuse_marked(path: &Path) -> Result<(), DbError> {
    if beside(path, MARK).exists() {
        let cause = "it was found damaged while it was in use".to_owned();
        return Err(DbError::Damaged { path: path.to_owned(), cause });
    }
    Ok(())
}

/// Moves a damaged database out of the way, with all that belongs to it. Answers where it is now.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, DbError> {
    let aside = (0..)
        .map(|more| beside(path, &format!(".damaged-{}", now() + more)))
        .find(|aside| !aside.exists())
        .expect("some second is free");
    let moved = |from: &Path, to: &Path| match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        moved => moved,
    };
    let all = || -> io::Result<()> {
        // The log first: left behind, it would be taken for that of the new database.
        for companion in COMPANIONS {
            moved(&beside(path, companion), &beside(&aside, companion))?;
        }
        moved(path, &aside)?;
        match fs::remove_file(beside(path, MARK)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    };
    all().map_err(|source| DbError::Place { path: path.to_owned(), source })?;
    Ok(aside)
}
