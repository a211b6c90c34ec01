//! What loaders do before they read: find the commit, stat, open.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::Outcome;
use crate::read::open as open_file;

const STATS: usize = 50_000;
const OPENS: usize = 3_000;

pub fn stat(path: &Path) -> Result<Outcome> {
    let look = || std::fs::metadata(path).map(drop).map_err(Into::into);
    median(STATS, look)
}

pub fn open(path: &Path) -> Result<Outcome> {
    median(OPENS, || open_file(path).map(drop))
}

pub fn config(repo: &Path) -> Result<Outcome> {
    let started = Instant::now();
    let commit = std::fs::read_to_string(repo.join("refs/main"))?;
    let config = repo.join("snapshots").join(commit.trim()).join("config.json");
    let bytes = std::fs::read(config)?.len() as u64;
    Ok(Outcome { seconds: started.elapsed().as_secs_f64(), bytes, ..Outcome::default() })
}

fn median(count: usize, act: impl Fn() -> Result<()>) -> Result<Outcome> {
    act()?;
    let mut times: Vec<Duration> = Vec::with_capacity(count);
    for _ in 0..count {
        let started = Instant::now();
        act()?;
        times.push(started.elapsed());
    }
    times.sort();
    Ok(Outcome { seconds: times[count / 2].as_secs_f64(), ..Outcome::default() })
}
