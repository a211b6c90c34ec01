//! How far a job is: a bar on a terminal, a line now and then without one. Both go to standard error.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::api::proto::JobPosition;

use super::figures::{age, percent, size};

/// Without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
const REDRAWS_A_SECOND: u8 = 8;
const BAR: &str = "{prefix} {wide_bar:.cyan/blue} {percent:>3} %  {msg}";
/// Columns of the bar at its shortest, and of what is around it and the texts.
const AROUND: usize = 22;
const SPINNER: &str = "{spinner} {prefix} {msg}";

/// Shows the positions of one job. What it drew goes when it does.
pub struct Display {
    title: String,
    shown: Shown,
    speed: Speed,
}

enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines { last: Instant },
}

impl Display {
    /// `title` says what is worked on. `quiet` leaves only remarks.
    pub fn new(title: String, quiet: bool) -> Self {
        let shown = match stderr().is_terminal() {
            _ if quiet => Shown::Nothing,
            true => Shown::Bar(bar(&title)),
            false => Shown::Lines { last: Instant::now() },
        };
        Self { title, shown, speed: Speed::default() }
    }

    /// For jobs that are over at once.
    pub fn none() -> Self {
        Self::new(String::new(), true)
    }

    pub fn show(&mut self, position: &JobPosition) {
        self.speed.at(position.bytes, Instant::now());
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => draw(bar, position, &self.speed),
            Shown::Lines { last } if last.elapsed() < LINE_EVERY => {}
            Shown::Lines { last } => {
                *last = Instant::now();
                eprintln!("{}: {}", self.title, sentence(position, &self.speed));
            }
        }
    }

    pub fn remark(&self, text: &str) {
        let line = format!("weightfs: {text}");
        match &self.shown {
            Shown::Bar(bar) => bar.suspend(|| eprintln!("{line}")),
            Shown::Nothing | Shown::Lines { .. } => eprintln!("{line}"),
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

fn bar(title: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(REDRAWS_A_SECOND));
    bar.set_style(style(SPINNER));
    bar.set_prefix(title.to_owned());
    bar
}

fn style(template: &str) -> ProgressStyle {
    // A template is a constant of this file; a wrong one shows in every test that draws.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn draw(bar: &mut ProgressBar, position: &JobPosition, speed: &Speed) {
    if position.total_bytes == 0 {
        bar.set_message(position.step.clone());
        bar.tick();
        return;
    }
    if bar.length() != Some(position.total_bytes) {
        bar.set_length(position.total_bytes);
        bar.set_style(style(BAR));
    }
    let room = columns().saturating_sub(bar.prefix().chars().count() + AROUND);
    bar.set_message(fitting(position, speed, room));
    bar.set_position(position.bytes);
}

fn columns() -> usize {
    const USUAL: usize = 80;
    rustix::termios::tcgetwinsize(stderr()).map_or(USUAL, |size| usize::from(size.ws_col))
}

/// 1.2 of 2.8 GiB, 3 of 13 files, 85.3 MiB/s, 21 s left
fn measures(position: &JobPosition, speed: &Speed) -> Vec<String> {
    let JobPosition { bytes, total_bytes, files, total_files, .. } = *position;
    let mut parts = vec![format!("{} of {}", size(bytes), size(total_bytes))];
    if total_files > 1 {
        parts.push(format!("{files} of {total_files} files"));
    }
    if let Some(rate) = speed.rate() {
        parts.push(format!("{}/s", size(rate)));
        let left = total_bytes.saturating_sub(bytes).checked_div(rate);
        if let Some(seconds) = left.filter(|seconds| *seconds > 0) {
            parts.push(format!("{} left", age(Duration::from_secs(seconds))));
        }
    }
    parts
}

/// As much of it as fits into `room` columns, the last parts first: how long it will take is what people look for.
fn fitting(position: &JobPosition, speed: &Speed, room: usize) -> String {
    let mut parts = measures(position, speed);
    while parts.len() > 1 && parts.join(", ").len() > room {
        parts.remove(parts.len().min(2) - 1);
    }
    parts.join(", ")
}

fn sentence(position: &JobPosition, speed: &Speed) -> String {
    match position.total_bytes {
        0 => position.step.clone(),
        total => {
            format!("{} {}: {}", position.step, percent(position.bytes, total), measures(position, speed).join(", "))
        }
    }
}

/// Bytes a second over the last moments.
#[derive(Default)]
struct Speed {
    first: Option<(u64, Instant)>,
    samples: std::collections::VecDeque<(u64, Instant)>,
}

impl Speed {
    const WINDOW: Duration = Duration::from_secs(10);
    /// Nothing is said of less.
    const SHORTEST: Duration = Duration::from_millis(900);

    fn at(&mut self, bytes: u64, now: Instant) {
        self.first.get_or_insert((bytes, now));
        self.samples.push_back((bytes, now));
        while self.samples.front().is_some_and(|(_, at)| now.duration_since(*at) > Self::WINDOW) {
            self.samples.pop_front();
        }
    }

    fn rate(&self) -> Option<u64> {
        let ((from, start), (to, end)) = (self.samples.front()?, self.samples.back()?);
        let passed = end.duration_since(*start);
        (passed >= Self::SHORTEST).then(|| (to.saturating_sub(*from) as f64 / passed.as_secs_f64()) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_that_of_the_last_moments() {
        let start = Instant::now();
        let mut speed = Speed::default();
        speed.at(100, start);
        assert_eq!(speed.rate(), None);
        speed.at(1100, start + Duration::from_secs(2));
        assert_eq!(speed.rate(), Some(500), "what was there at the start was not fetched");
        speed.at(1100, start + Duration::from_secs(60));
        assert_eq!(speed.rate(), None);
        speed.at(1100, start + Duration::from_secs(62));
        assert_eq!(speed.rate(), Some(0));
    }

    #[test]
    fn a_line_says_how_much_how_fast_and_how_long() {
        let start = Instant::now();
        let mut speed = Speed::default();
        speed.at(0, start);
        speed.at(1 << 20, start + Duration::from_secs(1));
        let position = JobPosition {
            step: "downloading".to_owned(),
            bytes: 1 << 20,
            total_bytes: 4 << 20,
            files: 1,
            total_files: 2,
        };
        let expected = "downloading 25.0 %: 1.0 MiB of 4.0 MiB, 1 of 2 files, 1.0 MiB/s, 3 s left";
        assert_eq!(sentence(&position, &speed), expected);
        assert_eq!(fitting(&position, &speed, 40), "1.0 MiB of 4.0 MiB, 1.0 MiB/s, 3 s left");
        assert_eq!(fitting(&position, &speed, 30), "1.0 MiB of 4.0 MiB, 3 s left");
        assert_eq!(fitting(&position, &speed, 0), "1.0 MiB of 4.0 MiB");
    }

    #[test]
    fn the_templates_are_well_formed() {
        assert!(ProgressStyle::with_template(BAR).is_ok() && ProgressStyle::with_template(SPINNER).is_ok());
    }
}
