//! Notices to the kernel, written by a process of their own.
//!
//! The kernel takes a folder's lock, or a page's, to act on a notice, and whoever has that lock may wait for the daemon's answer.
//! A thread that waits there cannot be killed. If it were the daemon's own, a daemon that is killed at that moment would not
//! end, its connection would stay with it, and the next daemon, which has the answer, could not be started. So the daemon
//! has another process write its notices, and that one may wait.
//!
//! While it waits it has the connection, so a daemon that nobody follows does not end its mount by dying: whoever waits for an
//! answer, the lock in his hands, would wait for ever. Such mounts are ended here, by force.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::mounts::{self, Manner};
use crate::wire::{self, Packet};

/// How long the kernel may take: as long as whoever has the lock waits for an answer.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the kernel is to forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The pages of a node: `length` bytes from `offset`, 0 for all behind it.
    Pages { node: u64, offset: u64, length: u64 },
    /// The attributes of a node. It takes no lock, and an error says that the kernel has no such node.
    Attributes { node: u64 },
    /// Which node a name leads to.
    Name { folder: u64, name: String },
}

impl Notice {
    /// Has the kernel act on it. May wait where no signal reaches.
    pub fn write(&self, device: impl AsFd) -> io::Result<()> {
        rustix::io::write(device, &self.encode())?;
        Ok(())
    }

    /// `struct fuse_out_header` with the notice's code for an error, and what belongs to it.
    fn encode(&self) -> Vec<u8> {
        const PAGES: i32 = 2;
        const NAME: i32 = 3;
        const HEADER: u32 = 16;
        let (code, body) = match self {
            Notice::Pages { node, offset, length } => {
                (PAGES, [node.to_ne_bytes(), offset.to_ne_bytes(), length.to_ne_bytes()].concat())
            }
            // Pages from a negative place are none.
            Notice::Attributes { node } => (PAGES, [node.to_ne_bytes(), (-1i64).to_ne_bytes(), [0; 8]].concat()),
            Notice::Name { folder, name } => {
                let mut body = folder.to_ne_bytes().to_vec();
                body.extend((name.len() as u32).to_ne_bytes());
                // Flags, of which none is set.
                body.extend(0u32.to_ne_bytes());
                body.extend(name.as_bytes());
                body.push(0);
                (NAME, body)
            }
        };
        let mut bytes = (HEADER + body.len() as u32).to_ne_bytes().to_vec();
        bytes.extend(code.to_ne_bytes());
        bytes.extend(0u64.to_ne_bytes());
        bytes.extend(body);
        bytes
    }

    fn to_words(&self) -> (&'static str, String) {
        match self {
            Notice::Pages { node, offset, length } => ("pages", format!("{node} {offset} {length}")),
            Notice::Attributes { node } => ("attributes", node.to_string()),
            Notice::Name { folder, name } => ("name", format!("{folder} {name}")),
        }
    }

    fn from_words(word: &str, text: &str) -> Option<Self> {
        match word {
            "pages" => {
                let mut numbers = text.split(' ').map(str::parse);
                let mut next = || numbers.next()?.ok();
                Some(Notice::Pages { node: next()?, offset: next()?, length: next()? })
            }
            "attributes" => Some(Notice::Attributes { node: text.parse().ok()? }),
            "name" => {
                let (folder, name) = text.split_once(' ')?;
                Some(Notice::Name { folder: folder.parse().ok()?, name: name.to_owned() })
            }
            _ => None,
        }
    }
}

/// The process that writes notices, as the daemon sees it. It is started when it is first needed, and again if it died.
#[derive(Debug)]
pub struct Messenger {
    /// How it is started; its standard input is the socket that [`serve`] gets.
    command: fn() -> Command,
    control: Mutex<Option<OwnedFd>>,
}

impl Messenger {
    pub fn new(command: fn() -> Command) -> Self {
        Self { command, control: Mutex::default() }
    }

    /// A line of its own to that process: who waits there keeps no other line waiting. `alone` is the mount that nobody goes on
    /// with when this process dies, `NUMBER DIRECTORY`, or nothing.
    pub fn line(&self, alone: &str) -> io::Result<Line> {
        let (here, there) = pair()?;
        set_socket_timeout(&here, Timeout::Recv, Some(PATIENCE))?;
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*control
            && wire::send(known, "line", alone, &[there.as_fd()]).is_ok()
        {
            return Ok(Line(here));
        }
        let started = self.start()?;
        wire::send(&started, "line", alone, &[there.as_fd()])?;
        *control = Some(started);
        Ok(Line(here))
    }

    fn start(&self) -> io::Result<OwnedFd> {
        let (here, there) = pair()?;
        let mut command = (self.command)();
        // It ends when its lines do, not with a signal to whoever stands in the same terminal.
        command.process_group(0).stdin(Stdio::from(there)).stdout(Stdio::null());
        let mut child = command.spawn()?;
        std::thread::Builder::new().name("notices-end".to_owned()).spawn(move || child.wait())?;
        Ok(here)
    }
}

/// Writes notices in order, each when the one before it is done.
#[derive(Debug)]
pub struct Line(OwnedFd);

impl Line {
    /// Waits until the kernel has acted on it. An error of the kernel's mostly says that it knows of no such thing.
    pub fn write(&self, device: BorrowedFd<'_>, notice: &Notice) -> io::Result<()> {
        let (word, text) = notice.to_words();
        wire::send(&self.0, word, &text, &[device])?;
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the process that writes notices is gone");
        match wire::receive(&self.0)?.ok_or_else(gone)? {
            Packet { word, .. } if word == "done" => Ok(()),
            Packet { text, .. } => match text.parse() {
                Ok(number) => Err(io::Error::from_raw_os_error(number)),
                Err(_) => Err(io::Error::other(text)),
            },
        }
    }
}

/// What a line does, for the end of the process.
struct Duty {
    /// The mount that nobody goes on with.
    alone: String,
    /// In the middle of a notice.
    waits: AtomicBool,
}

/// Being that process: returns when the daemon is gone. A line in the middle of a notice is left to the end of the process.
pub fn serve(control: impl AsFd) -> io::Result<()> {
    let is_over = Arc::new(AtomicBool::new(false));
    let mut duties = Vec::new();
    while let Some(Packet { text, descriptors, .. }) = wire::receive(&control)? {
        for line in descriptors {
            let duty = Arc::new(Duty { alone: text.clone(), waits: AtomicBool::new(false) });
            duties.push(Arc::downgrade(&duty));
            let is_over = is_over.clone();
            let serve = move || serve_line(&line, &duty, &is_over);
            std::thread::Builder::new().name("line".to_owned()).spawn(serve)?;
        }
        duties.retain(|duty| duty.strong_count() > 0);
    }
    // From here on nobody begins to wait.
    is_over.store(true, Ordering::SeqCst);
    for duty in duties.iter().filter_map(Weak::upgrade) {
        if duty.waits.load(Ordering::SeqCst) && !duty.alone.is_empty() {
            end(&duty.alone);
        }
    }
    Ok(())
}

/// Another mount that is at the same place by now stays.
fn end(mount: &str) {
    if let Err(error) = mounts::unmount(mount, Manner::Force, None) {
        eprintln!(
            "weightfs notices: a mount whose daemon died cannot be ended ({mount}): {error}; `umount -f` as root does"
        );
    }
}

fn serve_line(line: &OwnedFd, duty: &Duty, is_over: &AtomicBool) -> io::Result<()> {
    while let Some(Packet { word, text, descriptors }) = wire::receive(line)? {
        let notice = Notice::from_words(&word, &text).zip(descriptors.first());
        duty.waits.store(true, Ordering::SeqCst);
        if is_over.load(Ordering::SeqCst) {
            return Ok(());
        }
        let written = match notice {
            Some((notice, device)) => notice.write(device),
            None => Err(rustix::io::Errno::INVAL.into()),
        };
        duty.waits.store(false, Ordering::SeqCst);
        match written {
            Ok(()) => wire::send(line, "done", "", &[])?,
            Err(error) => {
                wire::send(line, "errno", &error.raw_os_error().unwrap_or_default().to_string(), &[])?;
            }
        }
    }
    Ok(())
}

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_arrives_as_it_was_written() {
        let name = Notice::Name { folder: 65_536, name: "with space\nand more".to_owned() };
        for notice in [name, Notice::Pages { node: 7, offset: 4096, length: 0 }, Notice::Attributes { node: 8 }] {
            let (word, text) = notice.to_words();
            assert_eq!(Notice::from_words(word, &text), Some(notice));
        }
        for (word, text) in [("pages", "1 2"), ("pages", "1 2 x"), ("name", "x y"), ("name", "1"), ("else", "1 2 3")] {
            assert_eq!(Notice::from_words(word, text), None, "{word} {text}");
        }
    }

    #[test]
    fn a_notice_has_the_kernels_form() {
        let bytes = Notice::Name { folder: 1, name: "ab".to_owned() }.encode();
        assert_eq!(bytes.len(), 16 + 16 + 3);
        assert_eq!((&bytes[..4], &bytes[4..8]), (&35u32.to_ne_bytes()[..], &3i32.to_ne_bytes()[..]));
        assert_eq!((&bytes[24..28], &bytes[32..]), (&2u32.to_ne_bytes()[..], &b"ab\0"[..]));
        let bytes = Notice::Pages { node: 2, offset: 3, length: 4 }.encode();
        assert_eq!((bytes.len(), &bytes[4..8]), (40, &2i32.to_ne_bytes()[..]));
    }

    #[test]
    fn lines_do_not_wait_for_each_other_and_end_with_their_owner() {
        let (control, there) = pair().unwrap();
        let served = std::thread::spawn(move || serve(there));
        let line = || {
            let (here, there) = pair().unwrap();
            wire::send(&control, "line", "", &[there.as_fd()]).unwrap();
            Line(here)
        };
        // Nobody reads this pipe, so whoever writes into it waits once it is full.
        let (reader, stuck) = std::io::pipe().unwrap();
        rustix::pipe::fcntl_setpipe_size(&stuck, 4096).unwrap();
        let notice = Notice::Name { folder: 1, name: "x".repeat(2000) };
        let (first, second) = (line(), line());
        first.write(stuck.as_fd(), &notice).unwrap();
        first.write(stuck.as_fd(), &notice).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| first.write(stuck.as_fd(), &notice));
            let sink = std::fs::File::options().write(true).open("/dev/null").unwrap();
            second.write(sink.as_fd(), &notice).unwrap();
            assert!(!waiting.is_finished());
            let refused = second.write(reader.as_fd(), &notice).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(rustix::io::Errno::BADF.raw_os_error()));
            let mut bytes = vec![0; 8192];
            rustix::io::read(&reader, &mut bytes).unwrap();
            waiting.join().unwrap().unwrap();
        });
        drop(control);
        served.join().unwrap().unwrap();
    }
}
