//! Sealed files, for the kernel to read past this process.

use std::fs::File;
use std::io;
use std::sync::{Arc, Weak};

use super::lease::{Entry, Lease};
use super::{BlockCache, CacheError, Seal};
use crate::types::{Blob, BlockRange};

impl BlockCache {
    /// The blob's seal, if it is sealed. Asks memory, else the database.
    pub fn seal(&self, blob: &Blob) -> Result<Option<Seal>, CacheError> {
        let entry = self.entries.lock().get(blob).and_then(Weak::upgrade);
        match entry {
            Some(entry) => Ok(entry.seal()),
            None => Ok(self.db.blob(blob)?.and_then(|row| row.seal)),
        }
    }

    /// The file of the `epoch`-th sealing, to be read by others as long as they keep the lease.
    ///
    /// `None` if that sealing is over, or ends now because somebody has written to the file: then every block is proved
    /// again, first when it is read and the whole at once.
    pub fn sealed_file<'l>(self: &Arc<Self>, lease: &'l Lease, epoch: u64) -> Option<&'l File> {
        let entry = &lease.0;
        let (seal, stamp) = entry.seal_and_stamp();
        let seal = seal.filter(|seal| seal.epoch == epoch)?;
        // A file that was taken away or replaced at its path shows it too: the loss of a name changes the ctime.
        match stamp {
            Ok(stamp) if stamp == seal.file => Some(entry.file.descriptor()),
            Ok(stamp) => {
                self.distrust(entry, &format!("it was {:?} and is {stamp:?}", seal.file));
                None
            }
            Err(error) => {
                self.distrust(entry, &error.to_string());
                None
            }
        }
    }

    fn distrust(self: &Arc<Self>, entry: &Arc<Entry>, why: &str) {
        if self.unseal(entry, why) {
            self.seal_if_complete(entry);
        }
    }

    /// Ends a seal because its file is another than it was. Of those who notice at the same time one is answered yes.
    pub(super) fn unseal(&self, entry: &Arc<Entry>, why: &str) -> bool {
        if !entry.distrust() {
            return false;
        }
        let path = entry.file.path().display();
        tracing::warn!(%path, why, "a complete file was changed behind this daemon's back; it is checked again");
        self.recorder.forgotten(entry, BlockRange::new(0..0));
        self.announce(entry.blob);
        true
    }

    /// A file where the blobs lie: what the kernel does with it, it does with them.
    pub fn sample_file(&self) -> io::Result<File> {
        self.store.sample()
    }
}
