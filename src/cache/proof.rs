//! Proof of contents: do the bytes hash to what they are called? Pure; for whatever is complete, on its way in or on a disk.

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::stated::Running;
use crate::types::{Blob, BlobId};

/// Both hashes of a content: what it is named by, or stated to have, and the one that equal contents share.
pub struct Proof {
    sha256: Sha256,
    named: Named,
}

enum Named {
    Sha256([u8; 32]),
    Git {
        stated: [u8; 20],
        running: Sha1,
    },
    Stated(Box<Running>),
    /// The word of whoever delivered it is all there is.
    Nothing,
}

impl Proof {
    pub fn new(blob: Blob) -> Self {
        let named = match blob.id {
            BlobId::Sha256(stated) => Named::Sha256(stated),
            BlobId::GitSha1(stated) => {
                Named::Git { stated, running: Sha1::new().chain_update(format!("blob {}\0", blob.size)) }
            }
            BlobId::S3 { checksum: Some(stated), .. } => Named::Stated(Box::new(Running::new(stated))),
            BlobId::Local(_) | BlobId::S3 { checksum: None, .. } => Named::Nothing,
        };
        Self { sha256: Sha256::new(), named }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        match &mut self.named {
            Named::Git { running, .. } => running.update(bytes),
            Named::Stated(running) => running.update(bytes),
            Named::Sha256(_) | Named::Nothing => {}
        }
    }

    /// The sha256 of the content if nothing says that it is another one.
    pub fn finish(self) -> Option<[u8; 32]> {
        let sha256: [u8; 32] = self.sha256.finalize().into();
        let proved = match self.named {
            Named::Sha256(stated) => stated == sha256,
            Named::Git { stated, running } => stated == <[u8; 20]>::from(running.finalize()),
            Named::Stated(running) => running.agrees(),
            Named::Nothing => true,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Checksum, Sum};

    #[test]
    fn a_content_is_proved_by_the_hash_it_is_named_by() {
        let bytes = b"hello\n";
        // Both as `git hash-object` and `sha256sum` print them.
        let git = BlobId::from_etag("ce013625030ba8dba906f756967f9e9ca394464a").unwrap();
        let sha = BlobId::from_etag("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03").unwrap();
        // As zlib has it.
        let checksum = Some(Checksum::of_whole(Sum::Crc32(0x363a_3020_u32.to_be_bytes())));
        for id in [git, sha, BlobId::S3 { version: [1; 16], checksum }] {
            assert!(prove(Blob { id, size: 6 }, bytes).is_some());
            assert!(prove(Blob { id, size: 6 }, b"hellO\n").is_none());
        }
    }
}
