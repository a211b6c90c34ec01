//! Extended attributes as the kernel asks for them: by name, or all names, first how long the answer is.

use std::ffi::OsStr;

use fuser::{Errno, ReplyXattr};

use super::convert::errno;
use crate::fs::model_fs::ModelFs;
use crate::tree::Node;

pub(super) fn value(fs: &ModelFs, node: Node, name: &OsStr) -> Result<Vec<u8>, Errno> {
    // The kernel asks for kinds of its own now and then, and none of them is here.
    if !name.as_encoded_bytes().starts_with(b"user.") {
        return Err(Errno::NO_XATTR);
    }
    let attributes = fs.attributes(node).map_err(errno)?;
    let found = attributes.into_iter().find(|attribute| name == attribute.name);
    found.map(|attribute| attribute.value.into_bytes()).ok_or(Errno::NO_XATTR)
}

/// Each with a zero behind it.
pub(super) fn names(fs: &ModelFs, node: Node) -> Result<Vec<u8>, Errno> {
    let attributes = fs.attributes(node).map_err(errno)?;
    Ok(attributes.iter().flat_map(|attribute| attribute.name.bytes().chain([0])).collect())
}

/// With no room at all only the length is asked for.
pub(super) fn reply_attribute(reply: ReplyXattr, room: u32, answer: Result<Vec<u8>, Errno>) {
    match answer {
        Ok(bytes) if room == 0 => reply.size(bytes.len() as u32),
        Ok(bytes) if bytes.len() <= room as usize => reply.data(&bytes),
        Ok(_) => reply.error(Errno::ERANGE),
        Err(error) => reply.error(error),
    }
}
