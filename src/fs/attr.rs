//! What programs see of an entry.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::scratch::{Owner, ScratchAttr, ScratchKind};
use super::view::View;
use crate::tree::Node;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    Link,
}

impl From<ScratchKind> for Kind {
    fn from(kind: ScratchKind) -> Self {
        match kind {
            ScratchKind::File => Kind::File,
            ScratchKind::Directory => Kind::Folder,
            ScratchKind::Symlink => Kind::Link,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Attr {
    pub node: Node,
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub nlink: u32,
    pub atime: SystemTime,
    pub mtime: SystemTime,
    pub ctime: SystemTime,
    pub lasting: Lasting,
}

/// How long the kernel may believe what it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// It never changes: a commit's files.
    ForGood,
    /// It changes rarely and a minute's delay is no harm.
    AWhile,
    /// It may change under the kernel's feet.
    Briefly,
}

impl Lasting {
    pub fn duration(self) -> Duration {
        match self {
            Lasting::ForGood => Duration::from_secs(365 * 24 * 3600),
            Lasting::AWhile => Duration::from_secs(60),
            Lasting::Briefly => Duration::from_secs(1),
        }
    }
}

/// An entry before it has a number: what it is, not yet which.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    kind: Kind,
    mode: u32,
    size: u64,
    mtime: SystemTime,
    lasting: Lasting,
}

impl Shape {
    /// A folder that nobody can change.
    pub(super) fn folder(lasting: Lasting) -> Self {
        Self { kind: Kind::Folder, mode: 0o555, size: 0, mtime: UNIX_EPOCH, lasting }
    }

    /// A folder in which clients make entries of their own.
    pub(super) fn writable_folder(view: &View, lasting: Lasting) -> Self {
        Self { mode: if view.shared { 0o1777 } else { 0o755 }, ..Self::folder(lasting) }
    }

    /// The same below a repository: there is nothing of others to take away, and what others own may be renamed onto.
    pub(super) fn open_folder(view: &View, lasting: Lasting) -> Self {
        Self { mode: if view.shared { 0o777 } else { 0o755 }, ..Self::folder(lasting) }
    }

    /// A content of the Hub.
    pub(super) fn file(size: u64) -> Self {
        Self { kind: Kind::File, mode: 0o444, size, mtime: UNIX_EPOCH, lasting: Lasting::ForGood }
    }

    /// A file whose writes are taken note of or dropped.
    pub(super) fn writable_file(view: &View, size: u64, lasting: Lasting) -> Self {
        let mode = if view.shared { 0o666 } else { 0o644 };
        Self { kind: Kind::File, mode, size, mtime: UNIX_EPOCH, lasting }
    }

    pub(super) fn link(target_len: usize) -> Self {
        let size = target_len as u64;
        Self { kind: Kind::Link, mode: 0o777, size, mtime: UNIX_EPOCH, lasting: Lasting::ForGood }
    }

    pub(super) fn lasting(mut self, lasting: Lasting) -> Self {
        self.lasting = lasting;
        self
    }

    pub(super) fn private(mut self) -> Self {
        self.mode = 0o600;
        self
    }

    /// A date that no clock can show is none.
    pub(super) fn dated(mut self, seconds: u64) -> Self {
        self.mtime = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH);
        self
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn at(self, node: Node, view: &View) -> Attr {
        self.owned(node, view.owner)
    }

    fn owned(self, node: Node, owner: Owner) -> Attr {
        Attr {
            node,
            kind: self.kind,
            mode: self.mode,
            uid: owner.uid,
            gid: owner.gid,
            size: self.size,
            nlink: if self.kind == Kind::Folder { 2 } else { 1 },
            atime: self.mtime,
            mtime: self.mtime,
            ctime: self.mtime,
            lasting: self.lasting,
        }
    }
}

impl Attr {
    /// Stands for what is not there.
    pub(super) fn absent() -> Self {
        let nothing = Owner { uid: 0, gid: 0 };
        Shape { kind: Kind::File, mode: 0, size: 0, mtime: UNIX_EPOCH, lasting: Lasting::Briefly }
            .owned(Node(0), nothing)
    }

    pub(super) fn of_scratch(node: Node, stored: ScratchAttr) -> Self {
        Attr {
            node,
            kind: stored.kind.into(),
            mode: stored.mode,
            uid: stored.uid,
            gid: stored.gid,
            size: stored.size,
            nlink: stored.nlink,
            atime: stored.atime,
            mtime: stored.mtime,
            ctime: stored.ctime,
            lasting: Lasting::Briefly,
        }
    }
}
