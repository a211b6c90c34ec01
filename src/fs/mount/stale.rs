//! Mounts that outlived their daemon: every access answers ENOTCONN until somebody unmounts them.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rustix::io::Errno;

use super::table::{self, MountEntry};
use super::{UnmountError, place, unmount};

/// A dead connection answers at once; one that takes longer has a daemon, if a slow one.
const ANSWER: Duration = Duration::from_secs(1);
/// More crashes than anybody left standing on one directory.
const MAX_LAYERS: usize = 64;

/// Whether the mount on top at this directory is ours and has no daemon any more.
///
/// May take a second when the daemon is there and does not answer.
pub fn stale(directory: &Path) -> bool {
    let directory = place::resolve(directory);
    table::find(&directory).is_some_and(|entry| entry.is_ours() && !has_requests(&entry) && is_dead(directory))
}

/// A dead connection has no requests waiting, so one that has them need not be asked. Known only where fusectl is
/// mounted and to whoever mounted; otherwise the question is asked.
fn has_requests(entry: &MountEntry) -> bool {
    let path = format!("/sys/fs/fuse/connections/{}/waiting", entry.device.1);
    std::fs::read_to_string(path).is_ok_and(|count| count.trim() != "0")
}

/// Asks on a thread of its own, which is given up when the answer is late: the kernel may not let it go.
fn is_dead(directory: PathBuf) -> bool {
    let (answer, answered) = mpsc::channel();
    let ask = move || {
        // Not a stat: the kernel answers that from its memory for as long as the dead daemon told it to.
        let dead = rustix::fs::statfs(&directory).is_err_and(|errno| errno == Errno::NOTCONN);
        // Nobody listens any more when the answer is late.
        let _ = answer.send(dead);
    };
    let asked = std::thread::Builder::new().name("stale-mount".to_owned()).spawn(ask);
    asked.is_ok() && answered.recv_timeout(ANSWER).unwrap_or(false)
}

/// Takes away every stale weightfs mount on top of this directory, down to one that lives. Returns how many there were.
pub fn clean_stale(directory: &Path) -> Result<usize, UnmountError> {
    let directory = place::resolve(directory);
    let mut cleaned = 0;
    while cleaned < MAX_LAYERS && stale(&directory) {
        // Lazily: whoever still has a file open there keeps getting errors, and the directory is free again.
        unmount(&directory, true)?;
        cleaned += 1;
        tracing::warn!("unmounted a stale weightfs mount at {} that a crash left behind", directory.display());
    }
    Ok(cleaned)
}
