//! What clients write: kept in the writable layer, taken note of (`refs/`), dropped, or refused.

use std::os::unix::fs::FileExt;

use super::attr::Attr;
use super::error::FsError;
use super::lookup::{Found, TOKEN};
use super::model_fs::ModelFs;
use super::scratch::{Change, CreateFlags, Owner, RenameMode, Scratch};
use crate::tree::Node;
use crate::tree::layout::{Place, join, split};
use crate::types::{Commit, RepoId, Revision};

/// A commit's digits and whatever white space a client puts behind them.
const MAX_REF: usize = 64;
/// Where the Hub's own clients lock against each other.
const LOCKS: &str = "hub/.locks/";

impl ModelFs {
    /// A new file, open.
    pub async fn create(
        &self,
        parent: Node,
        name: &str,
        mode: u32,
        owner: Owner,
        exclusive: bool,
    ) -> Result<Attr, FsError> {
        let path = join(&self.place(parent)?.0, name);
        let place = Place::of(&path);
        match place {
            Place::Discarded => return self.attr(self.nodes.ensure(&path).await?).await,
            Place::Scratch | Place::Ref(..) => {}
            _ => return Err(FsError::ReadOnly),
        }
        if let Found::Virtual(shape) = self.find(&path, &place).await? {
            // It appeared since the kernel last looked: then this is an open.
            if exclusive {
                return Err(FsError::Exists);
            }
            return Ok(shape.at(self.nodes.ensure(&path).await?, &self.view));
        }
        self.scratch.ensure_dir(split(&path).0)?;
        let flags = CreateFlags { exclusive, truncate: false };
        let file = self.scratch.create(&path, self.file_mode(&path, mode), owner, flags)?;
        let node = self.nodes.ensure(&path).await?;
        self.handles.open_scratch(node, || Ok::<_, FsError>(file))?;
        self.attr(node).await
    }

    pub async fn mkdir(&self, parent: Node, name: &str, mode: u32, owner: Owner) -> Result<Attr, FsError> {
        let path = self.new_entry(parent, name).await?;
        self.scratch.mkdir(&path, self.folder_mode(mode), owner)?;
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

    pub async fn symlink(&self, parent: Node, name: &str, target: &str, owner: Owner) -> Result<Attr, FsError> {
        let path = self.new_entry(parent, name).await?;
        self.scratch.symlink(&path, target, owner)?;
        self.attr(self.nodes.ensure(&path).await?).await
    }

    pub async fn link(&self, node: Node, parent: Node, name: &str) -> Result<Attr, FsError> {
        let from = self.place(node)?.0;
        if self.scratch.stat(&from)?.is_none() {
            return Err(FsError::OtherLayer);
        }
        let path = self.new_entry(parent, name).await?;
        self.scratch.link(&from, &path)?;
        self.attr(self.nodes.ensure(&path).await?).await
    }

    /// The path of an entry to be made in the writable layer, its folder made ready.
    async fn new_entry(&self, parent: Node, name: &str) -> Result<String, FsError> {
        let path = join(&self.place(parent)?.0, name);
        let place = Place::of(&path);
        if !matches!(place, Place::Scratch | Place::Ref(..)) {
            return Err(FsError::ReadOnly);
        }
        if let Found::Virtual(_) = self.find(&path, &place).await? {
            return Err(FsError::Exists);
        }
        self.scratch.ensure_dir(split(&path).0)?;
        Ok(path)
    }

    pub async fn unlink(&self, parent: Node, name: &str) -> Result<(), FsError> {
        let Some(path) = self.own_entry(parent, name)? else { return Ok(()) };
        self.scratch.unlink(&path)?;
        Ok(self.nodes.remove(&path).await?)
    }

    pub async fn rmdir(&self, parent: Node, name: &str) -> Result<(), FsError> {
        let Some(path) = self.own_entry(parent, name)? else { return Ok(()) };
        self.scratch.rmdir(&path)?;
        Ok(self.nodes.remove(&path).await?)
    }

    /// The path of an entry of the writable layer; `None` for one that was dropped when it was written.
    fn own_entry(&self, parent: Node, name: &str) -> Result<Option<String>, FsError> {
        let path = join(&self.place(parent)?.0, name);
        match Place::of(&path) {
            Place::Discarded => Ok(None),
            Place::Scratch | Place::Ref(..) if self.scratch.stat(&path)?.is_some() => Ok(Some(path)),
            _ => Err(FsError::ReadOnly),
        }
    }

    pub async fn rename(&self, from: (Node, &str), to: (Node, &str), mode: RenameMode) -> Result<(), FsError> {
        let source = join(&self.place(from.0)?.0, from.1);
        let target = join(&self.place(to.0)?.0, to.1);
        match (Place::of(&source), Place::of(&target)) {
            (Place::Discarded, Place::Discarded) => Ok(()),
            (Place::Ref(..), Place::Ref(repo, revision)) => self.rename_to_ref(&source, &target, repo, revision).await,
            (Place::Scratch, Place::Scratch) => {
                self.scratch.ensure_dir(split(&target).0)?;
                self.scratch.rename(&source, &target, mode)?;
                let moved = match mode {
                    RenameMode::Exchange => self.nodes.exchange(&source, &target).await,
                    RenameMode::Replace | RenameMode::NoReplace => self.nodes.rename(&source, &target).await,
                };
                Ok(moved?)
            }
            _ => Err(FsError::ReadOnly),
        }
    }

    /// How clients write a branch: a temporary file, renamed.
    async fn rename_to_ref(&self, source: &str, target: &str, repo: RepoId, revision: Revision) -> Result<(), FsError> {
        if self.scratch.stat(source)?.is_none() {
            return Err(FsError::ReadOnly);
        }
        self.scratch.rename(source, target, RenameMode::Replace)?;
        self.nodes.rename(source, target).await?;
        self.take_note(target, &repo, &revision).await
    }

    pub async fn set_attr(&self, node: Node, change: &Change) -> Result<Attr, FsError> {
        let (open, mut change) = (self.handles.scratch(node), *change);
        if let Some(open) = &open {
            if self.nodes.path(node)?.is_none() {
                // Its name is gone; the open file is not.
                let changed = Scratch::set_attr_of(open, &change).map_err(FsError::open_scratch("change"))?;
                return Ok(Attr::of_scratch(node, changed));
            }
            if let Some(size) = change.size.take() {
                open.set_len(size).map_err(FsError::open_scratch("resize"))?;
            }
        }
        let (path, place) = self.place(node)?;
        if self.scratch.stat(&path)?.is_some() {
            return Ok(Attr::of_scratch(node, self.scratch.set_attr(&path, &change)?));
        }
        match place {
            Place::Discarded => self.discarded.set_size(node, change.size.unwrap_or(self.discarded.size(node))),
            Place::Scratch if path.as_ref() == TOKEN => {
                self.adopt_token(node)?;
                self.handles.close_scratch(node);
                return Ok(Attr::of_scratch(node, self.scratch.set_attr(&path, &change)?));
            }
            // A client that opens a branch to write it cuts it first, and dates what it has touched.
            Place::Ref(..) | Place::NoExistIn(..) => {}
            _ => return Err(FsError::ReadOnly),
        }
        self.attr(node).await
    }

    pub async fn write(&self, node: Node, offset: u64, bytes: &[u8]) -> Result<(), FsError> {
        if let Some(open) = self.handles.scratch(node) {
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

    /// A writer closes its file: a branch that was written in place is taken note of.
    pub async fn flush(&self, node: Node) -> Result<(), FsError> {
        if self.handles.scratch(node).is_none() {
            return Ok(());
        }
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
        if let Some(open) = self.handles.scratch(node) {
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
    async fn take_note(&self, path: &str, repo: &RepoId, revision: &Revision) -> Result<(), FsError> {
        if revision.as_commit().is_some() {
            return Ok(());
        }
        let mut written = [0; MAX_REF];
        let len = self.scratch_file(path)?.read_at(&mut written, 0).map_err(FsError::open_scratch("read"))?;
        let Some(commit) = parse_commit(&written[..len]) else { return Ok(()) };
        self.tree.told(&self.view.identity, repo, revision, commit).await?;
        if self.tree.pinned(&self.view.identity, repo, revision)?.is_some() && self.scratch.stat(path)?.is_some() {
            self.scratch.unlink(path)?;
        }
        Ok(())
    }

    /// The shown token becomes a file of the writable layer, since somebody is about to change it.
    pub(super) fn adopt_token(&self, node: Node) -> Result<(), FsError> {
        let Some(token) = self.view.shown_token() else { return Err(FsError::Stale) };
        let flags = CreateFlags { exclusive: false, truncate: true };
        let file = self.scratch.create(TOKEN, 0o600, self.view.owner, flags)?;
        file.write_all_at(token.secret().as_bytes(), 0).map_err(FsError::open_scratch("write"))?;
        self.handles.open_scratch(node, || Ok(file))
    }
}

/// The forty digits of a commit, with or without a newline.
pub(super) fn parse_commit(written: &[u8]) -> Option<Commit> {
    std::str::from_utf8(written).ok()?.trim().parse().ok()
}
