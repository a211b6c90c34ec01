//! Those who read contents: each byte is compared, and pages are dropped so that the daemon is asked again and again.

use std::fs::File;
use std::io::{self, IoSliceMut, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use rustix::fs::{Advice, fadvise};
use sha2::{Digest, Sha256};

use super::crowd::{Storm, User};
use super::pulse::{Outcome, Pulse};
use crate::harness::Dice;
use crate::originals::Original;
use crate::passthrough::Map;

const PIECE: usize = 256 << 10;
const LONGEST_READ: usize = 1 << 20;
const PAGE: usize = 4096;

/// From the beginning to the end, and the hash of all of it.
pub struct Sequential {
    dice: Dice,
    buffer: Vec<u8>,
}

impl Sequential {
    pub fn new(dice: Dice) -> Self {
        Self { dice, buffer: vec![0; PIECE] }
    }
}

impl User for Sequential {
    fn turn(&mut self, storm: &Storm, pulse: &Pulse) -> Outcome {
        let original = storm.choose(&mut self.dice);
        let path = storm.path(original);
        let mut file = pulse.run("open", &path, || File::open(&path))?;
        let mut hash = Sha256::new();
        let mut len = 0;
        loop {
            let read = pulse.run("read", &path, || file.read(&mut self.buffer))?;
            if read == 0 {
                break;
            }
            hash.update(&self.buffer[..read]);
            len += read;
            if storm.is_over() {
                return Ok(());
            }
        }
        let right = Sha256::digest(&original.bytes);
        pulse.check(len == original.bytes.len(), &path, &format!("{len} bytes"))?;
        pulse.check(hash.finalize() == right, &path, "another sha256 than that of the Hub")?;
        storm.drop_pages(&file, original);
        Ok(())
    }
}

/// Anywhere, in a file opened for a few reads.
pub struct Random {
    dice: Dice,
    buffer: Vec<u8>,
}

impl Random {
    pub fn new(dice: Dice) -> Self {
        Self { dice, buffer: vec![0; LONGEST_READ] }
    }
}

impl User for Random {
    fn turn(&mut self, storm: &Storm, pulse: &Pulse) -> Outcome {
        let original = storm.choose(&mut self.dice);
        let path = storm.path(original);
        let file = pulse.run("open", &path, || File::open(&path))?;
        for _ in 0..8 {
            read_anywhere(&mut self.dice, &mut self.buffer, &file, original, &path, pulse)?;
        }
        storm.drop_pages(&file, original);
        Ok(())
    }
}

/// Holds its files open from the beginning to the end of the storm: handles of a daemon that is long dead.
pub struct Holding {
    dice: Dice,
    buffer: Vec<u8>,
    held: Vec<(usize, File)>,
}

impl Holding {
    const FILES: usize = 3;

    pub fn new(dice: Dice) -> Self {
        Self { dice, buffer: vec![0; LONGEST_READ], held: Vec::new() }
    }
}

impl User for Holding {
    fn turn(&mut self, storm: &Storm, pulse: &Pulse) -> Outcome {
        // Of the first model: it is there from the beginning.
        let model = &storm.ages[0];
        while self.held.len() < Self::FILES {
            let number = model.len() - 1 - self.held.len();
            let path = storm.path(&model[number]);
            let file = pulse.run("open", &path, || File::open(&path))?;
            self.held.push((number, file));
        }
        let (number, file) = &self.held[self.dice.below(Self::FILES)];
        let original = &model[*number];
        let path = storm.path(original);
        let metadata = pulse.run("fstat", &path, || file.metadata())?;
        pulse.check(metadata.size() == original.blob.size, &path, "another size")?;
        for _ in 0..4 {
            read_anywhere(&mut self.dice, &mut self.buffer, file, original, &path, pulse)?;
        }
        storm.drop_pages(file, original);
        Ok(())
    }
}

/// Opens, looks, reads a little, closes.
pub struct Opening {
    dice: Dice,
    buffer: Vec<u8>,
}

impl Opening {
    pub fn new(dice: Dice) -> Self {
        Self { dice, buffer: vec![0; 3 * PAGE] }
    }
}

impl User for Opening {
    fn turn(&mut self, storm: &Storm, pulse: &Pulse) -> Outcome {
        let original = storm.choose(&mut self.dice);
        let path = storm.path(original);
        let named = pulse.run("stat", &path, || path.metadata())?;
        pulse.check(named.size() == original.blob.size, &path, "another size")?;
        let file = pulse.run("open", &path, || File::open(&path))?;
        let opened = pulse.run("fstat", &path, || file.metadata())?;
        pulse.check(opened.is_file() && opened.size() == original.blob.size, &path, "another size once it is open")?;
        read_anywhere(&mut self.dice, &mut self.buffer, &file, original, &path, pulse)?;
        pulse.run("close", &path, || nix::unistd::close(file).map_err(io::Error::from))?;
        Ok(())
    }
}

/// Pages of a mapping, given back and faulted in again.
pub struct Mapped {
    dice: Dice,
    buffer: Vec<u8>,
}

impl Mapped {
    pub fn new(dice: Dice) -> Self {
        Self { dice, buffer: vec![0; 16 * PAGE] }
    }

    /// As through the mapping, but that a page which cannot be had is an error and no signal.
    fn fault(&mut self, map: &Map, original: &Original, path: &Path, pulse: &Pulse) -> Outcome {
        let (at, len) = place(&mut self.dice, original, self.buffer.len());
        let remote = RemoteIoVec { base: map.bytes().as_ptr() as usize + at, len };
        let found = pulse.run("map", path, || {
            let mut local = [IoSliceMut::new(&mut self.buffer[..len])];
            Ok(process_vm_readv(Pid::this(), &mut local, &[remote])?)
        })?;
        pulse.check(found == len, path, "a page of the mapping that cannot be had")?;
        compare(&self.buffer[..len], original, at, path, pulse)
    }
}

impl User for Mapped {
    fn turn(&mut self, storm: &Storm, pulse: &Pulse) -> Outcome {
        let original = storm.choose(&mut self.dice);
        let path = storm.path(original);
        let file = pulse.run("open", &path, || File::open(&path))?;
        let map = Map::of(&file, original.bytes.len());
        for _ in 0..4 {
            for _ in 0..8 {
                self.fault(&map, original, &path, pulse)?;
            }
            map.forget();
            storm.drop_pages(&file, original);
            if storm.is_over() {
                break;
            }
        }
        Ok(())
    }
}

fn place(dice: &mut Dice, original: &Original, longest: usize) -> (usize, usize) {
    let at = dice.below(original.bytes.len());
    (at, (1 + dice.below(longest)).min(original.bytes.len() - at))
}

fn read_anywhere(
    dice: &mut Dice,
    buffer: &mut [u8],
    file: &File,
    original: &Original,
    path: &Path,
    pulse: &Pulse,
) -> Outcome {
    let (at, len) = place(dice, original, buffer.len());
    let found = &mut buffer[..len];
    pulse.run("read", path, || file.read_exact_at(found, at as u64))?;
    compare(found, original, at, path, pulse)
}

fn compare(found: &[u8], original: &Original, at: usize, path: &Path, pulse: &Pulse) -> Outcome {
    let end = at + found.len();
    pulse.check(found == &original.bytes[at..end], path, &format!("wrong bytes in {at}..{end}"))
}

impl Storm<'_> {
    /// So that the next read asks the daemon: a file larger than the memory would have the same effect.
    pub fn drop_pages(&self, file: &File, original: &Original) {
        // Best effort: what others have mapped stays.
        let _ = fadvise(file, 0, None, Advice::DontNeed);
        let absent = Map::of(file, original.bytes.len()).absent_pages();
        self.dropped.fetch_add(absent as u64, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Map {
    /// The mapping stays, and what it had of the pages is given back.
    fn forget(&self) {
        let start = self.bytes().as_ptr() as *mut std::ffi::c_void;
        // SAFETY: the mapping is one of a file, read only: its pages come again with the same bytes.
        let forgotten = unsafe { rustix::mm::madvise(start, self.bytes().len(), rustix::mm::Advice::LinuxDontNeed) };
        forgotten.expect("a mapping of our own");
    }

    /// How many of its pages are not in memory.
    fn absent_pages(&self) -> usize {
        let bytes = self.bytes();
        let mut present = vec![0u8; bytes.len().div_ceil(PAGE)];
        // SAFETY: the mapping lives as long as `self`, and `present` has a byte for each of its pages.
        let looked = unsafe { nix::libc::mincore(bytes.as_ptr() as *mut _, bytes.len(), present.as_mut_ptr()) };
        assert_eq!(looked, 0, "mincore: {}", io::Error::last_os_error());
        present.iter().filter(|page| **page & 1 == 0).count()
    }
}
