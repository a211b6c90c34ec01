//! The reference of a cold read: the same blocks, fetched in parallel and written, without a mount.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use sha2::{Digest, Sha256};

use crate::Outcome;
use crate::http::{Connection, Url, follow};
use crate::read::at_once;

const PIECE: usize = 1 << 20;

#[derive(Args)]
pub struct Order {
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Of one request
    #[arg(long, default_value_t = 8 << 20)]
    range_bytes: u64,
    /// Compute the sha256 while the files fill, as a cache that proves what it keeps has to
    #[arg(long)]
    hash: bool,
    /// End only when the bytes are on the disk
    #[arg(long)]
    sync: bool,
    /// Folder for the files
    #[arg(long)]
    into: PathBuf,
    urls: Vec<String>,
}

pub fn run(order: &Order) -> Result<Outcome> {
    let started = Instant::now();
    let targets = order.urls.iter().map(|url| Target::find(order, url)).collect::<Result<Vec<_>>>()?;
    let jobs: Vec<Job> = targets.iter().flat_map(Target::jobs).collect();
    let next = AtomicUsize::new(0);
    let (bytes, sha256) = std::thread::scope(|scope| {
        let hashing = order.hash.then(|| scope.spawn(|| targets.iter().map(Target::hash).collect()));
        let bytes = at_once((0..order.connections).map(|_| || fetch(&jobs, &next)));
        if bytes.is_err() {
            targets.iter().for_each(Target::give_up);
        }
        let sha256: Option<Result<Vec<String>>> = hashing.map(|thread| thread.join().expect("the hashing panicked"));
        Ok::<_, anyhow::Error>((bytes?, sha256.transpose()?))
    })?;
    if order.sync {
        for target in &targets {
            target.file.sync_data()?;
        }
    }
    Ok(Outcome { seconds: started.elapsed().as_secs_f64(), bytes, sha256, ..Outcome::default() })
}

pub fn first_byte(url: &str) -> Result<Outcome> {
    let started = Instant::now();
    let (_, mut connection, head) = follow(url, Some(0..1))?;
    connection.body(&head).read_exact(&mut [0])?;
    Ok(Outcome { seconds: started.elapsed().as_secs_f64(), bytes: 1, ..Outcome::default() })
}

pub fn whole(url: &str) -> Result<Outcome> {
    let started = Instant::now();
    let (_, mut connection, head) = follow(url, None)?;
    let bytes = std::io::copy(&mut connection.body(&head), &mut std::io::sink())?;
    ensure!(bytes == head.length, "{url} was cut");
    Ok(Outcome { seconds: started.elapsed().as_secs_f64(), bytes, ..Outcome::default() })
}

/// One file: where it is, and how far it has come.
struct Target {
    url: Url,
    size: u64,
    range_bytes: u64,
    file: File,
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Default)]
struct Progress {
    /// By number of the range.
    written: Vec<bool>,
    failed: bool,
}

struct Job<'a> {
    target: &'a Target,
    number: usize,
    range: Range<u64>,
}

impl Target {
    /// Follows the redirect once, for all ranges.
    fn find(order: &Order, url: &str) -> Result<Self> {
        let name = Url::parse(url)?.file_name().to_owned();
        let (url, mut connection, head) = follow(url, Some(0..1))?;
        connection.body(&head).read_exact(&mut [0])?;
        let size = head.size.with_context(|| format!("{url:?} answers no ranges"))?;
        let path = order.into.join(name);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.with_context(|| format!("cannot create {}", path.display()))?;
        file.set_len(size)?;
        let written = vec![false; size.div_ceil(order.range_bytes) as usize];
        let progress = Mutex::new(Progress { written, failed: false });
        Ok(Target { url, size, range_bytes: order.range_bytes, file, progress, changed: Condvar::new() })
    }

    fn jobs(&self) -> impl Iterator<Item = Job<'_>> {
        let starts = (0..self.size).step_by(self.range_bytes as usize).enumerate();
        starts.map(|(number, start)| {
            let range = start..(start + self.range_bytes).min(self.size);
            Job { target: self, number, range }
        })
    }

    fn finished(&self, number: usize) {
        self.progress.lock().expect("nobody panics with it").written[number] = true;
        self.changed.notify_all();
    }

    fn give_up(&self) {
        self.progress.lock().expect("nobody panics with it").failed = true;
        self.changed.notify_all();
    }

    /// Follows the writers, from begin to end.
    fn hash(&self) -> Result<String> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; PIECE];
        for job in self.jobs() {
            self.wait_for(job.number)?;
            let mut at = job.range.start;
            while at < job.range.end {
                let length = (job.range.end - at).min(PIECE as u64);
                self.file.read_exact_at(&mut buffer[..length as usize], at)?;
                hasher.update(&buffer[..length as usize]);
                at += length;
            }
        }
        Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn wait_for(&self, number: usize) -> Result<()> {
        let progress = self.progress.lock().expect("nobody panics with it");
        let progress = self.changed.wait_while(progress, |progress| !progress.written[number] && !progress.failed);
        ensure!(progress.expect("nobody panics with it").written[number], "the download failed");
        Ok(())
    }
}

/// One connection's work: the next range that nobody has taken, until there is none.
fn fetch(jobs: &[Job], next: &AtomicUsize) -> Result<u64> {
    let mut buffer = vec![0; PIECE];
    let mut open: Option<(&Target, Connection)> = None;
    let mut bytes = 0;
    while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
        let target = job.target;
        let (_, connection) = match open.take() {
            Some((of, connection)) if std::ptr::eq(of, target) => open.insert((of, connection)),
            _ => open.insert((target, Connection::to(&target.url)?)),
        };
        bytes += fetch_one(job, connection, &mut buffer)?;
        target.finished(job.number);
    }
    Ok(bytes)
}

fn fetch_one(job: &Job, connection: &mut Connection, buffer: &mut [u8]) -> Result<u64> {
    let head = connection.range(&job.target.url, job.range.clone())?;
    let mut body = connection.body(&head);
    let mut at = job.range.start;
    while at < job.range.end {
        let length = (job.range.end - at).min(PIECE as u64) as usize;
        body.read_exact(&mut buffer[..length]).context("the body was cut")?;
        job.target.file.write_all_at(&buffer[..length], at)?;
        at += length as u64;
    }
    Ok(job.range.end - job.range.start)
}
