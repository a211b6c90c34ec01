//! A content that is here, written into a file elsewhere.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::adopt::copy;
use super::lease::Lease;
use super::{BlockCache, CacheError};
use crate::types::{BlockIndex, BlockRange};

impl BlockCache {
    /// Blocks between two looks at whether anybody still wants it.
    const COPY_STEP: u32 = 8;

    /// Writes all of a complete content into `to`, sharing blocks on disk where the file system can. `done` is told how many
    /// bytes are written. A block that turns out to be damaged is dropped, and an error: bring it again.
    pub async fn copy_out(
        self: &Arc<Self>,
        lease: &Lease,
        to: &Arc<File>,
        done: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), CacheError> {
        let (all, size) = (lease.0.map.all(), lease.0.blob.size);
        let mut next = all.first;
        while next < all.end {
            let end = BlockIndex(all.end.0.min(next.0.saturating_add(Self::COPY_STEP)));
            let step = BlockRange { first: next, end };
            let (cache, lease, to) = (self.clone(), lease.clone(), to.clone());
            let copied = tokio::task::spawn_blocking(move || cache.copy_blocks(&lease, &to, step)).await;
            copied.map_err(|_| CacheError::Stopping)??;
            next = end;
            done(BlockRange { first: all.first, end }.bytes(size).len());
        }
        Ok(())
    }

    fn copy_blocks(self: &Arc<Self>, lease: &Lease, to: &File, blocks: BlockRange) -> Result<(), CacheError> {
        let entry = &lease.0;
        let not_written = |source| CacheError::NotWritten(Arc::new(source));
        // A sealed file is what it is called as long as nobody has written to it since.
        let sealed = entry.seal().and_then(|seal| self.sealed_file(lease, seal.epoch));
        if let Some(from) = sealed {
            let range = blocks.bytes(entry.blob.size);
            return copy(from, to, range.start, range.len()).map_err(not_written);
        }
        let mut buffer = Vec::new();
        for block in blocks.iter() {
            let range = block.bytes(entry.blob.size);
            let bytes = self.try_read(lease, range, &mut buffer).ok_or(CacheError::NotKept(entry.blob.id))?;
            to.write_all_at(bytes, range.start).map_err(not_written)?;
        }
        Ok(())
    }
}
