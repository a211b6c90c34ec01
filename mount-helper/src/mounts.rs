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

/// Takes a kept mount out of its directory, if it still is what is on top there.
pub fn unmount(name: &str, lazy: bool) -> io::Result<()> {
    let Some((number, directory)) = parse(name) else { return Ok(()) };
    if !is_on_top(number, directory) {
        return Ok(());
    }
    match fuse::unmount(directory, lazy) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => fusermount(directory, lazy),
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

fn is_on_top(number: u32, directory: &Path) -> bool {
    std::fs::read("/proc/self/mountinfo").is_ok_and(|table| top(&table, directory) == Some(number))
}

/// The minor device number of the last mount at a directory in a mountinfo table, which lists them in the order of
/// mounting.
fn top(table: &[u8], directory: &Path) -> Option<u32> {
    let directory = escaped(directory.as_os_str().as_encoded_bytes());
    let at_directory = |line: &&[u8]| line.split(|byte| *byte == b' ').nth(4) == Some(&directory);
    let line = table.split(|byte| *byte == b'\n').rfind(at_directory)?;
    let device = std::str::from_utf8(line.split(|byte| *byte == b' ').nth(2)?).ok()?;
    device.split_once(':')?.1.parse().ok()
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
            32 24 0:46 / /mnt/with\\040space rw - tmpfs tmpfs rw\n";
        assert_eq!(top(table, Path::new("/mnt/with space")), Some(46));
        assert_eq!(top(table, Path::new("/mnt")), None);
        assert_eq!(parse("45 /mnt/with space"), Some((45, Path::new("/mnt/with space"))));
        assert_eq!(parse("fresh /mnt"), None);
    }
}
