//! The kernel's list of mounts, read as text: a mount whose daemon is dead would make any other look at it wait or fail.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

const TABLE: &str = "/proc/self/mountinfo";
const FILESYSTEM: &str = "fuse.weightfs";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `major:minor`; one FUSE connection has one, whatever it is bound to.
    pub device: String,
    pub directory: PathBuf,
    pub is_ours: bool,
}

/// In the order in which they were mounted.
pub fn all() -> io::Result<Vec<Mount>> {
    Ok(parse(&std::fs::read(TABLE)?))
}

/// The mount on top at `directory`.
pub fn at(directory: &Path) -> io::Result<Option<Mount>> {
    Ok(all()?.into_iter().rfind(|mount| mount.directory == directory))
}

fn parse(table: &[u8]) -> Vec<Mount> {
    table.split(|&byte| byte == b'\n').filter_map(mount).collect()
}

/// `36 35 98:0 /root /directory options optional… - type source super-options`
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let device = std::str::from_utf8(fields.nth(2)?).ok()?.to_owned();
    let directory = decode(fields.nth(1)?).into();
    let filesystem = fields.skip_while(|&field| field != b"-").nth(1)?;
    Some(Mount { device, directory, is_ours: filesystem == FILESYSTEM.as_bytes() })
}

/// The kernel writes spaces and the like as three octal digits after a backslash.
fn decode(field: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(plain)
}

/// Without a look at what is there: the parent's links are followed, the last name is taken as it is.
pub fn resolve(path: &Path) -> PathBuf {
    let parent = path.parent().and_then(|parent| std::fs::canonicalize(parent).ok());
    match (parent, path.file_name()) {
        (Some(parent), Some(name)) if name.as_bytes() != b".." => parent.join(name),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
24 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
31 24 0:45 /models/a/b@c /pods/with\\040space rw,nosuid,nodev shared:3 - fuse.weightfs weightfs rw
32 31 0:46 / /pods/with\\040space rw - fuse.weightfs weightfs rw
";

    #[test]
    fn a_bind_of_ours_is_told_by_its_type_and_connection() {
        let table = parse(TABLE);
        assert_eq!(table.len(), 3);
        assert!(!table[0].is_ours && table[1].is_ours);
        assert_eq!(table[1].directory, Path::new("/pods/with space"));
        assert_eq!([table[1].device.as_str(), table[2].device.as_str()], ["0:45", "0:46"]);
    }
}
