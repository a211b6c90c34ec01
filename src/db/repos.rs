//! What the Hub said: repositories, pinned revisions, file lists and who may see them.

use rusqlite::{Connection, OptionalExtension, Row, params};
use xxhash_rust::xxh3::Xxh3;

use super::{Database, DbError, damage, now};
use crate::types::{Blob, BlobId, Commit, IdentityDigest, RemoteFile, RepoId, RepoPath, Revision, Snapshot};

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

    /// `None` also for a list that is not what was recorded: it is to be asked for again.
    pub fn snapshot(&self, endpoint: &str, repo: &RepoId, wanted: Commit) -> Result<Option<Snapshot>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT snapshots.id, private, gated, created_at, digest, partial FROM snapshots
                 JOIN repos ON repos.id = repo_id WHERE endpoint = ?1 AND repo = ?2 AND commit_hash = ?3",
            )?;
            let key = params![endpoint, repo.to_string(), wanted.as_bytes()];
            let head = query
                .query_row(key, |row| {
                    let digest = stored_digest(row)?;
                    Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?, row.get::<_, i64>(3)?, digest, row.get(5)?))
                })
                .optional()?;
            let Some((id, private, gated, created_at, digest, partial)) = head else { return Ok(None) };
            let list = stored_list(db, id, repo, wanted)?;
            let as_recorded = |list: &Snapshot| is_as_recorded(digest.as_deref(), endpoint, list);
            let Some(mut snapshot) = list.filter(as_recorded) else {
                self.watch.damaged_list(repo, wanted);
                return Ok(None);
            };
            (snapshot.private, snapshot.gated, snapshot.created_at) = (private, gated, created_at as u64);
            snapshot.partial = partial;
            Ok(Some(snapshot))
        })
    }

    /// The commits whose file lists are known, oldest first.
    pub fn commits(&self, endpoint: &str, repo: &RepoId) -> Result<Vec<Commit>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT commit_hash FROM snapshots JOIN repos ON repos.id = repo_id
                 WHERE endpoint = ?1 AND repo = ?2 ORDER BY listed_at, commit_hash",
            )?;
            query.query_map(params![endpoint, repo.to_string()], |row| commit(row, 0))?.collect()
        })
    }

    /// A file of `repo` with this content, from the list that came last, and when its commit was made.
    pub fn file_with(&self, endpoint: &str, repo: &RepoId, id: &BlobId) -> Result<Option<(RemoteFile, u64)>, DbError> {
        self.read(|db| {
            // CROSS JOIN fixes the order: from the content to the few lists that name it, never through all lists.
            let mut query = db.prepare_cached(
                "SELECT path, name, size, commit_hash, created_at FROM blobs
                 CROSS JOIN files ON files.blob_id = blobs.id
                 CROSS JOIN snapshots ON snapshots.id = snapshot_id
                 CROSS JOIN repos ON repos.id = repo_id
                 WHERE name = ?1 AND endpoint = ?2 AND repo = ?3
                 ORDER BY listed_at DESC, snapshots.id DESC, path LIMIT 1",
            )?;
            let found = query.query_row(params![id.to_string(), endpoint, repo.to_string()], |row| {
                let (path, blob) = listed_file(row)?;
                let file = RemoteFile { repo: repo.clone(), commit: commit(row, 3)?, path, blob };
                Ok((file, row.get::<_, i64>(4)? as u64))
            });
            found.optional()
        })
    }

    /// Every content that the known lists of `repo` name; of two claims about its length the one in the later list.
    pub fn blobs(&self, endpoint: &str, repo: &RepoId) -> Result<Vec<Blob>, DbError> {
        self.read(|db| {
            // SQLite takes the other columns from the row with the maximum.
            let mut query = db.prepare_cached(
                "SELECT name, size, max(listed_at) FROM repos JOIN snapshots ON repo_id = repos.id
                 JOIN files ON snapshot_id = snapshots.id JOIN blobs ON blobs.id = blob_id
                 WHERE endpoint = ?1 AND repo = ?2 GROUP BY name ORDER BY name",
            )?;
            let rows = query.query_map(params![endpoint, repo.to_string()], |row| {
                let (name, size): (String, i64) = (row.get(0)?, row.get(1)?);
                Ok(name.parse().ok().map(|id| Blob { id, size: size as u64 }))
            })?;
            rows.filter_map(Result::transpose).collect()
        })
    }

    /// Records a file list, and that `identity` may see it.
    pub async fn put_snapshot(
        &self,
        endpoint: &str,
        identity: IdentityDigest,
        snapshot: std::sync::Arc<Snapshot>,
    ) -> Result<(), DbError> {
        let endpoint = endpoint.to_owned();
        self.write(move |db| {
            let repo = ensure_repo(db, &endpoint, &snapshot.repo.to_string())?;
            db.execute(
                "UPDATE repos SET private = ?2, gated = ?3 WHERE id = ?1",
                params![repo, snapshot.private, snapshot.gated],
            )?;
            grant(db, repo, identity, GrantScope::Names)?;
            insert_snapshot(db, repo, &endpoint, &snapshot)
        })
        .await
    }

    /// Records a file list that another cache had, and that `identity` may see it. It says nothing of who else may, and
    /// takes nothing away from what the Hub said.
    pub async fn adopt_snapshot(
        &self,
        endpoint: &str,
        identity: IdentityDigest,
        snapshot: std::sync::Arc<Snapshot>,
    ) -> Result<(), DbError> {
        let endpoint = endpoint.to_owned();
        self.write(move |db| {
            let repo = ensure_repo(db, &endpoint, &snapshot.repo.to_string())?;
            grant(db, repo, identity, GrantScope::Names)?;
            insert_snapshot(db, repo, &endpoint, &snapshot)
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

    /// The repositories of `endpoint` in which some known file has this content.
    pub fn repos_with(&self, endpoint: &str, blob: &Blob) -> Result<Vec<RepoId>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT DISTINCT repo FROM blobs
                 JOIN files ON files.blob_id = blobs.id
                 JOIN snapshots ON snapshots.id = snapshot_id
                 JOIN repos ON repos.id = repo_id
                 WHERE name = ?2 AND size = ?3 AND endpoint = ?1",
            )?;
            let key = params![endpoint, blob.id.to_string(), blob.size as i64];
            let names = query.query_map(key, |row| row.get::<_, String>(0))?;
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

/// A stored name that no longer parses is left out rather than shown wrong.
pub(super) fn listed_file(row: &Row) -> Result<(RepoPath, Blob), rusqlite::Error> {
    let invalid = |column, error: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error)
    };
    let (path, name): (String, String) = (row.get(0)?, row.get(1)?);
    let path = RepoPath::new(&path).map_err(|error| invalid(0, error.into()))?;
    let id = name.parse().map_err(|error: crate::types::ParseBlobIdError| invalid(1, error.into()))?;
    Ok((path, Blob { id, size: row.get::<_, i64>(2)? as u64 }))
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

fn grant(db: &Connection, repo: i64, identity: IdentityDigest, scope: GrantScope) -> Result<(), rusqlite::Error> {
    db.prepare_cached("INSERT OR REPLACE INTO grants (repo_id, identity, scope, granted_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![repo, identity.as_bytes(), scope.as_str(), now() as i64])?;
    Ok(())
}

/// The files of a list; `None` if some of them cannot be read for what they were.
fn stored_list(
    db: &Connection,
    snapshot: i64,
    repo: &RepoId,
    commit: Commit,
) -> Result<Option<Snapshot>, rusqlite::Error> {
    let mut query = db
        .prepare_cached("SELECT path, name, size FROM files JOIN blobs ON blobs.id = blob_id WHERE snapshot_id = ?1")?;
    match query.query_map([snapshot], listed_file)?.collect::<Result<Vec<_>, _>>() {
        Ok(files) => Ok(Some(Snapshot::new(repo.clone(), commit, files).0)),
        Err(error) if damage::is_strange_value(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `None` for a list from before there were digests. What is none counts as one that fits nothing.
fn stored_digest(row: &Row) -> Result<Option<Vec<u8>>, rusqlite::Error> {
    match row.get(4) {
        Err(error) if damage::is_strange_value(&error) => Ok(Some(Vec::new())),
        stored => stored,
    }
}

fn is_as_recorded(digest: Option<&[u8]>, endpoint: &str, list: &Snapshot) -> bool {
    digest.is_none_or(|digest| digest == list_digest(endpoint, list))
}

/// What a list is known by when it is read back.
fn list_digest(endpoint: &str, snapshot: &Snapshot) -> [u8; 16] {
    let mut digest = Xxh3::new();
    let mut part = |bytes: &[u8]| {
        digest.update(&(bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    };
    part(endpoint.as_bytes());
    part(snapshot.repo.to_string().as_bytes());
    part(snapshot.commit.as_bytes());
    for (path, blob) in snapshot.files() {
        part(path.as_str().as_bytes());
        part(blob.id.to_string().as_bytes());
        part(&blob.size.to_be_bytes());
    }
    digest.digest128().to_be_bytes()
}

/// A list that is recorded stays. One that was only partial grows and gives way to a whole one; a damaged one is replaced.
fn insert_snapshot(db: &Connection, repo: i64, endpoint: &str, snapshot: &Snapshot) -> Result<(), rusqlite::Error> {
    let known = db
        .query_row(
            "SELECT id, partial, 0, 0, digest FROM snapshots WHERE repo_id = ?1 AND commit_hash = ?2",
            params![repo, snapshot.commit.as_bytes()],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?, stored_digest(row)?)),
        )
        .optional()?;
    let mut grows = false;
    if let Some((id, partial, digest)) = known {
        let stored = stored_list(db, id, &snapshot.repo, snapshot.commit)?;
        let sound = stored.filter(|list| is_as_recorded(digest.as_deref(), endpoint, list));
        match sound {
            Some(_) if !partial && snapshot.partial => return Ok(()),
            Some(list) if !partial && list.files().eq(snapshot.files()) => return Ok(()),
            Some(_) => grows = partial && snapshot.partial,
            None => {}
        }
        if !grows {
            db.execute("DELETE FROM files WHERE snapshot_id = ?1", [id])?;
        }
    }
    let listed_at = now();
    let created_at = if snapshot.created_at == 0 { listed_at } else { snapshot.created_at };
    let id = db.query_row(
        "INSERT INTO snapshots (repo_id, commit_hash, created_at, listed_at, partial) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET created_at = excluded.created_at, listed_at = excluded.listed_at,
                                   partial = excluded.partial RETURNING id",
        params![repo, snapshot.commit.as_bytes(), created_at as i64, listed_at as i64, snapshot.partial],
        |row| row.get::<_, i64>(0),
    )?;
    insert_files(db, id, snapshot)?;
    let digest = stored_list(db, id, &snapshot.repo, snapshot.commit)?.map(|list| list_digest(endpoint, &list));
    db.execute("UPDATE snapshots SET digest = ?2 WHERE id = ?1", params![id, digest])?;
    Ok(())
}

fn insert_files(db: &Connection, id: i64, snapshot: &Snapshot) -> Result<(), rusqlite::Error> {
    let mut insert_blob = db.prepare_cached("INSERT INTO blobs (name, size) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    let mut insert_file = db.prepare_cached(
        "INSERT OR REPLACE INTO files (snapshot_id, path, blob_id) VALUES (?1, ?2, (SELECT id FROM blobs WHERE name = ?3 AND size = ?4))",
    )?;
    for (path, blob) in snapshot.files() {
        let name = blob.id.to_string();
        insert_blob.execute(params![name, blob.size as i64])?;
        insert_file.execute(params![id, path.as_str(), name, blob.size as i64])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Identity, Token};
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
