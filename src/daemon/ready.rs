//! The word from a daemon in the background to the command that started it: that it is ready, or why not.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::config::{READY_VARIABLE, Surroundings};

/// What the starter is told. After one of these the pipe is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// The mount can be read.
    Ready,
    /// Another daemon has the cache directory: ask that one.
    Held,
    Failed(String),
}

impl Word {
    pub fn write(&self) -> String {
        match self {
            Word::Ready => "ready\n".to_owned(),
            Word::Held => "held\n".to_owned(),
            Word::Failed(text) => format!("failed\n{text}\n"),
        }
    }

    /// `None` for half a word: the daemon died over it.
    pub fn read(text: &str) -> Option<Self> {
        match text.split_once('\n')? {
            ("ready", "") => Some(Word::Ready),
            ("held", "") => Some(Word::Held),
            ("failed", text) => Some(Word::Failed(text.strip_suffix('\n')?.to_owned())),
            _ => None,
        }
    }
}

/// Who waits for the daemon to be ready.
#[derive(Debug)]
pub enum Starter {
    /// Nobody, or nobody any more: in the foreground the log says it.
    Nobody,
    Pipe(File),
}

#[derive(Debug, thiserror::Error)]
#[error("{READY_VARIABLE} is `{0}`, which is no pipe to whoever starts the daemon; it is not for users: unset it")]
pub struct StarterError(String);

impl Starter {
    /// Takes over the descriptor that the starter passed. Called once, before there are threads.
    pub fn from_environment(surroundings: &Surroundings) -> Result<Self, StarterError> {
        let Some(text) = surroundings.variable(READY_VARIABLE) else { return Ok(Starter::Nobody) };
        // A daemon that did not know that it is one would start another, and that one the next.
        let number =
            text.parse().ok().filter(|number| is_pipe(*number)).ok_or_else(|| StarterError(text.to_owned()))?;
        // SAFETY: the starter left this pipe open for us alone and named it in a variable that is only for this; nothing
        // else in the process knows the number.
        let pipe = unsafe { OwnedFd::from_raw_fd(number) };
        // What this daemon starts must not keep the starter waiting; without the mark it only might.
        let _ = fcntl(&pipe, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
        Ok(Starter::Pipe(pipe.into()))
    }

    /// The pipe, for whom this process starts in its place.
    pub fn into_descriptor(self) -> Option<OwnedFd> {
        match self {
            Starter::Nobody => None,
            Starter::Pipe(pipe) => Some(pipe.into()),
        }
    }

    pub fn waits(&self) -> bool {
        matches!(self, Starter::Pipe(_))
    }

    /// The first word counts; after it nobody listens. An error means that the starter is gone.
    pub fn tell(&mut self, word: &Word) -> io::Result<()> {
        match std::mem::replace(self, Starter::Nobody) {
            Starter::Nobody => Ok(()),
            Starter::Pipe(mut pipe) => pipe.write_all(word.write().as_bytes()),
        }
    }
}

fn is_pipe(number: i32) -> bool {
    let found = std::fs::metadata(format!("/proc/self/fd/{number}"));
    number > 2 && found.is_ok_and(|metadata| metadata.file_type().is_fifo())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_as_it_was_written_and_half_of_it_is_not_read() {
        for word in [Word::Ready, Word::Held, Word::Failed("two\nlines".to_owned())] {
            let text = word.write();
            assert_eq!(Word::read(&text), Some(word));
            assert_eq!(Word::read(&text[..text.len() - 1]), None);
        }
        assert_eq!(Word::read(""), None);
    }

    #[test]
    fn a_number_that_is_no_pipe_is_left_alone() {
        let file = tempfile::tempfile().unwrap();
        assert!(!is_pipe(std::os::fd::AsRawFd::as_raw_fd(&file)));
        assert!(!is_pipe(0));
        assert!(!is_pipe(1_000_000));
    }
}
