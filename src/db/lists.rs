//! File lists of commits: recorded whole, and known by a checksum when they are read back.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};
use xxhash_rust::xxh3::Xxh3;

use super::repos::{GrantScope, commit, ensure_repo, grant};
use super::{Database, DbError, damage, now};
use crate::types::{Blob, BlobId, Commit, IdentityDigest, RemoteFile, RepoId, RepoPath, Snapshot};

impl Database {
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

    /// Every place where the lists of `repo` have this content.
    pub fn files_with(&self, endpoint: &str, repo: &RepoId, blob: &Blob) -> Result<Vec<(Commit, RepoPath)>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT path, name, size, commit_hash FROM blobs
                 CROSS JOIN files ON files.blob_id = blobs.id
                 CROSS JOIN snapshots ON snapshots.id = snapshot_id
                 CROSS JOIN repos ON repos.id = repo_id
                 WHERE name = ?1 AND size = ?2 AND endpoint = ?3 AND repo = ?4",
            )?;
            let asked = params![blob.id.to_string(), blob.size as i64, endpoint, repo.to_string()];
            let rows = query.query_map(asked, |row| Ok((commit(row, 3)?, listed_file(row)?.0)))?;
            rows.collect()
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
        snapshot: Arc<Snapshot>,
    ) -> Result<(), DbError> {
        let endpoint = endpoint.to_owned();
        self.write(move |db| {
            let repo = record_list(db, &endpoint, identity, &snapshot)?;
            let gates = params![repo, snapshot.private, snapshot.gated];
            db.execute("UPDATE repos SET private = ?2, gated = ?3 WHERE id = ?1", gates)?;
            Ok(())
        })
        .await
    }

    /// Records a file list that another cache had, and that `identity` may see it. It says nothing of who else may, and
    /// takes nothing away from what the Hub said.
    pub async fn adopt_snapshot(
        &self,
        endpoint: &str,
        identity: IdentityDigest,
        snapshot: Arc<Snapshot>,
    ) -> Result<(), DbError> {
        let endpoint = endpoint.to_owned();
        self.write(move |db| record_list(db, &endpoint, identity, &snapshot).map(drop)).await
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

/// Answers the repository's row.
fn record_list(
    db: &Connection,
    endpoint: &str,
    identity: IdentityDigest,
    snapshot: &Snapshot,
) -> Result<i64, rusqlite::Error> {
    let repo = ensure_repo(db, endpoint, &snapshot.repo.to_string())?;
    grant(db, repo, identity, GrantScope::Names)?;
    insert_snapshot(db, repo, endpoint, snapshot)?;
    Ok(repo)
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
