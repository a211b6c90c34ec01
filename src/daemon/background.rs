//! Starting a daemon in the background: this program again, on its own, with a pipe on which it says that it is ready.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::holding;
use super::ready::Word;
use crate::config::READY_VARIABLE;

/// How long a daemon that did not get ready may take to end.
const GRACE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);
/// A log longer than this is put aside, over the one before it, when a daemon starts.
const MAX_LOG: u64 = 16 << 20;
/// How much of the log an error shows.
const TAIL_LINES: usize = 12;
const TAIL_BYTES: u64 = 8 << 10;
/// No word is longer.
const MAX_WORD: u64 = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{path}: cannot write the daemon's log: {cause}")]
    Log { path: PathBuf, cause: io::Error },
    #[error("cannot start the daemon: {0}")]
    Spawn(io::Error),
    #[error("{0}")]
    Failed(String),
    #[error("the daemon ended before the mount could be read ({status}); {}", said(.path, .tail))]
    Died { status: String, path: PathBuf, tail: String },
    #[error("the daemon did not get ready within {} s and was ended; {}", .after.as_secs(), said(.path, .tail))]
    Late { after: Duration, path: PathBuf, tail: String },
}

fn said(path: &Path, tail: &str) -> String {
    match tail {
        "" => format!("its log {} says nothing", path.display()),
        tail => format!("the end of its log {}:\n{tail}", path.display()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    Ready,
    /// Another daemon was faster.
    Held,
}

/// Runs this program with `arguments` and without the variables `hidden`; returns when it has said its word.
pub async fn start(
    arguments: &[OsString],
    hidden: &[&str],
    log: &Path,
    patience: Duration,
) -> Result<Started, StartError> {
    let (file, start) = open_log(log).map_err(|cause| StartError::Log { path: log.to_owned(), cause })?;
    let (mut child, reader) = spawn(arguments, hidden, file).map_err(StartError::Spawn)?;
    let mut text = String::new();
    let mut reader = reader.take(MAX_WORD);
    let read = tokio::time::timeout(patience, reader.read_to_string(&mut text)).await;
    if read.is_err() {
        end(&mut child).await;
        return Err(StartError::Late { after: patience, path: log.to_owned(), tail: tail(log, start) });
    }
    match Word::read(&text) {
        Some(Word::Ready) => Ok(Started::Ready),
        Some(Word::Held) => Ok(Started::Held),
        Some(Word::Failed(text)) => Err(StartError::Failed(text)),
        None => {
            // The pipe closed without a word: it is dead or about to be.
            let status = child.wait().map_or_else(|cause| cause.to_string(), |status| status.to_string());
            Err(StartError::Died { status, path: log.to_owned(), tail: tail(log, start) })
        }
    }
}

/// Asked to, it unmounts what it mounted; killed, it leaves that to the next mount.
async fn end(child: &mut Child) {
    let pid = Pid::from_raw(child.id() as i32);
    // It is our child and nobody waited for it, so the number is still its own.
    let _ = kill(pid, Signal::SIGTERM);
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
    let _ = child.kill();
}

fn spawn(arguments: &[OsString], hidden: &[&str], log: File) -> io::Result<(Child, pipe::Receiver)> {
    let (reader, writer) = io::pipe()?;
    // Only this end is inherited. Nothing else is started by this process meanwhile.
    fcntl(&writer, FcntlArg::F_SETFD(FdFlag::empty()))?;
    let mut command = Command::new(holding::program());
    command.args(arguments).env(READY_VARIABLE, writer.as_raw_fd().to_string());
    for name in hidden {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let child = command.spawn()?;
    drop(writer);
    Ok((child, pipe::Receiver::from_owned_fd(reader.into())?))
}

/// Makes the log for a daemon that somebody else starts.
pub fn prepare_log(path: &Path) -> Result<(), StartError> {
    open_log(path).map(drop).map_err(|cause| StartError::Log { path: path.to_owned(), cause })
}

/// The log to append to, and how long it is now.
fn open_log(path: &Path) -> io::Result<(File, u64)> {
    if std::fs::metadata(path).is_ok_and(|found| found.len() > MAX_LOG) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    Ok((file, length))
}

/// The last lines of what was written after `start`.
fn tail(path: &Path, start: u64) -> String {
    let read = || {
        let mut file = File::open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(start.max(length.saturating_sub(TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        io::Result::Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_the_end_of_this_start_and_not_of_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weightfs.log");
        std::fs::write(&path, "yesterday\n").unwrap();
        let (_, start) = open_log(&path).unwrap();
        assert_eq!(tail(&path, start), "");
        let lines: Vec<_> = (0..20).map(|number| format!("line {number}")).collect();
        std::fs::write(&path, format!("yesterday\n{}\n", lines.join("\n"))).unwrap();
        assert_eq!(tail(&path, start), lines[8..].join("\n"));
        assert_eq!(tail(&folder.path().join("none"), 0), "");
    }

    #[test]
    fn a_long_log_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weightfs.log");
        File::create(&path).unwrap().set_len(MAX_LOG + 1).unwrap();
        assert_eq!(open_log(&path).unwrap().1, 0);
        assert_eq!(std::fs::metadata(folder.path().join("weightfs.log.1")).unwrap().len(), MAX_LOG + 1);
    }
}
