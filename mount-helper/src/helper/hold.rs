//! This program a second time, in the background: the holder of a mount that has just been made.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use crate::Program;
use crate::client::Kept;
use crate::holder::{First, Task, hold};
use rustix::io::{FdFlags, fcntl_setfd};

/// The first argument of a call that is not mount(8)'s.
pub const WORD: &str = "--hold";
/// For user and group.
const NOBODY_ELSE: &str = "-";
/// By it the first daemon finds the pipe on which it says that its mount can be read.
const READY_VARIABLE: &str = "WEIGHTFS_READY_FD";

/// What a holder is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orders {
    pub socket: PathBuf,
    pub ids: Option<(u32, u32)>,
    pub give_up: Duration,
    /// Where the mount is, and the number of its connection.
    pub directory: PathBuf,
    pub number: u32,
    pub program: PathBuf,
    /// For `weightfs mount DIRECTORY`.
    pub words: Vec<OsString>,
}

/// The name under which a holder keeps a mount.
pub fn name(number: u32, directory: &Path) -> String {
    format!("{number} {}", directory.display())
}

/// Starts the holder. Whatever it and its daemons write goes to `log`; the pipe ends with the first daemon's word.
pub fn start(
    orders: &Orders,
    device: &OwnedFd,
    environment: Vec<(OsString, OsString)>,
    log: File,
) -> io::Result<(Child, PipeReader)> {
    let (reader, writer) = io::pipe()?;
    let mut command = orders.command(device, &writer, environment)?;
    command.stdout(log.try_clone()?).stderr(log);
    let child = command.spawn()?;
    fcntl_setfd(device, FdFlags::CLOEXEC)?;
    Ok((child, reader))
}

impl Orders {
    fn command(
        &self,
        device: &OwnedFd,
        starter: &PipeWriter,
        environment: Vec<(OsString, OsString)>,
    ) -> io::Result<Command> {
        // By its path it has its name in the list of processes; in another mount namespace it may have none.
        let program = std::env::current_exe().ok().filter(|path| path.exists());
        let mut command = Command::new(program.unwrap_or_else(|| "/proc/self/exe".into()));
        command.arg0("mount.weightfs").arg(WORD).args(self.words_with(device, starter));
        command.env_clear().envs(environment).current_dir("/").stdin(Stdio::null());
        for descriptor in [device.as_fd(), starter.as_fd()] {
            fcntl_setfd(descriptor, FdFlags::empty())?;
        }
        Ok(command)
    }

    fn words_with(&self, device: &OwnedFd, starter: &PipeWriter) -> Vec<OsString> {
        let ids = self.ids.map_or_else(|| NOBODY_ELSE.to_owned(), |(uid, gid)| format!("{uid}:{gid}"));
        let descriptors = [device.as_raw_fd(), starter.as_raw_fd()].map(|number| number.to_string());
        let numbers = [self.give_up.as_secs().to_string(), self.number.to_string()].into_iter().chain(descriptors);
        let mut words = vec![self.socket.clone().into(), ids.into()];
        words.extend(numbers.map(OsString::from));
        words.extend([self.directory.clone().into(), self.program.clone().into()]);
        words.extend(self.words.iter().cloned());
        words
    }

    /// The same, and the numbers of both descriptors.
    fn parse(mut words: impl Iterator<Item = OsString>) -> Option<(Self, [i32; 2])> {
        let socket = words.next()?.into();
        let mut text = || words.next()?.into_string().ok();
        let ids = match text()?.as_str() {
            NOBODY_ELSE => None,
            ids => {
                let (uid, gid) = ids.split_once(':')?;
                Some((uid.parse().ok()?, gid.parse().ok()?))
            }
        };
        let give_up = Duration::from_secs(text()?.parse().ok()?);
        let number = text()?.parse().ok()?;
        let mut descriptor = || text()?.parse().ok().filter(|number| *number > 2 && is_open(*number));
        let descriptors = [descriptor()?, descriptor()?];
        let (directory, program) = (words.next()?.into(), words.next()?.into());
        Some((Self { socket, ids, give_up, directory, number, program, words: words.collect() }, descriptors))
    }
}

fn is_open(number: i32) -> bool {
    std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok()
}

/// The process that [`start`] started.
pub fn run(words: impl Iterator<Item = OsString>) -> ExitCode {
    let Some((orders, descriptors)) = Orders::parse(words) else {
        eprintln!("mount.weightfs: {WORD} is for mount.weightfs itself: `mount -t weightfs hub DIR` mounts");
        return ExitCode::from(1);
    };
    // SAFETY: whoever started this process left these two open for it alone and named them to it; nothing else here knows
    // the numbers.
    let [device, starter] = descriptors.map(|number| unsafe { OwnedFd::from_raw_fd(number) });
    match begin(orders, device, starter).and_then(hold) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("mount.weightfs: cannot hold the mount: {error}");
            ExitCode::from(2)
        }
    }
}

fn begin(orders: Orders, device: OwnedFd, starter: OwnedFd) -> io::Result<Task> {
    fcntl_setfd(&device, FdFlags::CLOEXEC)?;
    fcntl_setfd(&starter, FdFlags::CLOEXEC)?;
    // The terminal that it was started from may go.
    nix::unistd::setsid()?;
    let mut arguments = vec!["mount".into(), orders.directory.clone().into()];
    arguments.extend(orders.words);
    let program = Program {
        path: orders.program,
        arguments,
        directory: "/".into(),
        run_as: orders.ids,
        variable: READY_VARIABLE,
    };
    let kept = Kept { name: name(orders.number, &orders.directory), descriptors: vec![device] };
    let first = First::Start { starter: Some(starter) };
    Ok(Task { socket: orders.socket, program, give_up: orders.give_up, first, kept: vec![kept] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_told_what_it_was_meant_to_be_told() {
        let orders = Orders {
            socket: "/run/a b.sock".into(),
            ids: Some((1000, 100)),
            give_up: Duration::from_secs(300),
            directory: "/mnt/h f".into(),
            number: 45,
            program: "/usr/bin/weightfs".into(),
            words: vec!["--token-file=/t".into(), "--offline".into()],
        };
        let device = OwnedFd::from(File::open("/dev/null").unwrap());
        let (_reader, writer) = io::pipe().unwrap();
        let expected = [device.as_raw_fd(), writer.as_raw_fd()];
        for ids in [orders.ids, None] {
            let orders = Orders { ids, ..orders.clone() };
            let words = orders.words_with(&device, &writer).into_iter();
            assert_eq!(Orders::parse(words), Some((orders, expected)));
        }
        assert_eq!(Orders::parse(["/run/s".into(), "-".into(), "x".into()].into_iter()), None);
    }
}
