//! The kernel's list of mounts, read as text: no mount is ever touched.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use mount_helper::fuse::FILESYSTEM_TYPE;

use super::place;

const TABLE: &str = "/proc/self/mountinfo";

/// One line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    pub id: u32,
    pub parent: u32,
    /// `major:minor`; the minor number names the FUSE connection.
    pub device: (u32, u32),
    pub directory: PathBuf,
    /// `fuse.weightfs`, `ext4` …
    pub filesystem: String,
    pub source: OsString,
}

impl MountEntry {
    pub fn is_ours(&self) -> bool {
        self.filesystem == FILESYSTEM_TYPE
    }

    /// `36 35 98:0 /root /directory options optional… - type source super-options`
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let id = number(fields.next()?)?;
        let parent = number(fields.next()?)?;
        let (major, minor) = std::str::from_utf8(fields.next()?).ok()?.split_once(':')?;
        let device = (major.parse().ok()?, minor.parse().ok()?);
        let directory = decode(fields.nth(1)?).into();
        let mut fields = fields.skip_while(|&field| field != b"-").skip(1);
        let filesystem = decode(fields.next()?).into_string().ok()?;
        let source = decode(fields.next()?);
        Some(Self { id, parent, device, directory, filesystem, source })
    }
}

fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// The kernel writes a space, tab, newline and backslash as three octal digits after a backslash.
fn decode(field: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| byte == b'\\').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        plain.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(plain)
}

pub(super) fn parse(table: &[u8]) -> Vec<MountEntry> {
    table.split(|&byte| byte == b'\n').filter_map(MountEntry::parse).collect()
}

pub(super) fn all() -> Vec<MountEntry> {
    match std::fs::read(TABLE) {
        Ok(table) => parse(&table),
        Err(error) => {
            tracing::warn!("cannot read {TABLE}, so no mount is known: {error}; is /proc mounted?");
            Vec::new()
        }
    }
}

/// Every weightfs mount that this process can see, bind mounts included.
pub fn our_mounts() -> Vec<MountEntry> {
    all().into_iter().filter(MountEntry::is_ours).collect()
}

/// The mount on top at this directory, ours or not.
pub fn find(directory: &Path) -> Option<MountEntry> {
    topmost(all(), &place::resolve(directory))
}

/// Of mounts stacked on one directory, each has the one below as its parent.
pub(super) fn topmost(table: Vec<MountEntry>, directory: &Path) -> Option<MountEntry> {
    let mut stack: Vec<_> = table.into_iter().filter(|entry| entry.directory == directory).collect();
    let covered: Vec<_> = stack.iter().map(|entry| entry.parent).collect();
    let top = stack.iter().position(|entry| !covered.contains(&entry.id))?;
    Some(stack.swap_remove(top))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
24 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
31 24 0:45 / /mnt/with\\040space\\011and\\134slash rw,nosuid,nodev - fuse.weightfs weightfs rw,user_id=0
32 24 0:46 / /mnt/hf rw shared:7 master:3 - fuse.weightfs weightfs rw
33 32 0:47 / /mnt/hf rw - tmpfs tmp\\012fs rw
nonsense
";

    #[test]
    fn octal_escapes_in_mountinfo_are_decoded() {
        let table = parse(TABLE);
        assert_eq!(table.len(), 4, "the line that is no mount is left out");
        assert_eq!(table[1].directory, Path::new("/mnt/with space\tand\\slash"));
        assert_eq!(table[1].device, (0, 45));
        assert_eq!(table[3].source, "tmp\nfs");
        assert_eq!(decode(b"ends\\04"), "ends\\04", "what is no escape stays");
    }

    #[test]
    fn only_our_type_is_ours() {
        let ours: Vec<_> = parse(TABLE).into_iter().filter(MountEntry::is_ours).map(|entry| entry.id).collect();
        assert_eq!(ours, [31, 32]);
    }

    #[test]
    fn of_stacked_mounts_the_top_one_counts() {
        assert_eq!(topmost(parse(TABLE), Path::new("/mnt/hf")).unwrap().id, 33);
        assert_eq!(topmost(parse(TABLE), Path::new("/")).unwrap().id, 24);
        assert_eq!(topmost(parse(TABLE), Path::new("/mnt")), None);
    }
}
