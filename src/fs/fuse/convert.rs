//! This project's types in the FUSE crate's, and back.

use std::ffi::OsStr;

use fuser::{Errno, FileAttr, FileType, INodeNo, Request, TimeOrNow};

use crate::db::RequestNumber;
use crate::fs::attr::{Attr, Kind};
use crate::fs::delivery::{Attempt, Delivery};
use crate::fs::error::FsError;
use crate::fs::scratch::{NewTime, Owner};
use crate::tree::Node;
use crate::types::BLOCK_SIZE;

pub(super) fn errno(error: FsError) -> Errno {
    Errno::from_i32(crate::fs::errno::errno(&error))
}

pub(super) fn node(inode: INodeNo) -> Node {
    Node(inode.0)
}

pub(super) fn text(name: &OsStr) -> Result<String, FsError> {
    name.to_str().map(str::to_owned).ok_or(FsError::Name)
}

pub(super) fn owner(request: &Request) -> Owner {
    Owner { uid: request.uid(), gid: request.gid() }
}

/// The kernel marks a request that a daemon had taken and not answered.
pub(super) fn delivery(request: &Request) -> Delivery {
    const RESENT: u64 = 1 << 63;
    let number = request.unique().0;
    let attempt = if number & RESENT == 0 { Attempt::First } else { Attempt::Again };
    Delivery { request: RequestNumber(number & !RESENT), attempt }
}

pub(super) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Folder => FileType::Directory,
        Kind::Link => FileType::Symlink,
    }
}

pub(super) fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.node.0),
        size: attr.size,
        // All of it, fetched or not: an archiver would take the rest for holes.
        blocks: attr.size.div_ceil(512),
        atime: attr.atime,
        mtime: attr.mtime,
        ctime: attr.ctime,
        crtime: attr.ctime,
        kind: file_type(attr.kind),
        perm: attr.mode as u16,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: 0,
        blksize: BLOCK_SIZE as u32,
        flags: 0,
    }
}

pub(super) fn new_time(time: TimeOrNow) -> NewTime {
    match time {
        TimeOrNow::SpecificTime(time) => NewTime::At(time),
        TimeOrNow::Now => NewTime::Now,
    }
}
