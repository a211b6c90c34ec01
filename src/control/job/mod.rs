//! Work on models that takes its time: bring, pin, evict, verify, import, export.
//!
//! A job is asked for by [`super::Node::run`], tells how far it is through [`Progress`], and ends with an [`Outcome`].
//! Dropped, it stops; what it did until then stays done. It knows no protocol and prints nothing.

mod clear;
mod download;
mod export;
mod import;
mod names;
mod pin;
mod progress;
mod verify;

pub use clear::{Clear, Cleared};
pub use download::{Download, Downloaded};
pub use export::{Export, Exported};
pub use import::{Import, Imported};
pub use names::{ModelName, Resolved};
pub use pin::Pinned;
pub use progress::{Follower, Position, Progress};
pub use verify::{Verified, Verify};

use super::error::ControlError;
use super::parts::Parts;
use crate::db::RepoRow;

#[derive(Debug)]
pub enum Job {
    /// Every snapshot this node knows.
    List,
    Download(Download),
    Pin(ModelName),
    Unpin(ModelName),
    Clear(Clear),
    Verify(Verify),
    Import(Import),
    Export(Export),
}

#[derive(Debug)]
pub enum Outcome {
    Listed(Vec<RepoRow>),
    Downloaded(Downloaded),
    Pinned(Pinned),
    Unpinned,
    Cleared(Cleared),
    Verified(Verified),
    Imported(Imported),
    Exported(Exported),
}

pub(super) async fn run(parts: &Parts, job: Job, progress: &Progress) -> Result<Outcome, ControlError> {
    Ok(match job {
        Job::List => Outcome::Listed(parts.tree.repos()?),
        Job::Download(order) => Outcome::Downloaded(download::download(parts, order, progress).await?),
        Job::Pin(model) => Outcome::Pinned(pin::pin(parts, model, progress).await?),
        Job::Unpin(model) => {
            pin::unpin(parts, model).await?;
            Outcome::Unpinned
        }
        Job::Clear(order) => Outcome::Cleared(clear::clear(parts, order, progress).await?),
        Job::Import(order) => Outcome::Imported(import::import(parts, order, progress).await?),
        Job::Export(order) => Outcome::Exported(export::export(parts, order, progress).await?),
        Job::Verify(order) => Outcome::Verified(verify::verify(parts, order, progress).await?),
    })
}
