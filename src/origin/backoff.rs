//! When to ask again and when to give up. Pure: it only says how long to wait.

use std::time::Duration;

use tokio::time::Instant;

use super::{OriginError, OriginErrorKind};

/// The patience of one question: 1 s doubling to 8 s, until nothing has come for `give_up`.
///
/// An origin that asks to be left alone for a while is obeyed, and is given up at once if it asks for more than
/// [`Backoff::LONGEST`] since the last progress.
#[derive(Debug, Clone)]
pub struct Backoff {
    give_up: Duration,
    first_delay: Duration,
    delay: Duration,
    progress_at: Instant,
    nonsense: u32,
}

impl Backoff {
    /// How far a `Retry-After` may extend the deadline.
    pub const LONGEST: Duration = Duration::from_secs(300);
    const FIRST_DELAY: Duration = Duration::from_secs(1);
    const MAX_DELAY: Duration = Duration::from_secs(8);
    /// An answer that made no sense this often in a row will make none the next time.
    const NONSENSE_LIMIT: u32 = 5;

    /// Counts from now.
    pub fn new(give_up: Duration) -> Self {
        Self {
            give_up,
            first_delay: Self::FIRST_DELAY,
            delay: Self::FIRST_DELAY,
            progress_at: Instant::now(),
            nonsense: 0,
        }
    }

    /// Another first delay than 1 s.
    pub fn starting_at(mut self, delay: Duration) -> Self {
        self.first_delay = delay;
        self.delay = delay;
        self
    }

    /// Bytes came: the deadline counts from now and the delays start anew.
    pub fn progressed(&mut self) {
        self.progress_at = Instant::now();
        self.delay = self.first_delay;
        self.nonsense = 0;
    }

    /// How long to wait before asking again after `error`, or `None` to give up with it.
    pub fn next(&mut self, error: &OriginError) -> Option<Duration> {
        self.nonsense = if error.kind == OriginErrorKind::Nonsense { self.nonsense + 1 } else { 0 };
        if !error.is_transient() || self.nonsense >= Self::NONSENSE_LIMIT {
            return None;
        }
        let passed = self.progress_at.elapsed();
        let delay = self.delay.mul_f64(rand::random_range(0.75..1.0));
        self.delay = (self.delay * 2).min(Self::MAX_DELAY.max(self.first_delay));
        if let Some(asked) = error.retry_after.filter(|asked| !asked.is_zero()) {
            // Those who were told the same moment should not all come back in it.
            let wait = (asked + self.first_delay.mul_f64(rand::random_range(0.0..0.25))).max(delay);
            return (passed + asked <= Self::LONGEST.max(self.give_up)).then_some(wait);
        }
        let left = self.give_up.checked_sub(passed).filter(|left| !left.is_zero())?;
        Some(delay.min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transient() -> OriginError {
        OriginError::new(OriginErrorKind::Transient, "http://hub/x", "503 Service Unavailable")
    }

    async fn waits(backoff: &mut Backoff, error: &OriginError) -> Vec<Duration> {
        let mut waits = Vec::new();
        while let Some(wait) = backoff.next(error) {
            waits.push(wait);
            tokio::time::sleep(wait).await;
        }
        waits
    }

    #[tokio::test(start_paused = true)]
    async fn delays_double_to_eight_seconds_and_end_at_the_deadline() {
        let start = Instant::now();
        let waits = waits(&mut Backoff::new(Duration::from_secs(60)), &transient()).await;
        for (wait, most) in waits.iter().zip([1, 2, 4, 8, 8, 8]) {
            let most = Duration::from_secs(most);
            assert!(*wait <= most && *wait >= most.mul_f64(0.75), "{waits:?}");
        }
        let total = start.elapsed();
        assert!(total >= Duration::from_secs(60) && total < Duration::from_millis(60_100), "{total:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn progress_starts_the_deadline_and_the_delays_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(60));
        waits(&mut backoff, &transient()).await;
        backoff.progressed();
        let wait = backoff.next(&transient()).unwrap();
        assert!(wait <= Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_obeyed_past_the_deadline_but_not_past_the_longest() {
        let asked = |secs| transient().with_retry_after(Some(Duration::from_secs(secs)));
        let mut backoff = Backoff::new(Duration::from_secs(60));
        let wait = backoff.next(&asked(200)).unwrap();
        assert!(wait >= Duration::from_secs(200) && wait < Duration::from_secs(201));
        tokio::time::sleep(wait).await;
        assert_eq!(backoff.next(&asked(200)), None);
        assert_eq!(backoff.next(&transient()), None, "the plain deadline is long over");
        assert_eq!(Backoff::new(Duration::from_secs(60)).next(&asked(3600)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_nothing_is_no_leave_to_hammer() {
        let mut backoff = Backoff::new(Duration::from_secs(60));
        let error = transient().with_retry_after(Some(Duration::ZERO));
        assert!(waits(&mut backoff, &error).await.len() < 20);
    }

    #[tokio::test(start_paused = true)]
    async fn what_will_not_get_better_is_not_asked_again() {
        let mut backoff = Backoff::new(Duration::from_secs(60));
        for kind in [OriginErrorKind::NoFile, OriginErrorKind::Denied, OriginErrorKind::Permanent] {
            assert_eq!(backoff.next(&OriginError::new(kind, "u", "c")), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lasting_nonsense_is_given_up_before_the_deadline() {
        let nonsense = OriginError::new(OriginErrorKind::Nonsense, "u", "another length");
        assert_eq!(waits(&mut Backoff::new(Duration::from_secs(60)), &nonsense).await.len(), 4);
    }
}
