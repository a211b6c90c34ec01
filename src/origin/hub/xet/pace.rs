//! Which way is faster here, as it was measured. Pure.

use std::time::Duration;

/// The ways of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Plain,
    Xet,
}

/// Shorter ranges are mostly waiting, of which chunks need one more round trip: they tell nothing and go plainly.
pub(super) const WORTH_IT: u64 = 4 << 20;
/// Each so many ranges the slower way is tried again: networks change.
const TRY_AGAIN: u64 = 32;
/// How many ranges of each way are measured before one is preferred.
const ENOUGH: u64 = 2;
/// Chunks come in whole terms, so that the first byte of a range comes late: they must be faster by this factor.
const CLEARLY: f64 = 1.1;
/// What one range weighs against those before it.
const WEIGHT: f64 = 0.25;

#[derive(Debug, Default)]
pub(super) struct Pace {
    plain: Speed,
    xet: Speed,
    ranges: u64,
}

#[derive(Debug, Default)]
struct Speed {
    bytes_per_second: f64,
    measured: u64,
    /// Ranges that set out to be measured.
    begun: u64,
}

impl Speed {
    fn note(&mut self, speed: f64) {
        let weight = if self.measured == 0 { 1.0 } else { WEIGHT };
        self.bytes_per_second += (speed - self.bytes_per_second) * weight;
        self.measured += 1;
    }
}

impl Pace {
    /// The way of the next range that is worth it.
    pub(super) fn choose(&mut self) -> Way {
        self.ranges += 1;
        let way = self.preferred();
        match way {
            Way::Plain => self.plain.begun += 1,
            Way::Xet => self.xet.begun += 1,
        }
        way
    }

    fn preferred(&self) -> Way {
        if self.plain.measured < ENOUGH {
            return Way::Plain;
        }
        if self.xet.measured < ENOUGH && self.xet.begun < ENOUGH {
            return Way::Xet;
        }
        let faster = match self.xet.bytes_per_second > self.plain.bytes_per_second * CLEARLY {
            true if self.xet.measured >= ENOUGH => Way::Xet,
            _ => Way::Plain,
        };
        match (self.ranges.is_multiple_of(TRY_AGAIN), faster) {
            (false, faster) => faster,
            (true, Way::Plain) => Way::Xet,
            (true, Way::Xet) => Way::Plain,
        }
    }

    /// A range came wholly over one way.
    pub(super) fn measured(&mut self, way: Way, bytes: u64, took: Duration) {
        let speed = bytes as f64 / took.as_secs_f64().max(1e-6);
        match way {
            Way::Plain => self.plain.note(speed),
            Way::Xet => self.xet.note(speed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the next `ranges` go by chunks where these are so much faster.
    fn by_chunks(pace: &mut Pace, ranges: usize, faster: f64) -> usize {
        let second = Duration::from_secs(1);
        let mut count = 0;
        for _ in 0..ranges {
            let way = pace.choose();
            let took = if way == Way::Xet { second.div_f64(faster) } else { second };
            count += usize::from(way == Way::Xet);
            pace.measured(way, WORTH_IT, took);
        }
        count
    }

    #[test]
    fn the_faster_way_is_taken_and_the_other_tried_now_and_then() {
        let mut pace = Pace::default();
        assert_eq!(by_chunks(&mut pace, 4, 3.0), 2, "two each to begin with");
        assert!(by_chunks(&mut pace, 100, 3.0) >= 95);
        let mut pace = Pace::default();
        let slower = by_chunks(&mut pace, 320, 0.5);
        assert!((10..=12).contains(&slower), "{slower}");
    }

    #[test]
    fn a_network_that_changes_changes_the_way() {
        let mut pace = Pace::default();
        by_chunks(&mut pace, 100, 0.3);
        by_chunks(&mut pace, 400, 4.0);
        assert!(by_chunks(&mut pace, 100, 4.0) >= 90);
    }

    #[test]
    fn many_at_once_do_not_all_try_what_nobody_has_measured() {
        let mut pace = Pace::default();
        assert!((0..16).all(|_| pace.choose() == Way::Plain));
        pace.measured(Way::Plain, WORTH_IT, Duration::from_secs(1));
        pace.measured(Way::Plain, WORTH_IT, Duration::from_secs(1));
        let tries = (0..12).filter(|_| pace.choose() == Way::Xet).count();
        assert_eq!(tries, ENOUGH as usize);
    }

    #[test]
    fn a_little_faster_is_not_worth_it() {
        let mut pace = Pace::default();
        assert!(by_chunks(&mut pace, 100, 1.05) <= 6);
    }
}
