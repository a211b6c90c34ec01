//! Work on models that takes its time: bring, pin, evict, verify, import, export.
//!
//! A job is asked for by [`super::Node::run`], tells how far it is through [`Progress`], and ends with an [`Outcome`].
//! Dropped, it stops; what it did until then stays done. It knows no protocol and prints nothing.

mod download;
mod names;
mod progress;

pub use download::{Download, Downloaded};
pub use names::ModelName;
pub use progress::{Follower, Position, Progress};

use super::error::ControlError;
use super::parts::Parts;
use crate::db::RepoRow;

#[derive(Debug)]
pub enum Job {
    /// Every snapshot this node knows.
    List,
    Download(Download),
}

#[derive(Debug)]
pub enum Outcome {
    Listed(Vec<RepoRow>),
    Downloaded(Downloaded),
}

pub(super) async fn run(parts: &Parts, job: Job, progress: &Progress) -> Result<Outcome, ControlError> {
    Ok(match job {
        Job::List => Outcome::Listed(parts.tree.repos()?),
        Job::Download(order) => Outcome::Downloaded(download::download(parts, order, progress).await?),
    })
}
