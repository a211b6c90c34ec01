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
    /// Encoded, as they came.
    pub identity: Vec<u8>,
    pub worker: Vec<u8>,
}

const COLUMNS: &str =
    "SELECT source_id, worker_id, worker_rank, model_name, status, load, updated_at, identity, worker FROM sources";

impl Database {
    /// Sources on record. Whoever publishes more replaces those that were silent longest.
    const SOURCES: i64 = 100_000;

    /// Records what a worker says of itself, in place of what it said before. Those last heard of before `gone` go.
    pub async fn put_source(&self, row: SourceRow, gone: i64) -> Result<(), DbError> {
        self.write(move |db| {
            db.execute("DELETE FROM sources WHERE updated_at < ?1", [gone])?;
            db.execute(
                "INSERT OR REPLACE INTO sources
                 (source_id, worker_id, worker_rank, model_name, status, load, updated_at, identity, worker)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    row.source_id,
                    row.worker_id,
                    row.worker_rank,
                    row.model_name,
                    row.status,
                    row.load,
                    row.updated_at,
                    row.identity,
                    row.worker
                ],
            )?;
            db.execute(
                "DELETE FROM sources WHERE (source_id, worker_id) IN
                 (SELECT source_id, worker_id FROM sources ORDER BY updated_at DESC LIMIT -1 OFFSET ?1)",
                [Self::SOURCES],
            )?;
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
                "{COLUMNS} WHERE (?1 IS NULL OR source_id = ?1) AND updated_at >= ?2
                 ORDER BY updated_at DESC, source_id, worker_id"
            ))?;
            query.query_map(params![source_id, since], stored_source)?.collect()
        })
    }

    pub fn source(&self, source_id: &str, worker_id: &str, since: i64) -> Result<Option<SourceRow>, DbError> {
        self.read(|db| {
            let mut query =
                db.prepare_cached(&format!("{COLUMNS} WHERE source_id = ?1 AND worker_id = ?2 AND updated_at >= ?3"))?;
            query.query_row(params![source_id, worker_id, since], stored_source).optional()
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
        worker: row.get(8)?,
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
            worker: vec![2],
        }
    }

    #[tokio::test]
    async fn a_worker_is_on_record_until_it_is_silent_for_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(&folder.path().join("models.db")).unwrap();
        for (worker, at) in [("one", 100), ("two", 200), ("three", 300)] {
            db.put_source(row("a", worker, at), 0).await.unwrap();
        }
        db.put_source(row("b", "one", 150), 0).await.unwrap();
        let workers = |source, since| {
            let rows = db.sources(source, since).unwrap();
            rows.into_iter().map(|row| row.worker_id).collect::<Vec<_>>()
        };
        assert_eq!(workers(Some("a"), 0), ["three", "two", "one"]);
        assert_eq!(workers(None, 150), ["three", "two", "one"]);
        assert!(db.update_source("a", "one", 2, Some(0.5), 400).await.unwrap());
        assert!(db.update_source("a", "one", 2, None, 410).await.unwrap());
        assert!(!db.update_source("a", "nobody", 2, None, 400).await.unwrap());
        let one = db.source("a", "one", 0).unwrap().unwrap();
        assert_eq!((one.status, one.load, one.updated_at), (2, Some(0.5), 410));
        assert_eq!(db.source("a", "two", 201).unwrap(), None);
        db.put_source(row("a", "four", 500), 250).await.unwrap();
        assert_eq!(workers(None, 0), ["four", "one", "three"]);
    }
}
