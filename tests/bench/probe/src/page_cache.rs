//! The kernel's side: maps, dropping the page cache, CPU time. All that is unsafe is here.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::ptr::NonNull;

use anyhow::{Context, Result};

use crate::Outcome;
use crate::read::open;

/// A whole file, mapped to be read.
pub struct Map {
    start: NonNull<libc::c_void>,
    length: usize,
}

impl Map {
    /// The file must not be empty, nor become shorter while it is mapped.
    pub fn of(file: &File) -> Result<Self> {
        let length = file.metadata()?.len() as usize;
        let (protection, flags) = (libc::PROT_READ, libc::MAP_SHARED);
        // SAFETY: a new mapping at an address of the kernel's choice; the file is open.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error()).context("mmap");
        }
        Ok(Map { start: NonNull::new(start).context("mapped at 0")?, length })
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: mapped for as long as self lives; the benchmark's files are never changed or cut while it runs.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.length) }
    }

    fn resident_bytes(&self) -> Result<u64> {
        // SAFETY: asks for a constant.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let mut pages = vec![0_u8; self.length.div_ceil(page)];
        // SAFETY: the map is alive, and there is a byte for each of its pages.
        let failed = unsafe { libc::mincore(self.start.as_ptr(), self.length, pages.as_mut_ptr().cast()) } != 0;
        if failed {
            return Err(io::Error::last_os_error()).context("mincore");
        }
        let resident = pages.iter().filter(|page| **page & 1 != 0).count();
        Ok((resident * page) as u64)
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: ours, and nobody holds its bytes any more.
        unsafe { libc::munmap(self.start.as_ptr(), self.length) };
    }
}

/// Tries again a few times: a page that is being read in cannot be dropped.
pub fn cool(files: &[PathBuf]) -> Result<Outcome> {
    const TRIES: usize = 5;
    let mut resident_bytes = 0;
    for path in files {
        let file = open(path)?;
        for _ in 0..TRIES {
            // Dirty pages would stay. A mount that is only read may refuse, and has none.
            let _ = file.sync_data();
            // SAFETY: takes an open descriptor and numbers; 0, 0 is the whole file.
            let error = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
            if error != 0 {
                return Err(io::Error::from_raw_os_error(error)).context("posix_fadvise");
            }
            if Map::of(&file)?.resident_bytes()? == 0 {
                break;
            }
        }
        resident_bytes += Map::of(&file)?.resident_bytes()?;
    }
    Ok(Outcome { resident_bytes: Some(resident_bytes), ..Outcome::default() })
}

/// User and system time of this process so far.
pub fn cpu_seconds() -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: a valid place for the answer, which is all numbers and so valid even where nothing was written.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
