//! Reading by `read` and `pread`.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::Outcome;

const MIB: usize = 1 << 20;
const RANDOM_PIECE: u64 = 4 << 20;
const RANDOM_THREADS: usize = 8;

pub fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("cannot open {}", path.display()))
}

pub fn sequential(files: &[PathBuf], passes: u32) -> Result<Outcome> {
    let started = Instant::now();
    let one = |path: &Path| -> Result<u64> {
        let mut buffer = vec![0; MIB];
        let mut bytes = 0;
        for _ in 0..passes {
            let mut file = open(path)?;
            loop {
                match file.read(&mut buffer).with_context(|| path.display().to_string())? {
                    0 => break,
                    read => bytes += read as u64,
                }
            }
        }
        Ok(bytes)
    };
    let bytes = at_once(files.iter().map(|path| || one(path)))?;
    Ok(Outcome { seconds: started.elapsed().as_secs_f64(), bytes, ..Outcome::default() })
}

pub fn random(path: &Path, passes: u32) -> Result<Outcome> {
    let file = open(path)?;
    let size = file.metadata()?.len();
    let started = Instant::now();
    let mut bytes = 0;
    for pass in 0..passes {
        let pieces = shuffled(size.div_ceil(RANDOM_PIECE), pass);
        let next = AtomicUsize::new(0);
        let work = || -> Result<u64> {
            let mut buffer = vec![0; RANDOM_PIECE as usize];
            let mut bytes = 0;
            while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
                let start = piece * RANDOM_PIECE;
                let wanted = (size - start).min(RANDOM_PIECE);
                file.read_exact_at(&mut buffer[..wanted as usize], start)?;
                bytes += wanted;
            }
            Ok(bytes)
        };
        bytes += at_once((0..RANDOM_THREADS).map(|_| &work))?;
    }
    Ok(Outcome { seconds: started.elapsed().as_secs_f64(), bytes, ..Outcome::default() })
}

pub fn first_byte(path: &Path) -> Result<Outcome> {
    let started = Instant::now();
    let read = open(path)?.read_at(&mut [0], 0)?;
    ensure!(read == 1, "{} is empty", path.display());
    Ok(Outcome { seconds: started.elapsed().as_secs_f64(), bytes: 1, ..Outcome::default() })
}

/// Runs each on a thread of its own, and adds up what they read.
pub fn at_once<W: FnOnce() -> Result<u64> + Send>(work: impl Iterator<Item = W>) -> Result<u64> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = work.map(|work| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a reader panicked")).sum()
    })
}

/// The same order in every run: both sides of a comparison read alike.
fn shuffled(count: u64, seed: u32) -> Vec<u64> {
    let mut order: Vec<u64> = (0..count).collect();
    let mut state = 0x9E37_79B9_7F4A_7C15 ^ u64::from(seed);
    for last in (1..order.len()).rev() {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(last, (state % (last as u64 + 1)) as usize);
    }
    order
}
