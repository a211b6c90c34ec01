//! Reads what is here again, and fetches anew what is damaged.

use super::super::error::ControlError;
use super::super::parts::Parts;
use super::progress::Progress;
use crate::cache::Verified as Found;
use crate::db::{CachedContent, Owner};
use crate::types::{Blob, Identity, RepoId, Revision};

#[derive(Debug)]
pub struct Verify {
    pub identity: Identity,
    /// Nothing here means everything.
    pub repo: Option<RepoId>,
    /// Nothing here means every commit that is known.
    pub revision: Option<Revision>,
    /// Whether complete files that lost something are fetched anew at once.
    pub repair: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    pub files: u64,
    pub bytes: u64,
    /// Files in which something was not what it must be. It is not served any more.
    pub damaged_files: u64,
    pub damaged_bytes: u64,
    /// Those among them that were complete and are so again.
    pub repaired_files: u64,
    /// Those that were complete and are not.
    pub broken_files: u64,
}

pub(super) async fn verify(parts: &Parts, order: Verify, progress: &Progress) -> Result<Verified, ControlError> {
    parts.cache.flush().await;
    let contents = parts.meant(&order)?;
    let total = contents.iter().map(|content| content.cached_bytes).sum();
    progress.update(|position| {
        (position.step, position.total_bytes, position.total_files) = ("verifying", total, contents.len() as u64);
    });
    let mut verified = Verified::default();
    for content in contents {
        let found = parts.look_at(content, verified.bytes, progress).await?;
        verified.files += 1;
        verified.bytes += content.cached_bytes;
        progress.update(|position| (position.bytes, position.files) = (verified.bytes, verified.files));
        if found.damaged_bytes > 0 || (found.complete && !found.proved) {
            parts.care_for(&order, content.blob, found, &mut verified, progress).await;
        }
    }
    Ok(verified)
}

impl Parts {
    fn meant(&self, order: &Verify) -> Result<Vec<CachedContent>, ControlError> {
        let Verify { identity, repo: Some(repo), revision, .. } = order else {
            return Ok(self.db.cached(Owner::Anyone)?);
        };
        let commit = revision.as_ref().map(|revision| self.known_commit(identity, repo, revision)).transpose()?;
        Ok(self.db.cached(match commit {
            Some(commit) => Owner::Commit(&identity.endpoint, repo, commit),
            None => Owner::Repo(&identity.endpoint, repo),
        })?)
    }

    async fn look_at(&self, content: CachedContent, before: u64, progress: &Progress) -> Result<Found, ControlError> {
        let CachedContent { blob, cached_bytes, .. } = content;
        // Holes are gone through as well, and do not count.
        let mut report = |through: u64| {
            let share = u128::from(through) * u128::from(cached_bytes) / u128::from(blob.size.max(1));
            progress.update(|position| position.bytes = before + share as u64);
        };
        self.cache.verify(blob, &mut report).await.map_err(|source| self.content_error(&blob, source))
    }

    async fn care_for(&self, order: &Verify, blob: Blob, found: Found, verified: &mut Verified, progress: &Progress) {
        let name = self.name_of(&blob);
        verified.damaged_files += 1;
        // A whole that is not what it is called has no good part.
        let damaged = if found.damaged_bytes > 0 { found.damaged_bytes } else { found.present_bytes };
        verified.damaged_bytes += damaged;
        let what = format!("{name}: {damaged} bytes on disk were not what they must be and are dropped");
        if !found.complete {
            return progress.remark(format!("{what}; they are fetched again when they are read")).await;
        }
        let outcome = if order.repair { self.fetch_again(&order.identity, &blob).await } else { Err(String::new()) };
        match outcome {
            Ok(()) => {
                verified.repaired_files += 1;
                progress.remark(format!("{what}; fetched again")).await;
            }
            Err(why) => {
                verified.broken_files += 1;
                let why = if why.is_empty() { "they are fetched again when they are read".to_owned() } else { why };
                progress.remark(format!("{what}; {why}")).await;
            }
        }
    }

    async fn fetch_again(&self, identity: &Identity, blob: &Blob) -> Result<(), String> {
        let found = self.db.some_file_with(blob).map_err(|error| error.to_string())?;
        let (endpoint, file) = found.ok_or("no known model has it, so it is not fetched again")?;
        if *endpoint != *identity.endpoint {
            return Err(format!("it is of {endpoint}: `weightfs verify --hub-endpoint {endpoint}` fetches it again"));
        }
        let fetching = async {
            let lease = self.cache.lease(*blob)?;
            self.cache.warm(identity, &file, &lease, &mut |_| {}).await
        };
        fetching.await.map_err(|error| format!("they could not be fetched again: {error}"))
    }
}
