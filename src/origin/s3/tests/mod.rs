//! A real S3 server in this process, its faults, and what a reader of its objects is promised.

mod access;
mod contents;
mod mirror;
mod names;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use test_s3::Store;

use super::*;
use crate::origin::http::Timeouts;
use crate::types::{BlobId, RepoPath};

const KEY: &str = "AKTEST";
const MIB: usize = 1 << 20;

/// A store with a bucket, and an origin that reads `models/llama` in it.
struct Bench {
    store: Store,
    account: Arc<Account>,
    origin: S3Origin,
    metrics: Arc<Metrics>,
}

fn settings(store: &Store) -> S3Settings {
    S3Settings {
        endpoint_url: Some(store.url.clone()),
        access: Access::Test(KEY),
        timeouts: Timeouts { connect: Duration::from_secs(5), stall: Duration::from_millis(500) },
        give_up: Duration::from_secs(20),
        ..S3Settings::default()
    }
}

fn place() -> Prefix {
    Prefix::new("models/llama").unwrap()
}

impl Bench {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut S3Settings)) -> Self {
        let store = Store::start().await;
        store.keys.add(KEY, "secret");
        let mut settings = settings(&store);
        change(&mut settings);
        let (account, metrics) = (Arc::new(Account::new(settings)), Arc::new(Metrics::default()));
        let origin = S3Origin::new(account.clone(), &place(), metrics.clone());
        Self { store, account, origin, metrics }
    }

    /// As a program that uploads with the SDK.
    async fn client(&self) -> aws_sdk_s3::Client {
        self.account.session().await.unwrap().client.clone()
    }

    async fn now(&self) -> Result<Snapshot, OriginError> {
        Ok(self.origin.discover(&anybody(), &llama(), &Revision::main()).await?.snapshot.unwrap())
    }

    async fn read(&self, file: &RemoteFile, range: ByteRange) -> Result<Vec<u8>, OriginError> {
        collect(self.origin.open(&anybody(), file, range).await?).await
    }

    async fn read_all(&self, file: &RemoteFile) -> Result<Vec<u8>, OriginError> {
        self.read(file, ByteRange::new(0, file.blob.size)).await
    }
}

async fn collect(stream: ByteStream) -> Result<Vec<u8>, OriginError> {
    let pieces: Vec<Bytes> = stream.try_collect().await?;
    Ok(pieces.concat())
}

fn anybody() -> Identity {
    Identity::new("http://hub", None, false)
}

fn llama() -> RepoId {
    "acme/llama".parse().unwrap()
}

fn paths(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.files().map(|(path, _)| path.as_str()).collect()
}

fn file(snapshot: &Snapshot, path: &str) -> RemoteFile {
    snapshot.remote_file(&RepoPath::new(path).unwrap()).unwrap()
}

/// Bytes of which no two blocks are equal.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 ^ (at >> 16) as u8).collect()
}
