//! Mounting for an ordinary user through the setuid program fusermount3, which comes with the package fuse3.

use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::unmount::{UnmountError, busy};
use super::{MountError, SOURCE};

const PROGRAM: &str = "fusermount3";
/// It mounts and leaves; what takes longer is stuck.
const DEADLINE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(2);
/// Names the socket on which the helper hands over the device.
const SOCKET_VARIABLE: &str = "_FUSE_COMMFD";

pub(super) fn mount(directory: &Path, allow_other: bool) -> Result<OwnedFd, MountError> {
    let failed = |error: io::Error| MountError::Helper { directory: directory.to_owned(), message: error.to_string() };
    let timeout = || MountError::HelperTimeout { directory: directory.to_owned(), waited: DEADLINE };
    let until = Instant::now() + DEADLINE;
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let mut command = helper().ok_or(MountError::NoHelper)?;
    let mut options = format!("fsname={SOURCE},subtype={SOURCE},default_permissions,nosuid,nodev");
    if allow_other {
        options.push_str(",allow_other");
    }
    command.args(["-o", &options, "--"]).arg(directory);
    // As its standard input the socket needs no descriptor number of its own to survive the exec.
    command.env(SOCKET_VARIABLE, "0").stdin(OwnedFd::from(theirs));
    let child = command.spawn().map_err(failed)?;
    // The command still holds their end; only with it closed does the helper's death end the wait below.
    drop(command);
    let device = receive_device(&ours, until);
    let (status, message) = finish(child, until).map_err(failed)?.ok_or_else(timeout)?;
    match device {
        Ok(Some(device)) if status.success() => Ok(device),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(timeout()),
        Err(error) => Err(failed(error)),
        Ok(_) => Err(MountError::Helper { directory: directory.to_owned(), message: or_status(message, status) }),
    }
}

pub(super) fn unmount(directory: &Path, lazy: bool) -> Result<(), UnmountError> {
    let failed = |message: String| UnmountError::Helper { directory: directory.to_owned(), message };
    let mut command = helper().ok_or(UnmountError::NoHelper)?;
    command.arg("-u").args(lazy.then_some("-z")).arg("--").arg(directory).stdin(Stdio::null());
    let child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let ended = finish(child, Instant::now() + DEADLINE).map_err(|error| failed(error.to_string()))?;
    match ended {
        None => Err(failed(format!("it did not answer within {} seconds", DEADLINE.as_secs()))),
        Some((status, _)) if status.success() => Ok(()),
        Some((_, message)) if message.contains("resource busy") => Err(busy(directory.to_owned())),
        Some((status, message)) => Err(failed(or_status(message, status))),
    }
}

/// `None` when it is not installed. Looked for here, since a PATH with a forbidden folder hides that from exec's error.
fn helper() -> Option<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A service's PATH may lack the folder that distributions put the helper in.
    let folders = std::env::split_paths(&path).chain(["/usr/bin".into(), "/bin".into()]);
    let program = folders.map(|folder| folder.join(PROGRAM)).find(|program| program.is_file())?;
    let mut command = Command::new(program);
    // In one language, since its words are all that tells a busy mount from other failures.
    command.env("LC_ALL", "C").stdout(Stdio::null()).stderr(Stdio::piped());
    Some(command)
}

/// The device, or `None` when the helper ended without sending one.
fn receive_device(socket: &UnixStream, until: Instant) -> io::Result<Option<OwnedFd>> {
    let left = until.saturating_duration_since(Instant::now()).max(POLL);
    socket.set_read_timeout(Some(left))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let device = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(device)
}

/// Waits for the helper's end and returns what it had to say; `None` when it had to be killed.
fn finish(mut child: Child, until: Instant) -> io::Result<Option<(ExitStatus, String)>> {
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= until {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(POLL);
    };
    let mut message = String::new();
    if let Some(stderr) = &mut child.stderr {
        stderr.read_to_string(&mut message)?;
    }
    Ok(Some((status, message.trim().trim_start_matches("fusermount3: ").to_owned())))
}

fn or_status(message: String, status: ExitStatus) -> String {
    if message.is_empty() { format!("it ended with {status}") } else { message }
}
