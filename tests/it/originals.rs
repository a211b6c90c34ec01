//! What the Hub has, and so what every read must give, while daemons are killed.

use std::path::{Path, PathBuf};

use sha1::Sha1;
use sha2::{Digest, Sha256};
use test_hub::{Files, Hub};
use weightfs::types::{BLOCK_SIZE, Blob, BlobId};

use crate::harness::{Dice, noise};

const MIB: usize = 1 << 20;

/// Of each kind one: a git file, content that is proved before it is served, and content that is proved at its end.
const FILES: [(&str, usize); 4] = [
    ("config.json", 700),
    ("small.safetensors", 2 * MIB + 9),
    ("a.safetensors", 9 * MIB + 1),
    ("b.safetensors", 13 * MIB),
];

pub struct Original {
    /// Below the mount.
    pub path: PathBuf,
    pub blob: Blob,
    pub bytes: Vec<u8>,
}

impl Original {
    fn new(path: PathBuf, bytes: Vec<u8>) -> Self {
        let etag = if path.extension().is_some_and(|kind| kind == "json") {
            let header = format!("blob {}\0", bytes.len());
            hex::encode(Sha1::new().chain_update(header).chain_update(&bytes).finalize())
        } else {
            hex::encode(Sha256::digest(&bytes))
        };
        Self { path, blob: Blob { id: BlobId::from_etag(&etag).unwrap(), size: bytes.len() as u64 }, bytes }
    }

    /// Whether it is fetched a run of blocks at a time, and not whole.
    pub fn is_large(&self) -> bool {
        self.bytes.len() > 8 * MIB
    }

    pub fn block(&self, number: usize) -> &[u8] {
        let start = number * BLOCK_SIZE as usize;
        &self.bytes[start..self.bytes.len().min(start + BLOCK_SIZE as usize)]
    }

    pub fn blocks(&self) -> usize {
        self.bytes.len().div_ceil(BLOCK_SIZE as usize)
    }

    /// Where a cache directory keeps it.
    pub fn stored(&self, cache: &Path) -> PathBuf {
        let etag = self.blob.id.etag();
        cache.join("blobs").join(self.blob.id.tag()).join(&etag[..2]).join(format!("{etag}-{}", self.blob.size))
    }
}

/// One of those of the first `begun` ages, mostly of the newest.
pub fn choose<'a>(ages: &'a [Vec<Original>], begun: usize, dice: &mut Dice) -> &'a Original {
    let age = if dice.once_in(4) { dice.below(begun) } else { begun - 1 };
    let model = &ages[age];
    &model[dice.below(model.len())]
}

/// A model for each age.
pub fn publish(hub: &Hub, ages: usize) -> Vec<Vec<Original>> {
    let publish = |age: usize| {
        let contents: Vec<_> =
            FILES.iter().map(|(name, len)| (*name, noise((age * 100 + name.len()) as u64, *len))).collect();
        let files: Files = contents.iter().cloned().collect();
        let commit = hub.commit(format!("acme/age-{age}").as_str(), files).unwrap();
        let snapshot = PathBuf::from(format!("hub/models--acme--age-{age}/snapshots/{commit}"));
        contents.into_iter().map(|(name, bytes)| Original::new(snapshot.join(name), bytes)).collect()
    };
    (0..ages).map(publish).collect()
}
