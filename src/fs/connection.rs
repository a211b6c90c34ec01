//! Agreeing with the kernel on a connection, so that a later daemon can agree to the same.
//!
//! The FUSE crate begins every session by reading INIT from its device, which the kernel says only once in a connection's
//! life. So the crate never talks to the device at that point: it reads the kernel's INIT, new or kept, from a socket, and
//! its reply is read from there. Only then the device takes the socket's place, under the same number.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use fuser::{Filesystem, Session, SessionACL};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::survival::Agreement;

/// The kernel asks when it mounts, and the crate answers at once.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than the kernel says in an INIT.
const LONGEST: usize = 8 << 10;

/// The first session on a new connection, and what was agreed.
pub(super) fn begin<F: Filesystem>(
    filesystem: F,
    config: fuser::Config,
    device: &OwnedFd,
) -> io::Result<(Session<F>, Agreement)> {
    let request = read_packet(device)?;
    let (session, reply) = rehearse(filesystem, config, &request)?;
    rustix::io::write(device, &reply)?;
    put_in_place(device, &session)?;
    Ok((session, Agreement { request, reply }))
}

/// A session on a connection that another daemon had before. Every request that it took and did not answer comes again.
pub(super) fn resume<F: Filesystem>(
    filesystem: F,
    config: fuser::Config,
    device: &OwnedFd,
    agreed: &Agreement,
) -> io::Result<Session<F>> {
    let (session, reply) = rehearse(filesystem, config, &agreed.offer())?;
    agreed.check(&reply).map_err(io::Error::other)?;
    put_in_place(device, &session)?;
    resend(device)?;
    Ok(session)
}

/// Has the crate answer an INIT that it takes for the kernel's.
fn rehearse<F: Filesystem>(filesystem: F, config: fuser::Config, request: &[u8]) -> io::Result<(Session<F>, Vec<u8>)> {
    let (kernel, daemon) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::io::write(&kernel, request)?;
    let session = Session::from_fd(filesystem, daemon, SessionACL::All, config)?;
    Ok((session, read_packet(&kernel)?))
}

/// The device under the number that the session has for it.
fn put_in_place<F: Filesystem>(device: &OwnedFd, session: &Session<F>) -> io::Result<()> {
    let number = session.as_fd().as_raw_fd();
    // SAFETY: the number is the session's own, open, and closed by nobody but it; what it stood for before is closed by the
    // call, and the session only ever uses it as a number.
    let replaced = unsafe { nix::libc::dup3(device.as_raw_fd(), number, nix::libc::O_CLOEXEC) };
    if replaced < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// FUSE_NOTIFY_RESEND: a header of three fields and nothing behind it.
fn resend(device: &OwnedFd) -> io::Result<()> {
    const LENGTH: u32 = 16;
    const RESEND: i32 = 7;
    let mut notice = [0; LENGTH as usize];
    notice[..4].copy_from_slice(&LENGTH.to_ne_bytes());
    notice[4..8].copy_from_slice(&RESEND.to_ne_bytes());
    rustix::io::write(device, &notice)?;
    Ok(())
}

fn read_packet(from: impl AsFd) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; LONGEST];
    loop {
        let mut places = [PollFd::new(&from, PollFlags::IN)];
        let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        match poll(&mut places, Some(&patience)) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel does not say INIT")),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        match rustix::io::read(&from, &mut bytes) {
            Ok(length) => {
                bytes.truncate(length);
                return Ok(bytes);
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
