//! Node ids: numbers that mean the same after a restart of the daemon.
//!
//! A number is a row of the database and an epoch: 0 while the content is served by the daemon, n after its n-th
//! sealing once complete files are passed through. The row is written before the kernel hears of the number.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Tree;
use crate::db::{Begun, Database, DbError, NodeRow, RequestNumber, ViewId};

/// What the kernel calls a node id and programs an inode number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node(pub u64);

impl Node {
    /// FUSE fixes the root's number.
    pub const ROOT: Node = Node(1);
    const EPOCH_BITS: u32 = 16;

    fn of(row: NodeRow) -> Self {
        Node(row.0 << Self::EPOCH_BITS)
    }

    /// The node whose content is served by the daemon.
    pub fn cold(self) -> Self {
        if self == Self::ROOT { self } else { Self::of(self.row()) }
    }

    /// The node of the `epoch`-th sealing of this file's content. A number past the last one that fits has none.
    pub fn hot(self, epoch: u64) -> Option<Self> {
        let fits = 0 < epoch && epoch < 1 << Self::EPOCH_BITS;
        fits.then(|| Node(self.cold().0 | epoch))
    }

    /// Which sealing a hot node stands for; `None` for a cold one.
    pub fn epoch(self) -> Option<u64> {
        let epoch = self.0 & ((1 << Self::EPOCH_BITS) - 1);
        (self != Self::ROOT && epoch != 0).then_some(epoch)
    }

    fn row(self) -> NodeRow {
        NodeRow(self.0 >> Self::EPOCH_BITS)
    }
}

/// The nodes of one view, remembered in memory as far as they are in use.
pub struct Nodes {
    db: Arc<Database>,
    view: ViewId,
    fresh: bool,
    by_path: moka::sync::Cache<Arc<str>, Node>,
    by_node: moka::sync::Cache<Node, Arc<str>>,
    /// Counts the names that moved or went: what was read before one of them is not remembered after it.
    moves: Mutex<u64>,
}

impl Tree {
    /// The nodes of what is mounted at `directory`. `fresh`: the kernel of this mount knows none of them yet.
    pub async fn nodes(&self, directory: &str, fresh: bool) -> Result<Nodes, DbError> {
        let view = self.db.view(directory, fresh).await?;
        Ok(Nodes::new(self.db.clone(), view, fresh))
    }
}

impl Tree {
    /// Drops the numbers of a mount that will not come again.
    pub async fn forget_nodes(&self, directory: &str) -> Result<(), DbError> {
        self.db.forget_view(directory).await
    }
}

impl Nodes {
    /// Names kept in memory; the others are looked up in the database again.
    const REMEMBERED: u64 = 100_000;

    fn new(db: Arc<Database>, view: ViewId, fresh: bool) -> Self {
        Self {
            db,
            view,
            fresh,
            by_path: moka::sync::Cache::new(Self::REMEMBERED),
            by_node: moka::sync::Cache::new(Self::REMEMBERED),
            moves: Mutex::new(0),
        }
    }

    /// Whether the kernel of this mount has known no other daemon.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// The node of `path` if it can be told without waiting.
    pub fn known(&self, path: &str) -> Option<Node> {
        if path.is_empty() { Some(Node::ROOT) } else { self.by_path.get(path) }
    }

    /// The path that `node` stands for; `None` if it has been removed.
    pub fn path(&self, node: Node) -> Result<Option<Arc<str>>, DbError> {
        if node == Node::ROOT {
            return Ok(Some("".into()));
        }
        if let Some(path) = self.by_node.get(&node.cold()) {
            return Ok(Some(path));
        }
        let moves = self.moves();
        let Some(path) = self.db.node_path(self.view, node.row())? else { return Ok(None) };
        let path: Arc<str> = path.into();
        self.remember(&path, node.cold(), moves);
        Ok(Some(path))
    }

    /// Every path that the kernel may know.
    pub fn paths(&self) -> Result<Vec<String>, DbError> {
        self.db.node_paths(self.view)
    }

    /// The node of `path` if it has one: the kernel may know it.
    pub fn find(&self, path: &str) -> Result<Option<Node>, DbError> {
        if let Some(node) = self.known(path) {
            return Ok(Some(node));
        }
        let moves = self.moves();
        let Some(row) = self.db.find_node(self.view, path)? else { return Ok(None) };
        self.remember(&path.into(), Node::of(row), moves);
        Ok(Some(Node::of(row)))
    }

    /// The node of `path`, made if need be. It is the cold one, as is every node here.
    pub async fn ensure(&self, path: &str) -> Result<Node, DbError> {
        if let Some(node) = self.find(path)? {
            return Ok(node);
        }
        Ok(self.ensure_all(vec![path.to_owned()]).await?[0])
    }

    /// The nodes of a whole directory, in one transaction.
    pub async fn ensure_all(&self, paths: Vec<String>) -> Result<Vec<Node>, DbError> {
        let known: Option<Vec<Node>> = paths.iter().map(|path| self.known(path)).collect();
        if let Some(nodes) = known {
            return Ok(nodes);
        }
        let moves = self.moves();
        let rows = self.db.ensure_nodes(self.view, paths.clone()).await?;
        let nodes: Vec<Node> = rows.into_iter().map(Node::of).collect();
        for (path, node) in paths.into_iter().zip(&nodes) {
            self.remember(&path.into(), *node, moves);
        }
        Ok(nodes)
    }

    /// Notes a rename before it happens on disk. [`Self::rename`] or [`Self::exchange`] of the same request ends it.
    pub async fn begin_rename(&self, request: RequestNumber, inode: u64) -> Result<(), DbError> {
        self.db.begin_rename(self.view, request, inode).await
    }

    /// What is noted of a request that came before.
    pub fn begun_rename(&self, request: RequestNumber) -> Result<Option<Begun>, DbError> {
        self.db.begun_rename(self.view, request)
    }

    pub async fn rename(&self, request: RequestNumber, from: &str, to: &str) -> Result<(), DbError> {
        self.db.rename_nodes(self.view, request, from.to_owned(), to.to_owned()).await?;
        self.forget_all();
        Ok(())
    }

    /// The two, with what lies below them, have changed places.
    pub async fn exchange(&self, request: RequestNumber, one: &str, other: &str) -> Result<(), DbError> {
        self.db.exchange_nodes(self.view, request, one.to_owned(), other.to_owned()).await?;
        self.forget_all();
        Ok(())
    }

    pub async fn remove(&self, path: &str) -> Result<(), DbError> {
        self.db.remove_node(self.view, path.to_owned()).await?;
        let mut moves = self.moves.lock();
        *moves += 1;
        if let Some(node) = self.by_path.remove(path) {
            self.by_node.invalidate(&node);
        }
        Ok(())
    }

    fn moves(&self) -> u64 {
        *self.moves.lock()
    }

    fn remember(&self, path: &Arc<str>, node: Node, moves_before: u64) {
        let moves = self.moves.lock();
        if *moves == moves_before {
            self.by_path.insert(path.clone(), node);
            self.by_node.insert(node, path.clone());
        }
    }

    // A folder that moves takes everything below along; memory is cheaper to fill again than to search.
    fn forget_all(&self) {
        let mut moves = self.moves.lock();
        *moves += 1;
        self.by_path.invalidate_all();
        self.by_node.invalidate_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_its_row_and_its_epoch_and_nothing_else() {
        let cold = Node::of(NodeRow(7));
        let hot = cold.hot(3).unwrap();
        assert_ne!(hot, cold);
        assert_eq!((hot.cold(), hot.epoch(), cold.epoch()), (cold, Some(3), None));
        assert_eq!(hot.hot(4).unwrap().epoch(), Some(4));
        assert_eq!((cold.hot(0), cold.hot(1 << 16)), (None, None), "it would mean something else");
        assert_eq!((Node::ROOT.cold(), Node::ROOT.epoch()), (Node::ROOT, None));
    }
}
