//! Files of a Xet store: by chunks where that is the way, plainly on any trouble, and the reader never the wiser.

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
    for range in [(0, 1), (599_999, 600_000), (12_345, 345_678), (400_000, 599_000)].map(|(a, b)| ByteRange::new(a, b)) {
        assert!(xet.read(&anyone, range).await == part(range), "{range:?}");
    }
    assert_eq!((xet.plain_requests(), xet.grants()), (0, 1));
    assert_eq!(xet.scene.metrics.xet_fallbacks.get(), 0);
}
