//! Node ids: which path of which view the kernel means by a number.

use rusqlite::{Connection, OptionalExtension, params};

use super::renames::forget_renames;
use super::{Database, DbError};

/// A view's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ViewId(pub(super) i64);

/// A node's row: positive and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeRow(pub u64);

impl Database {
    /// The view mounted at `directory`; `fresh` forgets what an earlier mount's kernel knew.
    pub async fn view(&self, directory: &str, fresh: bool) -> Result<ViewId, DbError> {
        let directory = directory.to_owned();
        self.write(move |db| {
            db.execute("INSERT INTO views (directory) VALUES (?1) ON CONFLICT DO NOTHING", [&directory])?;
            let id: i64 = db.query_row("SELECT id FROM views WHERE directory = ?1", [&directory], |row| row.get(0))?;
            if fresh {
                db.execute("DELETE FROM nodes WHERE view_id = ?1", [id])?;
                forget_renames(db, ViewId(id))?;
            }
            Ok(ViewId(id))
        })
        .await
    }

    /// Drops a view that will not be mounted again.
    pub async fn forget_view(&self, directory: &str) -> Result<(), DbError> {
        let directory = directory.to_owned();
        self.write(move |db| {
            let found = db.query_row("SELECT id FROM views WHERE directory = ?1", [&directory], |row| row.get(0));
            let Some(id) = found.optional()? else { return Ok(()) };
            db.execute("DELETE FROM nodes WHERE view_id = ?1", [id])?;
            forget_renames(db, ViewId(id))?;
            db.execute("DELETE FROM views WHERE id = ?1", [id])?;
            Ok(())
        })
        .await
    }

    /// The node of each path, made where there is none, in one transaction.
    pub async fn ensure_nodes(&self, view: ViewId, paths: Vec<String>) -> Result<Vec<NodeRow>, DbError> {
        self.write(move |db| paths.iter().map(|path| ensure_node(db, view, path)).collect()).await
    }

    pub fn find_node(&self, view: ViewId, path: &str) -> Result<Option<NodeRow>, DbError> {
        self.read(|db| select_node(db, view, path))
    }

    pub fn node_path(&self, view: ViewId, node: NodeRow) -> Result<Option<String>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached("SELECT path FROM nodes WHERE view_id = ?1 AND id = ?2")?;
            query.query_row(params![view.0, node.0 as i64], |row| row.get(0)).optional()
        })
    }

    /// The paths of all nodes of a view.
    pub fn node_paths(&self, view: ViewId) -> Result<Vec<String>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached("SELECT path FROM nodes WHERE view_id = ?1")?;
            query.query_map([view.0], |row| row.get(0))?.collect()
        })
    }

    /// The path has no node any more: whatever comes to lie there gets a new one.
    pub async fn remove_node(&self, view: ViewId, path: String) -> Result<(), DbError> {
        self.write(move |db| remove_tree(db, view, &path)).await
    }
}

fn select_node(db: &Connection, view: ViewId, path: &str) -> Result<Option<NodeRow>, rusqlite::Error> {
    let mut query = db.prepare_cached("SELECT id FROM nodes WHERE view_id = ?1 AND path = ?2")?;
    query.query_row(params![view.0, path], |row| Ok(NodeRow(row.get::<_, i64>(0)? as u64))).optional()
}

fn ensure_node(db: &Connection, view: ViewId, path: &str) -> Result<NodeRow, rusqlite::Error> {
    if let Some(node) = select_node(db, view, path)? {
        return Ok(node);
    }
    db.prepare_cached("INSERT INTO nodes (view_id, path) VALUES (?1, ?2)")?.execute(params![view.0, path])?;
    Ok(NodeRow(db.last_insert_rowid() as u64))
}

pub(super) fn move_tree(db: &Connection, view: ViewId, from: &str, to: &str) -> Result<(), rusqlite::Error> {
    db.execute(
        "UPDATE nodes SET path = ?3 || substr(path, length(?2) + 1)
         WHERE view_id = ?1 AND (path = ?2 OR (path > ?2 || '/' AND path < ?2 || '0'))",
        params![view.0, from, to],
    )?;
    Ok(())
}

// `0` follows `/` in the order of bytes: the index finds what lies below a path.
pub(super) fn remove_tree(db: &Connection, view: ViewId, path: &str) -> Result<(), rusqlite::Error> {
    db.execute(
        "DELETE FROM nodes WHERE view_id = ?1 AND (path = ?2 OR (path > ?2 || '/' AND path < ?2 || '0'))",
        params![view.0, path],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn database() -> (tempfile::TempDir, Database, ViewId) {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(&folder.path().join("models.db")).unwrap();
        let view = db.view("/mnt", true).await.unwrap();
        (folder, db, view)
    }

    async fn node(db: &Database, view: ViewId, path: &str) -> NodeRow {
        db.ensure_nodes(view, vec![path.to_owned()]).await.unwrap()[0]
    }

    #[tokio::test]
    async fn a_path_keeps_its_node_and_a_removed_one_never_comes_back() {
        let (_folder, db, view) = database().await;
        let first = node(&db, view, "a").await;
        assert_eq!(node(&db, view, "a").await, first);
        db.remove_node(view, "a".to_owned()).await.unwrap();
        assert_ne!(node(&db, view, "a").await, first);
        assert_eq!(db.node_path(view, first).unwrap(), None);
    }

    #[tokio::test]
    async fn a_fresh_mount_starts_with_ids_the_kernel_has_never_seen() {
        let (_folder, db, view) = database().await;
        let old = node(&db, view, "a").await;
        let again = db.view("/mnt", true).await.unwrap();
        assert_eq!(again, view);
        assert!(node(&db, view, "a").await.0 > old.0);
    }
}
