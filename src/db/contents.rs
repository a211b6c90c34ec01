//! What lies on this disk, seen from the models that it belongs to.

use rusqlite::{OptionalExtension, Row, params};

use super::lists::listed_file;
use super::repos::commit;
use super::{Database, DbError};
use crate::types::{Blob, Commit, RemoteFile, RepoId};

/// Whose contents are meant.
#[derive(Debug, Clone, Copy)]
pub enum Owner<'a> {
    /// Whatever is here.
    Anyone,
    Repo(&'a str, &'a RepoId),
    Commit(&'a str, &'a RepoId, Commit),
}

/// A content of which something is on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachedContent {
    pub blob: Blob,
    pub cached_bytes: u64,
    /// Somebody else than the owner that was asked for has a file with it.
    pub shared: bool,
}

// ?1 endpoint, ?2 repository, ?3 commit, each null for any.
const CACHED: &str = "
    WITH own AS (
        SELECT snapshots.id FROM snapshots JOIN repos ON repos.id = repo_id
        WHERE endpoint = ?1 AND repo = ?2 AND (?3 IS NULL OR commit_hash = ?3)
    )
    SELECT name, size, cached_bytes,
           ?1 IS NOT NULL AND EXISTS (SELECT 1 FROM files WHERE blob_id = blobs.id AND snapshot_id NOT IN own)
    FROM blobs JOIN blob_coverage ON blob_coverage.blob_id = blobs.id
    WHERE cached_bytes > 0
      AND (?1 IS NULL OR EXISTS (SELECT 1 FROM files WHERE blob_id = blobs.id AND snapshot_id IN own))
    ORDER BY name";

impl Database {
    /// The contents of `owner` of which something is on this disk.
    pub fn cached(&self, owner: Owner) -> Result<Vec<CachedContent>, DbError> {
        let (endpoint, repo, commit) = match owner {
            Owner::Anyone => (None, None, None),
            Owner::Repo(endpoint, repo) => (Some(endpoint), Some(repo.to_string()), None),
            Owner::Commit(endpoint, repo, commit) => (Some(endpoint), Some(repo.to_string()), Some(commit)),
        };
        self.read(|db| {
            let mut query = db.prepare_cached(CACHED)?;
            let key = params![endpoint, repo, commit.as_ref().map(Commit::as_bytes)];
            let rows = query.query_map(key, cached_content)?;
            rows.filter_map(Result::transpose).collect()
        })
    }

    /// Some file with this content, and the endpoint that listed it: whichever list came last.
    pub fn some_file_with(&self, blob: &Blob) -> Result<Option<(String, RemoteFile)>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT path, name, size, commit_hash, endpoint, repo FROM blobs
                 CROSS JOIN files ON files.blob_id = blobs.id
                 CROSS JOIN snapshots ON snapshots.id = snapshot_id
                 CROSS JOIN repos ON repos.id = repo_id
                 WHERE name = ?1 AND size = ?2 ORDER BY listed_at DESC, snapshots.id DESC, path LIMIT 1",
            )?;
            let found = query.query_row(params![blob.id.to_string(), blob.size as i64], |row| {
                let (path, blob) = listed_file(row)?;
                let Ok(repo) = row.get::<_, String>(5)?.parse() else { return Ok(None) };
                Ok(Some((row.get(4)?, RemoteFile { repo, commit: commit(row, 3)?, path, blob })))
            });
            Ok(found.optional()?.flatten())
        })
    }
}

fn cached_content(row: &Row) -> Result<Option<CachedContent>, rusqlite::Error> {
    let (name, size): (String, i64) = (row.get(0)?, row.get(1)?);
    let Ok(id) = name.parse() else { return Ok(None) };
    let blob = Blob { id, size: size as u64 };
    Ok(Some(CachedContent { blob, cached_bytes: row.get::<_, i64>(2)? as u64, shared: row.get(3)? }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::db::LandedBlock;
    use crate::types::{BlobId, BlockIndex, Identity, RepoPath, Snapshot};

    const HUB: &str = "http://hub";

    fn blob(byte: u8) -> Blob {
        Blob { id: BlobId::Sha256([byte; 32]), size: 100 }
    }

    #[tokio::test]
    async fn a_content_that_another_model_has_too_is_shared() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(&folder.path().join("models.db")).unwrap();
        let (one, other): (RepoId, RepoId) = ("acme/one".parse().unwrap(), "acme/other".parse().unwrap());
        let commit = |byte| Commit::from_bytes([byte; 20]);
        for (repo, at, blobs) in [(&one, 1, [1, 2, 3]), (&one, 2, [2, 3, 4]), (&other, 3, [3, 5, 6])] {
            let files = blobs.map(|byte| (RepoPath::new(&format!("{byte}.bin")).unwrap(), blob(byte)));
            let (snapshot, _) = Snapshot::new(repo.clone(), commit(at), files);
            let identity = Identity::new(HUB, None, false).digest();
            db.put_snapshot(HUB, identity, Arc::new(snapshot)).await.unwrap();
        }
        for byte in [1, 2, 3, 9] {
            db.record(blob(byte), vec![LandedBlock { block: BlockIndex(0), sum: 7 }]).await.unwrap();
        }
        let cached = |owner| {
            let found = db.cached(owner).unwrap();
            found.iter().map(|content| (content.blob, content.shared)).collect::<Vec<_>>()
        };
        assert_eq!(cached(Owner::Repo(HUB, &one)), [(blob(1), false), (blob(2), false), (blob(3), true)]);
        assert_eq!(cached(Owner::Commit(HUB, &one, commit(1))), [(blob(1), false), (blob(2), true), (blob(3), true)]);
        assert_eq!(cached(Owner::Repo("http://else", &one)), []);
        assert_eq!(cached(Owner::Anyone).len(), 4, "also what no list names any more");
        let (endpoint, file) = db.some_file_with(&blob(3)).unwrap().unwrap();
        assert_eq!((endpoint.as_str(), file.path.as_str()), (HUB, "3.bin"));
        assert!(db.some_file_with(&blob(9)).unwrap().is_none());
    }
}
