//! What a killed daemon left on record, compared with what the Hub has, with the disk, and with what was fetched later.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use test_hub::RequestRecord;
use weightfs::db::Database;
use weightfs::types::{BLOCK_SIZE, Blob};
use xxhash_rust::xxh3::xxh3_128;

use crate::originals::Original;

#[derive(Default)]
pub struct Record(HashMap<Blob, Recorded>);

#[derive(Default)]
struct Recorded {
    /// On record and on the disk.
    blocks: HashSet<usize>,
    /// On record, and the disk has something else. Its checksum tells.
    torn: HashSet<usize>,
    sealed: bool,
}

impl Record {
    /// From a copy: to open a database left by a kill repairs it, and that is for the next daemon to do.
    pub fn read<'a>(cache: &Path, originals: impl Iterator<Item = &'a Original>) -> Self {
        let copy = tempfile::tempdir().unwrap();
        for name in ["models.db", "models.db-wal"] {
            match fs::copy(cache.join(name), copy.path().join(name)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => panic!("{name}: {error}"),
            }
        }
        let db = Database::open(&copy.path().join("models.db")).unwrap();
        Self(originals.map(|original| (original.blob, Recorded::read(&db, cache, original))).collect())
    }

    pub fn blocks(&self) -> usize {
        self.0.values().map(|recorded| recorded.blocks.len()).sum()
    }

    /// None of what was on record before a life was asked for in it. `log` is that of the life.
    pub fn assert_not_fetched_again<'a>(
        &self,
        log: &[RequestRecord],
        originals: impl Iterator<Item = &'a Original>,
        life: u64,
    ) {
        for original in originals {
            let Some(recorded) = self.0.get(&original.blob) else { continue };
            let etag = original.blob.id.etag();
            let about = |request: &&RequestRecord| request.is_data() && request.blob.as_ref() == Some(&etag);
            let whole = recorded.blocks.len() == original.blocks();
            for request in log.iter().filter(about).filter(|_| whole || original.is_large()) {
                let again = asked_blocks(request).filter(|block| recorded.blocks.contains(block)).count();
                assert_eq!(again, 0, "life {life} fetched what was on record: {request:?}");
            }
        }
    }

    /// A life that evicted nothing recorded only what was on the disk.
    pub fn assert_no_more_torn_than(&self, before: &Self, life: u64) {
        for (blob, recorded) in &self.0 {
            let known = before.0.get(blob).map(|recorded| &recorded.torn);
            let new = recorded.torn.iter().filter(|block| known.is_none_or(|known| !known.contains(block)));
            assert_eq!(
                new.count(),
                0,
                "life {life}: of {} {:?} are on record and not on the disk",
                blob.id,
                recorded.torn
            );
        }
    }

    pub fn assert_all_there<'a>(&self, originals: impl Iterator<Item = &'a Original>) {
        for original in originals {
            let recorded = &self.0[&original.blob];
            assert_eq!(recorded.blocks.len(), original.blocks(), "{}", original.path.display());
            assert!(recorded.sealed, "{} is complete and not sealed", original.path.display());
        }
    }
}

impl Recorded {
    /// Whatever is on the disk: the checksums on record are those of the right bytes.
    fn read(db: &Database, cache: &Path, original: &Original) -> Self {
        let mut found = Self::default();
        let file = File::open(original.stored(cache)).ok();
        let mut buffer = vec![0; BLOCK_SIZE as usize];
        for chunk in db.coverage(&original.blob).unwrap() {
            for bit in (0..64).filter(|bit| chunk.present >> bit & 1 == 1) {
                let block = chunk.chunk as usize * 64 + bit;
                let right = original.block(block);
                assert_eq!(chunk.sums[bit], xxh3_128(right), "{}: block {block}", original.path.display());
                let stored = &mut buffer[..right.len()];
                let read = file.as_ref().map(|file| file.read_exact_at(stored, block as u64 * BLOCK_SIZE));
                let is_right = matches!(read, Some(Ok(()))) && stored == right;
                if is_right {
                    found.blocks.insert(block)
                } else {
                    found.torn.insert(block)
                };
            }
        }
        found.sealed = db.blob(&original.blob).unwrap().is_some_and(|row| row.seal.is_some());
        let recorded = found.blocks.len() + found.torn.len();
        assert!(!found.sealed || recorded == original.blocks(), "{} is sealed and not whole", original.path.display());
        found
    }
}

/// Of a request that was answered with a range, or with the whole.
fn asked_blocks(request: &RequestRecord) -> std::ops::RangeInclusive<usize> {
    let Some(range) = &request.range else { return 0..=usize::MAX / BLOCK_SIZE as usize };
    let (first, last) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')).unwrap();
    let block = |offset: &str| (offset.parse::<u64>().unwrap() / BLOCK_SIZE) as usize;
    block(first)..=block(last)
}
