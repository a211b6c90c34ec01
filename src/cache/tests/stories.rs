//! What a node does in a short life, over a disk and a database that give trouble: the readers' part of it must hold.

use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::space::Library;
use super::*;
use crate::cache::disk::Disk;
use crate::db::DatabaseSettings;

/// However slow the machine is: what takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(120);

/// A content that is proved before it is served, two that are not, and all of them small enough to be copied often.
pub(super) const SIZES: [u64; 3] = [BLOCK_SIZE + 5, 9 * BLOCK_SIZE + 77, 10 * BLOCK_SIZE];

pub(super) struct Life {
    pub(super) library: Arc<Library>,
    pub(super) db: Arc<Database>,
    pub(super) cache: Arc<BlockCache>,
    pub(super) metrics: Arc<Metrics>,
}

/// What came of reading it all.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reads {
    pub(super) right: usize,
    pub(super) failed: usize,
}

impl Life {
    pub(super) fn begin(folder: &Path, library: &Arc<Library>, disk: Arc<dyn Disk>) -> Result<Self, CacheError> {
        let metrics = Arc::new(Metrics::default());
        let settings = DatabaseSettings { patience: Duration::from_millis(200), ..DatabaseSettings::default() };
        let db = Arc::new(Database::open_with(&folder.join("models.db"), &settings, metrics.clone())?);
        let settings = CacheSettings {
            give_up: Duration::from_secs(60),
            memory: 128 << 20,
            space: SpaceSettings::default(),
            integrity: IntegritySettings::default(),
        };
        let cache = BlockCache::open_on(disk, folder, db.clone(), library.clone(), metrics.clone(), settings)?;
        Ok(Self { library: library.clone(), db, cache, metrics })
    }

    /// Reads a range as `fs` does. A wrong byte or a hang ends the test.
    async fn read(&self, number: usize, range: ByteRange) -> Result<(), CacheError> {
        let file = &self.library.files[number];
        let lease = self.cache.lease(file.blob)?;
        let mut buffer = Vec::new();
        // What turns out to be damaged when it is read is fetched again.
        for _ in 0..4 {
            if let Some(bytes) = self.cache.try_read(&lease, range, &mut buffer) {
                let expected = &self.library.contents[&file.blob.id][range.start as usize..range.end as usize];
                assert!(bytes == expected, "wrong bytes of file {number} in {range:?}");
                return Ok(());
            }
            let _fetched = self.cache.fetch(&anybody(), file, &lease, range).await?;
            if let Some(bytes) = self.cache.try_read(&lease, range, &mut buffer) {
                let expected = &self.library.contents[&file.blob.id][range.start as usize..range.end as usize];
                assert!(bytes == expected, "wrong bytes of file {number} in {range:?}");
                return Ok(());
            }
        }
        Err(CacheError::NoRoom)
    }

    /// Reads every byte of every file, in pieces that begin and end anywhere.
    pub(super) async fn read_all(&self) -> Reads {
        let mut reads = Reads::default();
        for (number, file) in self.library.files.iter().enumerate() {
            let step = 1_300_000;
            for at in (0..file.blob.size).step_by(step) {
                let range = ByteRange::at(at, step as u64).clamp(file.blob.size);
                match tokio::time::timeout(DEADLINE, self.read(number, range)).await.expect("a read hangs") {
                    Ok(()) => reads.right += 1,
                    Err(_) => reads.failed += 1,
                }
            }
        }
        reads
    }

    /// Reads at random, and now and then looks through a content or evicts one.
    pub(super) async fn live(&self, seed: u64, evicting: bool) {
        let mut random = StdRng::seed_from_u64(seed);
        for _ in 0..24 {
            let number = random.random_range(0..SIZES.len());
            let blob = self.library.files[number].blob;
            match random.random_range(0..10) {
                0 if evicting => drop(self.cache.evict(blob).await),
                1 => drop(self.cache.verify(blob, &mut |_| {}).await),
                2 => self.cache.flush().await,
                3 => self.cache.prefetch_all(number, &self.library),
                _ => {
                    let at = random.random_range(0..blob.size);
                    let range = ByteRange::at(at, random.random_range(1..3 * BLOCK_SIZE)).clamp(blob.size);
                    let read = tokio::time::timeout(DEADLINE, self.read(number, range));
                    drop(read.await.expect("a read hangs"));
                }
            }
        }
    }

    pub(super) async fn end(self) {
        tokio::time::timeout(DEADLINE, self.cache.stop()).await.expect("the stop hangs");
    }

    /// Waits until every content is proved and said to be so.
    pub(super) async fn all_sealed(&self) {
        for file in &self.library.files {
            let sealed = async {
                while self.cache.lease(file.blob).unwrap().0.seal().is_none() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    self.cache.seal_left_open().await;
                }
            };
            tokio::time::timeout(DEADLINE, sealed).await.expect("it is never sealed");
        }
    }
}

impl BlockCache {
    fn prefetch_all(self: &Arc<Self>, number: usize, library: &Library) {
        let file = &library.files[number];
        if let Ok(lease) = self.lease(file.blob) {
            self.prefetch(&anybody(), file, &lease, ByteRange::new(0, file.blob.size));
        }
    }
}

pub(super) fn library() -> Arc<Library> {
    Arc::new(Library::of(&SIZES))
}
