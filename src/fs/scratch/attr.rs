//! What is known of an entry, and how it is changed.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FileType, Gid, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid};
use rustix::io::Errno;

use super::{Result, Scratch, rights, set_mode, token};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScratchKind {
    File,
    Directory,
    Symlink,
}

impl ScratchKind {
    /// `None` for what does not exist in this layer.
    pub(super) fn of(kind: FileType) -> Option<Self> {
        match kind {
            FileType::RegularFile => Some(Self::File),
            FileType::Directory => Some(Self::Directory),
            FileType::Symlink => Some(Self::Symlink),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScratchAttr {
    pub kind: ScratchKind,
    /// Rights with setuid, setgid and sticky: 0o7777 at most.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// In bytes; of a link the length of its target.
    pub size: u64,
    pub nlink: u32,
    /// The disk's own number: equal for two names of one file.
    pub inode: u64,
    pub atime: SystemTime,
    pub mtime: SystemTime,
    pub ctime: SystemTime,
}

impl ScratchAttr {
    /// Of a file that is open, whether or not it still has a name.
    pub fn of_file(file: &std::fs::File) -> io::Result<Self> {
        Ok(Self::of(&rustix::fs::fstat(file)?).ok_or(Errno::PERM)?)
    }

    pub(super) fn of(stat: &Stat) -> Option<Self> {
        Some(Self {
            kind: ScratchKind::of(FileType::from_raw_mode(stat.st_mode))?,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: stat.st_size as u64,
            nlink: stat.st_nlink as u32,
            inode: stat.st_ino,
            atime: time(stat.st_atime, stat.st_atime_nsec),
            mtime: time(stat.st_mtime, stat.st_mtime_nsec),
            ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        })
    }
}

/// The kernel counts nanoseconds forward from the second, before 1970 too.
fn time(seconds: i64, nanoseconds: u64) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let second = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
    second + Duration::from_nanos(nanoseconds)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewTime {
    Now,
    At(SystemTime),
}

/// What is to become different; `None` stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub size: Option<u64>,
    pub atime: Option<NewTime>,
    pub mtime: Option<NewTime>,
}

impl Scratch {
    /// Applies what is asked and returns what is there now.
    ///
    /// Not all or nothing: a change that is refused leaves the ones before it, in the order size, owner, mode, times.
    pub fn set_attr(&self, path: &str, change: &Change) -> Result<ScratchAttr> {
        let changed = self.handle(path).and_then(|handle| {
            let now = || ScratchAttr::of(&rustix::fs::fstat(&handle)?).ok_or(Errno::NOENT);
            now()?;
            self.apply(path, &handle, change)?;
            Ok(now()?)
        });
        changed.map_err(|source| self.error("change", path, source))
    }

    /// The same for a file that is open and has no name any more.
    pub fn set_attr_of(file: &std::fs::File, change: &Change) -> io::Result<ScratchAttr> {
        if let Some(size) = change.size {
            file.set_len(size)?;
        }
        Self::apply_to(file, change)?;
        ScratchAttr::of_file(file)
    }

    fn apply(&self, path: &str, handle: &OwnedFd, change: &Change) -> io::Result<()> {
        if let Some(size) = change.size {
            let file = self.open_with(path, OFlags::WRONLY)?;
            file.set_len(size)?;
        }
        Self::apply_to(handle, &Change { mode: change.mode.map(|mode| token::mode(path, mode)), ..*change })
    }

    fn apply_to(handle: impl AsFd, change: &Change) -> io::Result<()> {
        let handle = handle.as_fd();
        if change.uid.is_some() || change.gid.is_some() {
            let (uid, gid) = (change.uid.map(Uid::from_raw), change.gid.map(Gid::from_raw));
            rustix::fs::chownat(handle, "", uid, gid, AtFlags::EMPTY_PATH)?;
        }
        if let Some(mode) = change.mode {
            set_mode(handle, rights(mode))?;
        }
        if change.atime.is_some() || change.mtime.is_some() {
            let times = Timestamps { last_access: stamp(change.atime), last_modification: stamp(change.mtime) };
            rustix::fs::utimensat(handle, "", &times, AtFlags::EMPTY_PATH)?;
        }
        Ok(())
    }
}

fn stamp(time: Option<NewTime>) -> Timespec {
    match time {
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        Some(NewTime::Now) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        Some(NewTime::At(time)) => at(time),
    }
}

fn at(time: SystemTime) -> Timespec {
    let before = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => return Timespec { tv_sec: after.as_secs() as i64, tv_nsec: after.subsec_nanos().into() },
        Err(error) => error.duration(),
    };
    let (seconds, part) = (before.as_secs() as i64, i64::from(before.subsec_nanos()));
    if part == 0 {
        Timespec { tv_sec: -seconds, tv_nsec: 0 }
    } else {
        Timespec { tv_sec: -seconds - 1, tv_nsec: 1_000_000_000 - part }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_read_back() {
        for nanoseconds in [0, 1, 999_999_999] {
            for time in [UNIX_EPOCH - Duration::new(3, nanoseconds), UNIX_EPOCH + Duration::new(3, nanoseconds)] {
                let stamp = at(time);
                assert_eq!(super::time(stamp.tv_sec, stamp.tv_nsec as u64), time);
            }
        }
    }
}
