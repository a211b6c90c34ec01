//! What the Hub said of repositories: pinned revisions and who may see them. Their file lists are in `lists`.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Database, DbError, now};
use crate::types::{Commit, IdentityDigest, RepoId, Revision};

/// A branch or tag as it was last resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    pub commit: Commit,
    /// Seconds since 1970.
    pub resolved_at: u64,
}

/// What an identity was allowed to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantScope {
    Names,
    Contents,
}

impl GrantScope {
    fn as_str(self) -> &'static str {
        match self {
            GrantScope::Names => "names",
            GrantScope::Contents => "contents",
        }
    }
}

/// Who may see a known repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepoAccess {
    pub private: bool,
    pub gated: bool,
    pub names_granted: bool,
    pub contents_granted: bool,
}

impl RepoAccess {
    pub fn shows_names(&self) -> bool {
        !self.private || self.names_granted
    }

    pub fn shows_contents(&self) -> bool {
        self.shows_names() && (!self.gated || self.contents_granted)
    }
}

/// A known snapshot, for listings.
#[derive(Debug, Clone)]
pub struct RepoRow {
    pub endpoint: String,
    pub repo: RepoId,
    /// What it was resolved from; `None` for a commit that was asked for by its hash.
    pub revision: Option<String>,
    pub commit: Commit,
    pub files: u64,
    pub bytes: u64,
    pub cached_bytes: u64,
    /// Files of which every byte is on disk.
    pub complete_files: u64,
    /// Whether an operator asked that it stays.
    pub kept: bool,
    /// Its list may lack files.
    pub partial: bool,
}

impl Database {
    pub fn pin(
        &self,
        endpoint: &str,
        identity: IdentityDigest,
        repo: &RepoId,
        revision: &Revision,
    ) -> Result<Option<Pin>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT commit_hash, resolved_at FROM revisions JOIN repos ON repos.id = repo_id
                 WHERE endpoint = ?1 AND repo = ?2 AND identity = ?3 AND revision = ?4",
            )?;
            let key = params![endpoint, repo.to_string(), identity.as_bytes(), revision.as_str()];
            query.query_row(key, stored_pin).optional()
        })
    }

    /// Anybody's latest pin of a revision, where the repository is public.
    pub fn public_pin(&self, endpoint: &str, repo: &RepoId, revision: &Revision) -> Result<Option<Pin>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT commit_hash, resolved_at FROM revisions JOIN repos ON repos.id = repo_id
                 WHERE endpoint = ?1 AND repo = ?2 AND NOT private AND revision = ?3
                 ORDER BY resolved_at DESC LIMIT 1",
            )?;
            query.query_row(params![endpoint, repo.to_string(), revision.as_str()], stored_pin).optional()
        })
    }

    /// Every revision of a repository that `identity` can use: its own pins, and anybody's of a public repository.
    pub fn pins(
        &self,
        endpoint: &str,
        identity: IdentityDigest,
        repo: &RepoId,
    ) -> Result<Vec<(String, Commit)>, DbError> {
        self.read(|db| {
            // Of several pins of one revision the identity's own counts, else the latest.
            let mut query = db.prepare_cached(
                "SELECT revision, commit_hash, max((identity = ?3) * 100000000000 + resolved_at)
                 FROM revisions JOIN repos ON repos.id = repo_id
                 WHERE endpoint = ?1 AND repo = ?2 AND (identity = ?3 OR NOT private)
                 GROUP BY revision ORDER BY revision",
            )?;
            let key = params![endpoint, repo.to_string(), identity.as_bytes()];
            query.query_map(key, |row| Ok((row.get(0)?, commit(row, 1)?)))?.collect()
        })
    }

    /// Records what `revision` resolved to, and with it that `identity` may see the repository's names.
    pub async fn put_pin(
        &self,
        endpoint: &str,
        identity: IdentityDigest,
        repo: &RepoId,
        revision: &Revision,
        commit: Commit,
    ) -> Result<(), DbError> {
        let (endpoint, repo, revision) = (endpoint.to_owned(), repo.to_string(), revision.as_str().to_owned());
        self.write(move |db| {
            let repo = ensure_repo(db, &endpoint, &repo)?;
            grant(db, repo, identity, GrantScope::Names)?;
            db.execute(
                "INSERT OR REPLACE INTO revisions (repo_id, identity, revision, commit_hash, resolved_at)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![repo, identity.as_bytes(), revision, commit.as_bytes(), now() as i64],
            )?;
            Ok(())
        })
        .await
    }

    /// `None` for a repository that was never listed here.
    pub fn access(
        &self,
        endpoint: &str,
        identity: IdentityDigest,
        repo: &RepoId,
    ) -> Result<Option<RepoAccess>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT private, gated,
                        EXISTS (SELECT 1 FROM grants WHERE repo_id = id AND identity = ?3 AND scope = 'names'),
                        EXISTS (SELECT 1 FROM grants WHERE repo_id = id AND identity = ?3 AND scope = 'contents')
                 FROM repos WHERE endpoint = ?1 AND repo = ?2",
            )?;
            let access = |row: &Row| {
                Ok(RepoAccess {
                    private: row.get(0)?,
                    gated: row.get(1)?,
                    names_granted: row.get(2)?,
                    contents_granted: row.get(3)?,
                })
            };
            query.query_row(params![endpoint, repo.to_string(), identity.as_bytes()], access).optional()
        })
    }

    pub async fn put_grant(
        &self,
        endpoint: &str,
        identity: IdentityDigest,
        repo: &RepoId,
        scope: GrantScope,
    ) -> Result<(), DbError> {
        let (endpoint, repo) = (endpoint.to_owned(), repo.to_string());
        self.write(move |db| grant(db, ensure_repo(db, &endpoint, &repo)?, identity, scope)).await
    }

    /// The Hub does not let this identity in any more: its grants end, and the pins that told what is private.
    ///
    /// What was public stays pinned: a token that has expired is refused there too, and takes nothing away.
    pub async fn revoke(&self, endpoint: &str, identity: IdentityDigest, repo: &RepoId) -> Result<(), DbError> {
        let (endpoint, repo) = (endpoint.to_owned(), repo.to_string());
        self.write(move |db| {
            for (table, also) in [("grants", ""), ("revisions", "AND private")] {
                let sql = format!(
                    "DELETE FROM {table} WHERE identity = ?3
                     AND repo_id IN (SELECT id FROM repos WHERE endpoint = ?1 AND repo = ?2 {also})"
                );
                db.execute(&sql, params![endpoint, repo, identity.as_bytes()])?;
            }
            Ok(())
        })
        .await
    }

    /// The repositories that this node has file lists of and that `identity` may see.
    pub fn known_repos(&self, endpoint: &str, identity: IdentityDigest) -> Result<Vec<RepoId>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT repo FROM repos WHERE endpoint = ?1
                 AND EXISTS (SELECT 1 FROM snapshots WHERE repo_id = repos.id)
                 AND (NOT private OR EXISTS (SELECT 1 FROM grants
                      WHERE repo_id = repos.id AND identity = ?2 AND scope = 'names'))
                 ORDER BY repo",
            )?;
            let names = query.query_map(params![endpoint, identity.as_bytes()], |row| row.get::<_, String>(0))?;
            Ok(names.collect::<Result<Vec<_>, _>>()?.iter().filter_map(|name| name.parse().ok()).collect())
        })
    }

    /// Every snapshot with its size and how much of it is on disk.
    pub fn summary(&self) -> Result<Vec<RepoRow>, DbError> {
        self.read(|db| {
            let mut query = db.prepare(SUMMARY)?;
            let rows = query.query_map([], |row| {
                let repo: String = row.get(1)?;
                let Ok(repo) = repo.parse() else { return Ok(None) };
                Ok(Some(RepoRow {
                    endpoint: row.get(0)?,
                    repo,
                    revision: row.get(2)?,
                    commit: commit(row, 3)?,
                    files: row.get::<_, i64>(4)? as u64,
                    bytes: row.get::<_, i64>(5)? as u64,
                    cached_bytes: row.get::<_, i64>(6)? as u64,
                    complete_files: row.get::<_, i64>(7)? as u64,
                    kept: row.get(8)?,
                    partial: row.get(9)?,
                }))
            })?;
            Ok(rows.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        })
    }
}

// A blob that several names of one snapshot share counts once, as it lies on disk once.
const SUMMARY: &str = "
    WITH held AS (
        SELECT snapshot_id, blob_id, count(*) AS names FROM files GROUP BY snapshot_id, blob_id
    )
    SELECT endpoint, repo,
           (SELECT group_concat(DISTINCT revision) FROM revisions
            WHERE revisions.repo_id = repos.id AND revisions.commit_hash = snapshots.commit_hash),
           commit_hash, coalesce(sum(names), 0), coalesce(sum(size), 0), coalesce(sum(cached_bytes), 0),
           coalesce(sum(names) FILTER (WHERE coalesce(cached_bytes, 0) >= size), 0),
           EXISTS (SELECT 1 FROM keeps WHERE keeps.repo_id = repos.id AND
                   (keeps.revision = lower(hex(snapshots.commit_hash)) OR EXISTS (SELECT 1 FROM revisions
                    WHERE revisions.repo_id = repos.id AND revisions.revision = keeps.revision
                    AND revisions.commit_hash = snapshots.commit_hash))),
           partial
    FROM snapshots JOIN repos ON repos.id = repo_id
    LEFT JOIN held ON held.snapshot_id = snapshots.id
    LEFT JOIN blobs ON blobs.id = held.blob_id
    LEFT JOIN blob_coverage ON blob_coverage.blob_id = blobs.id
    GROUP BY snapshots.id ORDER BY endpoint, repo, listed_at";

pub(super) fn commit(row: &Row, column: usize) -> Result<Commit, rusqlite::Error> {
    row.get(column).map(Commit::from_bytes)
}

fn stored_pin(row: &Row) -> Result<Pin, rusqlite::Error> {
    Ok(Pin { commit: commit(row, 0)?, resolved_at: row.get::<_, i64>(1)? as u64 })
}

pub(super) fn ensure_repo(db: &Connection, endpoint: &str, repo: &str) -> Result<i64, rusqlite::Error> {
    // Private until a listing says otherwise: names are never shown on a guess.
    db.prepare_cached(
        "INSERT INTO repos (endpoint, repo, private, gated) VALUES (?1, ?2, 1, 0) ON CONFLICT DO NOTHING",
    )?
    .execute([endpoint, repo])?;
    db.prepare_cached("SELECT id FROM repos WHERE endpoint = ?1 AND repo = ?2")?
        .query_row([endpoint, repo], |row| row.get(0))
}

pub(super) fn grant(
    db: &Connection,
    repo: i64,
    identity: IdentityDigest,
    scope: GrantScope,
) -> Result<(), rusqlite::Error> {
    db.prepare_cached("INSERT OR REPLACE INTO grants (repo_id, identity, scope, granted_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![repo, identity.as_bytes(), scope.as_str(), now() as i64])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Blob, BlobId, Identity, RepoPath, Snapshot, Token};
    use std::sync::Arc;

    const HUB: &str = "http://hub";

    fn database() -> (tempfile::TempDir, Database) {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(&folder.path().join("models.db")).unwrap();
        (folder, db)
    }

    fn identity(token: &str) -> IdentityDigest {
        Identity::new(HUB, Some(Token::new(token)), false).digest()
    }

    fn snapshot(repo: &RepoId, commit: u8, private: bool) -> Arc<Snapshot> {
        let blob = |n| Blob { id: BlobId::Sha256([n; 32]), size: 100 };
        let files = [("a.bin", 1), ("b/a.bin", 1), ("b/c.bin", 2)];
        let files = files.map(|(path, n)| (RepoPath::new(path).unwrap(), blob(n)));
        let (mut snapshot, _) = Snapshot::new(repo.clone(), Commit::from_bytes([commit; 20]), files);
        snapshot.private = private;
        Arc::new(snapshot)
    }

    #[tokio::test]
    async fn a_snapshot_reads_back_as_it_was_written() {
        let (_folder, db) = database();
        let repo: RepoId = "acme/tiny".parse().unwrap();
        let written = snapshot(&repo, 1, false);
        db.put_snapshot(HUB, identity("a"), written.clone()).await.unwrap();
        db.put_snapshot(HUB, identity("b"), written.clone()).await.unwrap();
        let read = db.snapshot(HUB, &repo, written.commit).unwrap().unwrap();
        assert_eq!(read.files().collect::<Vec<_>>(), written.files().collect::<Vec<_>>());
        assert!(db.snapshot("http://other", &repo, written.commit).unwrap().is_none());
        let row = &db.summary().unwrap()[0];
        assert_eq!((row.files, row.bytes, row.cached_bytes), (3, 200, 0), "shared content counts once");
    }

    #[tokio::test]
    async fn a_list_that_was_changed_is_asked_for_again_and_recorded_anew() {
        let (_folder, db) = database();
        let repo: RepoId = "acme/tiny".parse().unwrap();
        let written = snapshot(&repo, 1, false);
        for change in [
            "UPDATE files SET path = 'c.bin' WHERE path = 'a.bin'",
            "UPDATE files SET blob_id = 3 - blob_id",
            "DELETE FROM files WHERE path = 'a.bin'",
            "UPDATE blobs SET size = 101 WHERE id = 1",
            "UPDATE files SET path = '../x' WHERE path = 'a.bin'",
            "UPDATE snapshots SET digest = x'00'",
        ] {
            db.put_snapshot(HUB, identity("a"), written.clone()).await.unwrap();
            assert!(db.snapshot(HUB, &repo, written.commit).unwrap().is_some());
            db.write(move |db| db.execute(change, [])).await.unwrap();
            assert!(db.snapshot(HUB, &repo, written.commit).unwrap().is_none(), "{change}");
        }
        db.put_snapshot(HUB, identity("a"), written.clone()).await.unwrap();
        let read = db.snapshot(HUB, &repo, written.commit).unwrap().unwrap();
        assert_eq!(read.files().collect::<Vec<_>>(), written.files().collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_partial_list_grows_and_gives_way_to_a_whole_one() {
        let (_folder, db) = database();
        let repo: RepoId = "acme/tiny".parse().unwrap();
        let whole = snapshot(&repo, 1, false);
        let part = |paths: &[&str]| {
            let files = whole.files().filter(|(path, _)| paths.contains(&path.as_str()));
            let (mut part, _) =
                Snapshot::new(repo.clone(), whole.commit, files.map(|(path, blob)| (path.clone(), blob)));
            part.partial = true;
            Arc::new(part)
        };
        let stored = || {
            let stored = db.snapshot(HUB, &repo, whole.commit).unwrap().unwrap();
            (stored.len(), stored.partial)
        };
        db.adopt_snapshot(HUB, identity("a"), part(&["a.bin"])).await.unwrap();
        assert_eq!(stored(), (1, true));
        assert!(db.access(HUB, identity("a"), &repo).unwrap().unwrap().shows_names());
        assert!(!db.access(HUB, identity("b"), &repo).unwrap().unwrap().shows_names(), "nobody said that it is public");
        db.adopt_snapshot(HUB, identity("a"), part(&["a.bin", "b/c.bin"])).await.unwrap();
        assert_eq!(stored(), (2, true));
        db.put_snapshot(HUB, identity("a"), whole.clone()).await.unwrap();
        assert_eq!(stored(), (3, false));
        db.adopt_snapshot(HUB, identity("a"), part(&["a.bin"])).await.unwrap();
        assert_eq!(stored(), (3, false), "what the Hub listed stays");
    }

    #[tokio::test]
    async fn a_content_is_found_in_the_list_that_came_last() {
        let (_folder, db) = database();
        let repo: RepoId = "acme/tiny".parse().unwrap();
        for commit in [1, 2] {
            db.put_snapshot(HUB, identity("a"), snapshot(&repo, commit, false)).await.unwrap();
        }
        let (file, _) = db.file_with(HUB, &repo, &BlobId::Sha256([2; 32])).unwrap().unwrap();
        assert_eq!((file.path.as_str(), file.blob.size, file.commit), ("b/c.bin", 100, Commit::from_bytes([2; 20])));
        assert_eq!(db.file_with(HUB, &repo, &BlobId::Sha256([9; 32])).unwrap(), None);
        assert_eq!(db.file_with(HUB, &"acme/other".parse().unwrap(), &BlobId::Sha256([2; 32])).unwrap(), None);
        let blob = |byte| Blob { id: BlobId::Sha256([byte; 32]), size: 100 };
        assert_eq!(db.blobs(HUB, &repo).unwrap(), [blob(1), blob(2)]);
        assert_eq!(db.repos_with(HUB, &blob(2)).unwrap(), [repo]);
        assert_eq!(db.repos_with(HUB, &Blob { size: 1, ..blob(2) }).unwrap(), []);
    }

    #[tokio::test]
    async fn a_private_repo_is_listed_to_the_granted_alone() {
        let (_folder, db) = database();
        let repo: RepoId = "acme/secret".parse().unwrap();
        db.put_snapshot(HUB, identity("a"), snapshot(&repo, 1, true)).await.unwrap();
        assert_eq!(db.known_repos(HUB, identity("a")).unwrap(), std::slice::from_ref(&repo));
        assert_eq!(db.known_repos(HUB, identity("b")).unwrap(), []);
        assert!(!db.access(HUB, identity("b"), &repo).unwrap().unwrap().shows_names());
        db.revoke(HUB, identity("a"), &repo).await.unwrap();
        assert!(!db.access(HUB, identity("a"), &repo).unwrap().unwrap().shows_names());
    }

    #[tokio::test]
    async fn a_pin_belongs_to_the_identity_that_resolved_it() {
        let (_folder, db) = database();
        let (repo, main) = ("acme/tiny".parse().unwrap(), Revision::main());
        db.put_pin(HUB, identity("a"), &repo, &main, Commit::from_bytes([1; 20])).await.unwrap();
        db.put_pin(HUB, identity("a"), &repo, &main, Commit::from_bytes([2; 20])).await.unwrap();
        let pin = db.pin(HUB, identity("a"), &repo, &main).unwrap().unwrap();
        assert_eq!(pin.commit, Commit::from_bytes([2; 20]));
        assert_eq!(db.pin(HUB, identity("b"), &repo, &main).unwrap(), None);
    }
}
