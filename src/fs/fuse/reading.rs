//! How a read is answered: from what is here on the FUSE thread, or on the runtime once it has come.

use std::cell::RefCell;
use std::sync::Arc;

use fuser::{Errno, ReplyData};

use super::convert::errno;
use crate::fs::handles::OpenFile;
use crate::fs::model_fs::ModelFs;
use crate::fs::read::TryRead;
use crate::tree::Node;
use crate::types::ByteRange;

thread_local! {
    /// Replies leave from memory that has been touched before: see docs/design/0004-mount-and-nodes.md.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Answers a read from what is here, or hands back what is missing.
pub(super) fn read_here(fs: &ModelFs, node: Node, range: ByteRange, reply: ReplyData) -> Option<(Missing, ReplyData)> {
    BUFFER.with_borrow_mut(|buffer| match fs.try_read(node, range, buffer) {
        Ok(TryRead::Ready(bytes)) => {
            reply.data(bytes);
            None
        }
        Ok(TryRead::Missing(open, range)) => Some(((open, range), reply)),
        Err(error) => {
            reply.error(errno(error));
            None
        }
    })
}

pub(super) type Missing = (Arc<OpenFile>, ByteRange);

/// Fetches and tries again. A second miss means that what just came is damaged already: the disk is failing.
pub(super) async fn read_from_afar(fs: Arc<ModelFs>, node: Node, range: ByteRange, missing: Missing, reply: ReplyData) {
    const ROUNDS: usize = 3;
    let (mut missing, mut reply) = (missing, reply);
    for _ in 0..ROUNDS {
        let _fetched = match fs.fetch(&missing.0, missing.1).await {
            Ok(fetched) => fetched,
            Err(error) => return reply.error(errno(error)),
        };
        match read_here(&fs, node, range, reply) {
            None => return,
            Some(again) => (missing, reply) = again,
        }
    }
    tracing::error!(?node, "blocks that were just written cannot be read back: the cache's disk is failing");
    reply.error(Errno::EIO);
}
