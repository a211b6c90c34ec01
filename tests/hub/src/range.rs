//! The Range header, read as HTTP wants it. Pure.

use std::ops::Range;

/// What of a file to send.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// No Range, or one that a server is to ignore: malformed, or several at once.
    Whole,
    Range(Range<u64>),
    Unsatisfiable,
}

/// One range as it was asked for, before the size is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    From { first: u64, last: Option<u64> },
    Suffix(u64),
}

impl Asked {
    pub fn parse(header: &str) -> Option<Self> {
        let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
        let (first, last) = (first.trim(), last.trim());
        if first.is_empty() {
            return Some(Asked::Suffix(last.parse().ok()?));
        }
        let first = first.parse().ok()?;
        let last = match last {
            "" => None,
            text => Some(text.parse().ok()?),
        };
        match last {
            Some(last) if last < first => None,
            last => Some(Asked::From { first, last }),
        }
    }

    /// Whether a byte of the file is asked for; a suffix may reach any.
    pub fn covers(self, offset: u64) -> bool {
        match self {
            Asked::From { first, last } => first <= offset && last.is_none_or(|last| offset <= last),
            Asked::Suffix(_) => true,
        }
    }

    fn within(self, size: u64) -> Part {
        let range = match self {
            Asked::From { first, last } => {
                let end = last.map_or(size, |last| last.saturating_add(1).min(size));
                first..end
            }
            Asked::Suffix(length) => size.saturating_sub(length)..size,
        };
        if range.is_empty() { Part::Unsatisfiable } else { Part::Range(range) }
    }
}

pub fn part(header: Option<&str>, size: u64) -> Part {
    match header.and_then(Asked::parse) {
        Some(asked) => asked.within(size),
        None => Part::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_file() {
        assert_eq!(part(Some("bytes=2-4"), 10), Part::Range(2..5));
        assert_eq!(part(Some("bytes=8-"), 10), Part::Range(8..10));
        assert_eq!(part(Some("bytes=8-99"), 10), Part::Range(8..10));
        assert_eq!(part(Some("bytes=-3"), 10), Part::Range(7..10));
        assert_eq!(part(Some("bytes=-30"), 10), Part::Range(0..10));
        assert_eq!(part(Some("bytes=10-"), 10), Part::Unsatisfiable);
        assert_eq!(part(Some("bytes=-0"), 10), Part::Unsatisfiable);
        assert_eq!(part(Some("bytes=0-"), 0), Part::Unsatisfiable);
    }

    #[test]
    fn what_is_no_single_range_is_ignored() {
        for header in ["bytes=0-1,3-4", "bytes=5-2", "lines=1-2", "bytes=x-", "bytes=-", "bytes"] {
            assert_eq!(part(Some(header), 10), Part::Whole, "{header}");
        }
    }
}
