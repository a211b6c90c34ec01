//! Those who read while the daemon is killed: they may be refused, and never deceived.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use rustix::io::Errno;

use super::{MIB, Storm};
use crate::harness::Dice;
use crate::originals::{self, Original};
use crate::passthrough::Map;

/// What a read may fail with when the daemon dies under it, or lies dead: a mount that has lost its daemon, a read that
/// was under way, a name on the empty directory, a page of a mapping.
const MAY_FAIL_WITH: [Errno; 5] = [Errno::NOTCONN, Errno::CONNABORTED, Errno::IO, Errno::NOENT, Errno::FAULT];
const LONGEST_READ: usize = 3 * MIB;

pub struct Reader<'a> {
    pub storm: &'a Storm,
    dice: Dice,
    buffer: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub fn new(storm: &'a Storm, seed: u64) -> Self {
        Self { storm, dice: Dice::new(seed), buffer: vec![0; LONGEST_READ] }
    }

    pub fn run(mut self) {
        while !self.storm.is_over.load(Ordering::Acquire) {
            let life = self.storm.life.load(Ordering::Acquire);
            // A dead mount is worth a look now and then.
            if life == 0 && !self.dice.once_in(8) {
                thread::sleep(Duration::from_millis(2));
                continue;
            }
            let original = self.choose();
            if let Err(error) = self.read_some(original) {
                self.forgive(life, original, &error);
            }
        }
    }

    fn choose(&mut self) -> &'a Original {
        originals::choose(&self.storm.ages, self.storm.begun.load(Ordering::Acquire), &mut self.dice)
    }

    fn read_some(&mut self, original: &Original) -> io::Result<()> {
        let file = File::open(self.storm.directory.join(&original.path))?;
        match self.dice.below(3) {
            0 => self.read_in_a_row(&file, original),
            1 => (0..6).try_for_each(|_| self.read_anywhere(&file, original)),
            _ => self.read_mapped(&file, original),
        }
    }

    fn read_in_a_row(&mut self, file: &File, original: &Original) -> io::Result<()> {
        let mut at = 0;
        while at < original.bytes.len() && !self.storm.is_over.load(Ordering::Acquire) {
            let len = (256 << 10).min(original.bytes.len() - at);
            self.read_at(file, original, at, len)?;
            at += len;
        }
        Ok(())
    }

    fn read_anywhere(&mut self, file: &File, original: &Original) -> io::Result<()> {
        let (at, len) = self.place(original);
        self.read_at(file, original, at, len)
    }

    fn place(&mut self, original: &Original) -> (usize, usize) {
        let at = self.dice.below(original.bytes.len());
        (at, (1 + self.dice.below(LONGEST_READ)).min(original.bytes.len() - at))
    }

    fn read_at(&mut self, file: &File, original: &Original, at: usize, len: usize) -> io::Result<()> {
        let found = &mut self.buffer[..len];
        file.read_exact_at(found, at as u64)?;
        self.compare(original, at, len);
        Ok(())
    }

    /// As through a mapping, but that a page which cannot be had is an error and no signal.
    fn read_mapped(&mut self, file: &File, original: &Original) -> io::Result<()> {
        let map = Map::of(file, original.bytes.len());
        for _ in 0..6 {
            let (at, len) = self.place(original);
            let remote = RemoteIoVec { base: map.bytes().as_ptr() as usize + at, len };
            let mut local = [IoSliceMut::new(&mut self.buffer[..len])];
            let came = process_vm_readv(Pid::this(), &mut local, &[remote])?;
            self.compare(original, at, came);
            if came < len {
                return Err(Errno::FAULT.into());
            }
        }
        Ok(())
    }

    fn compare(&self, original: &Original, at: usize, len: usize) {
        let right = &original.bytes[at..at + len];
        assert!(self.buffer[..len] == *right, "{}: wrong bytes in {at}..{}", original.path.display(), at + len);
        self.storm.reads.fetch_add(1, Ordering::Relaxed);
    }

    fn forgive(&self, life: u64, original: &Original, error: &io::Error) {
        let path = original.path.display();
        let still = self.storm.life.load(Ordering::Acquire);
        assert!(life == 0 || life != still, "{path}: {error}, and the daemon of life {life} is alive");
        let known = Errno::from_io_error(error).is_some_and(|errno| MAY_FAIL_WITH.contains(&errno));
        assert!(known, "{path}: {error} is no answer of a dead mount");
    }
}
