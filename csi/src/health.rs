//! How the daemon is, asked now and then, so that whoever wants to know waits for nothing.

use std::time::Duration;

use parking_lot::Mutex;
use tonic::Status;

use crate::daemon::Daemon;
use crate::proto::control::StatusReply;

/// Between two questions.
const PACE: Duration = Duration::from_secs(10);

/// Whether a volume can be read, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub abnormal: bool,
    pub message: String,
}

impl Condition {
    pub fn abnormal(message: &str) -> Self {
        Self { abnormal: true, message: message.to_owned() }
    }

    fn normal(message: &str) -> Self {
        Self { abnormal: false, message: message.to_owned() }
    }
}

#[derive(Default)]
pub struct Health {
    last: Mutex<Option<Answer>>,
}

enum Answer {
    Serves { cached_bytes: u64 },
    Away(String),
}

impl Health {
    /// Asks for as long as it is polled.
    pub async fn watch(&self, daemon: &Daemon) {
        let mut pace = tokio::time::interval(PACE);
        loop {
            pace.tick().await;
            self.note(daemon.status().await);
        }
    }

    fn note(&self, answer: Result<StatusReply, Status>) {
        let answer = match answer {
            Ok(status) => Answer::Serves { cached_bytes: status.cached_bytes },
            Err(status) => Answer::Away(status.message().to_owned()),
        };
        *self.last.lock() = Some(answer);
    }

    /// Of a volume that shows a connection which the kernel still has.
    pub fn condition(&self) -> Condition {
        match &*self.last.lock() {
            None => Condition::normal("mounted; the daemon was not asked yet"),
            Some(Answer::Away(cause)) => Condition::abnormal(cause),
            Some(Answer::Serves { .. }) => Condition::normal("served"),
        }
    }

    /// What the cache of the node holds.
    pub fn cached_bytes(&self) -> u64 {
        match &*self.last.lock() {
            Some(Answer::Serves { cached_bytes }) => *cached_bytes,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_is_away_makes_volumes_abnormal_until_it_is_back() {
        let health = Health::default();
        assert!(!health.condition().abnormal);
        health.note(Err(Status::unavailable("no daemon")));
        assert_eq!(health.condition(), Condition::abnormal("no daemon"));
        health.note(Ok(StatusReply { cached_bytes: 7, ..StatusReply::default() }));
        assert!(!health.condition().abnormal);
        assert_eq!(health.cached_bytes(), 7);
    }
}
