//! Keeps a Hub's ranges away from its store while that is in trouble, so that a dead store costs one deadline and not one a block.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long it is left alone at first, and at most. The pause doubles with each attempt that fails again.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

pub(super) struct Breaker {
    state: Mutex<State>,
    troubles: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// Nobody goes there before.
    not_before: Option<Instant>,
    /// The pause that led to it; none while all is well.
    pause: Option<Duration>,
    /// After that pause somebody went there to see.
    tried: bool,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), troubles: watch::Sender::new(0) }
    }

    /// Whether one more range may go there. After a pause one goes first, and the others only when that went well or
    /// took as long as a pause.
    pub(super) fn admits(&self) -> bool {
        let mut state = self.state.lock();
        let Some(not_before) = state.not_before else { return true };
        let now = Instant::now();
        if now < not_before {
            return false;
        }
        state.not_before = Some(now + FIRST_PAUSE);
        state.tried = true;
        true
    }

    pub(super) fn well(&self) {
        *self.state.lock() = State::default();
    }

    /// Says how long nobody goes there. Trouble that several ranges met together counts once.
    pub(super) fn trouble(&self) -> Duration {
        let mut state = self.state.lock();
        let pause = match (state.pause, state.tried) {
            (Some(pause), false) => pause,
            (Some(pause), true) => (pause * 2).min(LONGEST_PAUSE),
            (None, _) => FIRST_PAUSE,
        };
        *state = State { not_before: Some(Instant::now() + pause), pause: Some(pause), tried: false };
        drop(state);
        self.troubles.send_modify(|count| *count += 1);
        pause
    }

    /// Changes at each trouble: whoever waits for the first byte need not wait for a deadline of its own.
    pub(super) fn troubles(&self) -> watch::Receiver<u64> {
        self.troubles.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_trouble_nobody_goes_there_and_after_a_pause_one() {
        let breaker = Breaker::new();
        assert!(breaker.admits() && breaker.admits());
        assert_eq!(breaker.trouble(), FIRST_PAUSE);
        assert!(!breaker.admits());
        tokio::time::advance(FIRST_PAUSE).await;
        assert!(breaker.admits(), "one tries");
        assert!(!breaker.admits(), "and the others wait for what it finds");
        breaker.well();
        assert!(breaker.admits() && breaker.admits());
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_the_longest_and_start_anew_when_all_is_well() {
        let breaker = Breaker::new();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let pause = breaker.trouble();
            pauses.push(pause.as_secs());
            tokio::time::advance(pause).await;
            assert!(breaker.admits());
        }
        assert_eq!(pauses, [30, 60, 120, 240, 480, 600, 600]);
        breaker.well();
        assert_eq!(breaker.trouble(), FIRST_PAUSE);
        assert_eq!(breaker.trouble(), FIRST_PAUSE, "another range that met the same trouble");
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_was_let_in_and_never_came_back_does_not_close_it_for_good() {
        let breaker = Breaker::new();
        tokio::time::advance(breaker.trouble()).await;
        assert!(breaker.admits());
        tokio::time::advance(FIRST_PAUSE).await;
        assert!(breaker.admits());
    }

    #[tokio::test]
    async fn who_waits_hears_of_the_trouble_of_others() {
        let breaker = Breaker::new();
        let mut troubles = breaker.troubles();
        breaker.trouble();
        tokio::time::timeout(Duration::from_secs(5), troubles.changed()).await.unwrap().unwrap();
    }
}
