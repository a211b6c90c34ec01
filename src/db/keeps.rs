//! Keeps: the models that an operator asked to stay, whatever the limits are.

use std::collections::HashSet;

use rusqlite::params;

use super::repos::ensure_repo;
use super::{Database, DbError, now};
use crate::types::{Blob, RepoId, Revision};

/// A model that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepRow {
    pub endpoint: String,
    pub repo: RepoId,
    /// A branch, a tag or a whole commit, as it was asked for.
    pub revision: Revision,
    /// Seconds since 1970.
    pub kept_at: u64,
}

// A revision leads to a commit by anybody's pin of it, or is a commit itself.
const KEPT_BLOBS: &str = "
    SELECT DISTINCT name, size FROM keeps
    JOIN snapshots ON snapshots.repo_id = keeps.repo_id
    JOIN files ON files.snapshot_id = snapshots.id
    JOIN blobs ON blobs.id = files.blob_id
    WHERE lower(hex(snapshots.commit_hash)) = keeps.revision
       OR snapshots.commit_hash IN (
          SELECT commit_hash FROM revisions
          WHERE revisions.repo_id = keeps.repo_id AND revisions.revision = keeps.revision)";

impl Database {
    /// From now on every file of the commits that `revision` leads to stays. To keep it again changes nothing.
    pub async fn keep(&self, endpoint: &str, repo: &RepoId, revision: &Revision) -> Result<(), DbError> {
        let (endpoint, repo, revision) = (endpoint.to_owned(), repo.to_string(), revision.as_str().to_owned());
        self.write(move |db| {
            let repo = ensure_repo(db, &endpoint, &repo)?;
            db.execute(
                "INSERT INTO keeps (repo_id, revision, kept_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                params![repo, revision, now() as i64],
            )?;
            Ok(())
        })
        .await
    }

    /// Answers whether it was kept until now.
    pub async fn release(&self, endpoint: &str, repo: &RepoId, revision: &Revision) -> Result<bool, DbError> {
        let (endpoint, repo, revision) = (endpoint.to_owned(), repo.to_string(), revision.as_str().to_owned());
        self.write(move |db| {
            let removed = db.execute(
                "DELETE FROM keeps WHERE revision = ?3
                 AND repo_id IN (SELECT id FROM repos WHERE endpoint = ?1 AND repo = ?2)",
                [endpoint, repo, revision],
            )?;
            Ok(removed > 0)
        })
        .await
    }

    /// Everything that is kept.
    pub fn keeps(&self) -> Result<Vec<KeepRow>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT endpoint, repo, revision, kept_at FROM keeps JOIN repos ON repos.id = repo_id
                 ORDER BY endpoint, repo, revision",
            )?;
            let rows = query.query_map([], |row| {
                let (repo, revision): (String, String) = (row.get(1)?, row.get(2)?);
                let (Ok(repo), Ok(revision)) = (repo.parse(), Revision::new(&revision)) else { return Ok(None) };
                Ok(Some(KeepRow { endpoint: row.get(0)?, repo, revision, kept_at: row.get::<_, i64>(3)? as u64 }))
            })?;
            rows.filter_map(Result::transpose).collect()
        })
    }

    /// The contents of everything that is kept.
    pub fn kept_blobs(&self) -> Result<HashSet<Blob>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached(KEPT_BLOBS)?;
            let rows = query.query_map([], |row| {
                let (name, size): (String, i64) = (row.get(0)?, row.get(1)?);
                Ok(name.parse().ok().map(|id| Blob { id, size: size as u64 }))
            })?;
            rows.filter_map(Result::transpose).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::types::{BlobId, Commit, Identity, RepoPath, Snapshot};

    const HUB: &str = "http://hub";

    fn blob(byte: u8) -> Blob {
        Blob { id: BlobId::Sha256([byte; 32]), size: 100 }
    }

    async fn listed(db: &Database, repo: &RepoId, commit: Commit, blobs: &[u8]) {
        let files = blobs.iter().map(|byte| (RepoPath::new(&format!("{byte}.bin")).unwrap(), blob(*byte)));
        let (snapshot, _) = Snapshot::new(repo.clone(), commit, files);
        db.put_snapshot(HUB, Identity::new(HUB, None, false).digest(), Arc::new(snapshot)).await.unwrap();
    }

    #[tokio::test]
    async fn a_keep_protects_what_its_revision_leads_to_now() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(&folder.path().join("models.db")).unwrap();
        let (repo, main): (RepoId, _) = ("acme/tiny".parse().unwrap(), Revision::main());
        let identity = Identity::new(HUB, None, false).digest();
        let commit = |byte| Commit::from_bytes([byte; 20]);
        listed(&db, &repo, commit(1), &[1, 2]).await;
        listed(&db, &repo, commit(2), &[2, 3]).await;
        listed(&db, &"acme/other".parse().unwrap(), commit(1), &[4]).await;

        db.keep(HUB, &repo, &main).await.unwrap();
        assert_eq!(db.kept_blobs().unwrap(), HashSet::new(), "nobody knows yet where it leads");
        db.put_pin(HUB, identity, &repo, &main, commit(1)).await.unwrap();
        assert_eq!(db.kept_blobs().unwrap(), HashSet::from([blob(1), blob(2)]));
        db.put_pin(HUB, identity, &repo, &main, commit(2)).await.unwrap();
        assert_eq!(db.kept_blobs().unwrap(), HashSet::from([blob(2), blob(3)]));

        let first = Revision::new(&commit(1).to_string()).unwrap();
        db.keep(HUB, &repo, &first).await.unwrap();
        db.keep(HUB, &repo, &first).await.unwrap();
        assert_eq!(db.kept_blobs().unwrap(), HashSet::from([blob(1), blob(2), blob(3)]));
        let kept: Vec<_> = db.keeps().unwrap().into_iter().map(|row| row.revision).collect();
        assert_eq!(kept, [first.clone(), main.clone()]);

        assert!(db.release(HUB, &repo, &main).await.unwrap());
        assert!(!db.release(HUB, &repo, &main).await.unwrap());
        assert_eq!(db.kept_blobs().unwrap(), HashSet::from([blob(1), blob(2)]));
    }
}
