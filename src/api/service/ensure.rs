//! A model that is being brought here, told step by step. The last word is always DOWNLOADED or ERROR.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::Status;

use super::guarded::Guarded;
use super::{Ground, weights};
use crate::api::position;
use crate::api::wire::model::{ModelProvider, ModelStatus, ModelStatusUpdate};
use crate::control::job::{Download, Downloaded, Job, ModelName, Outcome, Progress};
use crate::control::{ControlError, JobSeat};
use crate::types::{Revision, Snapshot};

/// How often a position is told while it changes.
const PACE: Duration = Duration::from_millis(250);
/// How many of these pass until an unchanged one is told again, as a sign of life.
const SILENCE: u32 = 20;
/// Updates that wait to be read; what comes meanwhile is told as one.
const WAITING: usize = 4;

pub type Updates = Pin<Box<dyn Stream<Item = Result<ModelStatusUpdate, Status>> + Send>>;

pub struct Wish {
    /// As it was asked for.
    pub model_name: String,
    pub model: ModelName,
    pub ignore_weights: bool,
}

impl Wish {
    fn update(&self, status: ModelStatus, message: String, revision: Option<String>) -> ModelStatusUpdate {
        ModelStatusUpdate {
            model_name: self.model_name.clone(),
            status: status.into(),
            message: Some(message),
            provider: ModelProvider::HuggingFace.into(),
            resolved_revision: revision,
        }
    }
}

/// `seat` keeps the node, `answer` counts as long as somebody listens. When nobody does the work ends; what has come stays.
pub fn updates(
    ground: Ground,
    wish: Wish,
    found: Result<Arc<Snapshot>, ControlError>,
    seat: JobSeat,
    answer: TaskTrackerToken,
) -> Updates {
    let (tell, told) = mpsc::channel(WAITING);
    let work = AbortOnDropHandle::new(tokio::spawn(async move {
        let last = match found {
            Ok(snapshot) => bring(&ground, &wish, &snapshot, seat, &tell).await,
            Err(error) => wish.update(ModelStatus::Error, error.to_string(), None),
        };
        let _ = tell.send(Ok(last)).await;
    }));
    Box::pin(Guarded::new(ReceiverStream::new(told), (work, answer)))
}

/// Answers the last update.
async fn bring(
    ground: &Ground,
    wish: &Wish,
    snapshot: &Snapshot,
    seat: JobSeat,
    tell: &mpsc::Sender<Result<ModelStatusUpdate, Status>>,
) -> ModelStatusUpdate {
    let commit = snapshot.commit.to_string();
    let is_meant = |path: &str| !(wish.ignore_weights && weights::is_weight(path));
    if !snapshot.files().any(|(path, _)| is_meant(path.as_str())) {
        return wish.update(ModelStatus::Downloaded, "0 bytes in 0 files, all here".to_owned(), Some(commit));
    }
    let exclude = if wish.ignore_weights { weights::patterns() } else { Vec::new() };
    // The branch may move meanwhile: what was found is what is brought.
    let revision = match Revision::new(&commit) {
        Ok(revision) => revision,
        Err(error) => return wish.update(ModelStatus::Error, error.to_string(), None),
    };
    let model = ModelName { revision, ..wish.model.clone() };
    let job = Job::Download(Download { model, include: Vec::new(), exclude, pin: false });
    let (progress, mut follower) = Progress::new();
    let work = ground.node.run(seat, job, &progress);
    tokio::pin!(work);
    let mut pace = tokio::time::interval(PACE);
    let mut silent = SILENCE;
    let outcome = loop {
        tokio::select! {
            outcome = &mut work => break outcome,
            Some(remark) = follower.remarks.recv() => tracing::info!(remark),
            () = ground.cut.cancelled() => break Err(ControlError::Stopped),
            _ = pace.tick() => {
                silent += 1;
                if silent > SILENCE || follower.position.has_changed().unwrap_or(false) {
                    silent = 0;
                    let text = position::write(&follower.position.borrow_and_update());
                    // One that is not read yet will do.
                    let _ = tell.try_send(Ok(wish.update(ModelStatus::Downloading, text, Some(commit.clone()))));
                }
            }
        }
    };
    match outcome {
        Ok(Outcome::Downloaded(Downloaded { files, bytes, fetched_bytes, .. })) => {
            let text = format!("{bytes} bytes in {files} files, all here; {fetched_bytes} bytes fetched");
            wish.update(ModelStatus::Downloaded, text, Some(commit))
        }
        Ok(_) => wish.update(ModelStatus::Error, ControlError::Broken.to_string(), Some(commit)),
        Err(error) => wish.update(ModelStatus::Error, error.to_string(), Some(commit)),
    }
}
