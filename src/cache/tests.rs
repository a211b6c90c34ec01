//! The cache against an origin that does as it is told.

mod disks;
mod faults;
mod integrity;
mod power;
mod space;
mod stories;
mod transfer;

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::{BlockCache, CacheError, CacheSettings, Fill, IntegritySettings, Lease, SpaceSettings};
use crate::db::{Database, Seal};
use crate::metrics::Metrics;
use crate::origin::{ByteStream, Origin, OriginError, OriginErrorKind};
use crate::types::{BLOCK_SIZE, Blob, BlobId, BlockRange, ByteRange, Commit, Identity, RemoteFile, RepoPath, Token};

/// Serves one content in pieces, and notes every range it is asked for.
struct Scripted {
    content: Vec<u8>,
    asked: Mutex<Vec<ByteRange>>,
    /// The next attempts go wrong like this, first one first.
    troubles: Mutex<Vec<Trouble>>,
    /// Pieces that may go out; unlimited unless a test takes hold of it.
    gate: Option<Arc<Semaphore>>,
    /// Only this token is let in, if one is set.
    only: Option<Token>,
    open: AtomicUsize,
}

enum Trouble {
    None,
    Panic,
    Refuse(OriginErrorKind),
    BreakAfter(usize),
    FlipAt(usize),
}

const PIECE: usize = 256 << 10;

impl Scripted {
    fn new(len: usize) -> Self {
        let content = (0..len).map(|at| (at.wrapping_mul(31) >> 3) as u8).collect();
        Self {
            content,
            asked: Mutex::default(),
            troubles: Mutex::default(),
            gate: None,
            only: None,
            open: AtomicUsize::new(0),
        }
    }

    fn file(&self) -> RemoteFile {
        let id = BlobId::Sha256(Sha256::digest(&self.content).into());
        RemoteFile {
            repo: "acme/tiny".parse().unwrap(),
            commit: Commit::from_bytes([1; 20]),
            path: RepoPath::new("model.safetensors").unwrap(),
            blob: Blob { id, size: self.content.len() as u64 },
        }
    }

    fn asked_bytes(&self) -> u64 {
        self.asked.lock().iter().map(ByteRange::len).sum()
    }

    fn error(kind: OriginErrorKind) -> OriginError {
        OriginError::new(kind, "http://hub/x", "as told")
    }
}

#[async_trait]
impl Origin for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn open(&self, identity: &Identity, _: &RemoteFile, range: ByteRange) -> Result<ByteStream, OriginError> {
        self.asked.lock().push(range);
        self.open.fetch_add(1, Ordering::SeqCst);
        if self.only.is_some() && identity.token != self.only {
            return Err(Self::error(OriginErrorKind::Denied));
        }
        let mut bytes = self.content[range.start as usize..range.end as usize].to_vec();
        let mut broken = None;
        let trouble = Some(&self.troubles).map(|troubles| troubles.lock()).filter(|left| !left.is_empty());
        match trouble.map(|mut left| left.remove(0)) {
            Some(Trouble::Panic) => panic!("as told"),
            Some(Trouble::Refuse(kind)) => return Err(Self::error(kind)),
            Some(Trouble::BreakAfter(len)) => {
                bytes.truncate(len);
                broken = Some(Self::error(OriginErrorKind::Transient));
            }
            Some(Trouble::FlipAt(at)) => bytes[at] ^= 1,
            Some(Trouble::None) | None => {}
        }
        let pieces: Vec<_> = bytes.chunks(PIECE).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let gate = self.gate.clone();
        let pieces = stream::iter(pieces.into_iter().chain(broken.map(Err))).then(move |piece| {
            let gate = gate.clone();
            async move {
                if let Some(gate) = gate {
                    gate.acquire().await.unwrap().forget();
                }
                piece
            }
        });
        Ok(pieces.boxed())
    }
}

struct Bench {
    folder: tempfile::TempDir,
    origin: Arc<Scripted>,
    cache: Arc<BlockCache>,
    metrics: Arc<Metrics>,
    file: RemoteFile,
}

impl Bench {
    fn new(origin: Scripted) -> Self {
        Self::over(tempfile::tempdir().unwrap(), Arc::new(origin))
    }

    fn over(folder: tempfile::TempDir, origin: Arc<Scripted>) -> Self {
        Self::with(folder, origin, IntegritySettings::default())
    }

    fn with(folder: tempfile::TempDir, origin: Arc<Scripted>, integrity: IntegritySettings) -> Self {
        let space = SpaceSettings::default();
        let settings = CacheSettings { give_up: Duration::from_secs(60), memory: 128 << 20, space, integrity };
        Self::by(folder, origin, settings)
    }

    fn by(folder: tempfile::TempDir, origin: Arc<Scripted>, settings: CacheSettings) -> Self {
        let db = Arc::new(Database::open(&folder.path().join("models.db")).unwrap());
        let metrics = Arc::new(Metrics::default());
        let cache = BlockCache::open(folder.path(), db, origin.clone(), metrics.clone(), settings).unwrap();
        let file = origin.file();
        Self { folder, origin, cache, metrics, file }
    }

    fn lease(&self) -> Lease {
        self.cache.lease(self.file.blob).unwrap()
    }

    async fn read(&self, range: ByteRange) -> Result<Vec<u8>, CacheError> {
        self.read_as(&anybody(), range).await
    }

    async fn read_as(&self, identity: &Identity, range: ByteRange) -> Result<Vec<u8>, CacheError> {
        let (lease, mut buffer) = (self.lease(), Vec::new());
        // As `fs` does: what turns out to be damaged when it is read is fetched again.
        for _ in 0..4 {
            let _fetched = self.cache.fetch(identity, &self.file, &lease, range).await?;
            if let Some(bytes) = self.cache.try_read(&lease, range, &mut buffer) {
                return Ok(bytes.to_vec());
            }
        }
        panic!("it was just fetched")
    }

    fn content(&self, range: ByteRange) -> &[u8] {
        &self.origin.content[range.start as usize..range.end as usize]
    }

    /// Waits until the whole is proved.
    async fn sealed(&self) {
        let sealed = async {
            while self.lease().0.seal().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), sealed).await.expect("it is never sealed");
    }

    fn damage(&self, at: u64) {
        self.lease().0.file.descriptor().write_all_at(b"damage", at).unwrap();
    }

    /// Ends in good order and starts again over the same folder.
    async fn restart(self) -> Self {
        self.cache.stop().await;
        let Self { folder, origin, cache, .. } = self;
        drop(cache);
        origin.asked.lock().clear();
        Self::over(folder, origin)
    }
}

fn anybody() -> Identity {
    Identity::new("http://hub", None, false)
}

fn blocks(from: u64, to: u64) -> ByteRange {
    ByteRange::new(from * BLOCK_SIZE, to * BLOCK_SIZE)
}

const LARGE: usize = 12 << 20;

#[tokio::test]
async fn a_broken_stream_goes_on_where_it_broke() {
    let origin = Scripted::new(LARGE);
    origin.troubles.lock().push(Trouble::BreakAfter(2 * BLOCK_SIZE as usize + 1000));
    let bench = Bench::new(origin);
    assert!(bench.read(blocks(0, 6)).await.unwrap() == bench.content(blocks(0, 6)));
    assert_eq!(*bench.origin.asked.lock(), [blocks(0, 6), blocks(2, 6)], "what had landed is not asked for again");
}

#[tokio::test(start_paused = true)]
async fn a_killed_fetch_records_no_block() {
    let mut origin = Scripted::new(LARGE);
    let gate = Arc::new(Semaphore::new(2));
    origin.gate = Some(gate);
    let bench = Bench::new(origin);
    let reader = tokio::time::timeout(Duration::from_secs(5), bench.read(blocks(0, 1)));
    assert!(reader.await.is_err(), "half a block came and no more");
    let bench = bench.restart().await;
    let mut buffer = Vec::new();
    assert!(bench.cache.try_read(&bench.lease(), ByteRange::new(0, 10), &mut buffer).is_none());
}

#[tokio::test]
async fn recorded_blocks_are_read_again_without_the_origin() {
    let bench = Bench::new(Scripted::new(LARGE));
    bench.read(blocks(3, 5)).await.unwrap();
    let bench = bench.restart().await;
    assert!(bench.read(blocks(3, 5)).await.unwrap() == bench.content(blocks(3, 5)));
    assert_eq!(bench.origin.asked_bytes(), 0);
}

#[tokio::test]
async fn a_reader_of_a_header_does_not_wait_for_the_block() {
    let mut origin = Scripted::new(LARGE);
    let gate = Arc::new(Semaphore::new(2));
    origin.gate = Some(gate.clone());
    let bench = Bench::new(origin);
    let header = ByteRange::new(8, PIECE as u64 + 1000);
    assert!(bench.read(header).await.unwrap() == bench.content(header));
    // What follows the header in its block is not here for that.
    let rest = ByteRange::new(header.end, BLOCK_SIZE);
    assert!(bench.cache.try_read(&bench.lease(), rest, &mut Vec::new()).is_none());
    gate.add_permits(1000);
    assert!(bench.read(blocks(0, 1)).await.unwrap() == bench.content(blocks(0, 1)));
    assert_eq!(*bench.origin.asked.lock(), [blocks(0, 1)]);
}

#[tokio::test]
async fn a_waiter_gets_its_block_before_the_run_has_ended() {
    let mut origin = Scripted::new(LARGE);
    let gate = Arc::new(Semaphore::new(0));
    origin.gate = Some(gate.clone());
    let bench = Bench::new(origin);
    bench.cache.prefetch(&anybody(), &bench.file, &bench.lease(), blocks(0, 8));
    gate.add_permits(8);
    assert!(bench.read(blocks(1, 2)).await.unwrap() == bench.content(blocks(1, 2)));
    assert_eq!(bench.origin.open.load(Ordering::SeqCst), 1);
    gate.add_permits(1000);
}

#[tokio::test]
async fn demand_is_served_while_read_ahead_fills_its_slots() {
    let mut origin = Scripted::new(40 << 20);
    let gate = Arc::new(Semaphore::new(0));
    origin.gate = Some(gate.clone());
    let bench = Bench::new(origin);
    let lease = bench.lease();
    for block in 0..30 {
        bench.cache.prefetch(&anybody(), &bench.file, &lease, blocks(block, block + 1));
    }
    let reader = bench.read(blocks(35, 36));
    let opened = async {
        while !bench.origin.asked.lock().contains(&blocks(35, 36)) {
            tokio::task::yield_now().await;
        }
        gate.add_permits(10_000);
    };
    let (read, ()) =
        tokio::time::timeout(Duration::from_secs(30), futures::future::join(reader, opened)).await.unwrap();
    read.unwrap();
}

#[tokio::test]
async fn a_denied_leader_fails_alone() {
    let mut origin = Scripted::new(LARGE);
    let token = Token::new("hf_alice");
    origin.only = Some(token.clone());
    let bench = Bench::new(origin);
    let alice = Identity::new("http://hub", Some(token), false);
    let (denied, granted) = tokio::join!(bench.read(blocks(0, 1)), bench.read_as(&alice, blocks(0, 1)));
    assert!(matches!(denied, Err(CacheError::Origin(error)) if error.kind == OriginErrorKind::Denied));
    assert!(granted.unwrap() == bench.content(blocks(0, 1)));
}

#[tokio::test(start_paused = true)]
async fn without_one_byte_a_read_fails_in_the_stated_time() {
    let origin = Scripted::new(LARGE);
    origin.troubles.lock().extend((0..1000).map(|_| Trouble::Refuse(OriginErrorKind::Transient)));
    let bench = Bench::new(origin);
    let started = tokio::time::Instant::now();
    assert!(bench.read(blocks(0, 1)).await.is_err());
    let waited = started.elapsed();
    assert!(waited >= Duration::from_secs(50) && waited <= Duration::from_secs(70), "{waited:?}");
}

#[tokio::test]
async fn a_small_content_is_proved_before_its_first_byte_is_served() {
    let origin = Scripted::new(3 << 20);
    origin.troubles.lock().push(Trouble::FlipAt(5));
    let bench = Bench::new(origin);
    assert!(bench.read(ByteRange::new(0, 10)).await.unwrap() == bench.content(ByteRange::new(0, 10)));
    assert_eq!(bench.metrics.mismatched_blobs.get(), 1);
    assert_eq!(bench.origin.open.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_keeps_sending_wrong_bytes_is_given_up() {
    let origin = Scripted::new(3 << 20);
    origin.troubles.lock().extend((0..10).map(|_| Trouble::FlipAt(5)));
    let bench = Bench::new(origin);
    assert!(matches!(bench.read(ByteRange::new(0, 10)).await, Err(CacheError::Quarantined(_))));
    assert_eq!(bench.metrics.mismatched_blobs.get(), 2);
}

#[tokio::test]
async fn a_complete_blob_is_sealed_and_stays_so() {
    let bench = Bench::new(Scripted::new(LARGE));
    bench.read(ByteRange::new(0, LARGE as u64)).await.unwrap();
    bench.sealed().await;
    let bench = bench.restart().await;
    assert!(bench.lease().0.seal().is_some());
}

#[tokio::test]
async fn a_damaged_block_of_a_small_content_costs_one_fetch_and_no_quarantine() {
    let bench = Bench::new(Scripted::new(3 << 20));
    bench.read(blocks(0, 3)).await.unwrap();
    let bench = bench.restart().await;
    bench.damage(BLOCK_SIZE + 7);
    assert!(bench.cache.try_read(&bench.lease(), blocks(1, 2), &mut Vec::new()).is_none());
    assert!(bench.read(blocks(0, 3)).await.unwrap() == bench.content(blocks(0, 3)));
    assert_eq!(bench.metrics.mismatched_blobs.get(), 0, "the disk was at fault, not the origin");
    assert_eq!(bench.origin.asked_bytes(), 3 * BLOCK_SIZE, "what is proved as a whole comes as a whole");
}

#[tokio::test]
async fn what_was_dropped_is_never_recorded_afterwards() {
    let bench = Bench::new(Scripted::new(LARGE));
    bench.read(blocks(0, 2)).await.unwrap();
    bench.cache.forget_all(&bench.lease().0);
    let bench = bench.restart().await;
    assert!(bench.cache.try_read(&bench.lease(), blocks(0, 1), &mut Vec::new()).is_none());
}

#[tokio::test]
async fn damage_found_while_proving_drops_one_block_and_blames_no_origin() {
    let bench = Bench::new(Scripted::new(LARGE));
    bench.read(ByteRange::new(0, LARGE as u64)).await.unwrap();
    bench.sealed().await;
    // As after a crash between the last block and the seal.
    let unsealed = bench.cache.db.forget_blocks(bench.file.blob, BlockRange::new(0..0));
    unsealed.await.unwrap();
    bench.damage(5 * BLOCK_SIZE + 7);
    let bench = bench.restart().await;
    let lease = bench.lease();
    while bench.metrics.damaged_blocks.get() + bench.metrics.mismatched_blobs.get() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(bench.metrics.mismatched_blobs.get(), 0);
    assert!(bench.cache.try_read(&lease, blocks(0, 1), &mut Vec::new()).is_some());
    let whole = ByteRange::new(0, LARGE as u64);
    assert!(bench.read(whole).await.unwrap() == bench.content(whole));
    assert_eq!(bench.origin.asked_bytes(), BLOCK_SIZE);
    bench.sealed().await;
}

#[tokio::test]
async fn a_blob_that_lost_a_block_while_it_was_proved_is_not_sealed() {
    let bench = Bench::new(Scripted::new(LARGE));
    bench.read(ByteRange::new(0, LARGE as u64)).await.unwrap();
    bench.sealed().await;
    let entry = bench.lease().0;
    entry.lost(BlockRange::new(0..1));
    bench.read(blocks(0, 1)).await.unwrap();
    let lease = bench.lease();
    let first = lease.0.begin_sealing();
    entry.lost(BlockRange::new(3..4));
    if let Some(turn) = first {
        let seal = Seal { epoch: 1, file: entry.file.stamp().unwrap() };
        assert!(!entry.sealed(turn, seal), "what it proved is gone");
    }
    assert!(entry.seal().is_none());
}

#[tokio::test]
async fn a_leader_that_breaks_down_leaves_nobody_waiting() {
    let origin = Scripted::new(LARGE);
    origin.troubles.lock().push(Trouble::Panic);
    let bench = Bench::new(origin);
    let read = tokio::time::timeout(Duration::from_secs(30), bench.read(blocks(0, 1))).await;
    assert!(read.expect("it waits for ever").is_err());
    assert!(bench.read(blocks(0, 1)).await.unwrap() == bench.content(blocks(0, 1)));
}

#[tokio::test]
async fn a_fill_brings_everything_once_and_never_stands_in_a_readers_way() {
    let mut origin = Scripted::new(40 << 20);
    let gate = Arc::new(Semaphore::new(0));
    origin.gate = Some(gate.clone());
    let bench = Bench::new(origin);
    let range = ByteRange::new(0, 40 << 20);
    let fill = || Fill { file: bench.file.clone(), lease: bench.lease(), range };
    bench.cache.fill(&anybody(), vec![fill()]);
    bench.cache.fill(&anybody(), vec![fill()]);
    let reader = bench.read(blocks(39, 40));
    let (read, ()) = tokio::join!(reader, async { gate.add_permits(10_000) });
    assert!(read.unwrap() == bench.content(blocks(39, 40)));
    let filled = async {
        while !bench.lease().0.is_complete() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), filled).await.expect("it is never filled");
    assert_eq!(bench.origin.asked_bytes(), 40 << 20);
}

#[tokio::test]
async fn the_smallest_budget_still_reads() {
    let (space, integrity) = (SpaceSettings::default(), IntegritySettings::default());
    let settings = CacheSettings { give_up: Duration::from_secs(60), memory: 0, space, integrity };
    let bench = Bench::by(tempfile::tempdir().unwrap(), Arc::new(Scripted::new(LARGE)), settings);
    let whole = ByteRange::new(0, LARGE as u64);
    bench.cache.prefetch(&anybody(), &bench.file, &bench.lease(), whole);
    assert!(bench.read(whole).await.unwrap() == bench.content(whole));
}
