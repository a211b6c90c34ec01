//! Migrations: the schema's version is SQLite's `user_version`, and only grows.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::DbError;
use crate::types::BLOCK_SIZE;

/// Migration `n` leads from version `n` to `n + 1`. Under a live mount they only add.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_care.sql"),
    include_str!("migrations/0003_renames.sql"),
    include_str!("migrations/0004_sources.sql"),
];

/// What the stored bytes depend on: a database made for other values is refused.
const FORMAT: [(&str, &str, &str); 1] = [("block_checksum", "block checksum", "xxh3-128")];

/// In `meta` while some process has the database in use.
const IN_USE: &str = "in_use";

pub(super) struct Migrated {
    pub(super) uuid: String,
    /// There was nothing before.
    pub(super) is_new: bool,
}

/// Brings the schema up to date. From now on the database is in use.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<Migrated, DbError> {
    let known = MIGRATIONS.len() as u32;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known {
        return Err(DbError::Newer { path: path.to_owned(), found, known });
    }
    for migration in &MIGRATIONS[found as usize..] {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    for (key, what, expected) in FORMAT {
        check_format(&transaction, path, key, what, expected)?;
    }
    check_format(&transaction, path, "block_size", "block size", &BLOCK_SIZE.to_string())?;
    let uuid = stored_or(&transaction, "uuid", &random_uuid())?;
    transaction.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, '1')", [IN_USE])?;
    transaction.commit()?;
    Ok(Migrated { uuid, is_new: found == 0 })
}

/// Whether this program can bring what lies there up to date. Only looks: a daemon may have it in use.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), DbError> {
    let known = MIGRATIONS.len() as u32;
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known { Err(DbError::Newer { path: path.to_owned(), found, known }) } else { Ok(()) }
}

/// Whether whoever had it last did not come to [`set_unused`].
pub(super) fn was_in_use(connection: &Connection) -> Result<bool, rusqlite::Error> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        return Ok(false);
    }
    connection.query_row("SELECT EXISTS (SELECT 1 FROM meta WHERE key = ?1)", [IN_USE], |row| row.get(0))
}

pub(super) fn set_unused(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.execute("DELETE FROM meta WHERE key = ?1", [IN_USE])?;
    Ok(())
}

fn check_format(
    connection: &Connection,
    path: &Path,
    key: &str,
    what: &'static str,
    expected: &str,
) -> Result<(), DbError> {
    let found = stored_or(connection, key, expected)?;
    if found != expected {
        return Err(DbError::Foreign { path: path.to_owned(), what, found, expected: expected.to_owned() });
    }
    Ok(())
}

fn stored_or(connection: &Connection, key: &str, first: &str) -> Result<String, rusqlite::Error> {
    let stored = connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()?;
    if let Some(value) = stored {
        return Ok(value);
    }
    connection.execute("INSERT INTO meta (key, value) VALUES (?1, ?2)", [key, first])?;
    Ok(first.to_owned())
}

fn random_uuid() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex::encode(bytes);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Database;
    use crate::types::{Blob, BlobId, Commit};

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.db");
        drop(Database::open(&path).unwrap());
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);
        let error = Database::open(&path).err().unwrap();
        assert!(matches!(error, DbError::Newer { found: 99, .. }), "{error}");
    }

    #[test]
    fn another_block_size_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.db");
        drop(Database::open(&path).unwrap());
        let connection = Connection::open(&path).unwrap();
        connection.execute("UPDATE meta SET value = '4096' WHERE key = 'block_size'", []).unwrap();
        drop(connection);
        let error = Database::open(&path).err().unwrap();
        assert!(error.to_string().contains("block size 4096"), "{error}");
    }

    #[test]
    fn a_database_keeps_its_uuid() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.db");
        let first = Database::open(&path).unwrap().uuid().to_owned();
        assert_eq!(Database::open(&path).unwrap().uuid(), first);
        assert_eq!(first.len(), 36);
    }

    #[tokio::test]
    async fn a_database_of_the_first_schema_goes_on_with_all_it_knows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        let sums: Vec<u8> = (0..64u128).flat_map(|sum| sum.to_be_bytes()).collect();
        old.execute_batch(&format!(
            "PRAGMA user_version = 1;
             INSERT INTO meta VALUES ('uuid', 'the-first'), ('block_size', '{BLOCK_SIZE}'), ('block_checksum', 'xxh3-128');
             INSERT INTO repos VALUES (1, 'http://hub', 'acme/tiny', 0, 0);
             INSERT INTO revisions VALUES (1, zeroblob(16), 'main', x'{commit}', 1700000000);
             INSERT INTO blobs (id, name, size, sha256, sealed_at, epoch, file_size, file_ctime_ns)
                VALUES (1, 'sha256:{hash}', {size}, x'{hash}', 1700000000, 3, {size}, 5);
             INSERT INTO blocks VALUES (1, 0, 3, x'{sums}', {size});
             INSERT INTO snapshots VALUES (1, 1, x'{commit}', 1600000000, 1700000000);
             INSERT INTO files VALUES (1, 'model.safetensors', 1);
             INSERT INTO views VALUES (1, '/mnt/hf');
             INSERT INTO nodes (view_id, path) VALUES (1, 'hub');",
            commit = "07".repeat(20),
            hash = "03".repeat(32),
            size = 2 * BLOCK_SIZE,
            sums = hex::encode(&sums),
        ))
        .unwrap();
        drop(old);

        let db = Database::open(&path).unwrap();
        assert!(db.uuid() == "the-first" && !db.is_new());
        let blob = Blob { id: BlobId::Sha256([3; 32]), size: 2 * BLOCK_SIZE };
        let (repo, commit) = ("acme/tiny".parse().unwrap(), Commit::from_bytes([7; 20]));
        let row = db.blob(&blob).unwrap().unwrap();
        assert_eq!((row.seal.unwrap().epoch, row.mismatches), (3, 0));
        let chunk = &db.coverage(&blob).unwrap()[0];
        assert_eq!((chunk.present, chunk.sums[1]), (3, 1));
        let list = db.snapshot("http://hub", &repo, commit).unwrap().unwrap();
        assert_eq!(
            list.files().map(|(path, blob)| (path.as_str(), blob)).collect::<Vec<_>>(),
            [("model.safetensors", blob)]
        );
        assert_eq!(db.next_to_check().unwrap(), Some((blob, 0)), "it was never checked since it is known when");
        assert_eq!(db.held_blobs().unwrap().len(), 1);
        db.mismatched(blob).await.unwrap();
        assert_eq!(db.blob(&blob).unwrap().unwrap().mismatches, 1);
        let version: u32 =
            Connection::open(&path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version as usize, MIGRATIONS.len());
    }
}
