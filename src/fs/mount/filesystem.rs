//! What kind of filesystem a path lies on, for those that need working locks: a database does not live on NFS.

use std::io;
use std::path::Path;

/// As far as it matters for locks and for the order in which writes reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilesystemKind {
    Local,
    /// Another machine's files; the word is what people call it: `NFS`.
    Network(&'static str),
    /// Some program's files. It may be a network behind it (sshfs) or a container's own disk (fuse-overlayfs).
    Fuse,
}

/// The numbers of linux/magic.h and of the filesystems' own headers.
const KINDS: [(u32, FilesystemKind); 9] = [
    (0x6969, FilesystemKind::Network("NFS")),
    (0xff53_4d42, FilesystemKind::Network("CIFS")),
    (0xfe53_4d42, FilesystemKind::Network("SMB")),
    (0x517b, FilesystemKind::Network("SMB")),
    (0x0102_1997, FilesystemKind::Network("9p")),
    (0x00c3_6400, FilesystemKind::Network("Ceph")),
    (0x5346_414f, FilesystemKind::Network("AFS")),
    (0x0bd0_0bd0, FilesystemKind::Network("Lustre")),
    (0x6573_5546, FilesystemKind::Fuse),
];

/// The filesystem at `path`, or at its nearest parent that exists: where a new file would go.
///
/// Asks the filesystem, so ask [`super::is_below_our_mount`] first.
pub fn filesystem_kind(path: &Path) -> io::Result<FilesystemKind> {
    let path = std::path::absolute(path)?;
    let mut missing = io::ErrorKind::NotFound.into();
    for path in path.ancestors() {
        match rustix::fs::statfs(path) {
            Ok(found) => return Ok(kind_of(found.f_type as u32)),
            Err(errno) => missing = io::Error::from(errno),
        }
        if missing.kind() != io::ErrorKind::NotFound {
            break;
        }
    }
    Err(missing)
}

fn kind_of(magic: u32) -> FilesystemKind {
    KINDS.iter().find(|(number, _)| *number == magic).map_or(FilesystemKind::Local, |(_, kind)| *kind)
}

/// Whether a file at this path would be on another machine. FUSE does not count: it cannot be told from outside.
pub fn is_network_fs(path: &Path) -> io::Result<bool> {
    Ok(matches!(filesystem_kind(path)?, FilesystemKind::Network(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_filesystems_are_told_from_local_ones() {
        assert_eq!(kind_of(0x6969), FilesystemKind::Network("NFS"));
        assert_eq!(kind_of(0xff53_4d42), FilesystemKind::Network("CIFS"));
        assert_eq!(kind_of(0xef53), FilesystemKind::Local);
    }

    #[test]
    fn a_path_that_is_not_there_yet_is_judged_by_its_parent() {
        assert_eq!(filesystem_kind(Path::new("/proc/no/such")).unwrap(), FilesystemKind::Local);
    }
}
