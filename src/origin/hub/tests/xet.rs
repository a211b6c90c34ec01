//! Files of a Xet store: by chunks where that is the way, plainly on any trouble, and the reader never the wiser.

use futures::StreamExt;
use test_cas::{Cas, Fault as CasFault, On};
use test_hub::{Fault, Hub, Options, Target};

use super::*;
use crate::origin::hub::XetWish;

const RANGE: ByteRange = ByteRange { start: 1000, end: 500_000 };

/// A Hub whose `model.safetensors` is in a Xet store too.
struct XetScene {
    scene: Scene,
    cas: Cas,
    file: RemoteFile,
}

impl XetScene {
    async fn new() -> Self {
        Self::reading(XetWish::Always).await
    }

    async fn reading(wish: XetWish) -> Self {
        let cas = Cas::start().unwrap();
        let mut scene = Scene::with(Hub::builder().token("alice", ALICE).token("bob", BOB).start().unwrap());
        (scene.origin, scene.metrics) = origin_with(HubSettings { xet: wish, ..settings() });
        let file = scene.file("model.safetensors").await;
        scene.hub.set_options(Options { xet_store: Some(cas.endpoint().to_owned()), ..scene.hub.options() });
        scene.hub.set_xet_hash(&file.blob.id.etag(), &cas.store(&weights()).unwrap());
        Self { scene, cas, file }
    }

    /// An origin that has met nothing yet.
    fn forget_everything(&mut self) {
        (self.scene.origin, self.scene.metrics) = origin_with(HubSettings { xet: XetWish::Always, ..settings() });
        self.scene.hub.clear_log();
    }

    /// Another model, whose one file is in the store too.
    async fn store(&self, repo: &str, bytes: &[u8]) -> RemoteFile {
        let hub = &self.scene.hub;
        let commit = hub.commit(repo, Files::new().bytes("model.safetensors", bytes.to_vec())).unwrap();
        let repo = RepoId::new(RepoType::Model, repo).unwrap();
        let snapshot = self.scene.origin.snapshot(&self.scene.anyone(), &repo, commit.parse().unwrap()).await.unwrap();
        let file = snapshot.remote_file(&RepoPath::new("model.safetensors").unwrap()).unwrap();
        hub.set_xet_hash(&file.blob.id.etag(), &self.cas.store(bytes).unwrap());
        file
    }

    async fn read(&self, identity: &Identity, range: ByteRange) -> Vec<u8> {
        self.scene.read(identity, &self.file, range).await.unwrap()
    }

    fn plain_requests(&self) -> usize {
        self.scene.requests(Host::Cdn, "GET").len()
    }

    fn grants(&self) -> usize {
        self.scene.hub.log().iter().filter(|record| record.path.contains("/xet-read-token/")).count()
    }
}

#[tokio::test]
async fn every_range_by_chunks_is_exactly_the_bytes_asked_for() {
    let xet = XetScene::new().await;
    let anyone = xet.scene.anyone();
    for range in [(0, 1), (599_999, 600_000), (12_345, 345_678), (400_000, 599_000)].map(|(a, b)| ByteRange::new(a, b))
    {
        assert!(xet.read(&anyone, range).await == part(range), "{range:?}");
    }
    assert_eq!((xet.plain_requests(), xet.grants()), (0, 1));
    assert_eq!(xet.scene.metrics.xet_fallbacks.get(), 0);
}

#[tokio::test]
async fn the_token_goes_to_the_hub_and_the_store_gets_its_own() {
    let xet = XetScene::new().await;
    let alice = xet.scene.as_user(ALICE);
    assert!(xet.read(&alice, RANGE).await == part(RANGE));
    let log = xet.cas.log();
    assert!(log.iter().any(|request| request.on == On::Plans) && log.iter().any(|request| request.on == On::Chunks));
    for request in log {
        let own = request.authorization.as_deref().is_some_and(|value| value.starts_with("Bearer xet_"));
        assert_eq!(own, request.on == On::Plans, "{request:?}");
        assert!(!format!("{request:?}").contains(ALICE));
    }
}

#[tokio::test]
async fn whatever_the_store_does_the_reader_gets_the_right_bytes() {
    use CasFault::*;
    let troubles = [
        (On::Plans, Hang),
        (On::Plans, Status(503)),
        (On::Plans, Status(404)),
        (On::Plans, Status(403)),
        (On::Plans, Garbage),
        (On::Plans, CutAfter(20)),
        (On::Chunks, Hang),
        (On::Chunks, Status(500)),
        (On::Chunks, Status(403)),
        (On::Chunks, Garbage),
        (On::Chunks, CutAfter(70_000)),
        (On::Chunks, StallAfter(70_000)),
        // The length of a chunk, in its header.
        (On::Chunks, Flip(2)),
    ];
    let mut xet = XetScene::new().await;
    for fault in troubles {
        xet.forget_everything();
        xet.cas.set_fault(Some(fault));
        assert!(xet.read(&xet.scene.anyone(), RANGE).await == part(RANGE), "{fault:?}");
        assert_eq!((xet.plain_requests(), xet.scene.metrics.xet_fallbacks.get()), (1, 1), "{fault:?}");
    }
}

#[tokio::test]
async fn a_dead_store_is_asked_once_and_left_alone() {
    let xet = XetScene::new().await;
    xet.cas.set_fault(Some((On::Plans, CasFault::Hang)));
    let anyone = xet.scene.anyone();
    for n in 0..5 {
        let range = ByteRange::at(n * 100_000, 100_000);
        assert!(xet.read(&anyone, range).await == part(range));
    }
    assert_eq!((xet.cas.log().len(), xet.plain_requests()), (1, 5));
}

/// The store's answers do not say what its chunks should hash to: a flipped bit of a chunk that is not compressed comes
/// through. The cache finds it when it proves the whole, drops the blocks, tells and asks again.
#[tokio::test]
async fn a_content_that_was_wrong_as_a_whole_comes_the_other_way() {
    let xet = XetScene::new().await;
    let anyone = xet.scene.anyone();
    let noise = noise(0, 800_000);
    let file = xet.store("acme/noise", &noise).await;
    xet.cas.set_fault(Some((On::Chunks, CasFault::Flip(50_000))));
    let whole = ByteRange::new(0, noise.len() as u64);
    let first = xet.scene.read(&anyone, &file, whole).await.unwrap();
    assert!(first != noise, "this is what the cache has to find");
    assert_eq!(xet.plain_requests(), 0);
    xet.scene.origin.disproved(&file.blob);
    assert!(xet.scene.read(&anyone, &file, whole).await.unwrap() == noise);
    assert_eq!(xet.plain_requests(), 1);
}

/// Bytes that nothing makes shorter.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut roll = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ state >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes()
    };
    std::iter::repeat_with(&mut roll).flatten().take(len).collect()
}

#[tokio::test]
async fn a_token_that_expires_is_renewed() {
    let xet = XetScene::new().await;
    xet.scene.hub.set_options(Options { xet_token_lifetime_seconds: 5, ..xet.scene.hub.options() });
    let anyone = xet.scene.anyone();
    for n in 0..3 {
        let range = ByteRange::at(n * 200_000, 200_000);
        assert!(xet.read(&anyone, range).await == part(range));
    }
    assert!(xet.grants() >= 3, "{}", xet.grants());
    assert_eq!((xet.plain_requests(), xet.scene.metrics.xet_fallbacks.get()), (0, 0));
}

#[tokio::test]
async fn a_token_that_the_store_refuses_is_renewed_once() {
    let xet = XetScene::new().await;
    let anyone = xet.scene.anyone();
    let ranges = [0, 200_000, 400_000].map(|start| ByteRange::at(start, 200_000));
    assert!(xet.read(&anyone, ranges[0]).await == part(ranges[0]));
    xet.cas.revoke_tokens_up_to(1);
    assert!(xet.read(&anyone, ranges[1]).await == part(ranges[1]));
    assert_eq!((xet.grants(), xet.plain_requests()), (2, 0));
    xet.cas.revoke_tokens_up_to(1000);
    assert!(xet.read(&anyone, ranges[2]).await == part(ranges[2]));
    assert_eq!((xet.grants(), xet.plain_requests()), (3, 1));
}

#[tokio::test]
async fn what_one_identity_may_read_of_the_store_is_not_read_for_another() {
    let xet = XetScene::new().await;
    xet.scene.hub.set_private("acme/tiny", &["alice"]).unwrap();
    assert!(xet.read(&xet.scene.as_user(ALICE), RANGE).await == part(RANGE));
    let asked = xet.cas.log().len();
    for identity in [xet.scene.anyone(), xet.scene.as_user(BOB)] {
        let range = ByteRange::new(550_000, 600_000);
        let error = xet.scene.read(&identity, &xet.file, range).await.unwrap_err();
        assert!(error.depends_on_identity(), "{error}");
    }
    assert_eq!((xet.cas.log().len(), xet.plain_requests()), (asked, 0));
    xet.scene.hub.set_public("acme/tiny").unwrap();
    xet.scene.hub.clear_log();
    for identity in [xet.scene.anyone(), xet.scene.as_user(BOB)] {
        assert!(xet.read(&identity, ByteRange::new(500_000, 550_000)).await == part(ByteRange::new(500_000, 550_000)));
    }
    assert_eq!((xet.grants(), xet.plain_requests()), (2, 0), "each has a token of its own");
}

#[tokio::test]
async fn offline_nobody_is_asked() {
    let xet = XetScene::new().await;
    xet.read(&xet.scene.anyone(), ByteRange::new(0, 1000)).await;
    xet.cas.clear_log();
    xet.scene.hub.clear_log();
    let offline = Identity::new(xet.scene.hub.endpoint(), None, true);
    let error = xet.scene.read(&offline, &xet.file, RANGE).await.unwrap_err();
    assert_eq!(error.kind, crate::origin::OriginErrorKind::Offline);
    assert!(xet.cas.log().is_empty() && xet.scene.hub.log().is_empty());
}

#[tokio::test]
async fn never_means_never_and_auto_reads_short_ranges_plainly() {
    for wish in [XetWish::Never, XetWish::Auto] {
        let xet = XetScene::reading(wish).await;
        assert!(xet.read(&xet.scene.anyone(), RANGE).await == part(RANGE));
        assert!(xet.cas.log().is_empty(), "{wish:?}");
        assert_eq!(xet.grants(), 0);
    }
}

#[tokio::test]
async fn a_store_that_is_no_host_is_not_opened() {
    let xet = XetScene::new().await;
    xet.scene.hub.set_options(Options { xet_store: Some("local:///etc".to_owned()), ..xet.scene.hub.options() });
    assert!(xet.read(&xet.scene.anyone(), RANGE).await == part(RANGE));
    assert_eq!((xet.plain_requests(), xet.cas.log().len()), (1, 0));
}

#[tokio::test]
async fn a_file_that_is_served_by_chunks_only_is_read() {
    let xet = XetScene::new().await;
    xet.scene.hub.set_faults(Fault::on(Target::Cdn).status(403));
    assert!(xet.read(&xet.scene.anyone(), RANGE).await == part(RANGE));
}

#[tokio::test]
async fn a_range_that_is_given_up_leaves_no_task_behind() {
    let mut xet = XetScene::new().await;
    let patient = Timeouts { connect: STALL, stall: Duration::from_secs(600) };
    (xet.scene.origin, xet.scene.metrics) =
        origin_with(HubSettings { timeouts: patient, xet: XetWish::Always, ..settings() });
    let anyone = xet.scene.anyone();
    xet.read(&anyone, ByteRange::new(0, 1000)).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    xet.cas.clear_log();
    xet.cas.set_fault(Some((On::Chunks, CasFault::StallAfter(1000))));
    let mut stream = xet.scene.origin.open(&anyone, &xet.file, RANGE).await.unwrap();
    let stalls = async {
        while !xet.cas.log().iter().any(|request| request.bytes == 1000) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        piece = stream.try_next() => panic!("{piece:?}"),
        () = stalls => {}
    }
    assert!(tasks() > before, "it is under way");
    drop(stream);
    let ended = async {
        while tasks() > before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("tasks are left");
}

#[tokio::test]
async fn auto_measures_both_ways_on_long_ranges() {
    let xet = XetScene::reading(XetWish::Auto).await;
    let bytes = noise(1, 16 << 20);
    let file = xet.store("acme/long", &bytes).await;
    for n in 0..4 {
        let range = ByteRange::at(n << 22, 4 << 20);
        let read = xet.scene.read(&xet.scene.anyone(), &file, range).await.unwrap();
        assert!(read == bytes[range.start as usize..range.end as usize]);
    }
    assert_eq!((xet.plain_requests(), xet.scene.metrics.xet_bytes.get()), (2, 8 << 20));
}

/// Not a promise, but what docs/design/0020-xet.md tells: `cargo test --lib pace_of_both -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn pace_of_both_ways() {
    const SIZE: usize = 32 << 20;
    let bytes = noise(2, SIZE);
    for bandwidth in [Some(20_000_000_u64), None] {
        for length in [16 << 20, 1 << 20_u64] {
            let mut rounds = Vec::new();
            for round in 0..3 {
                let mut seconds = Vec::new();
                for wish in [XetWish::Never, XetWish::Always] {
                    let xet = XetScene::reading(wish).await;
                    let file = xet.store("acme/long", &bytes).await;
                    xet.read(&xet.scene.anyone(), ByteRange::new(0, 1)).await;
                    xet.cas.set_bandwidth(bandwidth);
                    xet.scene.hub.set_options(Options { link_bandwidth: bandwidth, ..xet.scene.hub.options() });
                    let begun = std::time::Instant::now();
                    let ranges = (0..SIZE as u64 / length).map(|n| ByteRange::at(n * length, length));
                    let anyone = xet.scene.anyone();
                    let reads = futures::stream::iter(ranges).map(|range| {
                        let (xet, file, anyone) = (&xet, &file, &anyone);
                        async move { xet.scene.read(anyone, file, range).await.unwrap().len() }
                    });
                    let read: usize = reads.buffer_unordered(4).collect::<Vec<_>>().await.into_iter().sum();
                    assert_eq!(read, SIZE);
                    seconds.push(begun.elapsed().as_secs_f64());
                }
                rounds.push(seconds[0] / seconds[1]);
                println!(
                    "bandwidth {bandwidth:?}, ranges of {length}, round {round}: plain {:.3} s, chunks {:.3} s",
                    seconds[0], seconds[1]
                );
            }
            rounds.sort_by(f64::total_cmp);
            println!(
                "bandwidth {bandwidth:?}, ranges of {length}: chunks have {:.2} of the plain way's pace",
                rounds[1]
            );
        }
    }
}

/// As above: what a second revision costs that shares most of its chunks with the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn cost_of_a_second_revision() {
    const SIZE: u64 = 64 << 20;
    let xet = XetScene::new().await;
    let mut bytes = noise(3, SIZE as usize);
    for revision in ["first", "second"] {
        let file = xet.store("acme/long", &bytes).await;
        let before = (xet.cas.chunk_bytes(), xet.scene.metrics.xet_transferred_bytes.get());
        for n in 0..SIZE >> 24 {
            xet.scene.read(&xet.scene.anyone(), &file, ByteRange::at(n << 24, 16 << 20)).await.unwrap();
        }
        let (sent, counted) =
            (xet.cas.chunk_bytes() - before.0, xet.scene.metrics.xet_transferred_bytes.get() - before.1);
        println!("{revision}: {SIZE} bytes read, {sent} sent by the store, {counted} counted");
        bytes[SIZE as usize / 2..][..1 << 20].copy_from_slice(&noise(4, 1 << 20));
    }
}
