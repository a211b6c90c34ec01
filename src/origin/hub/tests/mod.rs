//! The promises of the Hub's origin, each against the stand-in Hub or, where that is too well behaved, against canned answers.

mod canned;
mod catalog;
mod contents;
mod faults;
mod mirrors;
mod xet;

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use test_hub::{Files, Host, Hub, RequestRecord};

use super::{HubOrigin, HubSettings};
use crate::metrics::Metrics;
use crate::origin::http::Timeouts;
use crate::origin::{Catalog, Origin, OriginError};
use crate::types::{ByteRange, Commit, Identity, RemoteFile, RepoId, RepoPath, RepoType, Revision, Snapshot, Token};

/// Long enough for a loaded machine to answer, short enough to wait out.
const STALL: Duration = Duration::from_millis(500);

/// A Hub with `acme/tiny` (a git file, an LFS file, a nested one) and an origin that asks it.
struct Scene {
    hub: Hub,
    origin: Arc<HubOrigin>,
    metrics: Arc<Metrics>,
    commit: String,
}

impl Scene {
    fn new() -> Self {
        Self::with(Hub::builder().token("alice", ALICE).token("bob", BOB).start().unwrap())
    }

    fn with(hub: Hub) -> Self {
        let files = Files::new()
            .text("config.json", "{\"a\": 1}")
            .bytes("model.safetensors", weights())
            .text("nested/folder/vocab.txt", "a\nb\n");
        let commit = hub.commit("acme/tiny", files).unwrap();
        let (origin, metrics) = origin();
        Self { hub, origin, metrics, commit }
    }

    fn anyone(&self) -> Identity {
        Identity::new(self.hub.endpoint(), None, false)
    }

    fn as_user(&self, secret: &str) -> Identity {
        Identity::new(self.hub.endpoint(), Some(Token::new(secret)), false)
    }

    async fn snapshot(&self, identity: &Identity) -> Result<Snapshot, OriginError> {
        self.origin.snapshot(identity, &tiny(), self.commit.parse().unwrap()).await
    }

    /// A file of `acme/tiny`, as the snapshot has it. The requests for that are not in the log.
    async fn file(&self, path: &str) -> RemoteFile {
        let snapshot = self.snapshot(&self.as_user(ALICE)).await.unwrap();
        self.hub.clear_log();
        let path = RepoPath::new(path).unwrap();
        snapshot.remote_file(&path).unwrap()
    }

    async fn read(&self, identity: &Identity, file: &RemoteFile, range: ByteRange) -> Result<Vec<u8>, OriginError> {
        read(&self.origin, identity, file, range).await
    }

    fn requests(&self, host: Host, method: &str) -> Vec<RequestRecord> {
        self.hub.log().into_iter().filter(|record| record.host == host && record.method == method).collect()
    }
}

const ALICE: &str = "hf_alice";
const BOB: &str = "hf_bob";

fn origin() -> (Arc<HubOrigin>, Arc<Metrics>) {
    origin_that_gives_up_after(Duration::from_secs(20))
}

fn origin_that_gives_up_after(give_up: Duration) -> (Arc<HubOrigin>, Arc<Metrics>) {
    origin_with(HubSettings { give_up, ..settings() })
}

fn settings() -> HubSettings {
    HubSettings {
        timeouts: Timeouts { connect: STALL, stall: STALL },
        give_up: Duration::from_secs(20),
        first_retry: Duration::from_millis(10),
        ..HubSettings::default()
    }
}

fn origin_with(settings: HubSettings) -> (Arc<HubOrigin>, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    (Arc::new(HubOrigin::new(settings, metrics.clone())), metrics)
}

async fn read(
    origin: &HubOrigin,
    identity: &Identity,
    file: &RemoteFile,
    range: ByteRange,
) -> Result<Vec<u8>, OriginError> {
    let pieces: Vec<_> = origin.open(identity, file, range).await?.try_collect().await?;
    Ok(pieces.concat())
}

fn tiny() -> RepoId {
    RepoId::new(RepoType::Model, "acme/tiny").unwrap()
}

fn main_branch() -> Revision {
    Revision::main()
}

/// 600 000 bytes in which no two places look alike.
fn weights() -> Vec<u8> {
    (0..150_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn part(range: ByteRange) -> Vec<u8> {
    weights()[range.start as usize..range.end as usize].to_vec()
}

fn commit(text: &str) -> Commit {
    text.parse().unwrap()
}
