//! What became sealed or stopped being so, for those who act on it in their own time.

use std::collections::HashSet;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::BlockCache;
use crate::types::Blob;

/// Blobs to look at again. Each is in it once, however often it is added, so that it needs no limit of its own.
#[derive(Default)]
pub struct SealChanges {
    blobs: Mutex<HashSet<Blob>>,
    more: Notify,
}

impl SealChanges {
    /// Never waits: it may be called from anywhere.
    pub fn add(&self, blob: Blob) {
        self.blobs.lock().insert(blob);
        self.more.notify_one();
    }

    /// The next blob, as soon as there is one. For one caller.
    pub async fn next(&self) -> Blob {
        loop {
            if let Some(blob) = self.take() {
                return blob;
            }
            self.more.notified().await;
        }
    }

    fn take(&self) -> Option<Blob> {
        let mut blobs = self.blobs.lock();
        let blob = *blobs.iter().next()?;
        blobs.remove(&blob);
        Some(blob)
    }
}

impl BlockCache {
    /// What becomes sealed or unsealed from now on, as long as the caller keeps it.
    pub fn seal_changes(&self) -> Arc<SealChanges> {
        let changes = Arc::new(SealChanges::default());
        self.watchers.lock().push(Arc::downgrade(&changes));
        changes
    }

    /// Whether bytes may have been served that turned out not to be the content.
    pub fn was_mismatched(&self, blob: &Blob) -> bool {
        let entry = self.entries.lock().get(blob).and_then(Weak::upgrade);
        match entry {
            Some(entry) => entry.was_wrong(),
            // Under an earlier daemon, if at all.
            None => self.db.blob(blob).is_ok_and(|row| row.is_some_and(|row| row.mismatches > 0)),
        }
    }

    pub(super) fn announce(&self, blob: Blob) {
        self.watchers.lock().retain(|watcher| {
            let alive = Weak::upgrade(watcher);
            if let Some(changes) = &alive {
                changes.add(blob);
            }
            alive.is_some()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::BlobId;

    #[tokio::test]
    async fn a_blob_added_often_comes_once_and_none_is_lost() {
        let changes = SealChanges::default();
        let blob = |byte| Blob { id: BlobId::Sha256([byte; 32]), size: 1 };
        for byte in [1, 2, 1] {
            changes.add(blob(byte));
        }
        let seen = HashSet::from([changes.next().await, changes.next().await]);
        assert_eq!(seen, HashSet::from([blob(1), blob(2)]));
        let (third, ()) = tokio::join!(changes.next(), async { changes.add(blob(3)) });
        assert_eq!(third, blob(3));
    }
}
