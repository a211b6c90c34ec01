//! What lies on this disk and when it was last used: what eviction decides by.

use rusqlite::{Connection, OptionalExtension, params};

use super::blobs::{key, stored_blob};
use super::{Database, DbError, now};
use crate::types::Blob;

/// A content of which something is on this disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldBlob {
    pub blob: Blob,
    pub bytes: u64,
    /// Seconds since 1970.
    pub used_at: u64,
}

/// A repository, as far as it is told from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelId(i64);

impl ModelId {
    #[cfg(test)]
    pub fn test(number: i64) -> Self {
        Self(number)
    }
}

impl Database {
    /// Every content of which something is on record.
    pub fn held_blobs(&self) -> Result<Vec<HeldBlob>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT name, size, cached_bytes, coalesce(used_at, ?1) FROM blob_coverage
                 JOIN blobs ON blobs.id = blob_id WHERE cached_bytes > 0",
            )?;
            let rows = query.query_map([now() as i64], |row| {
                let Some(blob) = stored_blob(row)? else { return Ok(None) };
                let (bytes, used_at): (i64, i64) = (row.get(2)?, row.get(3)?);
                Ok(Some(HeldBlob { blob, bytes: bytes as u64, used_at: used_at as u64 }))
            })?;
            rows.filter_map(Result::transpose).collect()
        })
    }

    /// Which repositories name which of the contents on this disk.
    pub fn models(&self) -> Result<Vec<(ModelId, Blob)>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT DISTINCT name, size, repo_id FROM blob_coverage
                 JOIN blobs ON blobs.id = blob_coverage.blob_id
                 JOIN files ON files.blob_id = blobs.id
                 JOIN snapshots ON snapshots.id = snapshot_id
                 WHERE cached_bytes > 0",
            )?;
            let rows = query.query_map([], |row| Ok(stored_blob(row)?.map(|blob| (row.get(2).map(ModelId), blob))))?;
            rows.filter_map(Result::transpose).map(|row| row.and_then(|(model, blob)| Ok((model?, blob)))).collect()
        })
    }

    /// Contents that were used, and when. What is no longer known is passed over.
    pub async fn used(&self, uses: Vec<(Blob, u64)>) -> Result<(), DbError> {
        self.write(move |db| {
            let mut update = db.prepare_cached("UPDATE blobs SET used_at = ?3 WHERE name = ?1 AND size = ?2")?;
            for (blob, at) in uses {
                let (name, size) = key(&blob);
                update.execute(params![name, size, at as i64])?;
            }
            Ok(())
        })
        .await
    }

    /// Nothing of this content is on this disk any more. Its number of sealings stays: the kernel knows it.
    pub async fn strike_off(&self, blob: Blob) -> Result<(), DbError> {
        self.write(move |db| {
            let Some(row) = row_of(db, &blob)? else { return Ok(()) };
            db.execute("DELETE FROM blocks WHERE blob_id = ?1", [row])?;
            db.execute("UPDATE blobs SET sealed_at = NULL, sha256 = NULL, mismatches = 0 WHERE id = ?1", [row])?;
            Ok(())
        })
        .await
    }
}

fn row_of(db: &Connection, blob: &Blob) -> Result<Option<i64>, rusqlite::Error> {
    db.prepare_cached("SELECT id FROM blobs WHERE name = ?1 AND size = ?2")?
        .query_row(key(blob), |row| row.get(0))
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{FileStamp, LandedBlock};
    use crate::types::{BLOCK_SIZE, BlobId, BlockIndex};

    #[tokio::test]
    async fn what_is_struck_off_is_neither_held_nor_sealed_and_its_sealings_go_on_counting() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(&folder.path().join("models.db")).unwrap();
        let blob = |byte| Blob { id: BlobId::Sha256([byte; 32]), size: BLOCK_SIZE };
        for byte in [1, 2] {
            db.record(blob(byte), vec![LandedBlock { block: BlockIndex(0), sum: 5 }]).await.unwrap();
        }
        let file = FileStamp { size: BLOCK_SIZE, ctime_ns: 5 };
        let first = db.seal(blob(1), [1; 32], file).await.unwrap();
        db.used(vec![(blob(1), 70), (blob(2), 80), (blob(3), 90)]).await.unwrap();
        let held = |byte, used_at| HeldBlob { blob: blob(byte), bytes: BLOCK_SIZE, used_at };
        assert_eq!(db.held_blobs().unwrap(), [held(1, 70), held(2, 80)]);
        db.strike_off(blob(1)).await.unwrap();
        db.strike_off(blob(3)).await.unwrap();
        assert_eq!(db.held_blobs().unwrap(), [held(2, 80)]);
        assert!(db.coverage(&blob(1)).unwrap().is_empty());
        assert_eq!(db.blob(&blob(1)).unwrap().unwrap().seal, None);
        assert!(db.seal(blob(1), [1; 32], file).await.unwrap().epoch > first.epoch);
    }
}
