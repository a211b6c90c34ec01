//! Jobs as messages, and their progress as a stream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, stream};
use tokio::time::Interval;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use crate::control::ControlError;
use crate::control::job::{
    Clear, Cleared, Download, Downloaded, Export, Exported, Follower, Import, Imported, Job, ModelName, Outcome,
    Pinned, Position, Verified, Verify,
};
use crate::fs::pod::{Pod, Shown};
use crate::types::{Identity, ParseCommitError, ParseRepoError, RepoId, Revision, Token};

use super::code::refuse;
use super::proto::job_event::Event;
use super::proto::job_outcome::Outcome as OutcomeMessage;
use super::proto::job_request::Job as JobMessage;
use super::proto::{self, JobEvent, JobOutcome, JobPosition, JobRequest};
use super::status;

/// How often a position is told while it changes.
const PACE: Duration = Duration::from_millis(200);
/// How many of these pass until an unchanged one is told again, as a sign of life.
const SILENCE: u32 = 5;

pub(super) type Events = Pin<Box<dyn Stream<Item = Result<JobEvent, Status>> + Send>>;

pub(super) fn read(request: JobRequest) -> Result<Job, Status> {
    let identity = identity(request.caller);
    let model = |message: Option<proto::ModelName>| model(&identity, message);
    let unknown = || Status::unimplemented("this daemon does not know this job");
    Ok(match request.job.ok_or_else(unknown)? {
        JobMessage::List(_) => Job::List,
        JobMessage::Download(proto::DownloadJob { model: name, include, exclude, pin }) => {
            Job::Download(Download { model: model(name)?, include, exclude, pin })
        }
        JobMessage::Pin(proto::PinJob { model: name }) => Job::Pin(model(name)?),
        JobMessage::Unpin(proto::UnpinJob { model: name }) => Job::Unpin(model(name)?),
        JobMessage::Clear(proto::ClearJob { repo: None, .. }) => Job::Clear(Clear::All),
        JobMessage::Clear(proto::ClearJob { repo: Some(name), revision: at }) => {
            Job::Clear(Clear::Repo { repo: repo(&name)?, revision: at.as_deref().map(revision).transpose()?, identity })
        }
        JobMessage::Import(proto::ImportJob { directory, link }) => {
            Job::Import(Import { identity, directory: directory.into(), link })
        }
        JobMessage::Export(proto::ExportJob { model: name, directory, hub_cache, umask }) => {
            Job::Export(Export { model: model(name)?, directory: directory.into(), hub_cache, umask })
        }
        JobMessage::Verify(proto::VerifyJob { repo: name, revision: at, repair }) => {
            let (repo, revision) = (name.as_deref().map(repo).transpose()?, at.as_deref().map(revision).transpose()?);
            Job::Verify(Verify { identity, repo, revision, repair })
        }
    })
}

pub(super) fn identity(caller: Option<proto::Caller>) -> Identity {
    let proto::Caller { endpoint, token, offline } = caller.unwrap_or_default();
    Identity::new(&endpoint, token.as_deref().map(Token::new), offline)
}

pub(super) fn model(identity: &Identity, message: Option<proto::ModelName>) -> Result<ModelName, Status> {
    let message = message.unwrap_or_default();
    let (repo, revision) = (repo(&message.repo)?, revision(&message.revision)?);
    Ok(ModelName { identity: identity.clone(), repo, revision })
}

/// What a pod's mount shows.
pub(super) fn pod(message: proto::PodView) -> Result<Pod, Status> {
    let shown = |proto::ShownModel { repo: name, revision: at, commit }| {
        let commit = commit.map(|text: String| text.parse());
        let commit =
            commit.transpose().map_err(|error: ParseCommitError| Status::invalid_argument(error.to_string()))?;
        let pinned = match (at.as_deref().map(revision).transpose()?, commit) {
            (Some(revision), Some(commit)) => Some((revision, commit)),
            (None, None) => None,
            _ => return Err(Status::invalid_argument("a revision is shown by its commit: both or none")),
        };
        Ok(Shown { repo: repo(&name)?, pinned })
    };
    Ok(Pod { only: message.only.into_iter().map(shown).collect::<Result<_, Status>>()? })
}

fn repo(text: &str) -> Result<RepoId, Status> {
    text.parse().map_err(|error: ParseRepoError| Status::invalid_argument(error.to_string()))
}

fn revision(text: &str) -> Result<Revision, Status> {
    Revision::new(text).map_err(|error| Status::invalid_argument(error.to_string()))
}

/// What is told of a job. Dropped, it ends the job.
struct Telling {
    work: Option<AbortOnDropHandle<Result<Outcome, ControlError>>>,
    follower: Follower,
    pace: Interval,
    silent: u32,
    ready: VecDeque<Result<JobEvent, Status>>,
}

pub(super) fn events(work: AbortOnDropHandle<Result<Outcome, ControlError>>, follower: Follower) -> Events {
    let pace = tokio::time::interval(PACE);
    let telling = Telling { work: Some(work), follower, pace, silent: SILENCE, ready: VecDeque::new() };
    Box::pin(stream::unfold(telling, |mut telling| async {
        let event = telling.next().await?;
        Some((event, telling))
    }))
}

impl Telling {
    async fn next(&mut self) -> Option<Result<JobEvent, Status>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let work = self.work.as_mut()?;
            tokio::select! {
                biased;
                Some(text) = self.follower.remarks.recv() => self.push(Event::Remark(text)),
                outcome = work => {
                    self.work = None;
                    self.end(outcome.unwrap_or(Err(ControlError::Broken)));
                }
                _ = self.pace.tick() => self.tick(),
            }
        }
    }

    fn tick(&mut self) {
        self.silent += 1;
        if self.silent > SILENCE || self.follower.position.has_changed().unwrap_or(false) {
            self.tell_position();
        }
    }

    fn tell_position(&mut self) {
        self.silent = 0;
        let position = position(&self.follower.position.borrow_and_update());
        self.push(Event::Position(position));
    }

    /// Everything that was said before the end is told before it.
    fn end(&mut self, outcome: Result<Outcome, ControlError>) {
        while let Ok(text) = self.follower.remarks.try_recv() {
            self.push(Event::Remark(text));
        }
        self.tell_position();
        match outcome {
            Ok(outcome) => self.push(Event::Outcome(JobOutcome { outcome: Some(message(outcome)) })),
            Err(error) => self.ready.push_back(Err(refuse(error))),
        }
    }

    fn push(&mut self, event: Event) {
        self.ready.push_back(Ok(JobEvent { event: Some(event) }));
    }
}

fn position(position: &Position) -> JobPosition {
    let Position { step, bytes, total_bytes, files, total_files } = *position;
    JobPosition { step: step.to_owned(), bytes, total_bytes, files, total_files }
}

fn message(outcome: Outcome) -> OutcomeMessage {
    match outcome {
        Outcome::Listed(repos) => {
            OutcomeMessage::Listed(proto::Listed { repos: repos.into_iter().map(status::repo).collect() })
        }
        Outcome::Downloaded(Downloaded { commit, files, bytes, fetched_bytes }) => {
            OutcomeMessage::Downloaded(proto::Downloaded { commit: commit.to_string(), files, bytes, fetched_bytes })
        }
        Outcome::Pinned(Pinned { commit, bytes, cached_bytes }) => {
            OutcomeMessage::Pinned(proto::Pinned { commit: commit.to_string(), bytes, cached_bytes })
        }
        Outcome::Unpinned => OutcomeMessage::Unpinned(proto::Unpinned {}),
        Outcome::Cleared(Cleared { files, freed_bytes, shared_bytes, pinned_bytes, in_use }) => {
            OutcomeMessage::Cleared(proto::Cleared { files, freed_bytes, shared_bytes, pinned_bytes, in_use })
        }
        Outcome::Imported(Imported { models, files, bytes, new_bytes, refused }) => {
            OutcomeMessage::Imported(proto::Imported { models, files, bytes, new_bytes, refused })
        }
        Outcome::Exported(Exported { commit, files, bytes, written_bytes }) => {
            OutcomeMessage::Exported(proto::Exported { commit: commit.to_string(), files, bytes, written_bytes })
        }
        Outcome::Verified(Verified { files, bytes, damaged_files, damaged_bytes, repaired_files, broken_files }) => {
            OutcomeMessage::Verified(proto::Verified {
                files,
                bytes,
                damaged_files,
                damaged_bytes,
                repaired_files,
                broken_files,
            })
        }
    }
}
