//! Sources: who says that it offers which model's weights to others. Written by the network service alone.

use rusqlite::{OptionalExtension, Row, params};

use super::{Database, DbError};

/// One worker of one source.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceRow {
    pub source_id: String,
    pub worker_id: String,
    pub worker_rank: u32,
    pub model_name: String,
    pub status: i32,
    /// How busy it says it is.
    pub load: Option<f64>,
    /// Milliseconds since 1970.
    pub updated_at: i64,
    /// Encoded, as it came.
    pub identity: Vec<u8>,
    /// What lists tell of the worker. The worker itself may take megabytes.
    pub summary: Vec<u8>,
}

const COLUMNS: &str = "source_id, worker_id, worker_rank, model_name, status, load, updated_at, identity, summary";

// The newest stay, as many as both limits allow.
const TRIM: &str = "
    DELETE FROM sources WHERE rowid IN (
        SELECT id FROM (
            SELECT rowid AS id, row_number() OVER newest_first AS number,
                   sum(length(worker) + length(identity) + length(summary)) OVER newest_first AS bytes
            FROM sources WINDOW newest_first AS (ORDER BY updated_at DESC, rowid DESC)
        ) WHERE number > ?1 OR bytes > ?2
    )";

impl Database {
    /// Workers on record, and what they take. More than that replace those that were silent longest: whoever may publish
    /// may not fill the disk.
    const SOURCES: i64 = 10_000;
    const SOURCE_BYTES: i64 = 2 << 30;

    /// Records what a worker says of itself, in place of what it said before. Those last heard of before `gone` go.
    pub async fn put_source(&self, row: SourceRow, worker: Vec<u8>, gone: i64) -> Result<(), DbError> {
        self.write(move |db| {
            db.execute("DELETE FROM sources WHERE updated_at < ?1", [gone])?;
            db.execute(
                &format!("INSERT OR REPLACE INTO sources ({COLUMNS}, worker) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"),
                params![
                    row.source_id,
                    row.worker_id,
                    row.worker_rank,
                    row.model_name,
                    row.status,
                    row.load,
                    row.updated_at,
                    row.identity,
                    row.summary,
                    worker
                ],
            )?;
            db.execute(TRIM, [Self::SOURCES, Self::SOURCE_BYTES])?;
            Ok(())
        })
        .await
    }

    /// Answers whether there is such a worker.
    pub async fn update_source(
        &self,
        source_id: &str,
        worker_id: &str,
        status: i32,
        load: Option<f64>,
        updated_at: i64,
    ) -> Result<bool, DbError> {
        let (source_id, worker_id) = (source_id.to_owned(), worker_id.to_owned());
        self.write(move |db| {
            let changed = db.execute(
                "UPDATE sources SET status = ?3, load = coalesce(?4, load), updated_at = ?5
                 WHERE source_id = ?1 AND worker_id = ?2",
                params![source_id, worker_id, status, load, updated_at],
            )?;
            Ok(changed > 0)
        })
        .await
    }

    /// The workers last heard of at `since` or later, of one source or of all; the last heard of first.
    pub fn sources(&self, source_id: Option<&str>, since: i64) -> Result<Vec<SourceRow>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM sources WHERE (?1 IS NULL OR source_id = ?1) AND updated_at >= ?2
                 ORDER BY updated_at DESC, source_id, worker_id"
            ))?;
            query.query_map(params![source_id, since], stored_source)?.collect()
        })
    }

    /// With the worker as it came.
    pub fn source(
        &self,
        source_id: &str,
        worker_id: &str,
        since: i64,
    ) -> Result<Option<(SourceRow, Vec<u8>)>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached(&format!(
                "SELECT {COLUMNS}, worker FROM sources WHERE source_id = ?1 AND worker_id = ?2 AND updated_at >= ?3"
            ))?;
            let found = |row: &Row| Ok((stored_source(row)?, row.get(9)?));
            query.query_row(params![source_id, worker_id, since], found).optional()
        })
    }
}

fn stored_source(row: &Row) -> Result<SourceRow, rusqlite::Error> {
    Ok(SourceRow {
        source_id: row.get(0)?,
        worker_id: row.get(1)?,
        worker_rank: row.get(2)?,
        model_name: row.get(3)?,
        status: row.get(4)?,
        load: row.get(5)?,
        updated_at: row.get(6)?,
        identity: row.get(7)?,
        summary: row.get(8)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(source_id: &str, worker_id: &str, updated_at: i64) -> SourceRow {
        SourceRow {
            source_id: source_id.to_owned(),
            worker_id: worker_id.to_owned(),
            worker_rank: 3,
            model_name: "acme/tiny".to_owned(),
            status: 1,
            load: None,
            updated_at,
            identity: vec![1],
            summary: vec![2],
        }
    }

    #[tokio::test]
    async fn a_worker_is_on_record_until_it_is_silent_for_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(&folder.path().join("models.db")).unwrap();
        for (worker, at) in [("one", 100), ("two", 200), ("three", 300)] {
            db.put_source(row("a", worker, at), vec![3], 0).await.unwrap();
        }
        db.put_source(row("b", "one", 150), vec![3], 0).await.unwrap();
        let workers = |source, since| {
            let rows = db.sources(source, since).unwrap();
            rows.into_iter().map(|row| row.worker_id).collect::<Vec<_>>()
        };
        assert_eq!(workers(Some("a"), 0), ["three", "two", "one"]);
        assert_eq!(workers(None, 150), ["three", "two", "one"]);
        assert!(db.update_source("a", "one", 2, Some(0.5), 400).await.unwrap());
        assert!(db.update_source("a", "one", 2, None, 410).await.unwrap());
        assert!(!db.update_source("a", "nobody", 2, None, 400).await.unwrap());
        let (one, worker) = db.source("a", "one", 0).unwrap().unwrap();
        assert_eq!(worker, [3]);
        assert_eq!((one.status, one.load, one.updated_at), (2, Some(0.5), 410));
        assert_eq!(db.source("a", "two", 201).unwrap(), None);
        db.put_source(row("a", "four", 500), vec![3], 250).await.unwrap();
        assert_eq!(workers(None, 0), ["four", "one", "three"]);
    }

    #[tokio::test]
    async fn who_publishes_too_much_replaces_what_was_silent_longest() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(&folder.path().join("models.db")).unwrap();
        for at in 1..=5 {
            db.put_source(row("a", &format!("w{at}"), at), vec![0; 100], 0).await.unwrap();
        }
        let trimmed = async |count: i64, bytes: i64| {
            db.write(move |db| db.execute(TRIM, [count, bytes])).await.unwrap();
            db.sources(None, 0).unwrap().into_iter().map(|row| row.worker_id).collect::<Vec<_>>()
        };
        assert_eq!(trimmed(4, 1 << 20).await, ["w5", "w4", "w3", "w2"]);
        assert_eq!(trimmed(4, 3 * 102).await, ["w5", "w4", "w3"]);
        assert_eq!(trimmed(1, 0).await, [] as [&str; 0]);
    }
}
