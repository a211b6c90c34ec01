//! Figures as people read them.

use std::time::Duration;

/// 1 file, 2 files
pub fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// 512 B, 1.5 KiB, 12.0 GiB
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would round up to 1024.0 is one of the next unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// 100 % only when nothing is missing, 0 % only when nothing is there.
pub fn percent(part: u64, whole: u64) -> String {
    if part >= whole {
        return "100 %".to_owned();
    }
    let percent = part as f64 / whole as f64 * 100.0;
    match percent {
        0.0 => "0 %".to_owned(),
        percent if percent < 0.1 => "<0.1 %".to_owned(),
        percent => format!("{:.1} %", percent.min(99.9)),
    }
}

/// The two largest units: 3 d 4 h, 5 min 12 s.
pub fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let parts = [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let shown: Vec<_> = parts[first..].iter().take(2).map(|(count, unit)| format!("{count} {unit}")).collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_never_round_to_what_they_are_not() {
        assert_eq!([size(0), size(1023), size(1024), size(1536)], ["0 B", "1023 B", "1.0 KiB", "1.5 KiB"]);
        assert_eq!([size((1 << 20) - 1), size(u64::MAX)], ["1.0 MiB", "16.0 EiB"]);
        assert_eq!([percent(0, 0), percent(0, 9), percent(9, 9)], ["100 %", "0 %", "100 %"]);
        assert_eq!([percent(1, 1_000_000), percent(999_999, 1_000_000)], ["<0.1 %", "99.9 %"]);
        let age = |seconds| age(Duration::from_secs(seconds));
        assert_eq!([age(0), age(61), age(3600), age(90_061)], ["0 s", "1 min 1 s", "1 h 0 min", "1 d 1 h"]);
    }
}
