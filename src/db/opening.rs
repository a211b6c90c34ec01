//! Opening the database: its connections, and a clear word for everything that may be wrong with the place.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::Access;

use super::{DbError, damage, schema};

/// How the database is used.
#[derive(Debug, Clone, Copy)]
pub struct DatabaseSettings {
    /// A write-ahead log: readers and the writer never wait for each other. Else a rollback journal, and they do.
    pub wal: bool,
    /// Connections that answer questions.
    pub readers: usize,
    /// How long to wait for another process's lock.
    pub patience: Duration,
    /// Its place is this program's own: whatever lies there is, or was, its database.
    pub own_place: bool,
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self { wal: true, readers: 10, patience: Duration::from_secs(30), own_place: true }
    }
}

/// A sound database, open.
pub(super) struct Opened {
    pub(super) uuid: String,
    pub(super) is_new: bool,
    pub(super) writer: Connection,
    pub(super) readers: Vec<Connection>,
    /// Whether readers may go on while the writer writes.
    pub(super) wal: bool,
}

/// Opens what is at `path`, or makes it. [`DbError::Damaged`] if it is a database of ours no more.
pub(super) fn open(path: &Path, settings: &DatabaseSettings) -> Result<Opened, DbError> {
    check_place(path)?;
    damage::refuse_marked(path)?;
    let explain = |source| explain(path, settings, source);
    let mut writer = Connection::open(path).map_err(explain)?;
    let wal = configure(&writer, settings).map_err(explain)?;
    if schema::was_in_use(&writer).map_err(explain)? {
        quick_check(&writer, path).map_err(|error| error.about(path, settings))?;
    }
    let migrated = schema::migrate(&mut writer, path).map_err(|error| error.about(path, settings))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let reader = || {
        let reader = Connection::open_with_flags(path, flags)?;
        reader.busy_timeout(settings.patience)?;
        Ok(reader)
    };
    let readers = (0..settings.readers.max(1)).map(|_| reader()).collect::<Result<_, _>>().map_err(explain)?;
    Ok(Opened { uuid: migrated.uuid, is_new: migrated.is_new, writer, readers, wal })
}

/// Only looks.
pub(super) fn check(path: &Path, settings: &DatabaseSettings) -> Result<(), DbError> {
    check_place(path)?;
    damage::refuse_marked(path)?;
    let look = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(settings.patience)?;
        Ok(connection)
    };
    let connection = look().map_err(|source| explain(path, settings, source))?;
    schema::check(&connection, path).map_err(|error| error.about(path, settings))
}

/// Answers whether the journal is a write-ahead log.
fn configure(connection: &Connection, settings: &DatabaseSettings) -> Result<bool, rusqlite::Error> {
    connection.busy_timeout(settings.patience)?;
    let wanted = if settings.wal { "WAL" } else { "DELETE" };
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", wanted, |row| row.get(0))?;
    let wal = mode.eq_ignore_ascii_case("wal");
    if wal != settings.wal {
        tracing::warn!(wanted, mode, "the database keeps another journal than the one that database.wal_mode asks for");
    }
    // NORMAL orders commits and does not sync them: what must survive a power cut is synced before it is recorded, and a
    // record that is lost costs one more fetch. A rollback journal needs the sync to stay whole.
    connection.pragma_update(None, "synchronous", if wal { "NORMAL" } else { "FULL" })?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    Ok(wal)
}

/// After a stop that was not clean: are the pages what they should be?
fn quick_check(connection: &Connection, path: &Path) -> Result<(), DbError> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(DbError::Damaged { path: path.to_owned(), cause: found }) }
}

/// What SQLite would report in a word or two, or by trying for long.
fn check_place(path: &Path) -> Result<(), DbError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => return Err(DbError::NotAFile { path: path.to_owned() }),
        Ok(_) => check_access(path, Access::READ_OK | Access::WRITE_OK)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(DbError::Place { path: path.to_owned(), source }),
    }
    // Its journal comes to lie beside it.
    check_access(folder, Access::WRITE_OK | Access::EXEC_OK)
}

fn check_access(path: &Path, access: Access) -> Result<(), DbError> {
    use rustix::io::Errno;
    match rustix::fs::access(path, access) {
        Ok(()) => Ok(()),
        Err(cause @ (Errno::ACCESS | Errno::PERM | Errno::ROFS)) => {
            Err(DbError::ReadOnly { path: path.to_owned(), cause: io::Error::from(cause).to_string() })
        }
        Err(error) => Err(DbError::Place { path: path.to_owned(), source: error.into() }),
    }
}

fn explain(path: &Path, settings: &DatabaseSettings, source: rusqlite::Error) -> DbError {
    let path: PathBuf = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            DbError::Locked { path, waited: settings.patience }
        }
        Some(ErrorCode::ReadOnly) => DbError::ReadOnly { path, cause: source.to_string() },
        Some(ErrorCode::NotADatabase) if !settings.own_place && !damage::begins_as_database(&path) => {
            DbError::NotADatabase { path }
        }
        _ if damage::is_damage(&source) => DbError::Damaged { path, cause: source.to_string() },
        _ => DbError::Open { path, source },
    }
}

impl DbError {
    fn about(self, path: &Path, settings: &DatabaseSettings) -> Self {
        match self {
            DbError::Sqlite(source) => explain(path, settings, source),
            DbError::FoundDamaged(cause) => DbError::Damaged { path: path.to_owned(), cause },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::db::{Database, LandedBlock};
    use crate::metrics::Metrics;
    use crate::types::{BLOCK_SIZE, Blob, BlobId, BlockIndex};

    const BLOB: Blob = Blob { id: BlobId::Sha256([3; 32]), size: 64 * BLOCK_SIZE };

    fn landed(block: u32) -> Vec<LandedBlock> {
        vec![LandedBlock { block: BlockIndex(block), sum: 7 }]
    }

    fn refusal(path: &Path, settings: &DatabaseSettings) -> DbError {
        Database::open_with(path, settings, Arc::default()).err().expect("it must be refused")
    }

    #[tokio::test]
    async fn readers_and_the_writer_get_on_in_either_journal_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.db");
        for wal in [true, false, true] {
            let settings = DatabaseSettings { wal, readers: 3, ..DatabaseSettings::default() };
            let db = Arc::new(Database::open_with(&path, &settings, Arc::default()).unwrap());
            assert_eq!(folder.path().join("models.db-wal").exists(), wal);
            let readers: Vec<_> = (0..8)
                .map(|_| {
                    let db = db.clone();
                    std::thread::spawn(move || (0..50).for_each(|_| drop(db.coverage(&BLOB).unwrap())))
                })
                .collect();
            for block in 0..20 {
                db.record(BLOB, landed(block)).await.unwrap();
            }
            readers.into_iter().for_each(|reader| reader.join().unwrap());
            assert_eq!(db.coverage(&BLOB).unwrap()[0].present.count_ones(), 20);
        }
    }

    #[test]
    fn as_many_readers_are_opened_as_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let settings = DatabaseSettings { readers: 5, ..DatabaseSettings::default() };
        let opened = open(&folder.path().join("models.db"), &settings).unwrap();
        assert_eq!(opened.readers.len(), 5);
    }

    #[test]
    fn a_locked_database_is_told_of_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.db");
        drop(Database::open(&path).unwrap());
        let other = Connection::open(&path).unwrap();
        other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
        let settings = DatabaseSettings { patience: Duration::from_millis(300), ..DatabaseSettings::default() };
        let started = Instant::now();
        let error = refusal(&path, &settings);
        assert!(matches!(error, DbError::Locked { .. }), "{error}");
        assert!(started.elapsed() >= settings.patience);
        assert!(error.to_string().contains("locked") && error.to_string().contains("models.db"), "{error}");
        drop(other);
        drop(Database::open_with(&path, &settings, Arc::default()).unwrap());
    }

    #[test]
    fn what_cannot_be_a_database_is_refused_with_a_word_on_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = DatabaseSettings { own_place: false, ..DatabaseSettings::default() };
        let error = refusal(folder.path(), &elsewhere);
        assert!(matches!(error, DbError::NotAFile { .. }), "{error}");
        let text = folder.path().join("config.yaml");
        std::fs::write(&text, "cache: {}\n".repeat(1000)).unwrap();
        let error = refusal(&text, &elsewhere);
        assert!(matches!(error, DbError::NotADatabase { .. }), "{error}");
        assert!(text.exists(), "what is not ours stays where it is");
        let error = refusal(&folder.path().join("nowhere/models.db"), &elsewhere);
        assert!(error.to_string().contains("nowhere"), "{error}");
        for error in [refusal(folder.path(), &elsewhere), refusal(&text, &elsewhere)] {
            assert!(error.to_string().contains("set database.path"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_damaged_database_is_kept_aside_and_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.db");
        let first = Database::open(&path).unwrap();
        first.record(BLOB, landed(1)).await.unwrap();
        assert!(first.is_new());
        let uuid = first.uuid().to_owned();
        drop(first);
        let second = Database::open(&path).unwrap();
        assert!(!second.is_new() && second.uuid() == uuid);
        drop(second);
        for (at, damage) in [(0, [0; 4096].as_slice()), (4096, [0x5a; 4096].as_slice())] {
            std::fs::File::options().write(true).open(&path).unwrap().write_all_at(damage, at).unwrap();
            let metrics = Arc::new(Metrics::default());
            let db = Database::open_with(&path, &DatabaseSettings::default(), metrics.clone()).unwrap();
            assert!(db.is_new() && db.uuid() != uuid, "damage at {at}");
            assert_eq!(metrics.database_damages.get(), 1);
            db.record(BLOB, landed(1)).await.unwrap();
        }
        let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let kept = names.filter(|name| name.to_string_lossy().contains(".damaged-")).count();
        assert!(kept >= 2, "what was damaged is kept");
    }

    #[tokio::test]
    async fn only_a_stop_that_was_not_clean_is_followed_by_a_check() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.db");
        let in_use = || schema::was_in_use(&Connection::open(&path).unwrap()).unwrap();
        let db = Database::open(&path).unwrap();
        assert!(in_use());
        db.close().await.unwrap();
        drop(db);
        assert!(!in_use());
        drop(Database::open(&path).unwrap());
        assert!(in_use(), "it was left without a word");
    }

    #[tokio::test]
    async fn damage_found_while_in_use_has_the_next_start_make_it_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.db");
        let metrics = Arc::new(Metrics::default());
        let db = Database::open_with(&path, &DatabaseSettings::default(), metrics.clone()).unwrap();
        db.record(BLOB, landed(1)).await.unwrap();
        let corrupt = |_: &Connection| -> Result<(), rusqlite::Error> {
            Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), None))
        };
        assert!(db.read(corrupt).is_err());
        assert!(db.write(corrupt).await.is_err());
        assert_eq!(metrics.database_damages.get(), 2);
        db.close().await.unwrap();
        drop(db);
        assert!(Database::open(&path).unwrap().is_new());
        assert!(!Database::open(&path).unwrap().is_new(), "once is enough");
    }
}
