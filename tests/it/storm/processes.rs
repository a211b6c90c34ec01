//! The processes of one test, found by the cache directory in their environment, which no other test's have.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Of every process there is.
pub fn numbers() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Holder,
    /// Serves, or is about to.
    Daemon,
    /// A command that somebody waits for.
    Command,
}

#[derive(Debug)]
pub struct Process {
    pub pid: i32,
    pub role: Role,
    handle: OwnedFd,
}

impl Process {
    /// Those that live and have `cache` for a cache directory.
    pub fn of(cache: &Path) -> Vec<Self> {
        let mark = [b"WEIGHTFS_CACHE_DIRECTORY=", cache.as_os_str().as_bytes()].concat();
        numbers().filter_map(|pid| Self::marked(pid, &mark)).collect()
    }

    /// Its handle is taken before the look: so it is that of the process that was looked at.
    fn marked(pid: i32, mark: &[u8]) -> Option<Self> {
        let handle = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let mut variables = environment.split(|byte| *byte == 0);
        if !variables.clone().any(|variable| variable == mark) {
            return None;
        }
        let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let role = if words.split(|byte| *byte == 0).nth(1) == Some(b"holder") {
            Role::Holder
        } else if variables.any(|variable| variable.starts_with(b"WEIGHTFS_HOLDER=")) {
            Role::Daemon
        } else {
            Role::Command
        };
        Some(Self { pid, role, handle })
    }

    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    pub fn signal(&self, signal: Signal) {
        // It may have ended in the meantime.
        let _ = pidfd_send_signal(&self.handle, signal);
    }

    /// Whether it has ended, all of its threads, within a time.
    pub fn ends_within(&self, patience: Duration) -> io::Result<bool> {
        let patience = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) };
        Ok(poll(&mut [PollFd::new(&self.handle, PollFlags::IN)], Some(&patience))? == 1)
    }
}
