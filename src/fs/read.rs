//! Contents: opened, and read block by block.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::backing::BackingId;
use super::error::FsError;
use super::handles::OpenFile;
use super::lookup::TOKEN;
use super::model_fs::ModelFs;
use super::scratch::{Access, OpenFlags};
use crate::cache::{CacheError, Fetched};
use crate::tree::Node;
use crate::tree::layout::Place;
use crate::types::{ByteRange, RemoteFile};

/// How the kernel is to treat an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// The content never changes: what the page cache holds stays good.
    Immutable,
    /// The content may differ from the last time.
    Fresh,
    /// The kernel reads this file itself.
    Passthrough(BackingId),
}

/// The answer to a read that was tried without waiting.
pub enum TryRead<'b> {
    Ready(&'b [u8]),
    /// The content is not all here: `fetch`, then try again.
    Missing(Arc<OpenFile>, ByteRange),
}

impl ModelFs {
    /// Whether a file may be opened, and how. `write` tells whether the opener wants to change it.
    pub async fn open(&self, node: Node, write: bool) -> Result<OpenMode, FsError> {
        let (path, place) = self.place(node)?;
        match place {
            Place::Blob(..) if write => Err(FsError::ReadOnly),
            Place::Blob(..) => {
                let file = self.remote_file(node)?;
                self.tree.authorize(&self.view.identity, &file).await?;
                self.cache.take_over(&file).await;
                let open = self.open_file(node)?;
                self.cache.touch(&file.blob);
                self.loads.opened(&open);
                if let Some(epoch) = node.epoch() {
                    let passed = self.open_hot(node, epoch, &open);
                    if passed.is_err() {
                        self.handles.close_file(node);
                    }
                    return Ok(OpenMode::Passthrough(passed?));
                }
                self.passthrough.opened_cold(node, &open.lease);
                // What the page cache holds may be the wrong bytes, from before they were dropped.
                Ok(if open.lease.was_mismatched() { OpenMode::Fresh } else { OpenMode::Immutable })
            }
            _ => {
                if self.scratch.stat(&path)?.is_some() {
                    self.handles.open_scratch(node, || self.scratch_file(&path))?;
                } else if write && path.as_ref() == TOKEN {
                    self.adopt_token(node)?;
                }
                Ok(OpenMode::Fresh)
            }
        }
    }

    /// For reading and writing if that can be had: the kernel has checked what the opener may do.
    pub(super) fn scratch_file(&self, path: &str) -> Result<std::fs::File, FsError> {
        let open = |access| self.scratch.open_file(path, access, OpenFlags::default());
        Ok(open(Access::ReadWrite).or_else(|_| open(Access::Read))?)
    }

    /// Answers from what is here, in `buffer` where it needs one.
    pub fn try_read<'b>(&self, node: Node, range: ByteRange, buffer: &'b mut Vec<u8>) -> Result<TryRead<'b>, FsError> {
        let Some(open) = self.open_content(node)? else {
            return Ok(TryRead::Ready(self.read_other(node, range, buffer)?));
        };
        let range = range.clamp(open.remote.blob.size);
        if range.is_empty() {
            return Ok(TryRead::Ready(&[]));
        }
        let plan = open.plan(range, |wanted, bytes| self.cache.try_read(&open.lease, wanted, bytes).is_some());
        if let Some(ahead) = plan.window {
            self.cache.prefetch(&self.view.identity, &open.remote, &open.lease, ahead);
        }
        if plan.rest {
            self.loads.start(&open);
        }
        match self.cache.try_read(&open.lease, range, buffer) {
            Some(bytes) => {
                self.metrics.read_bytes.add(bytes.len() as u64);
                self.behind.read(node, &open.lease, range);
                Ok(TryRead::Ready(bytes))
            }
            None => Ok(TryRead::Missing(open, range)),
        }
    }

    /// Brings what a read found missing. It is here as long as the caller has the answer.
    pub async fn fetch(&self, open: &OpenFile, range: ByteRange) -> Result<Fetched, FsError> {
        let identity = &self.view.identity;
        let fetched = self.cache.fetch(identity, &open.remote, &open.lease, range).await;
        if let Err(CacheError::Origin(error)) = &fetched {
            self.tree.denied(identity, &open.remote.repo, error).await;
        }
        Ok(fetched?)
    }

    /// The open content of a node, if it is a content: after a restart of the daemon, made ready again.
    fn open_content(&self, node: Node) -> Result<Option<Arc<OpenFile>>, FsError> {
        if let Some(open) = self.handles.file(node) {
            return Ok(Some(open));
        }
        if self.is_open_without_name(node) {
            return Ok(None);
        }
        match self.place(node)?.1 {
            Place::Blob(..) => self.open_file(node).map(Some),
            _ => Ok(None),
        }
    }

    fn open_file(&self, node: Node) -> Result<Arc<OpenFile>, FsError> {
        if let Some(open) = self.handles.file(node) {
            return Ok(open);
        }
        let remote = self.remote_file(node)?;
        let lease = self.cache.lease(remote.blob)?;
        Ok(self.handles.insert_file(node, remote, lease))
    }

    pub(super) fn remote_file(&self, node: Node) -> Result<Arc<RemoteFile>, FsError> {
        if let Some(known) = self.handles.known(node) {
            return Ok(known);
        }
        let (_, Place::Blob(repo, blob)) = self.place(node)? else { return Err(FsError::IsADirectory) };
        let found = self.tree.file_with(&self.view.identity, &repo, &blob)?;
        found.map(|(file, _)| Arc::new(file)).ok_or(FsError::Stale)
    }

    /// The small files that are no contents: a branch, the token, what clients wrote.
    fn read_other<'b>(&self, node: Node, range: ByteRange, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], FsError> {
        if let Some(open) = self.open_without_name(node)? {
            return read_scratch(&open, range, buffer);
        }
        let (path, place) = self.place(node)?;
        if self.scratch.stat(&path)?.is_some() {
            return read_scratch(&self.scratch_file(&path)?, range, buffer);
        }
        let text = match place {
            Place::Ref(repo, revision) => {
                let commit = match self.view.commit(&repo, &revision) {
                    None => self.tree.pinned(&self.view.identity, &repo, &revision)?,
                    pinned => pinned,
                };
                commit.ok_or(FsError::Stale)?.to_string()
            }
            Place::Scratch if path.as_ref() == TOKEN => {
                self.view.shown_token().ok_or(FsError::Stale)?.secret().to_owned()
            }
            Place::NoExistIn(..) | Place::Discarded => String::new(),
            Place::Scratch => return Err(FsError::Stale),
            _ => return Err(FsError::IsADirectory),
        };
        *buffer = text.into_bytes();
        let range = range.clamp(buffer.len() as u64);
        Ok(&buffer[range.start as usize..range.end as usize])
    }
}

fn read_scratch<'b>(file: &std::fs::File, range: ByteRange, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], FsError> {
    let len = range.len() as usize;
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut buffer[filled..len], range.start + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(FsError::open_scratch("read")(error)),
        }
    }
    Ok(&buffer[..filled])
}
