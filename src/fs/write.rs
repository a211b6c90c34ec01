//! What clients write: kept in the writable layer, taken note of (`refs/`), dropped, or refused.

use std::os::unix::fs::FileExt;

use super::attr::Attr;
use super::delivery::{Delivery, between_steps};
use super::error::FsError;
use super::lookup::{Found, TOKEN};
use super::model_fs::ModelFs;
use super::scratch::{Change, CreateFlags, Owner, Scratch, ScratchAttr};
use crate::tree::Node;
use crate::tree::layout::{Place, join, split};
use crate::types::{Commit, RepoId, Revision};

/// A commit's digits and whatever white space a client puts behind them.
const MAX_REF: usize = 64;
/// Where the Hub's own clients lock against each other.
const LOCKS: &str = "hub/.locks/";

/// What there is of an entry that is to be removed.
enum Own {
    /// It was dropped when it was written.
    Dropped,
    /// An earlier attempt has removed it, perhaps not to the end.
    Gone(String),
    Here(String, ScratchAttr),
}

impl ModelFs {
    /// A new file, open.
    pub async fn create(
        &self,
        parent: Node,
        name: &str,
        mode: u32,
        owner: Owner,
        exclusive: bool,
        delivery: Delivery,
    ) -> Result<Attr, FsError> {
        let path = join(&self.place(parent)?.0, name);
        let place = Place::of(&path);
        match place {
            Place::Discarded => return self.attr(self.nodes.ensure(&path).await?).await,
            Place::Scratch | Place::Ref(..) => {}
            _ => return Err(FsError::ReadOnly),
        }
        if !self.is_made(&path, delivery)?
            && let Found::Virtual(shape) = self.find(&path, &place).await?
        {
            // It appeared since the kernel last looked: then this is an open.
            if exclusive {
                return Err(FsError::Exists);
            }
            return Ok(shape.at(self.nodes.ensure(&path).await?, &self.view));
        }
        self.scratch.ensure_dir(split(&path).0)?;
        let flags = CreateFlags { exclusive, truncate: false, attempt: delivery.attempt };
        let file = self.scratch.create(&path, self.file_mode(&path, mode), owner, flags)?;
        between_steps();
        let node = self.nodes.ensure(&path).await?;
        self.handles.open_scratch(node, || Ok::<_, FsError>(file))?;
        self.attr(node).await
    }

    pub async fn mkdir(
        &self,
        parent: Node,
        name: &str,
        mode: u32,
        owner: Owner,
        delivery: Delivery,
    ) -> Result<Attr, FsError> {
        let path = self.new_entry(parent, name, delivery).await?;
        self.scratch.mkdir(&path, self.folder_mode(mode), owner, delivery.attempt)?;
        between_steps();
        self.attr(self.nodes.ensure(&path).await?).await
    }

    /// On a shared mount, a folder that its maker lets others enter is one that they may work in too, as in /tmp:
    /// clients meet in `.locks` and `modules` with whatever umask they have.
    fn folder_mode(&self, asked: u32) -> u32 {
        if self.view.shared && asked & 0o005 == 0o005 { 0o1777 } else { asked }
    }

    fn file_mode(&self, path: &str, asked: u32) -> u32 {
        if self.view.shared && path.starts_with(LOCKS) { asked | 0o666 } else { asked }
    }

    pub async fn symlink(
        &self,
        parent: Node,
        name: &str,
        target: &str,
        owner: Owner,
        delivery: Delivery,
    ) -> Result<Attr, FsError> {
        let path = self.new_entry(parent, name, delivery).await?;
        self.scratch.symlink(&path, target, owner, delivery.attempt)?;
        between_steps();
        self.attr(self.nodes.ensure(&path).await?).await
    }

    pub async fn link(&self, node: Node, parent: Node, name: &str, delivery: Delivery) -> Result<Attr, FsError> {
        let from = self.place(node)?.0;
        if self.scratch.stat(&from)?.is_none() {
            return Err(FsError::OtherLayer);
        }
        let path = self.new_entry(parent, name, delivery).await?;
        self.scratch.link(&from, &path, delivery.attempt)?;
        between_steps();
        self.attr(self.nodes.ensure(&path).await?).await
    }

    /// The path of an entry to be made in the writable layer, its folder made ready.
    async fn new_entry(&self, parent: Node, name: &str, delivery: Delivery) -> Result<String, FsError> {
        let path = join(&self.place(parent)?.0, name);
        let place = Place::of(&path);
        if !matches!(place, Place::Scratch | Place::Ref(..)) {
            return Err(FsError::ReadOnly);
        }
        if !self.is_made(&path, delivery)?
            && let Found::Virtual(_) = self.find(&path, &place).await?
        {
            return Err(FsError::Exists);
        }
        self.scratch.ensure_dir(split(&path).0)?;
        Ok(path)
    }

    /// Whether the entry that a request is to make lies there from an earlier attempt. What has come to have a virtual
    /// meaning meanwhile does not take it back.
    fn is_made(&self, path: &str, delivery: Delivery) -> Result<bool, FsError> {
        Ok(delivery.is_again() && self.scratch.stat(path)?.is_some())
    }

    pub async fn unlink(&self, parent: Node, name: &str, delivery: Delivery) -> Result<(), FsError> {
        let path = match self.own_entry(parent, name, delivery)? {
            Own::Dropped => return Ok(()),
            Own::Gone(path) => path,
            Own::Here(path, stored) => {
                let orphan = self.adopt_orphan(&path, &stored)?;
                between_steps();
                let removed = self.scratch.unlink(&path);
                if removed.is_err()
                    && let Some(orphan) = orphan
                {
                    self.drop_orphan(orphan);
                }
                removed?;
                path
            }
        };
        between_steps();
        Ok(self.nodes.remove(&path).await?)
    }

    pub async fn rmdir(&self, parent: Node, name: &str, delivery: Delivery) -> Result<(), FsError> {
        let path = match self.own_entry(parent, name, delivery)? {
            Own::Dropped => return Ok(()),
            Own::Gone(path) => path,
            Own::Here(path, _) => {
                self.scratch.rmdir(&path)?;
                path
            }
        };
        between_steps();
        Ok(self.nodes.remove(&path).await?)
    }

    /// An entry that is to be removed from the writable layer.
    fn own_entry(&self, parent: Node, name: &str, delivery: Delivery) -> Result<Own, FsError> {
        let path = join(&self.place(parent)?.0, name);
        match Place::of(&path) {
            Place::Discarded => Ok(Own::Dropped),
            Place::Scratch | Place::Ref(..) => match self.scratch.stat(&path)? {
                Some(stored) => Ok(Own::Here(path, stored)),
                // The kernel asks for what it knows to be there: so it was, and an earlier attempt has removed it.
                None if delivery.is_again() => Ok(Own::Gone(path)),
                None => Err(FsError::ReadOnly),
            },
            _ => Err(FsError::ReadOnly),
        }
    }

    pub async fn set_attr(&self, node: Node, change: &Change) -> Result<Attr, FsError> {
        let (open, mut change) = (self.open_without_name(node)?, *change);
        if let Some(open) = &open {
            if self.nodes.path(node)?.is_none() {
                // Its name is gone; the open file is not.
                Scratch::set_attr_of(open, &change).map_err(FsError::open_scratch("change"))?;
                return self.open_attr(node, open);
            }
            if let Some(size) = change.size.take() {
                open.set_len(size).map_err(FsError::open_scratch("resize"))?;
            }
        }
        let (path, place) = self.place(node)?;
        if self.scratch.stat(&path)?.is_some() {
            return Ok(self.stored_attr(node, self.scratch.set_attr(&path, &change)?));
        }
        match place {
            Place::Discarded => self.discarded.set_size(node, change.size.unwrap_or(self.discarded.size(node))),
            Place::Scratch if path.as_ref() == TOKEN => {
                self.adopt_token(node)?;
                self.handles.close_scratch(node);
                return Ok(self.stored_attr(node, self.scratch.set_attr(&path, &change)?));
            }
            // A client that opens a branch to write it cuts it first, and dates what it has touched.
            Place::Ref(..) | Place::NoExistIn(..) => {}
            _ => return Err(FsError::ReadOnly),
        }
        self.attr(node).await
    }

    pub async fn write(&self, node: Node, offset: u64, bytes: &[u8]) -> Result<(), FsError> {
        if let Some(open) = self.open_without_name(node)? {
            return open.write_all_at(bytes, offset).map_err(FsError::open_scratch("write"));
        }
        let (path, place) = self.place(node)?;
        if self.scratch.stat(&path)?.is_some() {
            let file = self.scratch_file(&path)?;
            return file.write_all_at(bytes, offset).map_err(FsError::open_scratch("write"));
        }
        match place {
            Place::Discarded | Place::NoExistIn(..) => self.discarded.wrote(node, offset + bytes.len() as u64),
            Place::Ref(repo, revision) => {
                let Some(commit) = parse_commit(bytes) else { return Err(FsError::ReadOnly) };
                self.tree.told(&self.view.identity, &repo, &revision, commit).await?;
            }
            _ => return Err(FsError::ReadOnly),
        }
        Ok(())
    }

    /// A writer closes its file: a branch that was written in place is taken note of. Who opened it does not matter: it
    /// may have been an earlier daemon.
    pub async fn flush(&self, node: Node) -> Result<(), FsError> {
        match self.place(node) {
            Ok((path, Place::Ref(repo, revision))) => self.take_note(&path, &repo, &revision).await,
            _ => Ok(()),
        }
    }

    pub fn release(&self, node: Node) {
        self.handles.close_scratch(node);
        self.content_released(node);
    }

    pub fn sync(&self, node: Node, data_only: bool) -> Result<(), FsError> {
        if let Some(open) = self.open_without_name(node)? {
            let synced = if data_only { open.sync_data() } else { open.sync_all() };
            return synced.map_err(FsError::open_scratch("sync"));
        }
        let (path, place) = self.place(node)?;
        match place {
            Place::Scratch if self.scratch.stat(&path)?.is_some() => Ok(self.scratch.sync(&path, data_only)?),
            _ => Ok(()),
        }
    }

    /// What a client wrote into `refs/` is a hint, not a fact: once the revision is pinned, the file goes.
    ///
    /// It may have gone: closed twice, or noted by a daemon that was killed before it could say so.
    pub(super) async fn take_note(&self, path: &str, repo: &RepoId, revision: &Revision) -> Result<(), FsError> {
        if revision.as_commit().is_some() || self.scratch.stat(path)?.is_none() {
            return Ok(());
        }
        let mut written = [0; MAX_REF];
        let len = self.scratch_file(path)?.read_at(&mut written, 0).map_err(FsError::open_scratch("read"))?;
        let Some(commit) = parse_commit(&written[..len]) else { return Ok(()) };
        self.tree.told(&self.view.identity, repo, revision, commit).await?;
        between_steps();
        if self.tree.pinned(&self.view.identity, repo, revision)?.is_some() && self.scratch.stat(path)?.is_some() {
            self.scratch.unlink(path)?;
        }
        Ok(())
    }

    /// The shown token becomes a file of the writable layer, since somebody is about to change it.
    pub(super) fn adopt_token(&self, node: Node) -> Result<(), FsError> {
        let Some(token) = self.view.shown_token() else { return Err(FsError::Stale) };
        let file = self.scratch.create_token(TOKEN, token.secret().as_bytes(), self.view.owner)?;
        self.handles.open_scratch(node, || Ok(file))
    }
}

/// The forty digits of a commit, with or without a newline.
pub(super) fn parse_commit(written: &[u8]) -> Option<Commit> {
    std::str::from_utf8(written).ok()?.trim().parse().ok()
}
