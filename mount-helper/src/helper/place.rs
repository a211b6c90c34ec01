//! The directory to mount at: there, no mount of ours on it that lives, and none that a crash left behind.
//!
//! Told from the kernel's list of mounts where possible: a look into a mount waits for its daemon.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::statfs::statfs;
use rustix::fs::{AtFlags, CWD, FileType, statat};

use super::failure::Failure;
use crate::fuse::{self, FILESYSTEM_TYPE};

/// A dead connection answers at once; one that takes longer has a daemon, or a holder that starts the next one.
const ANSWER: Duration = Duration::from_secs(1);
/// More crashes than anybody left standing on one directory.
const MOST_STALE: usize = 64;

/// The directory as the kernel's list of mounts will name it.
pub fn prepare(directory: &Path) -> Result<PathBuf, Failure> {
    let directory = resolve(directory)?;
    for _ in 0..MOST_STALE {
        match topmost(&mounts(), &directory) {
            Some(kind) if kind != FILESYSTEM_TYPE => break,
            None => break,
            Some(_) if is_dead(&directory) => fuse::unmount(&directory, true).map_err(|error| {
                Failure::mount(format!("{}: cannot take away the dead mount there: {error}", directory.display()))
            })?,
            Some(_) => {
                let text = format!("weightfs is mounted at {} already; unmount it first", directory.display());
                return Err(Failure::mount(text));
            }
        }
    }
    check(&directory)?;
    Ok(directory)
}

/// Without links, as far as none of our mounts is entered.
fn resolve(directory: &Path) -> Result<PathBuf, Failure> {
    let failed = |error: io::Error| Failure::mount(format!("{}: {error}", directory.display()));
    let absolute = std::path::absolute(directory).map_err(failed)?;
    let table = mounts();
    refuse_inside(&table, &absolute)?;
    if topmost(&table, &absolute).is_some() {
        return Ok(absolute);
    }
    match std::fs::canonicalize(&absolute) {
        Ok(path) => {
            refuse_inside(&table, &path)?;
            Ok(path)
        }
        // Said better below.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(absolute),
        Err(error) => Err(failed(error)),
    }
}

fn refuse_inside(table: &[Mount], directory: &Path) -> Result<(), Failure> {
    let around = table.iter().find(|mount| {
        mount.kind == FILESYSTEM_TYPE && directory != mount.directory && directory.starts_with(&mount.directory)
    });
    around.map_or(Ok(()), |mount| {
        let (inner, outer) = (directory.display(), mount.directory.display());
        Err(Failure::mount(format!("{inner} lies inside the weightfs mount {outer}; choose a directory outside it")))
    })
}

fn check(directory: &Path) -> Result<(), Failure> {
    let shown = directory.display();
    // On an automount point, whoever triggers it waits for the mount that this is.
    let found = statat(CWD, directory, AtFlags::NO_AUTOMOUNT).map_err(io::Error::from);
    match found.map(|found| FileType::from_raw_mode(found.st_mode)) {
        Ok(kind) if kind.is_dir() => Ok(()),
        Ok(_) => Err(Failure::mount(format!("{shown} is no directory; name one to mount at"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let remedy = format!("make it first (mkdir -p {shown}), or let mount(8) do it: -o X-mount.mkdir");
            Err(Failure::mount(format!("{shown} does not exist; {remedy}")))
        }
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Err(Failure::mount(format!(
            "{shown} holds a dead mount of another program; take it away: umount -l {shown}"
        ))),
        Err(error) => Err(Failure::mount(format!("{shown}: {error}"))),
    }
}

/// Asks on a thread of its own, which is given up when the answer is late.
fn is_dead(directory: &Path) -> bool {
    let (answer, answered) = mpsc::channel();
    let directory = directory.to_owned();
    let ask = move || {
        // Not a stat: the kernel answers that from its memory. Nobody listens any more when the answer is late.
        let _ = answer.send(statfs(&directory).is_err_and(|errno| errno == Errno::ENOTCONN));
    };
    let asked = std::thread::Builder::new().spawn(ask);
    asked.is_ok() && answered.recv_timeout(ANSWER).unwrap_or(false)
}

/// The number of the connection that is mounted on top at a directory.
pub fn number(directory: &Path) -> Option<u32> {
    mounts().iter().rfind(|mount| mount.directory == directory).map(|mount| mount.number)
}

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// Minor device number, which is the connection's.
    number: u32,
    directory: PathBuf,
    kind: String,
}

fn mounts() -> Vec<Mount> {
    parse(&std::fs::read("/proc/self/mountinfo").unwrap_or_default())
}

/// The type of the last mount at a directory: the list is in the order of mounting.
fn topmost<'a>(table: &'a [Mount], directory: &Path) -> Option<&'a str> {
    table.iter().rfind(|mount| mount.directory == directory).map(|mount| mount.kind.as_str())
}

/// `36 35 98:0 /root /directory options optional… - type source super-options`
fn parse(table: &[u8]) -> Vec<Mount> {
    let line = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let number = str::from_utf8(fields.nth(2)?).ok()?.split_once(':')?.1.parse().ok()?;
        let directory = decode(fields.nth(1)?).into();
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        Some(Mount { number, directory, kind: String::from_utf8_lossy(kind).into_owned() })
    };
    table.split(|byte| *byte == b'\n').filter_map(line).collect()
}

/// The kernel writes a space, tab, newline and backslash as three octal digits after a backslash.
fn decode(field: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *byte == b'\\').and_then(|digits| str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) => {
                plain.push(code);
                rest = &after[3..];
            }
            None => {
                plain.push(*byte);
                rest = after;
            }
        }
    }
    OsString::from_vec(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"24 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
        31 24 0:45 / /mnt/with\\040space rw,nosuid - fuse.weightfs hub rw,user_id=0\n\
        32 24 0:46 / /mnt/with\\040space rw shared:7 master:3 - tmpfs none rw\nnonsense\n";

    #[test]
    fn the_last_mount_at_a_directory_counts() {
        let table = parse(TABLE);
        assert_eq!(table.iter().map(|mount| mount.number).collect::<Vec<_>>(), [0, 45, 46]);
        assert_eq!(topmost(&table, Path::new("/mnt/with space")), Some("tmpfs"));
        assert_eq!(topmost(&table[..2], Path::new("/mnt/with space")), Some(FILESYSTEM_TYPE));
        assert_eq!(topmost(&table, Path::new("/mnt")), None);
        assert_eq!(decode(b"a\\"), OsString::from("a\\"));
    }

    #[test]
    fn no_mount_goes_into_a_mount_of_ours() {
        let table = parse(TABLE);
        assert!(refuse_inside(&table, Path::new("/mnt/with space")).is_ok());
        let failure = refuse_inside(&table, Path::new("/mnt/with space/in")).unwrap_err();
        assert!(failure.text.contains("/mnt/with space/in lies inside"), "{}", failure.text);
    }

    #[test]
    fn what_is_wrong_with_a_directory_is_said() {
        assert!(prepare(Path::new("/proc/no/such")).unwrap_err().text.contains("mkdir -p"));
        assert!(prepare(Path::new("/proc/version")).unwrap_err().text.contains("no directory"));
    }
}
