//! Renames of nodes, each exactly once: also when the daemon is killed in the middle and the request comes again.
//!
//! What is on disk and what is here cannot change in one step. So a rename is noted first, then happens on disk, and then
//! the nodes move in the same transaction that marks it done. For `tree::Nodes`.

use rusqlite::{Connection, OptionalExtension, params};

use super::nodes::{move_tree, remove_tree};
use super::{Database, DbError, ViewId};

/// The kernel's number of a request. It grows for the life of a mount and stays the same when the request comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestNumber(pub u64);

/// A rename that was begun by this request, perhaps under an earlier daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// What was to be renamed, by its number on the disk.
    pub inode: u64,
    /// All of it has happened.
    pub done: bool,
}

impl Database {
    /// Notes of a view that are kept. Only requests that were not answered are looked for, and there are never as many.
    const RENAMES: i64 = 1024;

    /// Before anything happens on disk.
    pub async fn begin_rename(&self, view: ViewId, request: RequestNumber, inode: u64) -> Result<(), DbError> {
        self.write(move |db| {
            db.prepare_cached("INSERT OR REPLACE INTO renames (view_id, request, inode) VALUES (?1, ?2, ?3)")?
                .execute(params![view.0, request.0 as i64, inode as i64])?;
            let oldest = db.last_insert_rowid() - Self::RENAMES;
            db.prepare_cached("DELETE FROM renames WHERE view_id = ?1 AND id <= ?2")?
                .execute(params![view.0, oldest])?;
            Ok(())
        })
        .await
    }

    pub fn begun_rename(&self, view: ViewId, request: RequestNumber) -> Result<Option<Begun>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached("SELECT inode, done FROM renames WHERE view_id = ?1 AND request = ?2")?;
            let begun = |row: &rusqlite::Row<'_>| Ok(Begun { inode: row.get::<_, i64>(0)? as u64, done: row.get(1)? });
            query.query_row(params![view.0, request.0 as i64], begun).optional()
        })
    }

    /// Everything at and below `from` now lies at `to`; what lay there has no name any more. Does nothing where the
    /// request has done it before.
    pub async fn rename_nodes(
        &self,
        view: ViewId,
        request: RequestNumber,
        from: String,
        to: String,
    ) -> Result<(), DbError> {
        self.write(move |db| {
            if !mark_done(db, view, request)? {
                return Ok(());
            }
            remove_tree(db, view, &to)?;
            move_tree(db, view, &from, &to)
        })
        .await
    }

    /// What lies at and below each of the two now lies at the other. Once for each request, as [`Self::rename_nodes`].
    pub async fn exchange_nodes(
        &self,
        view: ViewId,
        request: RequestNumber,
        one: String,
        other: String,
    ) -> Result<(), DbError> {
        self.write(move |db| {
            if !mark_done(db, view, request)? {
                return Ok(());
            }
            // No path of a view begins with `/`.
            let aside = format!("/{one}");
            move_tree(db, view, &one, &aside)?;
            move_tree(db, view, &other, &one)?;
            move_tree(db, view, &aside, &other)
        })
        .await
    }
}

/// Whether this is the first time.
fn mark_done(db: &Connection, view: ViewId, request: RequestNumber) -> Result<bool, rusqlite::Error> {
    let mut mark = db.prepare_cached("UPDATE renames SET done = 1 WHERE view_id = ?1 AND request = ?2 AND done = 0")?;
    Ok(mark.execute(params![view.0, request.0 as i64])? == 1)
}

pub(super) fn forget_renames(db: &Connection, view: ViewId) -> Result<(), rusqlite::Error> {
    db.execute("DELETE FROM renames WHERE view_id = ?1", [view.0])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::NodeRow;

    const REQUEST: RequestNumber = RequestNumber(42);

    async fn database() -> (tempfile::TempDir, Database, ViewId) {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(&folder.path().join("models.db")).unwrap();
        let view = db.view("/mnt", true).await.unwrap();
        db.begin_rename(view, REQUEST, 7).await.unwrap();
        (folder, db, view)
    }

    async fn node(db: &Database, view: ViewId, path: &str) -> NodeRow {
        db.ensure_nodes(view, vec![path.to_owned()]).await.unwrap()[0]
    }

    #[tokio::test]
    async fn a_rename_moves_what_lies_below_and_nothing_beside_it() {
        let (_folder, db, view) = database().await;
        let below = node(&db, view, "a/b/c").await;
        let beside = node(&db, view, "a-b").await;
        let replaced = node(&db, view, "z").await;
        db.rename_nodes(view, REQUEST, "a".to_owned(), "z".to_owned()).await.unwrap();
        assert_eq!(db.node_path(view, below).unwrap().as_deref(), Some("z/b/c"));
        assert_eq!(db.node_path(view, beside).unwrap().as_deref(), Some("a-b"));
        assert_eq!(db.node_path(view, replaced).unwrap(), None);
    }

    #[tokio::test]
    async fn paths_that_change_places_take_their_nodes_along() {
        let (_folder, db, view) = database().await;
        let (a, below, b) = (node(&db, view, "a").await, node(&db, view, "a/x").await, node(&db, view, "b").await);
        let path = |node| db.node_path(view, node).unwrap().unwrap();
        for _ in 0..2 {
            db.exchange_nodes(view, REQUEST, "a".to_owned(), "b".to_owned()).await.unwrap();
            assert_eq!([path(a), path(below), path(b)], ["b", "b/x", "a"], "a second time changes nothing");
        }
    }

    #[tokio::test]
    async fn a_rename_that_comes_again_takes_nothing_away() {
        let (_folder, db, view) = database().await;
        let moved = node(&db, view, "a").await;
        db.rename_nodes(view, REQUEST, "a".to_owned(), "z".to_owned()).await.unwrap();
        let newer = node(&db, view, "a").await;
        db.rename_nodes(view, REQUEST, "a".to_owned(), "z".to_owned()).await.unwrap();
        assert_eq!(db.node_path(view, moved).unwrap().as_deref(), Some("z"));
        assert_eq!(db.node_path(view, newer).unwrap().as_deref(), Some("a"));
        assert_eq!(db.begun_rename(view, REQUEST).unwrap(), Some(Begun { inode: 7, done: true }));
    }

    #[tokio::test]
    async fn the_notes_of_renames_have_a_limit_and_end_with_the_mount() {
        let (_folder, db, view) = database().await;
        let count =
            |db: &Database| db.read(|db| db.query_row("SELECT count(*) FROM renames", [], |row| row.get::<_, i64>(0)));
        for request in 0..Database::RENAMES as u64 + 10 {
            db.begin_rename(view, RequestNumber(100 + request), 1).await.unwrap();
        }
        assert_eq!(count(&db).unwrap(), Database::RENAMES);
        assert_eq!(db.begun_rename(view, REQUEST).unwrap(), None);
        db.view("/mnt", true).await.unwrap();
        assert_eq!(count(&db).unwrap(), 0, "the next mount's kernel counts from the beginning");
    }
}
