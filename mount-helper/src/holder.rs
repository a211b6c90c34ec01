//! The process that outlives its daemons: keeps what they left, starts the next one, and knows when to give up.
//!
//! One thread, one loop: packets first, then processes that have ended, then what is due. `lifecycle` says what follows from
//! what. Where somebody else starts the daemons, [`stand`] is all there is.

mod lifecycle;
mod peers;
mod standing;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;

use crate::client::Kept;
use crate::{Program, privileges};
use lifecycle::Lifecycle;
use peers::{Peers, bind};
pub use standing::stand;

/// What a holder is started for.
#[derive(Debug)]
pub struct Task {
    /// Where daemons find it; made new, and removed at the end.
    pub socket: PathBuf,
    pub program: Program,
    /// How long mounts are kept while no daemon can be had.
    pub give_up: Duration,
    pub first: First,
    /// What is kept from the start.
    pub kept: Vec<Kept>,
}

/// Where the first daemon comes from.
#[derive(Debug)]
pub enum First {
    /// It is started, and says its first word to `starter`.
    Start { starter: Option<OwnedFd> },
    /// It runs already: its own holder died.
    Adopt(u32),
}

/// Holds until the last daemon has ended or cannot be had any more. Returns the exit status: that of a daemon that was
/// never ready, 0 if it ended by itself, 1 if it was given up.
pub fn hold(task: Task) -> io::Result<u8> {
    let signals = listen_to_signals()?;
    let socket = task.socket.clone();
    let run_as = task.program.run_as;
    let listener = privileges::as_user(run_as, || bind(&socket))?;
    // A daemon of root may do everything as it is.
    if run_as.is_some() {
        privileges::drop_what_no_holder_needs()?;
    }
    let held = serve(task, &signals, &listener);
    // Best effort: nobody finds anything behind it.
    let _ = privileges::as_user(run_as, || std::fs::remove_file(&socket));
    held
}

fn serve(task: Task, signals: &SignalFd, listener: &OwnedFd) -> io::Result<u8> {
    let mut peers = Peers::default();
    let mut lifecycle = Lifecycle::begin(task)?;
    loop {
        if let Some(code) = lifecycle.outcome() {
            return Ok(code);
        }
        let events = wait(signals, listener, &peers, &lifecycle)?;
        for peer in &events.peers {
            peers.hear(*peer, &mut lifecycle);
        }
        if events.listener {
            peers.accept(listener);
        }
        if events.signal {
            while let Ok(Some(signal)) = signals.read_signal() {
                match Signal::try_from(signal.ssi_signo as i32) {
                    Ok(Signal::SIGHUP) => lifecycle.upgrade(None, &mut peers),
                    Ok(Signal::SIGTERM | Signal::SIGINT) => lifecycle.end(),
                    _ => {}
                }
            }
        }
        for pid in events.ended {
            // What it said before its end counts.
            peers.hear_out(pid, &mut lifecycle);
            lifecycle.ended(pid, &mut peers);
        }
        lifecycle.attend(Instant::now());
    }
}

struct Events {
    signal: bool,
    listener: bool,
    /// By their numbers.
    peers: Vec<u64>,
    ended: Vec<Pid>,
}

fn wait(signals: &SignalFd, listener: &OwnedFd, peers: &Peers, lifecycle: &Lifecycle) -> io::Result<Events> {
    let numbers: Vec<u64> = peers.numbers().collect();
    let processes: Vec<_> = lifecycle.processes().collect();
    let mut waiting = vec![PollFd::new(signals, PollFlags::IN), PollFd::new(listener, PollFlags::IN)];
    waiting.extend(peers.sockets().map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN)));
    waiting.extend(processes.iter().map(|process| PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)));
    let patience = lifecycle.due().map(|due| due.saturating_duration_since(Instant::now()));
    let patience = patience
        .map(|patience| Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) });
    match poll(&mut waiting, patience.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let happened: Vec<bool> = waiting.iter().map(|place| !place.revents().is_empty()).collect();
    let (own, others) = happened.split_at(2);
    let (of_peers, of_processes) = others.split_at(numbers.len());
    let chosen = |happened: &[bool]| happened.iter().enumerate().filter(|(_, yes)| **yes).map(|(at, _)| at).collect();
    let peers: Vec<usize> = chosen(of_peers);
    let ended: Vec<usize> = chosen(of_processes);
    Ok(Events {
        signal: own[0],
        listener: own[1],
        peers: peers.into_iter().map(|at| numbers[at]).collect(),
        ended: ended.into_iter().map(|at| processes[at].pid).collect(),
    })
}

fn listen_to_signals() -> io::Result<SignalFd> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT] {
        signals.add(signal);
    }
    signals.thread_block()?;
    Ok(SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

/// The name of a socket for a holder beside `control`, told from those of others by its process.
pub fn socket_beside(control: &Path) -> PathBuf {
    control.with_file_name(format!("holder-{}.sock", std::process::id()))
}
