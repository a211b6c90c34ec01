//! Slows down questions about repositories that were never found, so that a `find` over made-up names
//! cannot use up the Hub's quota for those that exist.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use url::Url;

use crate::origin::{OriginError, OriginErrorKind};
use crate::types::{IdentityDigest, RepoId};

/// How many names may turn out missing before the rest are slowed down, and what is added a second. Together less
/// than half of what the Hub grants in five minutes to someone without a token (500).
const BURST: f64 = 100.0;
const PER_SECOND: f64 = 0.4;
const AT_ONCE: usize = 4;
/// Repositories known to exist; one that is forgotten only passes the limiter again.
const KNOWN: u64 = 10_000;

type Key = (IdentityDigest, RepoId);

pub(super) struct Lookups {
    known: Cache<Key, ()>,
    at_once: Arc<Semaphore>,
    allowance: Arc<Mutex<Allowance>>,
}

/// Below zero: so many are waiting for their turn already.
struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    fn refill(&mut self) {
        let now = Instant::now();
        self.left = (self.left + now.duration_since(self.at).as_secs_f64() * PER_SECOND).min(BURST);
        self.at = now;
    }
}

impl Lookups {
    pub(super) fn new() -> Self {
        Self {
            known: Cache::new(KNOWN),
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            allowance: Arc::new(Mutex::new(Allowance { left: BURST, at: Instant::now() })),
        }
    }

    /// Waits for the turn of a question about `repo`: not at all if it is known to exist. Fails rather than wait for `patience`.
    pub(super) async fn admit(
        &self,
        identity: IdentityDigest,
        repo: &RepoId,
        url: &Url,
        patience: Duration,
    ) -> Result<Turn<'_>, OriginError> {
        let key = (identity, repo.clone());
        if self.known.contains_key(&key) {
            return Ok(Turn { lookups: self, key, spent: None });
        }
        let busy = |wait| {
            let cause = "too many unknown repositories were asked for, this one was not looked up";
            OriginError::new(OriginErrorKind::Transient, url.as_str(), cause).with_retry_after(wait)
        };
        let start = Instant::now();
        let permit = tokio::time::timeout(patience, self.at_once.clone().acquire_owned()).await;
        let permit = permit.ok().and_then(Result::ok).ok_or_else(|| busy(None))?;
        let wait = self.spend(patience.saturating_sub(start.elapsed())).map_err(|wait| busy(Some(wait)))?;
        let spent = Spent { allowance: self.allowance.clone(), refund: true, _permit: permit };
        tokio::time::sleep(wait).await;
        Ok(Turn { lookups: self, key, spent: Some(spent) })
    }

    /// How long to wait for one question, or the wait that is too long and was not booked.
    fn spend(&self, patience: Duration) -> Result<Duration, Duration> {
        let mut allowance = self.allowance.lock();
        allowance.refill();
        let wait = Duration::from_secs_f64((1.0 - allowance.left).max(0.0) / PER_SECOND);
        if wait > patience {
            return Err(wait);
        }
        allowance.left -= 1.0;
        Ok(wait)
    }
}

/// The right to ask about one repository.
pub(super) struct Turn<'a> {
    lookups: &'a Lookups,
    key: Key,
    spent: Option<Spent>,
}

impl Turn<'_> {
    /// What the answer was. Only a repository that is missing costs anything; one that is there is known from now on.
    pub(super) fn settle<T>(mut self, answer: &Result<T, OriginError>) {
        use OriginErrorKind::*;
        match answer.as_ref().map_err(|error| error.kind) {
            Ok(_) | Err(NoRevision | NoFile | Denied) => self.lookups.known.insert(self.key.clone(), ()),
            Err(NoRepo) => {
                self.lookups.known.invalidate(&self.key);
                if let Some(spent) = &mut self.spent {
                    spent.refund = false;
                }
            }
            Err(_) => {}
        }
    }
}

/// Gives the question back when dropped, unless it was answered by "no such repository".
struct Spent {
    allowance: Arc<Mutex<Allowance>>,
    refund: bool,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Spent {
    fn drop(&mut self) {
        if self.refund {
            let mut allowance = self.allowance.lock();
            allowance.left = (allowance.left + 1.0).min(BURST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Identity, RepoType};

    async fn ask(lookups: &Lookups, name: &str, found: bool) -> Result<(), OriginError> {
        let identity = Identity::new("http://hub", None, false).digest();
        let repo = RepoId::new(RepoType::Model, name).unwrap();
        let url = Url::parse("http://hub/x").unwrap();
        let turn = lookups.admit(identity, &repo, &url, Duration::from_secs(60)).await?;
        let missing = OriginError::new(OriginErrorKind::NoRepo, "u", "404");
        turn.settle(&if found { Ok(()) } else { Err(missing) });
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn made_up_names_are_slowed_down_and_real_ones_are_not() {
        let lookups = Lookups::new();
        ask(&lookups, "acme/real", true).await.unwrap();
        let start = Instant::now();
        for n in 0..100 {
            ask(&lookups, &format!("acme/no-{n}"), false).await.unwrap();
        }
        assert!(start.elapsed() < Duration::from_secs(1));
        for n in 0..10 {
            ask(&lookups, &format!("acme/none-{n}"), false).await.unwrap();
        }
        assert!(start.elapsed() >= Duration::from_secs(20), "{:?}", start.elapsed());
        let before = Instant::now();
        ask(&lookups, "acme/real", true).await.unwrap();
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_exist_cost_nothing() {
        let lookups = Lookups::new();
        let start = Instant::now();
        for n in 0..1000 {
            ask(&lookups, &format!("acme/real-{n}"), true).await.unwrap();
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
