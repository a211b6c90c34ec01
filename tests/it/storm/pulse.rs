//! What one user of the mount does at the moment, how often it did it, and how long it had to wait.
//!
//! Times are told, never judged: a machine may be slow. That something is done at all is judged.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Why a user of the mount gave up: everything but the right answer.
pub type Outcome<T = ()> = Result<T, String>;

/// Shorter ones are no pauses.
const PAUSE: Duration = Duration::from_millis(1);
/// What begins so soon after a kill was kept waiting by it.
const AFTERMATH: Duration = Duration::from_millis(50);

pub struct Pulse {
    pub kind: &'static str,
    number: usize,
    operations: AtomicU64,
    under_way: Mutex<Option<(Instant, String)>>,
    pauses: Mutex<Vec<(Instant, Duration)>>,
    ended: AtomicBool,
}

impl Pulse {
    pub fn new(kind: &'static str, number: usize) -> Self {
        Self {
            kind,
            number,
            operations: AtomicU64::new(0),
            under_way: Mutex::new(None),
            pauses: Mutex::new(Vec::new()),
            ended: AtomicBool::new(false),
        }
    }

    /// One operation on the mount. It must succeed.
    pub fn run<T>(&self, verb: &str, path: &Path, operation: impl FnOnce() -> io::Result<T>) -> Outcome<T> {
        self.time(verb, path, operation).map_err(|error| self.wrong(verb, path, &error.to_string()))
    }

    /// One operation that must fail, and so.
    pub fn refuses<T>(
        &self,
        verb: &str,
        path: &Path,
        reason: io::ErrorKind,
        operation: impl FnOnce() -> io::Result<T>,
    ) -> Outcome {
        match self.time(verb, path, operation) {
            Err(error) if error.kind() == reason => Ok(()),
            Err(error) => Err(self.wrong(verb, path, &format!("{error}, where {reason} is right"))),
            Ok(_) => Err(self.wrong(verb, path, &format!("succeeded, where {reason} is right"))),
        }
    }

    /// What was found must be so.
    pub fn check(&self, holds: bool, path: &Path, else_what: &str) -> Outcome {
        if holds { Ok(()) } else { Err(self.wrong("look at", path, else_what)) }
    }

    fn wrong(&self, verb: &str, path: &Path, what: &str) -> String {
        format!("{} {}: {verb} {}: {what}", self.kind, self.number, path.display())
    }

    fn time<T>(&self, verb: &str, path: &Path, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let start = Instant::now();
        *self.under_way.lock() = Some((start, format!("{verb} {}", path.display())));
        let result = operation();
        let took = start.elapsed();
        *self.under_way.lock() = None;
        if took >= PAUSE {
            self.pauses.lock().push((start, took));
        }
        self.operations.fetch_add(1, Ordering::Release);
        result
    }

    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Acquire)
    }

    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// For somebody who wonders what it waits for.
    pub fn describe(&self) -> String {
        let doing = match &*self.under_way.lock() {
            Some((start, what)) => format!("for {:.1?} in `{what}`", start.elapsed()),
            None => "in no operation".to_owned(),
        };
        format!("{} {}: {} operations, {doing}", self.kind, self.number, self.operations())
    }

    fn longest(&self) -> Duration {
        self.pauses.lock().iter().map(|(_, took)| *took).max().unwrap_or_default()
    }

    /// The longest pause at each of the kills.
    fn at(&self, kills: &[Instant]) -> Vec<Duration> {
        let pauses = self.pauses.lock();
        let at = |kill: &Instant| {
            let touched = pauses.iter().filter(|(start, took)| *start < *kill + AFTERMATH && *start + *took > *kill);
            touched.map(|(_, took)| *took).max().unwrap_or_default()
        };
        kills.iter().map(at).collect()
    }
}

/// A line for each kind: how much it did and how long it had to wait.
pub fn table(pulses: &[Pulse], kills: &[Instant]) -> String {
    let mut kinds: Vec<&str> = pulses.iter().map(|pulse| pulse.kind).collect();
    kinds.dedup();
    let mut text =
        format!("{:<12}{:>12}{:>16}{:>24}\n", "kind", "operations", "longest pause", "median pause at an end");
    for kind in kinds {
        let of_kind: Vec<&Pulse> = pulses.iter().filter(|pulse| pulse.kind == kind).collect();
        let operations: u64 = of_kind.iter().map(|pulse| pulse.operations()).sum();
        let longest = of_kind.iter().map(|pulse| pulse.longest()).max().unwrap_or_default();
        let mut pauses: Vec<Duration> = of_kind.iter().flat_map(|pulse| pulse.at(kills)).collect();
        pauses.sort();
        let median = pauses.get(pauses.len() / 2).copied().unwrap_or_default();
        text += &format!("{kind:<12}{operations:>12}{:>13} ms{:>21} ms\n", longest.as_millis(), median.as_millis());
    }
    text
}
