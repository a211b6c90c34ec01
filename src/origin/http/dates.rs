//! The three ways in which a Hub and its storage write a moment. All answers are seconds since 1970, UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// By this machine's clock.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the form of HTTP headers.
pub fn from_http(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [_, day, month, year, time, "GMT"] = words[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let mut time = time.split(':').map(|part| part.parse().ok());
    seconds([year.parse().ok()?, month as i64, day.parse().ok()?], [time.next()??, time.next()??, time.next()??])
}

/// `2024-05-01T10:20:30.000Z` as in the Hub's JSON, or `20240501T102030Z` as in signed URLs.
pub fn from_iso(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z')?;
    let text = text.split('.').next()?;
    let digits: String = text.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    let (date, time) = digits.split_once('T')?;
    let number = |text: &str, from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    if date.len() != 8 || time.len() != 6 {
        return None;
    }
    seconds(
        [number(date, 0, 4)?, number(date, 4, 6)?, number(date, 6, 8)?],
        [number(time, 0, 2)?, number(time, 2, 4)?, number(time, 4, 6)?],
    )
}

/// Days are counted from the first of March, so that the leap day is the last of its year.
fn seconds([year, month, day]: [i64; 3], [hour, minute, second]: [i64; 3]) -> Option<i64> {
    let plausible = (1970..10_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    if !plausible {
        return None;
    }
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_moment_is_read() {
        assert_eq!(from_http("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(from_iso("1994-11-06T08:49:37.000Z"), Some(784_111_777));
        assert_eq!(from_iso("19941106T084937Z"), Some(784_111_777));
        assert_eq!(from_iso("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(from_iso("2024-02-29T00:00:00Z"), Some(1_709_164_800));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in ["", "Z", "2024", "2024-13-01T00:00:00Z", "2024-01-01T00:00:00", "é024-01-01T00:00:00Z"] {
            assert_eq!(from_iso(text), None, "{text:?}");
        }
        for text in ["", "yesterday", "Sun, 06 Nov 1994 08:49 GMT", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(from_http(text), None, "{text:?}");
        }
    }
}
