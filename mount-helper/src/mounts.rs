//! The end of a mount that nobody serves any more.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::fuse;

/// The number of a connection and where it is mounted, as `NUMBER DIRECTORY`: the name under which a mount is kept.
pub fn parse(name: &str) -> Option<(u32, &Path)> {
    let (number, directory) = name.split_once(' ')?;
    Some((number.parse().ok()?, Path::new(directory)))
}

/// How a mount is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Only if nobody uses it.
    Polite,
    /// Whoever uses it may finish.
    Lazy,
    /// Whoever uses it gets errors.
    Force,
}

/// Takes a kept mount out of its directory, if it still is what is on top there. For an `owner` without privilege that is
/// a mount made for it: the name is the daemon's word only.
pub fn unmount(name: &str, manner: Manner, owner: Option<u32>) -> io::Result<()> {
    let Some((number, directory)) = parse(name) else { return Ok(()) };
    let table = std::fs::read("/proc/self/mountinfo")?;
    let expected = |mount: &Top| mount.number == number && owner.is_none_or(|owner| mount.owner == Some(owner));
    if !top(&table, directory).as_ref().is_some_and(expected) {
        return Ok(());
    }
    let unmounted = match manner {
        Manner::Polite => fuse::unmount(directory, false),
        Manner::Lazy => fuse::unmount(directory, true),
        Manner::Force => fuse::unmount_by_force(directory),
    };
    match unmounted {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            fusermount(directory, manner != Manner::Polite)
        }
        done => done,
    }
}

/// An ordinary user's mounts were made by the setuid helper, and are ended by it.
fn fusermount(directory: &Path, lazy: bool) -> io::Result<()> {
    let mut command = Command::new("fusermount3");
    command.arg(if lazy { "-uzq" } else { "-uq" }).arg("--").arg(directory);
    let status = command.stdin(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("fusermount3: {status}"))) }
}

/// A mount of ours.
#[derive(Debug, PartialEq, Eq)]
struct Top {
    /// The minor device number: that of the connection.
    number: u32,
    /// The `user_id` that it was mounted for.
    owner: Option<u32>,
}

/// The last mount at a directory in a mountinfo table, which lists them in the order of mounting; `None` for others' mounts.
fn top(table: &[u8], directory: &Path) -> Option<Top> {
    let directory = escaped(directory.as_os_str().as_encoded_bytes());
    let at_directory = |line: &&[u8]| line.split(|byte| *byte == b' ').nth(4) == Some(&directory);
    let line = str::from_utf8(table.split(|byte| *byte == b'\n').rfind(at_directory)?).ok()?;
    // `36 35 98:0 /root /directory options optional… - type source super-options`
    let (place, rest) = line.split_once(" - ")?;
    let mut rest = rest.split(' ');
    if rest.next()? != fuse::FILESYSTEM_TYPE {
        return None;
    }
    let number = place.split(' ').nth(2)?.split_once(':')?.1.parse().ok()?;
    let owner = rest.nth(1)?.split(',').find_map(|option| option.strip_prefix("user_id=")?.parse().ok());
    Some(Top { number, owner })
}

/// As the kernel writes a path there.
fn escaped(path: &[u8]) -> Vec<u8> {
    let escape = |byte: &u8| match byte {
        b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
        byte => vec![*byte],
    };
    path.iter().flat_map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_on_top_is_found_whatever_its_directory_is_called() {
        let table = b"24 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n\
            31 24 0:45 / /mnt/with\\040space rw - fuse.weightfs weightfs rw\n\
            32 24 0:46 / /mnt/with\\040space rw shared:3 - fuse.weightfs hub rw,user_id=1000,group_id=0\n\
            33 24 254:7 / /home rw - ext4 /dev/vdb rw\n";
        assert_eq!(top(table, Path::new("/mnt/with space")), Some(Top { number: 46, owner: Some(1000) }));
        assert_eq!(top(table, Path::new("/mnt")), None);
        assert_eq!(top(table, Path::new("/home")), None, "it is another's mount");
        assert_eq!(parse("45 /mnt/with space"), Some((45, Path::new("/mnt/with space"))));
        assert_eq!(parse("fresh /mnt"), None);
    }
}
