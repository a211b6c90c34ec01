//! The daemons of a holder: started, watched, ended.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::signal::SigSet;
use rustix::fs::{Mode, OFlags};
use rustix::io::FdFlags;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};

use crate::{HOLDER_VARIABLE, STANDBY_VARIABLE};

/// What a holder starts, and as whom.
#[derive(Debug, Clone)]
pub struct Program {
    /// Looked up anew at each start: an upgrade replaces what lies there.
    pub path: PathBuf,
    pub arguments: Vec<OsString>,
    /// To which relative paths among the arguments refer; `/` once it is gone.
    pub directory: PathBuf,
    /// User and group of the daemon, where they are not the holder's own.
    pub run_as: Option<(u32, u32)>,
    /// The variable by which the first daemon finds whoever waits for it. Later ones must not see it.
    pub variable: &'static str,
}

impl Program {
    /// The first one, which has something to say to `starter`.
    pub fn start_for(&self, socket: &Path, starter: Option<&OwnedFd>) -> io::Result<Process> {
        let mut command = self.command(&self.path, socket);
        if let Some(starter) = starter {
            rustix::io::fcntl_setfd(starter, FdFlags::empty())?;
            command.env(self.variable, starter.as_raw_fd().to_string());
        }
        spawn(command)
    }

    /// One that is to wait until the daemon before it has ended.
    pub fn start_standby(&self, socket: &Path) -> io::Result<Process> {
        let mut command = self.command(&self.path, socket);
        command.env(STANDBY_VARIABLE, "1");
        spawn(command)
    }

    /// One that serves at once; `image` is started instead of what lies at the path now.
    pub fn start_next(&self, socket: &Path, image: Option<OwnedFd>) -> io::Result<Process> {
        match &image {
            Some(image) => spawn(self.command(format!("/proc/self/fd/{}", image.as_raw_fd()).as_ref(), socket)),
            None => spawn(self.command(&self.path, socket)),
        }
    }

    fn command(&self, path: &Path, socket: &Path) -> Command {
        let mut command = Command::new(path);
        command.arg0(&self.path).args(&self.arguments).stdin(Stdio::null());
        command.current_dir(if self.directory.is_dir() { &self.directory } else { Path::new("/") });
        command.env(HOLDER_VARIABLE, socket).env_remove(STANDBY_VARIABLE).env_remove(self.variable);
        if let Some((uid, gid)) = self.run_as {
            command.gid(gid).uid(uid);
        }
        command
    }
}

fn spawn(mut command: Command) -> io::Result<Process> {
    // Before it runs: a process of another user shows its program to nobody but root with all its rights.
    let image = open_image(command.get_program().as_ref());
    // The holder reads its signals from a descriptor and blocks them for that; its daemons get them as anybody does.
    let unblock = || Ok(SigSet::all().thread_unblock()?);
    // SAFETY: between fork and exec it makes one system call, and touches no memory but its own stack.
    unsafe { command.pre_exec(unblock) };
    Process::new(Pid::from_child(&command.spawn()?), image)
}

fn open_image(path: &Path) -> Option<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Exit(i32),
    Signal(i32),
    /// It was not this process's child.
    Unknown,
}

impl End {
    /// As a shell has it.
    pub fn code(self) -> u8 {
        match self {
            End::Exit(code) => code as u8,
            End::Signal(signal) => (128 + signal) as u8,
            End::Unknown => 1,
        }
    }

    pub fn is_kill(self) -> bool {
        // Of a process that somebody else started only its end is known.
        matches!(self, End::Unknown) || self == End::Signal(Signal::KILL.as_raw())
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Exit(code) => write!(f, "exit status {code}"),
            End::Signal(signal) => write!(f, "signal {signal}"),
            End::Unknown => write!(f, "unknown status"),
        }
    }
}

#[derive(Debug)]
pub struct Process {
    pub pid: Pid,
    pub started: Instant,
    /// Readable when all of its threads have ended: none of them takes a request any more.
    handle: OwnedFd,
    image: Option<OwnedFd>,
}

impl Process {
    /// One that runs already.
    pub fn of(pid: Pid) -> io::Result<Self> {
        Self::new(pid, open_image(format!("/proc/{pid}/exe").as_ref()))
    }

    fn new(pid: Pid, image: Option<OwnedFd>) -> io::Result<Self> {
        Ok(Self { pid, started: Instant::now(), handle: pidfd_open(pid, PidfdFlags::empty())?, image })
    }

    pub fn signal(&self, signal: Signal) {
        if let Err(error) = pidfd_send_signal(&self.handle, signal)
            && error != rustix::io::Errno::SRCH
        {
            eprintln!("weightfs holder: cannot signal process {}: {error}", self.pid);
        }
    }

    /// After the handle has become readable.
    pub fn end(&self) -> End {
        match waitid(WaitId::PidFd(self.handle.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => End::Exit(code),
                (_, Some(signal)) => End::Signal(signal),
                _ => End::Unknown,
            },
            _ => End::Unknown,
        }
    }

    /// The program that it runs, which stays even if its file is replaced.
    pub fn image(&self) -> Option<OwnedFd> {
        self.image.as_ref()?.try_clone().ok()
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}
