//! Which models stay, whatever the limits of the cache are.

use super::super::error::ControlError;
use super::super::parts::Parts;
use super::names::ModelName;
use super::progress::Progress;
use crate::db::Owner;
use crate::types::Commit;

/// What is pinned now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    pub commit: Commit,
    pub bytes: u64,
    /// How much of it is here.
    pub cached_bytes: u64,
}

/// A model that does not exist is not pinned: a slip of the pen would go unnoticed until the model is missed.
pub(super) async fn pin(parts: &Parts, model: ModelName, progress: &Progress) -> Result<Pinned, ControlError> {
    let snapshot = parts.find(&model, progress).await?;
    let endpoint = &model.identity.endpoint;
    parts.db.keep(endpoint, &model.repo, &model.revision).await?;
    let cached = parts.db.cached(Owner::Commit(endpoint, &model.repo, snapshot.commit))?;
    let cached_bytes = cached.iter().map(|content| content.cached_bytes).sum();
    Ok(Pinned { commit: snapshot.commit, bytes: snapshot.content_bytes(), cached_bytes })
}

pub(super) async fn unpin(parts: &Parts, model: ModelName) -> Result<(), ControlError> {
    let endpoint = &model.identity.endpoint;
    if parts.db.release(endpoint, &model.repo, &model.revision).await? {
        return Ok(());
    }
    let kept = parts.db.keeps()?;
    let kept: Vec<_> = kept
        .iter()
        .filter(|keep| keep.repo == model.repo && *keep.endpoint == **endpoint)
        .map(|keep| keep.revision.as_str())
        .collect();
    Err(ControlError::Refused(match kept.as_slice() {
        [] => format!("{model} is not pinned; `weightfs model list` shows what is"),
        kept => {
            format!("{model} is not pinned; of {} these are: {}; name one by --revision", model.repo, kept.join(", "))
        }
    }))
}
