//! Proof of a whole blob: does it hash to what its origin calls it?

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::lease::Entry;
use super::{BlockCache, CacheError, files};
use crate::db::FileStamp;
use crate::types::{Blob, BlobId};

/// Both hashes of a content: the one it is named by and the one that equal contents share.
struct Proof {
    blob: Blob,
    sha256: Sha256,
    git: Option<Sha1>,
}

impl Proof {
    fn new(blob: Blob) -> Self {
        let git = match blob.id {
            BlobId::Sha256(_) => None,
            BlobId::GitSha1(_) => Some(Sha1::new().chain_update(format!("blob {}\0", blob.size))),
        };
        Self { blob, sha256: Sha256::new(), git }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(git) = &mut self.git {
            git.update(bytes);
        }
    }

    /// The sha256 of the content if it is what it is called.
    fn finish(self) -> Option<[u8; 32]> {
        let sha256: [u8; 32] = self.sha256.finalize().into();
        let proved = match (self.blob.id, self.git) {
            (BlobId::Sha256(stated), _) => stated == sha256,
            (BlobId::GitSha1(stated), Some(git)) => stated == <[u8; 20]>::from(git.finalize()),
            (BlobId::GitSha1(_), None) => false,
        };
        proved.then_some(sha256)
    }
}

/// The sha256 of `bytes` if they are the content that `blob` names.
pub(super) fn prove(blob: Blob, bytes: &[u8]) -> Option<[u8; 32]> {
    let mut proof = Proof::new(blob);
    proof.update(bytes);
    proof.finish()
}

fn prove_file(entry: &Entry) -> io::Result<Option<[u8; 32]>> {
    let mut proof = Proof::new(entry.blob);
    let mut buffer = Vec::new();
    for block in entry.map.all().iter() {
        let range = block.bytes(entry.blob.size);
        buffer.resize(range.len() as usize, 0);
        entry.file.file.read_exact_at(&mut buffer, range.start)?;
        proof.update(&buffer);
    }
    Ok(proof.finish())
}

/// Reads the whole file, so not on a thread of the runtime.
async fn blocking<T: Send + 'static>(
    entry: &Arc<Entry>,
    job: impl FnOnce(&Entry) -> T + Send + 'static,
) -> Result<T, CacheError> {
    let entry = entry.clone();
    tokio::task::spawn_blocking(move || job(&entry)).await.map_err(|_| CacheError::Stopping)
}

impl BlockCache {
    /// Starts proving a blob whose last block has landed. Readers go on meanwhile.
    pub(super) fn seal_if_complete(self: &Arc<Self>, entry: &Arc<Entry>) {
        if entry.begin_sealing() {
            self.spawn_seal(entry, None);
        }
    }

    /// Seals a blob that was proved on its way in.
    pub(super) fn seal_proved(self: &Arc<Self>, entry: &Arc<Entry>, sha256: [u8; 32]) {
        if entry.begin_sealing() {
            self.spawn_seal(entry, Some(sha256));
        }
    }

    fn spawn_seal(self: &Arc<Self>, entry: &Arc<Entry>, proof: Option<[u8; 32]>) {
        let (cache, entry) = (self.clone(), entry.clone());
        self.tasks.spawn(async move {
            if let Err(error) = cache.prove_and_seal(&entry, proof).await {
                entry.unsealed();
                tracing::warn!(%error, blob = %entry.blob.id, "a complete file could not be sealed; the next use tries again");
            }
        });
    }

    async fn prove_and_seal(self: &Arc<Self>, entry: &Arc<Entry>, proof: Option<[u8; 32]>) -> Result<(), CacheError> {
        // Before it is read: what is written from here on shows.
        let stamp = files::stamp(&entry.file.file).map_err(|source| entry.file.error(source))?;
        let proof = match proof {
            Some(sha256) => Some(sha256),
            None => blocking(entry, prove_file).await?.map_err(|source| entry.file.error(source))?,
        };
        match proof {
            Some(sha256) => self.sealed(entry, sha256, stamp).await,
            None => self.refuse_to_seal(entry).await,
        }
    }

    async fn sealed(&self, entry: &Entry, sha256: [u8; 32], stamp: FileStamp) -> Result<(), CacheError> {
        // The seal says that every block is recorded: it must not overtake the last of them.
        self.recorder.flush().await;
        let seal = self.db.seal(entry.blob, sha256, stamp).await?;
        entry.sealed(seal);
        tracing::debug!(blob = %entry.blob.id, epoch = seal.epoch, "complete and verified");
        self.announce(entry.blob);
        Ok(())
    }

    /// Blocks that are not as they came are this disk's fault; else it is the origin's, and nothing of it can be used.
    async fn refuse_to_seal(self: &Arc<Self>, entry: &Arc<Entry>) -> Result<(), CacheError> {
        let damage = blocking(entry, Entry::find_damage).await?;
        if damage.is_empty() {
            self.mismatched(entry);
            self.forget_all(entry);
        }
        for blocks in damage {
            self.drop_damaged(entry, blocks);
        }
        Ok(())
    }

    pub(super) fn mismatched(&self, entry: &Entry) {
        entry.mismatched();
        self.metrics.mismatched_blobs.add(1);
        tracing::error!(blob = %entry.blob.id, "what arrived does not match its hash; it is dropped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_proved_by_the_hash_it_is_named_by() {
        let bytes = b"hello\n";
        // Both as `git hash-object` and `sha256sum` print them.
        let git = BlobId::from_etag("ce013625030ba8dba906f756967f9e9ca394464a").unwrap();
        let sha = BlobId::from_etag("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03").unwrap();
        for id in [git, sha] {
            assert!(prove(Blob { id, size: 6 }, bytes).is_some());
            assert!(prove(Blob { id, size: 6 }, b"hellO\n").is_none());
        }
    }
}
