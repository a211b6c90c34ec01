//! Coverage: which blocks of which blobs are on this disk, and what they hash to.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{CHUNK_BLOCKS, Database, DbError, now};
use crate::types::{Blob, BlockIndex, BlockRange};

/// A blob's row, as far as the cache needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobRow {
    pub seal: Option<Seal>,
    /// Whole contents in a row that were not what they are called.
    pub mismatches: u32,
}

/// A blob is complete and equal to what its origin states, and this was its file then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// Which sealing of this blob it is, from 1 on. A number never comes again.
    pub epoch: u64,
    pub file: FileStamp,
}

/// By what a file shows that it has been written to since, whoever did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    pub size: u64,
    pub ctime_ns: i64,
}

/// A row of `blocks`: the presence and checksums of 64 blocks.
#[derive(Debug, Clone)]
pub struct StoredChunk {
    pub chunk: u32,
    pub present: u64,
    /// XXH3-128 of each block; meaningless where `present` has no bit.
    pub sums: Vec<u128>,
}

/// A block whose bytes are synced to disk.
#[derive(Debug, Clone, Copy)]
pub struct LandedBlock {
    pub block: BlockIndex,
    pub sum: u128,
}

const SUM_BYTES: usize = 16;

impl StoredChunk {
    fn empty(chunk: u32) -> Self {
        Self { chunk, present: 0, sums: vec![0; CHUNK_BLOCKS as usize] }
    }

    /// Whether the block is recorded with this checksum.
    pub fn has(&self, block: BlockIndex, sum: u128) -> bool {
        let bit = block.0 % CHUNK_BLOCKS;
        block.0 / CHUNK_BLOCKS == self.chunk && self.present >> bit & 1 == 1 && self.sums[bit as usize] == sum
    }

    fn mark(&mut self, landed: LandedBlock) {
        let bit = landed.block.0 % CHUNK_BLOCKS;
        self.present |= 1 << bit;
        self.sums[bit as usize] = landed.sum;
    }

    fn clear(&mut self, blocks: BlockRange) {
        for bit in (0..CHUNK_BLOCKS).filter(|bit| blocks.contains(BlockIndex(self.chunk * CHUNK_BLOCKS + bit))) {
            self.present &= !(1 << bit);
        }
    }

    /// What the present blocks hold of a content of `size` bytes.
    fn bytes(&self, size: u64) -> u64 {
        let present = (0..CHUNK_BLOCKS).filter(|bit| self.present >> bit & 1 == 1);
        present.map(|bit| BlockIndex(self.chunk * CHUNK_BLOCKS + bit).bytes(size).len()).sum()
    }

    fn sums_as_bytes(&self) -> Vec<u8> {
        self.sums.iter().flat_map(|sum| sum.to_be_bytes()).collect()
    }

    /// A row of the wrong length says nothing that can be trusted: its blocks count as absent.
    fn decode(chunk: u32, present: i64, sums: &[u8]) -> Self {
        if sums.len() != CHUNK_BLOCKS as usize * SUM_BYTES {
            return Self::empty(chunk);
        }
        let sums = sums.chunks_exact(SUM_BYTES).map(|sum| u128::from_be_bytes(sum.try_into().expect("16 bytes")));
        Self { chunk, present: present as u64, sums: sums.collect() }
    }
}

impl Database {
    /// `None` for a blob that no listing has named yet.
    pub fn blob(&self, blob: &Blob) -> Result<Option<BlobRow>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT sealed_at, epoch, file_size, file_ctime_ns, mismatches FROM blobs WHERE name = ?1 AND size = ?2",
            )?;
            query.query_row(key(blob), |row| Ok(BlobRow { seal: seal(row)?, mismatches: row.get(4)? })).optional()
        })
    }

    pub fn coverage(&self, blob: &Blob) -> Result<Vec<StoredChunk>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT chunk, present, sums FROM blocks JOIN blobs ON blobs.id = blob_id
                 WHERE name = ?1 AND size = ?2",
            )?;
            let rows = query.query_map(key(blob), |row| {
                let sums = row.get_ref(2)?.as_blob()?;
                Ok(StoredChunk::decode(row.get(0)?, row.get(1)?, sums))
            })?;
            rows.collect()
        })
    }

    /// Records blocks as present. The caller has synced their bytes: what is recorded survives a power cut.
    pub async fn record(&self, blob: Blob, landed: Vec<LandedBlock>) -> Result<(), DbError> {
        self.write(move |db| {
            let row = ensure_blob(db, blob)?;
            db.prepare_cached("UPDATE blobs SET checked_at = ?2 WHERE id = ?1 AND checked_at IS NULL")?
                .execute(params![row, now() as i64])?;
            let mut chunks: Vec<StoredChunk> = Vec::new();
            for landed in landed {
                let number = landed.block.0 / CHUNK_BLOCKS;
                let known = chunks.iter().position(|chunk| chunk.chunk == number);
                let index = match known {
                    Some(index) => index,
                    None => {
                        chunks.push(stored_chunk(db, row, number)?);
                        chunks.len() - 1
                    }
                };
                chunks[index].mark(landed);
            }
            db.prepare_cached("UPDATE blobs SET used_at = ?2 WHERE id = ?1 AND used_at IS NULL")?
                .execute(params![row, now() as i64])?;
            chunks.iter().try_for_each(|chunk| store_chunk(db, row, blob.size, chunk))
        })
        .await
    }

    /// The bytes of these blocks cannot be trusted any more, and so the blob is not sealed.
    pub async fn forget_blocks(&self, blob: Blob, blocks: BlockRange) -> Result<(), DbError> {
        self.write(move |db| {
            let row = ensure_blob(db, blob)?;
            db.execute("UPDATE blobs SET sealed_at = NULL, sha256 = NULL WHERE id = ?1", [row])?;
            let mut query =
                db.prepare_cached("SELECT chunk FROM blocks WHERE blob_id = ?1 AND chunk >= ?2 AND chunk < ?3")?;
            let chunks = params![row, blocks.first.0 / CHUNK_BLOCKS, blocks.end.0.div_ceil(CHUNK_BLOCKS)];
            let stored = query.query_map(chunks, |row| row.get(0))?.collect::<Result<Vec<u32>, _>>()?;
            for number in stored {
                let mut chunk = stored_chunk(db, row, number)?;
                chunk.clear(blocks);
                store_chunk(db, row, blob.size, &chunk)?;
            }
            Ok(())
        })
        .await
    }

    /// The blob is complete and equal to what its origin states.
    pub async fn seal(&self, blob: Blob, sha256: [u8; 32], file: FileStamp) -> Result<Seal, DbError> {
        self.write(move |db| {
            let row = ensure_blob(db, blob)?;
            let epoch: i64 = db.query_row(
                "UPDATE blobs SET sealed_at = ?2, sha256 = ?3, file_size = ?4, file_ctime_ns = ?5, epoch = epoch + 1,
                        proved_at = ?2, checked_at = ?2, mismatches = 0
                 WHERE id = ?1 RETURNING epoch",
                params![row, now() as i64, sha256, file.size as i64, file.ctime_ns],
                |row| row.get(0),
            )?;
            Ok(Seal { epoch: epoch as u64, file })
        })
        .await
    }

    /// A whole content arrived that is not what it is called.
    pub async fn mismatched(&self, blob: Blob) -> Result<(), DbError> {
        self.write(move |db| {
            let row = ensure_blob(db, blob)?;
            db.execute("UPDATE blobs SET mismatches = mismatches + 1 WHERE id = ?1", [row])?;
            Ok(())
        })
        .await
    }

    /// What was wrong is not held against it any more.
    pub async fn forgive(&self, blob: Blob) -> Result<(), DbError> {
        self.write(move |db| {
            db.execute("UPDATE blobs SET mismatches = 0 WHERE name = ?1 AND size = ?2", key(&blob))?;
            Ok(())
        })
        .await
    }

    /// Everything of it that is on record was read again; if it is sealed and `proved`, the whole is what it is called.
    pub async fn checked(&self, blob: Blob, proved: bool) -> Result<(), DbError> {
        self.write(move |db| {
            let (name, size) = key(&blob);
            db.execute(
                "UPDATE blobs SET checked_at = ?3,
                        proved_at = iif(?4 AND sealed_at IS NOT NULL, ?3, proved_at) WHERE name = ?1 AND size = ?2",
                params![name, size, now() as i64, proved],
            )?;
            Ok(())
        })
        .await
    }

    /// The other sealed contents of the same bytes.
    pub fn equal(&self, blob: &Blob) -> Result<Vec<Blob>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT other.name, other.size FROM blobs JOIN blobs AS other
                     ON other.sha256 = blobs.sha256 AND other.size = blobs.size AND other.id != blobs.id
                 WHERE blobs.name = ?1 AND blobs.size = ?2
                   AND blobs.sealed_at IS NOT NULL AND other.sealed_at IS NOT NULL",
            )?;
            let rows = query.query_map(key(blob), stored_blob)?;
            rows.filter_map(Result::transpose).collect()
        })
    }

    /// The one file of this sealed blob and others of equal content looks different now.
    pub async fn restamp_all(&self, blob: Blob, before: FileStamp, now: FileStamp) -> Result<(), DbError> {
        self.write(move |db| {
            let (name, size) = key(&blob);
            let stamps = params![name, size, before.size as i64, before.ctime_ns, now.size as i64, now.ctime_ns];
            db.execute(
                "UPDATE blobs SET file_size = ?5, file_ctime_ns = ?6
                 WHERE sha256 = (SELECT sha256 FROM blobs WHERE name = ?1 AND size = ?2) AND size = ?2
                   AND file_size = ?3 AND file_ctime_ns = ?4 AND sealed_at IS NOT NULL",
                stamps,
            )?;
            Ok(())
        })
        .await
    }

    /// The file of a sealed blob looks different now, and is still what was proved.
    pub async fn restamp(&self, blob: Blob, epoch: u64, file: FileStamp) -> Result<(), DbError> {
        self.write(move |db| {
            let (name, size) = key(&blob);
            db.execute(
                "UPDATE blobs SET file_size = ?4, file_ctime_ns = ?5
                 WHERE name = ?1 AND size = ?2 AND epoch = ?3 AND sealed_at IS NOT NULL",
                params![name, size, epoch as i64, file.size as i64, file.ctime_ns],
            )?;
            Ok(())
        })
        .await
    }

    /// Every content of which some block is on record.
    pub fn recorded(&self) -> Result<Vec<Blob>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT name, size FROM blobs WHERE EXISTS (SELECT 1 FROM blocks WHERE blob_id = id AND present != 0)",
            )?;
            let rows = query.query_map([], stored_blob)?;
            rows.filter_map(Result::transpose).collect()
        })
    }

    /// The content on this disk that was not checked for longest, and when it was.
    pub fn next_to_check(&self) -> Result<Option<(Blob, u64)>, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT name, size, coalesce(checked_at, 0) AS at FROM blobs
                 WHERE EXISTS (SELECT 1 FROM blocks WHERE blob_id = id AND present != 0) ORDER BY at",
            )?;
            let rows = query.query_map([], |row| Ok(stored_blob(row)?.zip(Some(row.get::<_, i64>(2)? as u64))))?;
            // A name that cannot be read keeps no other from its turn.
            rows.filter_map(Result::transpose).next().transpose()
        })
    }

    /// Bytes of one content on this disk, by the record.
    pub fn cached_bytes_of(&self, blob: &Blob) -> Result<u64, DbError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT coalesce(sum(bytes), 0) FROM blobs JOIN blocks ON blob_id = blobs.id
                 WHERE name = ?1 AND size = ?2",
            )?;
            query.query_row(key(blob), |row| row.get::<_, i64>(0))
        })
        .map(|bytes| bytes as u64)
    }

    /// Bytes of contents on this disk, by the record.
    pub fn cached_bytes(&self) -> Result<u64, DbError> {
        self.read(|db| {
            db.query_row("SELECT coalesce(sum(cached_bytes), 0) FROM blob_coverage", [], |row| row.get::<_, i64>(0))
        })
        .map(|bytes| bytes as u64)
    }
}

fn seal(row: &Row) -> Result<Option<Seal>, rusqlite::Error> {
    let (sealed_at, size, ctime_ns): (Option<i64>, Option<i64>, Option<i64>) = (row.get(0)?, row.get(2)?, row.get(3)?);
    let (Some(_), Some(size), Some(ctime_ns)) = (sealed_at, size, ctime_ns) else { return Ok(None) };
    let file = FileStamp { size: size as u64, ctime_ns };
    Ok(Some(Seal { epoch: row.get::<_, i64>(1)? as u64, file }))
}

/// A stored name that does not parse names nothing.
pub(super) fn stored_blob(row: &Row) -> Result<Option<Blob>, rusqlite::Error> {
    let (name, size): (String, i64) = (row.get(0)?, row.get(1)?);
    Ok(name.parse().ok().map(|id| Blob { id, size: size as u64 }))
}

pub(super) fn key(blob: &Blob) -> (String, i64) {
    (blob.id.to_string(), blob.size as i64)
}

fn ensure_blob(db: &Connection, blob: Blob) -> Result<i64, rusqlite::Error> {
    db.prepare_cached("INSERT INTO blobs (name, size) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?.execute(key(&blob))?;
    db.prepare_cached("SELECT id FROM blobs WHERE name = ?1 AND size = ?2")?.query_row(key(&blob), |row| row.get(0))
}

fn stored_chunk(db: &Connection, row: i64, chunk: u32) -> Result<StoredChunk, rusqlite::Error> {
    let mut query = db.prepare_cached("SELECT present, sums FROM blocks WHERE blob_id = ?1 AND chunk = ?2")?;
    let stored = query
        .query_row(params![row, chunk], |row| Ok(StoredChunk::decode(chunk, row.get(0)?, row.get_ref(1)?.as_blob()?)));
    Ok(stored.optional()?.unwrap_or_else(|| StoredChunk::empty(chunk)))
}

fn store_chunk(db: &Connection, row: i64, size: u64, chunk: &StoredChunk) -> Result<(), rusqlite::Error> {
    let sums = chunk.sums_as_bytes();
    db.prepare_cached(
        "INSERT OR REPLACE INTO blocks (blob_id, chunk, present, sums, bytes) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![row, chunk.chunk, chunk.present as i64, sums, chunk.bytes(size) as i64])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BLOCK_SIZE, BlobId};

    fn landed(block: u32) -> LandedBlock {
        LandedBlock { block: BlockIndex(block), sum: u128::from(block) << 64 | 7 }
    }

    #[tokio::test]
    async fn blocks_read_back_with_their_checksums() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.db");
        let blob = Blob { id: BlobId::Sha256([3; 32]), size: 130 * BLOCK_SIZE - 1 };
        let db = Database::open(&path).unwrap();
        db.record(blob, vec![landed(0), landed(63), landed(64)]).await.unwrap();
        db.record(blob, vec![landed(129)]).await.unwrap();
        drop(db);

        let db = Database::open(&path).unwrap();
        let mut present = Vec::new();
        for chunk in db.coverage(&blob).unwrap() {
            for bit in (0..CHUNK_BLOCKS).filter(|bit| chunk.present >> bit & 1 == 1) {
                let block = chunk.chunk * CHUNK_BLOCKS + bit;
                assert_eq!(chunk.sums[bit as usize], landed(block).sum);
                present.push(block);
            }
        }
        assert_eq!(present, [0, 63, 64, 129]);
        assert_eq!(db.cached_bytes().unwrap(), 4 * BLOCK_SIZE - 1, "the last block is short");
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_read_keeps_no_other_from_being_checked() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(&folder.path().join("models.db")).unwrap();
        let blobs = [3, 4].map(|byte| Blob { id: BlobId::Sha256([byte; 32]), size: BLOCK_SIZE });
        for blob in blobs {
            db.record(blob, vec![landed(0)]).await.unwrap();
        }
        let damage = "UPDATE blobs SET name = 'rubbish', checked_at = 0 WHERE name = ?1";
        db.write(move |db| db.execute(damage, [blobs[0].id.to_string()])).await.unwrap();
        assert_eq!(db.next_to_check().unwrap().map(|(blob, _)| blob), Some(blobs[1]));
    }

    #[tokio::test]
    async fn a_forgotten_block_unseals_its_blob() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(&folder.path().join("models.db")).unwrap();
        let blob = Blob { id: BlobId::Sha256([3; 32]), size: 2 * BLOCK_SIZE };
        db.record(blob, vec![landed(0), landed(1)]).await.unwrap();
        let file = FileStamp { size: blob.size, ctime_ns: 5 };
        let first = db.seal(blob, [3; 32], file).await.unwrap();
        assert_eq!(db.blob(&blob).unwrap().unwrap().seal, Some(first));
        db.forget_blocks(blob, BlockRange::new(1..2)).await.unwrap();
        assert_eq!(db.blob(&blob).unwrap().unwrap().seal, None);
        assert_eq!(db.coverage(&blob).unwrap()[0].present, 1);
        let second = db.seal(blob, [3; 32], file).await.unwrap();
        assert!(second.epoch > first.epoch, "a sealing's number never comes again");
    }
}
