//! Renames in the writable layer. The disk and the nodes cannot change in one step, so a rename is noted before it
//! happens: a daemon that finds the note goes on where the one before it was killed.

use super::delivery::{Attempt, Delivery, between_steps};
use super::error::FsError;
use super::model_fs::ModelFs;
use super::scratch::RenameMode;
use crate::db::{Begun, RequestNumber};
use crate::tree::Node;
use crate::tree::layout::{Place, join, split};

/// A rename by paths of the layer.
struct Rename {
    source: String,
    target: String,
    mode: RenameMode,
}

impl ModelFs {
    pub async fn rename(
        &self,
        from: (Node, &str),
        to: (Node, &str),
        mode: RenameMode,
        delivery: Delivery,
    ) -> Result<(), FsError> {
        let source = join(&self.place(from.0)?.0, from.1);
        let target = join(&self.place(to.0)?.0, to.1);
        let places = (Place::of(&source), Place::of(&target));
        let rename = Rename { source, target, mode };
        match places {
            (Place::Discarded, Place::Discarded) => Ok(()),
            // How clients write a branch: a temporary file, renamed.
            (Place::Ref(..), Place::Ref(repo, revision)) if mode != RenameMode::Exchange => {
                self.rename_entry(&rename, delivery).await?;
                self.take_note(&rename.target, &repo, &revision).await
            }
            (Place::Scratch, Place::Scratch) => self.rename_entry(&rename, delivery).await,
            _ => Err(FsError::ReadOnly),
        }
    }

    async fn rename_entry(&self, rename: &Rename, delivery: Delivery) -> Result<(), FsError> {
        let request = delivery.request;
        let begun = match delivery.attempt {
            Attempt::First => None,
            Attempt::Again => self.nodes.begun_rename(request)?,
        };
        match begun {
            Some(Begun { done: true, .. }) => return Ok(()),
            Some(begun) if self.has_happened(rename, begun)? => {}
            Some(_) => self.rename_on_disk(rename)?,
            None => {
                self.note(rename, request).await?;
                self.rename_on_disk(rename)?;
            }
        }
        between_steps();
        let Rename { source, target, mode } = rename;
        match mode {
            RenameMode::Exchange => self.nodes.exchange(request, source, target).await?,
            RenameMode::Replace | RenameMode::NoReplace => self.nodes.rename(request, source, target).await?,
        }
        Ok(())
    }

    async fn note(&self, rename: &Rename, request: RequestNumber) -> Result<(), FsError> {
        let Some(found) = self.scratch.stat(&rename.source)? else {
            let is_virtual = matches!(Place::of(&rename.source), Place::Ref(..));
            return Err(if is_virtual { FsError::ReadOnly } else { FsError::Absent });
        };
        self.nodes.begin_rename(request, found.inode).await?;
        between_steps();
        Ok(())
    }

    /// Whether a rename that was begun has happened on disk. The folders were locked all the while, so what was to be
    /// renamed is at one of two places. (Two names of one file are both at once; then the rename may happen again.)
    fn has_happened(&self, rename: &Rename, begun: Begun) -> Result<bool, FsError> {
        let is_there = |path| Ok::<_, FsError>(self.scratch.stat(path)?.is_some_and(|at| at.inode == begun.inode));
        let has_left = rename.mode == RenameMode::Exchange || !is_there(&rename.source)?;
        Ok(has_left && is_there(&rename.target)?)
    }

    fn rename_on_disk(&self, rename: &Rename) -> Result<(), FsError> {
        let Rename { source, target, mode } = rename;
        self.scratch.ensure_dir(split(target).0)?;
        let replaced = match mode {
            RenameMode::Replace => self.scratch.stat(target)?,
            RenameMode::NoReplace | RenameMode::Exchange => None,
        };
        let orphan = replaced.map(|replaced| self.adopt_orphan(target, &replaced)).transpose()?.flatten();
        between_steps();
        let renamed = self.scratch.rename(source, target, *mode);
        if renamed.is_err()
            && let Some(orphan) = orphan
        {
            self.drop_orphan(orphan);
        }
        Ok(renamed?)
    }
}
