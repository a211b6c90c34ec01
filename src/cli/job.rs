//! One job from the command line: the daemon does it, the terminal shows how far it is.

use anyhow::{Context, bail};

use crate::api::client::{Client, Following};
use crate::api::proto::job_event::Event;
use crate::api::proto::job_outcome::Outcome;
use crate::api::proto::job_request::Job;
use crate::api::proto::{Caller, JobOutcome, JobRequest};
use crate::config::Config;
use crate::daemon::lock::Owner;
use crate::daemon::logging;

use super::flags;
use super::progress::Display;
use super::reaching::{self, Reached, Start};

/// The daemon answered another question than the one asked.
pub const OTHER_ANSWER: &str =
    "the daemon is of another version; unmount what it serves and try again with this version";

/// Asks the daemon of the cache directory, or one that is started for it, to do `job`, and follows it to its end.
pub fn run(config: &Config, job: Job, display: Display) -> anyhow::Result<Outcome> {
    logging::init(config)?;
    let identity = reaching::identity(config, None)?;
    let caller = Caller {
        endpoint: identity.endpoint.to_string(),
        token: identity.token.as_ref().map(|token| token.secret().to_owned()),
        offline: identity.offline,
    };
    let request = JobRequest { caller: Some(caller), job: Some(job) };
    super::block_on(async {
        let work = follow(begin(config, &request).await?, display);
        tokio::select! {
            outcome = work => outcome,
            interrupt = tokio::signal::ctrl_c() => {
                interrupt.context("cannot listen for Ctrl-C")?;
                bail!("interrupted; what is done stays, the same command goes on from there")
            }
        }
    })
}

async fn begin(config: &Config, request: &JobRequest) -> anyhow::Result<Following> {
    let mut arguments = vec!["daemon".into()];
    arguments.extend(flags::words(config));
    let start = Start { arguments, hidden: config.hidden_variables(None) };
    // A daemon that is started is there to be asked.
    loop {
        let ask = async |owner: &Owner| Client::connect(&owner.socket).await?.run(request.clone()).await;
        if let Reached::Answered(following) = reaching::reach(config, &start, ask).await? {
            return Ok(following);
        }
    }
}

async fn follow(mut following: Following, mut display: Display) -> anyhow::Result<Outcome> {
    loop {
        match following.next().await? {
            Event::Position(position) => display.show(&position),
            Event::Remark(text) => display.remark(&text),
            Event::Outcome(JobOutcome { outcome: Some(outcome) }) => return Ok(outcome),
            Event::Outcome(JobOutcome { outcome: None }) => bail!(OTHER_ANSWER),
        }
    }
}
