//! What systemd does for a service with a store of descriptors, as far as it matters to a holder.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::Child;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::island::Island;

/// No word of a service takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Puts the descriptors of `FDS` in their places and becomes the service.
const START: &str = r#"
number=3
for descriptor in $FDS; do
    eval "exec $number<&$descriptor"
    number=$((number + 1))
done
export LISTEN_PID=$$
exec nsenter "$@"
"#;

pub struct Service {
    socket: UnixDatagram,
    path: String,
    child: Child,
    stored: Vec<(String, OwnedFd)>,
}

impl Service {
    /// Returns when the service says that it is ready.
    pub fn start(island: &Island, words: &[&str]) -> Self {
        let path = island.path("notify").into_os_string().into_string().unwrap();
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = spawn(island, words, &path, &[]);
        let mut service = Self { socket, path, child, stored: Vec::new() };
        service.wait_until_ready();
        service
    }

    /// After the main process was killed.
    pub fn restart(&mut self, island: &Island, words: &[&str]) {
        self.child.wait().unwrap();
        self.hear_out();
        self.child = spawn(island, words, &self.path, &self.stored);
        // The store is the service's until it says otherwise, and what it stores again is in it once.
        self.wait_until_ready();
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// The exit status of the main process.
    pub fn end(&mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        self.hear_out();
        code
    }

    pub fn stored(&self) -> usize {
        self.stored.len()
    }

    fn wait_until_ready(&mut self) {
        while self.hear().unwrap() != "READY=1" {}
    }

    fn hear_out(&mut self) {
        self.socket.set_nonblocking(true).unwrap();
        while self.hear().is_ok() {}
        self.socket.set_nonblocking(false).unwrap();
    }

    fn hear(&mut self) -> io::Result<String> {
        let mut bytes = [0; 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [IoSliceMut::new(&mut bytes)];
        let received = rustix::net::recvmsg(&self.socket, parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let text = String::from_utf8(bytes[..received.bytes].to_vec()).unwrap();
        let mut rights = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        });
        let descriptor = rights.next().and_then(|mut rights| rights.next());
        let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).map(str::to_owned);
        match (name, descriptor) {
            // systemd keeps a descriptor once however often it comes; by its name is near enough here.
            (Some(name), Some(descriptor)) => {
                self.stored.retain(|(other, _)| *other != name);
                self.stored.push((name, descriptor));
            }
            (Some(name), None) => self.stored.retain(|(other, _)| *other != name),
            _ => {}
        }
        Ok(text)
    }
}

fn spawn(island: &Island, words: &[&str], notify: &str, stored: &[(String, OwnedFd)]) -> Child {
    let mut command = island.command("bash", words);
    let mut wrapped = std::process::Command::new("bash");
    wrapped.args(["-c", START, "bash"]).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    command = wrapped;
    command.env("NOTIFY_SOCKET", notify);
    if !stored.is_empty() {
        let names: Vec<_> = stored.iter().map(|(name, _)| name.as_str()).collect();
        // Copies with numbers that are in nobody's way; bash closes none of them, and the holder never hears of them.
        let numbers: Vec<_> = stored.iter().map(|(_, descriptor)| descriptor.as_raw_fd().to_string()).collect();
        command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        command.env("FDS", numbers.join(" "));
    }
    for (_, descriptor) in stored {
        fcntl_setfd(descriptor, FdFlags::empty()).unwrap();
    }
    let child = command.spawn().unwrap();
    for (_, descriptor) in stored {
        fcntl_setfd(descriptor, FdFlags::CLOEXEC).unwrap();
    }
    child
}
