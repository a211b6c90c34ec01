//! Equal contents under two names, a git file and an LFS file, a directory's and the Hub's, become one file on this disk.
//!
//! By a hard link between two that are sealed. From then on only a block that the disk has lost is written again, and that
//! one was lost to both: what lands under one name spoils nothing that the other still had.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Weak};

use super::lease::Entry;
use super::{BlockCache, CacheError};
use crate::db::FileStamp;
use crate::types::Blob;

/// A file got one name more, which shows on it.
struct NewLink {
    before: FileStamp,
    now: FileStamp,
}

impl BlockCache {
    /// Lets a blob that was sealed just now share the file of an equal one. Without it the content is there twice.
    pub(super) async fn share(self: &Arc<Self>, entry: &Arc<Entry>) -> Result<(), CacheError> {
        // The record only says where to look: a damaged one may name anything, this very blob included.
        let candidate = |equal: &Blob| *equal != entry.blob && equal.size == entry.blob.size;
        let equal: Vec<Blob> = self.db.equal(&entry.blob)?.into_iter().filter(candidate).collect();
        let Some(first) = equal.first() else { return Ok(()) };
        let other = self.lease(*first)?;
        let (cache, from, to) = (self.clone(), other.0.clone(), entry.clone());
        let linking = tokio::task::spawn_blocking(move || cache.become_one(&from, &to)).await;
        let Some(link) = linking.map_err(|_| CacheError::Stopping)?.map_err(|source| entry.file.error(source))? else {
            return Ok(());
        };
        equal.iter().for_each(|blob| self.restamp_loaded(blob, &link));
        // If this is lost, all of them are proved again when they are opened next.
        self.db.restamp_all(*first, link.before, link.now).await?;
        if let Some(seal) = entry.seal() {
            self.db.restamp(entry.blob, seal.epoch, link.now).await?;
        }
        self.metrics.shared_blobs.add(1);
        Ok(())
    }

    /// One that has had the same file already.
    fn restamp_loaded(&self, blob: &Blob, link: &NewLink) {
        let loaded = self.entries.lock().get(blob).and_then(Weak::upgrade);
        if let Some(entry) = loaded {
            let mut seal = entry.sealed_turn();
            // It may have its former file open still, of the same age to the tick.
            let has_it_open = entry.file.stamp().is_ok_and(|stamp| stamp == link.now);
            if has_it_open && seal.stamp() == Some(link.before) {
                seal.restamp(link.now);
            }
        }
    }

    /// Lets go of the one file of this blob and an equal one, as far as that is open only because it was used lately.
    pub(super) fn close_equal(&self, blob: &Blob) {
        for equal in self.db.equal(blob).into_iter().flatten() {
            self.recent.remove(&equal);
        }
    }

    /// Puts the file of `from` in the place of that of `to`. Who has the latter open reads on in it. Answers what
    /// became of the one file, or `None` if they are not to be one.
    fn become_one(&self, from: &Entry, to: &Entry) -> io::Result<Option<NewLink>> {
        if inode(from.file.descriptor())? == inode(to.file.descriptor())? {
            return Ok(None);
        }
        // Compared before anybody has to wait for it; a seal that still stands afterwards is of the bytes compared.
        let compared = (from.sealed_turn().stamp(), to.sealed_turn().stamp());
        if !are_equal(from, to)? {
            return Ok(None);
        }
        // Nobody else holds two of these.
        let _turn = self.sharing.lock();
        let (mut from_seal, mut to_seal) = (from.sealed_turn(), to.sealed_turn());
        let sound = |entry: &Entry, seal: Option<FileStamp>| -> io::Result<bool> {
            Ok(seal == Some(entry.file.stamp()?) && is_at_its_path(entry)?)
        };
        let still_sealed = (from_seal.stamp(), to_seal.stamp()) == compared;
        if !still_sealed || !sound(from, compared.0)? || !sound(to, compared.1)? {
            return Ok(None);
        }
        self.store.replace_by_link(from.file.path(), to.file.path())?;
        // A link more or less is a change to both.
        let now = from.file.stamp()?;
        from_seal.restamp(now);
        to_seal.restamp(to.file.stamp()?);
        Ok(compared.0.map(|before| NewLink { before, now }))
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
