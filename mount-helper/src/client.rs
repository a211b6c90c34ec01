//! The daemon's end of a holder.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::wire::{self, Packet};

/// A holder answers at once: one that does not is dead or stopped.
const ANSWER: Duration = Duration::from_secs(10);
/// The next daemon checks itself first.
const UPGRADE: Duration = Duration::from_secs(90);

/// Descriptors that an earlier daemon left.
#[derive(Debug)]
pub struct Kept {
    pub name: String,
    pub descriptors: Vec<OwnedFd>,
}

/// A connection to a holder. Each call is a question and its answer.
#[derive(Debug)]
pub struct Holder {
    socket: Mutex<OwnedFd>,
}

impl Holder {
    pub fn connect(path: &Path) -> io::Result<Self> {
        Ok(Self { socket: Mutex::new(dial(path, ANSWER)?) })
    }

    /// Says that this process serves now, and gets everything that is kept.
    pub fn serve(&self) -> io::Result<Vec<Kept>> {
        self.entries("serve")
    }

    /// Says that this process is ready to serve after the one that does; returns when that one has ended.
    pub fn stand_by(path: &Path) -> io::Result<(Self, Vec<Kept>)> {
        Self::entries_in_time(path, UPGRADE, "standby")
    }

    /// At a holder that starts nobody: waits until no other daemon serves, then serves and gets everything that is kept.
    pub fn follow(path: &Path, patience: Duration) -> io::Result<(Self, Vec<Kept>)> {
        Self::entries_in_time(path, patience, "serve")
    }

    fn entries_in_time(path: &Path, patience: Duration, word: &str) -> io::Result<(Self, Vec<Kept>)> {
        let holder = Self { socket: Mutex::new(dial(path, patience)?) };
        let kept = holder.entries(word)?;
        set_socket_timeout(&*holder.socket(), Timeout::Recv, Some(ANSWER))?;
        Ok((holder, kept))
    }

    fn entries(&self, word: &str) -> io::Result<Vec<Kept>> {
        let socket = self.socket();
        wire::send(&*socket, word, "", &[])?;
        let mut kept = Vec::new();
        loop {
            let Packet { word, text, descriptors } = next(&*socket)?;
            match word.as_str() {
                "kept" => kept.push(Kept { name: text, descriptors }),
                "done" => return Ok(kept),
                _ => return Err(refusal(&word, &text)),
            }
        }
    }

    /// Keeps descriptors under a name, over what was there. A mount's name is its connection's number and its directory,
    /// `NUMBER DIRECTORY`; its connection is the first of its descriptors.
    pub fn keep(&self, name: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.ask("keep", name, descriptors).map(drop)
    }

    pub fn forget(&self, name: &str) -> io::Result<()> {
        self.ask("forget", name, &[]).map(drop)
    }

    /// A connection that somebody with privilege has mounted at a directory for this daemon, and that nobody has served
    /// yet. It stays kept.
    pub fn fresh(&self, directory: &str) -> io::Result<Option<Kept>> {
        let Packet { word, text, descriptors } = self.ask("fresh", directory, &[])?;
        Ok((word == "kept").then_some(Kept { name: text, descriptors }))
    }

    /// The mounts can be read: from now on this daemon is started again when it dies.
    pub fn ready(&self) -> io::Result<()> {
        self.ask("ready", "", &[]).map(drop)
    }

    /// This daemon ends because it is not needed any more.
    pub fn bye(&self) -> io::Result<()> {
        self.ask("bye", "", &[]).map(drop)
    }

    /// A standby cannot serve, and why.
    pub fn fail(path: &Path, why: &str) -> io::Result<()> {
        let holder = Self::connect(path)?;
        holder.ask("failed", &first_bytes(why), &[]).map(drop)
    }

    /// Registers a file with the connection kept under `name`, by the holder's privilege.
    pub fn register(&self, name: &str, file: BorrowedFd<'_>) -> io::Result<u32> {
        let answer = self.ask("register", name, &[file])?;
        answer.text.parse().map_err(|_| refusal(&answer.word, &answer.text))
    }

    pub fn unregister(&self, name: &str, id: u32) -> io::Result<()> {
        self.ask("unregister", &format!("{id} {name}"), &[]).map(drop)
    }

    /// Unmounts what is kept under `name`, by the holder's privilege.
    pub fn unmount(&self, name: &str, lazy: bool) -> io::Result<()> {
        self.ask(if lazy { "unmount-lazily" } else { "unmount" }, name, &[]).map(drop)
    }

    /// Starts the next daemon beside this one. Returns its process when it can take over, which it then does, or why it
    /// cannot.
    pub fn upgrade(path: &Path) -> io::Result<u32> {
        let holder = Self { socket: Mutex::new(dial(path, UPGRADE)?) };
        let answer = holder.ask("upgrade", "", &[])?;
        answer.text.parse().map_err(|_| refusal(&answer.word, &answer.text))
    }

    fn ask(&self, word: &str, text: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<Packet> {
        let socket = self.socket();
        wire::send(&*socket, word, text, descriptors)?;
        let answer = next(&*socket)?;
        match answer.word.as_str() {
            "done" | "kept" | "absent" | "id" => Ok(answer),
            _ => Err(refusal(&answer.word, &answer.text)),
        }
    }

    fn socket(&self) -> std::sync::MutexGuard<'_, OwnedFd> {
        // A question is whole or was never sent.
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a holder tells the daemon that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Another daemon stands by: record what there is and end.
    HandOver,
    /// The holder is gone.
    Gone,
}

/// A connection on which only the holder speaks.
#[derive(Debug)]
pub struct Watch(OwnedFd);

impl Watch {
    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket = dial(path, ANSWER)?;
        wire::send(&socket, "watch", "", &[])?;
        next(&socket)?;
        set_socket_timeout(&socket, Timeout::Recv, None)?;
        Ok(Self(socket))
    }

    /// Waits for as long as the holder has nothing to say.
    pub fn next(&self) -> Order {
        match wire::receive(&self.0) {
            Ok(Some(packet)) if packet.word == "hand-over" => Order::HandOver,
            _ => Order::Gone,
        }
    }
}

fn dial(path: &Path, patience: Duration) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(patience))?;
    set_socket_timeout(&socket, Timeout::Send, Some(ANSWER))?;
    Ok(socket)
}

fn next(socket: impl AsFd) -> io::Result<Packet> {
    let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the holder is gone");
    wire::receive(socket)?.ok_or_else(gone)
}

/// `errno N` or `refused TEXT`.
fn refusal(word: &str, text: &str) -> io::Error {
    match (word, text.parse()) {
        ("errno", Ok(number)) => io::Error::from_raw_os_error(number),
        ("refused", _) => io::Error::other(text.to_owned()),
        _ => io::Error::other(format!("the holder answers `{word} {text}`; it is of another version")),
    }
}

/// As much of a text as a packet holds.
fn first_bytes(text: &str) -> String {
    const MOST: usize = 4 << 10;
    let mut end = text.len().min(MOST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
