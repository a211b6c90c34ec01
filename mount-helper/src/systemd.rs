//! systemd's store of descriptors, which outlives even a holder: sd_notify(3) puts in, sd_listen_fds(3) gives back.
//!
//! A holder that is a service's main process tells it of everything that it keeps. When the holder is killed, systemd
//! starts the next one with all of it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    connect, sendmsg, socket_with,
};

use crate::client::Kept;

const NOTIFY_VARIABLE: &str = "NOTIFY_SOCKET";
/// What a process of ours may find of a service manager, and nothing that it starts.
pub const VARIABLES: [&str; 4] = [NOTIFY_VARIABLE, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];
/// systemd takes no longer name.
const LONGEST_NAME: usize = 255;
/// The first descriptor that is passed.
const FIRST: i32 = 3;

/// The service manager that started this process.
#[derive(Debug)]
pub struct Manager(OwnedFd);

impl Manager {
    /// `None` outside a service that may notify.
    pub fn from_environment() -> Option<Self> {
        let name = env::var_os(NOTIFY_VARIABLE)?;
        let connected = Self::connect(&name);
        if let Err(error) = &connected {
            eprintln!("weightfs holder: {NOTIFY_VARIABLE} is {}, where nobody answers: {error}", name.display());
        }
        connected.ok()
    }

    fn connect(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
            path => SocketAddrUnix::new(path)?,
        };
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        connect(&socket, &address)?;
        Ok(Self(socket))
    }

    pub fn ready(&self) {
        self.say("READY=1", None);
    }

    pub fn keep(&self, name: &str, descriptors: &[OwnedFd]) {
        for (number, descriptor) in descriptors.iter().enumerate() {
            let name = stored_name(number, name);
            if name.len() > LONGEST_NAME {
                eprintln!("weightfs holder: systemd takes no name as long as {name}: this mount ends with the holder");
                return;
            }
            self.say(&format!("FDSTORE=1\nFDNAME={name}"), Some(descriptor.as_fd()));
        }
    }

    pub fn forget(&self, name: &str, descriptors: usize) {
        for number in 0..descriptors {
            self.say(&format!("FDSTOREREMOVE=1\nFDNAME={}", stored_name(number, name)), None);
        }
    }

    fn say(&self, text: &str, descriptor: Option<BorrowedFd<'_>>) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let rights = descriptor.as_slice();
        if !rights.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(rights));
        }
        if let Err(error) = sendmsg(&self.0, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL) {
            let first = text.lines().next().unwrap_or_default();
            eprintln!("weightfs holder: the service manager does not hear `{first}`: {error}");
        }
    }
}

/// The variables by which the next program of this process finds the service manager, and with `received` what it passed.
pub fn environment(received: bool) -> impl Iterator<Item = (OsString, OsString)> {
    let names = if received { &VARIABLES[..] } else { &VARIABLES[..1] };
    names.iter().filter_map(|name| Some((name.into(), env::var_os(name)?)))
}

/// Whether the service manager passed something on.
pub fn has_passed() -> bool {
    count() > 0
}

fn count() -> i32 {
    let number = |name: &str| env::var(name).ok()?.parse::<u32>().ok();
    let for_us = number("LISTEN_PID") == Some(std::process::id());
    number("LISTEN_FDS").filter(|_| for_us).and_then(|count| i32::try_from(count).ok()).unwrap_or(0)
}

/// What an earlier holder of this service kept. Called once, before this process opens anything of its own.
pub fn received() -> Vec<Kept> {
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let numbers = (FIRST..FIRST.saturating_add(count())).filter(|number| is_open(*number));
    let descriptors = numbers.map(|number| {
        // SAFETY: the service manager opened these numbers for this process alone, and nothing else here knows them.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        // What is not open cannot be inherited either.
        let _ = fcntl_setfd(&descriptor, FdFlags::CLOEXEC);
        descriptor
    });
    put_together(names.split(':').zip(descriptors))
}

pub fn is_open(number: i32) -> bool {
    std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok()
}

/// Of each name, the descriptors in their order. What is not whole is left out: systemd drops a connection that has ended,
/// and not what was kept with it.
fn put_together<'a>(stored: impl Iterator<Item = (&'a str, OwnedFd)>) -> Vec<Kept> {
    let mut parts: Vec<(String, usize, OwnedFd)> = stored
        .filter_map(|(name, descriptor)| kept_name(name).map(|(number, name)| (name, number, descriptor)))
        .collect();
    parts.sort_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
    let mut kept: Vec<Kept> = Vec::new();
    for (name, number, descriptor) in parts {
        match kept.last_mut().filter(|last| last.name == name) {
            Some(last) if last.descriptors.len() == number => last.descriptors.push(descriptor),
            None if number == 0 => kept.push(Kept { name, descriptors: vec![descriptor] }),
            _ => {}
        }
    }
    kept
}

/// systemd takes neither `:` nor what is not printable; `%` and two digits stand for it.
fn stored_name(number: usize, name: &str) -> String {
    let mut stored = format!("{number}.");
    for byte in name.bytes() {
        match byte {
            b':' | b'%' => stored.push_str(&format!("%{byte:02x}")),
            byte if byte.is_ascii_graphic() => stored.push(char::from(byte)),
            byte => stored.push_str(&format!("%{byte:02x}")),
        }
    }
    stored
}

fn kept_name(stored: &str) -> Option<(usize, String)> {
    let (number, stored) = stored.split_once('.')?;
    let mut bytes = Vec::new();
    let mut rest = stored.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        if *byte != b'%' {
            bytes.push(*byte);
            rest = after;
            continue;
        }
        let digits = str::from_utf8(after.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &after[2..];
    }
    Some((number.parse().ok()?, String::from_utf8(bytes).ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn descriptor() -> OwnedFd {
        tempfile::tempfile().unwrap().into()
    }

    #[test]
    fn a_name_comes_back_as_it_was_stored() {
        for name in ["45 /mnt/hf", "fresh /mnt/with space:and%more\n", "46 /mnt/ü"] {
            let stored = stored_name(1, name);
            assert!(stored.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':'), "{stored}");
            assert_eq!(kept_name(&stored), Some((1, name.to_owned())));
        }
        for other in ["connection", "0.%", "0.%zz", "x.name"] {
            assert_eq!(kept_name(other), None, "{other}");
        }
    }

    #[test]
    fn what_came_back_in_parts_only_is_not_kept() {
        let names = ["1.a", "0.a", "1.b", "0.c", "stored", "0.a"];
        let kept = put_together(names.into_iter().map(|name| (name, descriptor())));
        let found: Vec<_> = kept.iter().map(|kept| (kept.name.as_str(), kept.descriptors.len())).collect();
        assert_eq!(found, [("a", 2), ("c", 1)]);
    }

    #[test]
    fn the_manager_hears_of_what_is_kept_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = Manager::connect(path.as_os_str()).unwrap();
        manager.ready();
        manager.keep("45 /mnt", &[descriptor(), descriptor()]);
        manager.forget("45 /mnt", 1);
        let mut heard = Vec::new();
        for _ in 0..4 {
            let mut bytes = [0; 200];
            let length = socket.recv(&mut bytes).unwrap();
            heard.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
        }
        let expected = [
            "READY=1",
            "FDSTORE=1\nFDNAME=0.45%20/mnt",
            "FDSTORE=1\nFDNAME=1.45%20/mnt",
            "FDSTOREREMOVE=1\nFDNAME=0.45%20/mnt",
        ];
        assert_eq!(heard, expected);
    }
}
