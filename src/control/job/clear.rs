//! Takes models out of the cache.

use super::super::error::ControlError;
use super::super::parts::Parts;
use super::progress::Progress;
use crate::cache::Evicted;
use crate::db::{CachedContent, Owner};
use crate::types::{Blob, Commit, Identity, RepoId, Revision};

#[derive(Debug)]
pub enum Clear {
    /// One commit of a repository, or all that are known.
    Repo {
        identity: Identity,
        repo: RepoId,
        revision: Option<Revision>,
    },
    All,
}

/// What came of it. Everything here that is not in it is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleared {
    pub files: u64,
    pub freed_bytes: u64,
    /// Bytes that stay because another model or commit has the same contents.
    pub shared_bytes: u64,
    /// Bytes that stay because a pinned model needs them.
    pub pinned_bytes: u64,
    /// Files that stay because somebody has them open.
    pub in_use: Vec<String>,
}

pub(super) async fn clear(parts: &Parts, order: Clear, progress: &Progress) -> Result<Cleared, ControlError> {
    // What landed a moment ago is meant as well.
    parts.cache.flush().await;
    let contents = match &order {
        Clear::All => parts.db.cached(Owner::Anyone)?,
        Clear::Repo { identity, repo, revision } => parts.contents(identity, repo, revision.as_ref())?,
    };
    let kept = parts.db.kept_blobs()?;
    let total = contents.iter().map(|content| content.cached_bytes).sum();
    progress.update(|position| (position.step, position.total_bytes) = ("clearing", total));
    let mut cleared = Cleared::default();
    for CachedContent { blob, cached_bytes, shared } in contents {
        if kept.contains(&blob) {
            cleared.pinned_bytes += cached_bytes;
        } else if shared {
            cleared.shared_bytes += cached_bytes;
        } else {
            match parts.cache.evict(blob).await.map_err(|source| parts.content_error(&blob, source))? {
                Evicted::Freed(bytes) => {
                    cleared.files += 1;
                    cleared.freed_bytes += bytes;
                }
                Evicted::InUse => cleared.in_use.push(parts.name_of(&blob)),
                Evicted::Absent => {}
            }
        }
        progress.update(|position| position.bytes += cached_bytes);
    }
    Ok(cleared)
}

impl Parts {
    /// What is here of a repository that is not pinned.
    fn contents(
        &self,
        identity: &Identity,
        repo: &RepoId,
        revision: Option<&Revision>,
    ) -> Result<Vec<CachedContent>, ControlError> {
        let endpoint = &identity.endpoint;
        let commit = revision.map(|revision| self.known_commit(identity, repo, revision)).transpose()?;
        self.refuse_pinned(identity, repo, revision, commit)?;
        Ok(match commit {
            Some(commit) => self.db.cached(Owner::Commit(endpoint, repo, commit))?,
            None => self.db.cached(Owner::Repo(endpoint, repo))?,
        })
    }

    fn refuse_pinned(
        &self,
        identity: &Identity,
        repo: &RepoId,
        revision: Option<&Revision>,
        commit: Option<Commit>,
    ) -> Result<(), ControlError> {
        for keep in self.db.keeps()? {
            if keep.repo != *repo || *keep.endpoint != *identity.endpoint {
                continue;
            }
            let leads = |commit| self.known_commit(identity, repo, &keep.revision).is_ok_and(|kept| kept == commit);
            if revision.is_none_or(|revision| *revision == keep.revision) || commit.is_some_and(leads) {
                return Err(ControlError::Refused(format!(
                    "{repo}@{pinned} is pinned; `weightfs model unpin {repo} --revision {pinned}` first",
                    pinned = keep.revision
                )));
            }
        }
        Ok(())
    }

    /// Where a revision leads as far as this node knows. Asks no network.
    pub(super) fn known_commit(
        &self,
        identity: &Identity,
        repo: &RepoId,
        revision: &Revision,
    ) -> Result<Commit, ControlError> {
        if let Some(commit) = revision.as_commit() {
            return Ok(commit);
        }
        let model = || format!("{repo}@{revision}");
        let pinned = self.tree.pinned(identity, repo, revision);
        let pinned = pinned.map_err(|source| ControlError::Name { model: model(), source })?;
        pinned.ok_or_else(|| {
            ControlError::Refused(format!("{} is not known here; `weightfs model list --all` shows what is", model()))
        })
    }

    /// A content as people know it.
    pub(in crate::control) fn name_of(&self, blob: &Blob) -> String {
        match self.db.some_file_with(blob) {
            Ok(Some((_, file))) => format!("{}: {}", file.repo, file.path),
            Ok(None) | Err(_) => blob.id.to_string(),
        }
    }

    pub(super) fn content_error(&self, blob: &Blob, source: crate::cache::CacheError) -> ControlError {
        match self.db.some_file_with(blob) {
            Ok(Some((_, file))) => {
                ControlError::Content { model: file.repo.to_string(), path: file.path.to_string(), source }
            }
            Ok(None) | Err(_) => {
                ControlError::Content { model: "no known model".to_owned(), path: blob.id.to_string(), source }
            }
        }
    }
}
