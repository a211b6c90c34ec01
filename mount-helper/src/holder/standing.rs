//! A holder that starts nobody: daemons come one after the other by somebody else's will, as those of Kubernetes' pods do.
//!
//! It keeps what they leave, and gives it to the next one once the one before is gone: when that one's connection is closed,
//! which the kernel does after every thread of the process has ended. Processes of other pods have no number here, so a
//! connection is all that it knows of them. It needs no privilege and unmounts nothing that it cannot see.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SocketFlags;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::listen_to_signals;
use super::peers::{ANSWER, MOST, bind};
use crate::store::Store;
use crate::wire::{self, Packet};

/// Keeps what daemons leave at `socket` until it is told to end. Without a daemon for `give_up` it closes everything, so that
/// readers get errors instead of waiting for ever, and goes on for the next one.
pub fn stand(socket: &Path, give_up: Duration) -> io::Result<()> {
    let signals = listen_to_signals()?;
    let listener = bind(socket)?;
    let mut desk = Desk::new(give_up);
    while !desk.is_done() {
        let happened = wait(&signals, &listener, &desk)?;
        for peer in happened.peers {
            desk.hear(peer);
        }
        if happened.listener {
            desk.accept(&listener);
        }
        while happened.signal && matches!(signals.read_signal(), Ok(Some(_))) {
            desk.end();
        }
        desk.attend(Instant::now());
    }
    // Best effort: nobody finds anything behind it.
    let _ = std::fs::remove_file(socket);
    Ok(())
}

/// Who is there, and what is kept.
struct Desk {
    store: Store,
    peers: BTreeMap<u64, OwnedFd>,
    next: u64,
    /// Whose everything is now.
    serving: Option<u64>,
    /// Whether it has taken what it was given.
    is_ready: bool,
    /// Those who want to be next, the first of them first.
    waiting: VecDeque<u64>,
    /// Since when no daemon was ready.
    without: Option<Instant>,
    give_up: Duration,
    /// How often it was told to end.
    told: u32,
}

impl Desk {
    fn new(give_up: Duration) -> Self {
        let (store, peers) = (Store::default(), BTreeMap::new());
        let (waiting, without) = (VecDeque::new(), None);
        Self { store, peers, next: 0, serving: None, is_ready: false, waiting, without, give_up, told: 0 }
    }

    fn accept(&mut self, listener: &OwnedFd) {
        let entered =
            rustix::net::accept_with(listener, SocketFlags::CLOEXEC).map_err(io::Error::from).and_then(|peer| {
                if self.peers.len() >= MOST {
                    return Err(io::Error::other("there are too many"));
                }
                set_socket_timeout(&peer, Timeout::Send, Some(ANSWER))?;
                Ok(peer)
            });
        match entered {
            Ok(peer) => {
                self.next += 1;
                self.peers.insert(self.next, peer);
            }
            Err(error) => eprintln!("weightfs holder: a connection was refused: {error}"),
        }
    }

    /// Takes a packet of one that is readable.
    fn hear(&mut self, number: u64) {
        let Some(peer) = self.peers.get(&number) else { return };
        let answered = match wire::receive(peer) {
            Ok(Some(packet)) => self.answer(number, packet),
            Ok(None) => return self.leave(number),
            Err(error) => Err(error),
        };
        if let Err(error) = answered {
            eprintln!("weightfs holder: a daemon was cut off: {error}");
            // It has a second connection, on which it waits for this one's end, and comes again.
            if self.serving == Some(number) {
                self.peers.clear();
            }
            self.leave(number);
        }
    }

    fn answer(&mut self, number: u64, packet: Packet) -> io::Result<()> {
        let Some(peer) = self.peers.get(&number) else { return Ok(()) };
        match packet.word.as_str() {
            "serve" => {
                self.waiting.push_back(number);
                self.admit();
                Ok(())
            }
            "ready" if self.serving == Some(number) => {
                (self.is_ready, self.without) = (true, None);
                wire::send(peer, "done", "", &[])
            }
            "watch" | "bye" => wire::send(peer, "done", "", &[]),
            "upgrade" | "standby" => {
                let text = "this holder starts no daemons: whoever started the one that serves replaces it";
                wire::send(peer, "refused", text, &[])
            }
            _ if self.serving != Some(number) => wire::send(peer, "refused", "another daemon serves", &[]),
            word => {
                let unknown = format!("this holder does not know `{word}`; it is of another version");
                if self.store.answer(peer, packet)? { Ok(()) } else { wire::send(peer, "refused", &unknown, &[]) }
            }
        }
    }

    /// Lets the next one serve if nobody does.
    fn admit(&mut self) {
        while self.serving.is_none()
            && let Some(number) = self.waiting.pop_front()
        {
            let Some(peer) = self.peers.get(&number) else { continue };
            match self.store.send_all(peer) {
                Ok(()) => self.serving = Some(number),
                Err(error) => {
                    eprintln!("weightfs holder: a daemon did not take what is kept: {error}");
                    self.peers.remove(&number);
                }
            }
        }
    }

    fn leave(&mut self, number: u64) {
        self.peers.remove(&number);
        self.waiting.retain(|waiting| *waiting != number);
        if self.serving == Some(number) {
            (self.serving, self.is_ready) = (None, false);
            self.without.get_or_insert_with(Instant::now);
            eprintln!("weightfs holder: the daemon is gone; what it left is kept for the next one");
            self.admit();
        }
    }

    /// Told to end. While it alone has the mounts it waits for somebody who takes them, until it is told again.
    fn end(&mut self) {
        self.told += 1;
        if self.keeps_alone() && self.told == 1 {
            eprintln!("weightfs holder: told to end; nobody else has the mounts, so it waits for the next daemon");
        }
    }

    fn keeps_alone(&self) -> bool {
        !self.is_ready && !self.store.is_empty()
    }

    /// A daemon that serves has a copy of everything, and finds the next holder.
    fn is_done(&self) -> bool {
        self.told > 1 || self.told == 1 && !self.keeps_alone()
    }

    fn due(&self) -> Option<Instant> {
        self.without.filter(|_| !self.store.is_empty()).map(|without| without + self.give_up)
    }

    fn attend(&mut self, now: Instant) {
        if self.due().is_some_and(|due| now >= due) {
            eprintln!(
                "weightfs holder: no daemon came for {} s: everything is closed, and whoever reads gets errors; what was \
                 fetched stays",
                self.give_up.as_secs()
            );
            self.store.end_all();
            self.without = None;
        }
    }
}

struct Happened {
    signal: bool,
    listener: bool,
    peers: Vec<u64>,
}

fn wait(signals: &SignalFd, listener: &OwnedFd, desk: &Desk) -> io::Result<Happened> {
    let mut places = vec![PollFd::new(signals, PollFlags::IN), PollFd::new(listener, PollFlags::IN)];
    places.extend(desk.peers.values().map(|peer| PollFd::from_borrowed_fd(peer.as_fd(), PollFlags::IN)));
    let patience = desk.due().map(|due| due.saturating_duration_since(Instant::now()));
    let patience = patience
        .map(|patience| Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) });
    match poll(&mut places, patience.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let happened = |place: &PollFd<'_>| !place.revents().is_empty();
    let peers = desk.peers.keys().zip(&places[2..]).filter(|(_, place)| happened(place)).map(|(number, _)| *number);
    Ok(Happened { signal: happened(&places[0]), listener: happened(&places[1]), peers: peers.collect() })
}
