//! Readers that go forward: the window ahead of them grows with what they have read.

use crate::types::{BLOCK_SIZE, ByteRange};

/// Follows the readers of one blob. Several may go through it at once.
#[derive(Debug, Default)]
pub(super) struct Sequential {
    /// The most recently used comes first.
    streams: Vec<Stream>,
}

/// How far ahead of a reader to go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Whoever has read less than this in a row only looks.
    threshold: u64,
    /// The window, as a multiple of what was read in a row.
    growth: u64,
    /// The window is not smaller than this.
    least: u64,
    /// Nothing beyond this is brought.
    end: u64,
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    /// Where the next read of this reader is expected.
    next: u64,
    /// Bytes read in a row.
    read: u64,
    /// Everything before this has been asked for.
    ahead: u64,
}

impl Pace {
    /// For a file of which nothing is known: what is brought in vain is never more than what was read.
    pub(super) const FILE: Self = Self { threshold: 2 * BLOCK_SIZE, growth: 1, least: 0, end: u64::MAX };

    /// For a header or one tensor, which a reader who has begun it most likely wants whole. One page fault, for which the
    /// kernel reads up to 1 MiB, brings two blocks more; then the window trebles with each round.
    pub(super) fn within(end: u64) -> Self {
        Self { threshold: BLOCK_SIZE / 2, growth: 2, least: 0, end }
    }

    /// For somebody who loads the file and has reached a tensor that ends at `end`.
    pub(super) fn loading(read: ByteRange, end: u64) -> Self {
        Self { threshold: 0, growth: 1, least: end.saturating_sub(read.end), end: u64::MAX }
    }
}

impl Sequential {
    /// Readers that are told apart; the one least recently seen is forgotten.
    const STREAMS: usize = 8;
    /// The kernel's own read-ahead runs in pieces that overtake each other.
    const SLACK: u64 = BLOCK_SIZE;
    const MAX_WINDOW: u64 = 64 * BLOCK_SIZE;

    /// Told of every read; answers what to bring beyond it.
    pub(super) fn on_read(&mut self, read: ByteRange, pace: Pace) -> Option<ByteRange> {
        let known = self
            .streams
            .iter()
            .position(|stream| read.start <= stream.next + Self::SLACK && read.end + Self::SLACK >= stream.next);
        let mut stream = match known {
            Some(index) => self.streams.remove(index),
            None => Stream { next: read.start, read: 0, ahead: 0 },
        };
        stream.read += read.end.saturating_sub(stream.next.max(read.start));
        stream.next = stream.next.max(read.end);
        let ahead = stream.extend(pace);
        self.streams.insert(0, stream);
        self.streams.truncate(Self::STREAMS);
        ahead
    }

    /// What the reader seen last has read in a row.
    pub(super) fn row(&self) -> u64 {
        self.streams.first().map_or(0, |stream| stream.read)
    }
}

impl Stream {
    fn extend(&mut self, pace: Pace) -> Option<ByteRange> {
        if self.read < pace.threshold {
            return None;
        }
        let window = (self.read * pace.growth).max(pace.least).min(Sequential::MAX_WINDOW);
        let wanted = (self.next + window).min(pace.end);
        let start = self.ahead.max(self.next);
        // Asking in steps of a quarter keeps the requests large.
        let step = (window / 4).min(pace.end.saturating_sub(start));
        if wanted <= start || wanted < self.ahead.saturating_add(step) {
            return None;
        }
        self.ahead = wanted;
        Some(ByteRange::new(start, wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: u64 = 128 << 10;

    /// Reads `[from, to)` in the kernel's pieces and returns what was asked ahead.
    fn scan(policy: &mut Sequential, from: u64, to: u64) -> Vec<ByteRange> {
        (from..to).step_by(READ as usize).filter_map(|at| policy.on_read(ByteRange::at(at, READ), Pace::FILE)).collect()
    }

    #[test]
    fn a_look_at_the_header_asks_for_nothing_ahead() {
        let mut policy = Sequential::default();
        assert_eq!(scan(&mut policy, 0, BLOCK_SIZE), []);
    }

    #[test]
    fn a_sequential_reader_is_always_ahead_of_itself_and_nothing_is_asked_twice() {
        let mut policy = Sequential::default();
        let asked = scan(&mut policy, 0, 64 * BLOCK_SIZE);
        assert!(asked.windows(2).all(|pair| pair[0].end == pair[1].start), "{asked:?}");
        let last = asked.last().unwrap();
        assert!(last.end >= 64 * BLOCK_SIZE + 40 * BLOCK_SIZE && last.end <= 128 * BLOCK_SIZE);
    }

    #[test]
    fn the_window_never_exceeds_what_was_read() {
        let mut policy = Sequential::default();
        let mut ahead = 0;
        for at in (0..40 * BLOCK_SIZE).step_by(READ as usize) {
            if let Some(asked) = policy.on_read(ByteRange::at(at, READ), Pace::FILE) {
                ahead = asked.end;
            }
            assert!(ahead <= 2 * (at + READ));
        }
    }

    #[test]
    fn random_reads_ask_for_nothing() {
        let mut policy = Sequential::default();
        for n in 0..200_u64 {
            let at = (n * 7919 % 1000) * 16 * BLOCK_SIZE;
            assert_eq!(policy.on_read(ByteRange::at(at, READ), Pace::FILE), None);
        }
    }

    #[test]
    fn two_readers_do_not_disturb_each_other() {
        let mut policy = Sequential::default();
        let mut asked = 0;
        for step in (0..8 * BLOCK_SIZE).step_by(READ as usize) {
            asked += usize::from(policy.on_read(ByteRange::at(step, READ), Pace::FILE).is_some());
            asked += usize::from(policy.on_read(ByteRange::at(500 * BLOCK_SIZE + step, READ), Pace::FILE).is_some());
        }
        assert!(asked >= 4, "{asked}");
    }
}
