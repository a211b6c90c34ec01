//! Those who are connected to a holder, and what they say.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, chmod};
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Pid;

use super::lifecycle::Lifecycle;
use crate::wire::{self, Packet};

/// A daemon that does not take its answer is cut off.
pub const ANSWER: Duration = Duration::from_secs(5);
const BACKLOG: i32 = 16;
/// Connections at once: a few of each daemon, and of those who ask for something.
pub const MOST: usize = 64;

#[derive(Default)]
pub struct Peers {
    peers: BTreeMap<u64, Peer>,
    next: u64,
}

struct Peer {
    socket: OwnedFd,
    pid: Pid,
    /// Waits for orders.
    watches: bool,
}

impl Peers {
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.peers.keys().copied()
    }

    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.peers.values().map(|peer| peer.socket.as_fd())
    }

    pub fn accept(&mut self, listener: &OwnedFd) {
        let accepted = rustix::net::accept_with(listener, SocketFlags::CLOEXEC).map_err(io::Error::from);
        let entered = accepted.and_then(|socket| self.enter(socket));
        if let Err(error) = entered {
            eprintln!("weightfs holder: a connection was refused: {error}");
        }
    }

    fn enter(&mut self, socket: OwnedFd) -> io::Result<()> {
        if self.peers.len() >= MOST {
            return Err(io::Error::other("there are too many"));
        }
        set_socket_timeout(&socket, Timeout::Send, Some(ANSWER))?;
        let pid = socket_peercred(&socket)?.pid;
        self.next += 1;
        self.peers.insert(self.next, Peer { socket, pid, watches: false });
        Ok(())
    }

    /// Takes a packet of one that is readable.
    pub fn hear(&mut self, number: u64, lifecycle: &mut Lifecycle) {
        let Some(peer) = self.peers.get(&number) else { return };
        let pid = peer.pid;
        let packet = match wire::receive(&peer.socket) {
            Ok(Some(packet)) => packet,
            Ok(None) => {
                self.peers.remove(&number);
                return;
            }
            Err(error) => {
                eprintln!("weightfs holder: process {pid} was cut off: {error}");
                self.peers.remove(&number);
                return;
            }
        };
        if let Err(error) = self.answer(number, pid, packet, lifecycle) {
            // It is gone, or does not take its answers.
            eprintln!("weightfs holder: process {pid} got no answer: {error}");
            self.peers.remove(&number);
        }
    }

    fn answer(&mut self, number: u64, pid: Pid, packet: Packet, lifecycle: &mut Lifecycle) -> io::Result<()> {
        match packet.word.as_str() {
            "watch" => {
                if let Some(peer) = self.peers.get_mut(&number) {
                    peer.watches = true;
                }
                self.tell(number, "done", "")
            }
            "serve" => lifecycle.serve(pid, self, number),
            "standby" => lifecycle.stands_by(pid, self, number),
            "failed" => {
                lifecycle.failed(pid, packet.text);
                self.tell(number, "done", "")
            }
            "ready" => {
                lifecycle.ready(pid, self);
                self.tell(number, "done", "")
            }
            "bye" => {
                lifecycle.bye(pid);
                self.tell(number, "done", "")
            }
            "upgrade" => {
                lifecycle.upgrade(Some(number), self);
                Ok(())
            }
            _ => {
                let Some(peer) = self.peers.get(&number) else { return Ok(()) };
                let word = packet.word.clone();
                if lifecycle.store.answer(&peer.socket, packet)? {
                    return Ok(());
                }
                self.tell(number, "refused", &format!("this holder does not know `{word}`; it is of another version"))
            }
        }
    }

    /// Everything that a process said before it ended.
    pub fn hear_out(&mut self, pid: Pid, lifecycle: &mut Lifecycle) {
        for number in self.of(pid) {
            while self.peers.get(&number).is_some_and(|peer| is_readable(peer.socket.as_fd())) {
                self.hear(number, lifecycle);
            }
            self.peers.remove(&number);
        }
    }

    fn of(&self, pid: Pid) -> Vec<u64> {
        self.peers.iter().filter(|(_, peer)| peer.pid == pid).map(|(number, _)| *number).collect()
    }

    pub fn tell(&self, number: u64, word: &str, text: &str) -> io::Result<()> {
        match self.peers.get(&number) {
            Some(peer) => wire::send(&peer.socket, word, text, &[]),
            None => Ok(()),
        }
    }

    pub fn socket(&self, number: u64) -> Option<BorrowedFd<'_>> {
        Some(self.peers.get(&number)?.socket.as_fd())
    }

    /// Gives an order to a process that watches for them; whether there is one.
    pub fn order(&self, pid: Pid, word: &str) -> bool {
        let watcher = self.peers.iter().find(|(_, peer)| peer.pid == pid && peer.watches);
        watcher.is_some_and(|(number, _)| self.tell(*number, word, "").is_ok())
    }
}

fn is_readable(socket: BorrowedFd<'_>) -> bool {
    let mut places = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
    poll(&mut places, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}

/// Listens where only this process's user may connect.
pub fn bind(path: &Path) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    // A process of the same number, long ago.
    let _ = std::fs::remove_file(path);
    // It can be connected to only once it listens, and then its mode is right.
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    chmod(path, Mode::RUSR | Mode::WUSR)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}
