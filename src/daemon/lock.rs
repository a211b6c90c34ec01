//! One daemon a cache directory: `CACHE/lock` is locked by the one that runs and says how to reach it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mount_helper::client::Holder;

const NAME: &str = "lock";
/// Somebody who only looks holds the lock for a moment.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, thiserror::Error)]
#[error("{path}: cannot lock the cache directory: {cause}")]
pub struct LockError {
    path: PathBuf,
    cause: io::Error,
}

/// The daemon that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub pid: u32,
    pub socket: PathBuf,
    /// The socket of its holder.
    pub holder: Option<PathBuf>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum LockState {
    Free,
    /// `None` while the owner has not yet said who it is.
    Held(Option<Owner>),
}

/// Held as long as this lives, and no longer than the process.
#[derive(Debug)]
pub struct CacheLock {
    file: File,
    path: PathBuf,
}

impl CacheLock {
    /// `None` if another daemon has it.
    pub fn take(cache: &Path) -> Result<Option<Self>, LockError> {
        let path = cache.join(NAME);
        let failed = |cause| LockError { path: path.clone(), cause };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(failed)?;
        for _ in 0..ATTEMPTS {
            match file.try_lock() {
                Ok(()) => {
                    let lock = Self { file, path };
                    lock.write("")?;
                    return Ok(Some(lock));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
                Err(TryLockError::Error(cause)) => return Err(failed(cause)),
            }
        }
        Ok(None)
    }

    /// Tells others where this daemon listens, and its holder.
    pub fn describe(&self, socket: &Path, holder: Option<&Path>) -> Result<(), LockError> {
        let holder = holder.map(|holder| format!("{}\n", holder.display())).unwrap_or_default();
        self.write(&format!("{}\n{}\n{holder}", std::process::id(), socket.display()))
    }

    fn write(&self, text: &str) -> Result<(), LockError> {
        let write = || {
            self.file.set_len(0)?;
            (&self.file).rewind()?;
            (&self.file).write_all(text.as_bytes())
        };
        write().map_err(|cause| LockError { path: self.path.clone(), cause })
    }
}

impl Drop for CacheLock {
    fn drop(&mut self) {
        // The lock goes with the file; the text is only kept from misleading somebody who reads it.
        let _ = self.write("");
    }
}

/// Who serves `cache` now.
pub fn probe(cache: &Path) -> Result<LockState, LockError> {
    let path = cache.join(NAME);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(LockState::Free),
        Err(cause) => return Err(LockError { path, cause }),
    };
    let is_free = match file.try_lock_shared() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(cause)) => return Err(LockError { path, cause }),
    };
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|cause| LockError { path, cause })?;
    // A daemon that died left its words. While its holder lives, the next one is about to come.
    Ok(match (is_free, holder_socket(&text)) {
        (true, Some(holder)) if Holder::connect(&holder).is_ok() => LockState::Held(None),
        (true, _) => LockState::Free,
        (false, _) => LockState::Held(read_owner(&text)),
    })
}

/// Both lines, each whole: an owner writes them while others read.
fn read_owner(text: &str) -> Option<Owner> {
    let (pid, rest) = text.split_once('\n')?;
    let (socket, _) = rest.split_once('\n')?;
    Some(Owner { pid: pid.parse().ok()?, socket: socket.into(), holder: holder_socket(text) })
}

fn holder_socket(text: &str) -> Option<PathBuf> {
    let mut lines = text.split('\n');
    lines.nth(2).filter(|line| !line.is_empty() && lines.next().is_some()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_daemon_has_a_cache_directory() {
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(probe(cache.path()).unwrap(), LockState::Free);
        let lock = CacheLock::take(cache.path()).unwrap().unwrap();
        assert_eq!(probe(cache.path()).unwrap(), LockState::Held(None));
        assert!(CacheLock::take(cache.path()).unwrap().is_none());
        drop(lock);
        assert_eq!(probe(cache.path()).unwrap(), LockState::Free);
        assert!(CacheLock::take(cache.path()).unwrap().is_some());
    }

    #[test]
    fn the_owner_says_where_it_listens_and_a_later_one_is_not_mistaken_for_it() {
        let cache = tempfile::tempdir().unwrap();
        let lock = CacheLock::take(cache.path()).unwrap().unwrap();
        for holder in [None, Some(Path::new("/run/weightfs/holder"))] {
            lock.describe(Path::new("/run/weightfs/control.sock"), holder).unwrap();
            let (pid, socket) = (std::process::id(), "/run/weightfs/control.sock".into());
            let owner = Owner { pid, socket, holder: holder.map(Path::to_owned) };
            assert_eq!(probe(cache.path()).unwrap(), LockState::Held(Some(owner)));
        }
        drop(lock);
        let _later = CacheLock::take(cache.path()).unwrap().unwrap();
        assert_eq!(probe(cache.path()).unwrap(), LockState::Held(None));
    }

    #[test]
    fn half_a_description_is_none() {
        for text in ["", "12", "12\n", "12\n/run/we", "x\n/run\n"] {
            assert_eq!(read_owner(text), None, "{text:?}");
        }
    }

    #[test]
    fn those_who_only_look_keep_nobody_out() {
        let cache = tempfile::tempdir().unwrap();
        CacheLock::take(cache.path()).unwrap();
        let looking = File::open(cache.path().join(NAME)).unwrap();
        looking.lock_shared().unwrap();
        let done = std::thread::spawn(move || {
            std::thread::sleep(PAUSE * 2);
            drop(looking);
        });
        assert!(CacheLock::take(cache.path()).unwrap().is_some());
        done.join().unwrap();
    }
}
