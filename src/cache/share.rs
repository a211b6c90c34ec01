//! Equal contents under two names, a git file here and an LFS file there, become one file on this disk.
//!
//! By a hard link, and so only where every byte that is ever written was proved before: what lands under one name must not
//! be able to spoil the other.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use super::lease::Entry;
use super::{BlockCache, CacheError, fetch};
use crate::db::FileStamp;
use crate::types::Blob;

impl BlockCache {
    /// Lets a blob that was sealed just now share the file of an equal one. Without it the content is there twice.
    pub(super) async fn share(self: &Arc<Self>, entry: &Arc<Entry>) -> Result<(), CacheError> {
        if !fetch::is_proved_first(&entry.blob) {
            return Ok(());
        }
        // The record only says where to look: a damaged one may name anything, this very blob included.
        let candidate = |equal: &Blob| *equal != entry.blob && equal.size == entry.blob.size;
        let equal = self.db.equal(&entry.blob)?.filter(|equal| candidate(equal) && fetch::is_proved_first(equal));
        let Some(equal) = equal else { return Ok(()) };
        let other = self.lease(equal)?;
        let (cache, from, to) = (self.clone(), other.0.clone(), entry.clone());
        let linking = tokio::task::spawn_blocking(move || cache.become_one(&from, &to)).await;
        let Some(stamp) = linking.map_err(|_| CacheError::Stopping)?.map_err(|source| entry.file.error(source))? else {
            return Ok(());
        };
        self.metrics.shared_blobs.add(1);
        // If this is lost, both are proved again when they are opened next.
        for sealed in [&other.0, entry] {
            if let Some(seal) = sealed.seal() {
                self.db.restamp(sealed.blob, seal.epoch, stamp).await?;
            }
        }
        Ok(())
    }

    /// Lets go of the one file of this blob and an equal one, as far as that is open only because it was used lately.
    pub(super) fn close_equal(&self, blob: &Blob) {
        if fetch::is_proved_first(blob)
            && let Ok(Some(equal)) = self.db.equal(blob)
        {
            self.recent.remove(&equal);
        }
    }

    /// Puts the file of `from` in the place of that of `to`. Who has the latter open reads on in it. Answers what the one
    /// file looks like now, or `None` if they are not to be one.
    fn become_one(&self, from: &Entry, to: &Entry) -> io::Result<Option<FileStamp>> {
        // Nobody else holds two of these.
        let _turn = self.sharing.lock();
        let (mut from_seal, mut to_seal) = (from.sealed_turn(), to.sealed_turn());
        let sound = |entry: &Entry, seal: Option<FileStamp>| -> io::Result<bool> {
            Ok(seal == Some(entry.file.stamp()?) && is_at_its_path(entry)?)
        };
        if !sound(from, from_seal.stamp())? || !sound(to, to_seal.stamp())? {
            return Ok(None);
        }
        if inode(from.file.descriptor())? == inode(to.file.descriptor())? || !are_equal(from, to)? {
            return Ok(None);
        }
        self.store.replace_by_link(from.file.path(), to.file.path())?;
        // A link more or less is a change to both.
        let stamp = from.file.stamp()?;
        from_seal.restamp(stamp);
        to_seal.restamp(to.file.stamp()?);
        Ok(Some(stamp))
    }
}

fn are_equal(one: &Entry, other: &Entry) -> io::Result<bool> {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for block in one.map.all().iter() {
        let range = block.bytes(one.blob.size);
        for (bytes, file) in [(&mut left, &one.file), (&mut right, &other.file)] {
            bytes.resize(range.len() as usize, 0);
            file.read_exact_at(bytes, range.start)?;
        }
        if left != right {
            return Ok(false);
        }
    }
    Ok(true)
}

fn inode(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Whether the open file is the one that the next start will find.
fn is_at_its_path(entry: &Entry) -> io::Result<bool> {
    let there = std::fs::symlink_metadata(entry.file.path())?;
    Ok(inode(entry.file.descriptor())? == (there.dev(), there.ino()))
}
