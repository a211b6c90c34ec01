use sha2::{Digest, Sha256};
use test_s3::{Fault, Rule};

use super::*;
use crate::types::Blob;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A copy of a cache of the Hub's clients, as `aws s3 sync` makes it: links are followed.
struct Copy {
    bench: Bench,
    mirror: S3Mirror,
    weights: RemoteFile,
}

async fn copy(below: &str) -> Copy {
    let bench = Bench::new().await;
    let weights = bytes(MIB);
    let id = BlobId::Sha256(Sha256::digest(&weights).into());
    let home = format!("mirror/{below}models--acme--llama");
    bench.store.put(&format!("{home}/blobs/{}", id.etag()), &weights);
    bench.store.put(&format!("{home}/refs/main"), COMMIT.as_bytes());
    bench.store.put(&format!("{home}/snapshots/{COMMIT}/sub/model.bin"), &weights);
    bench.store.put(&format!("{home}/snapshots/{COMMIT}/unnamed.txt"), b"in no blob");
    let mirror = S3Mirror::new(bench.account.clone(), &Prefix::new("mirror").unwrap(), bench.metrics.clone());
    let weights = RemoteFile {
        repo: llama(),
        commit: COMMIT.parse().unwrap(),
        path: RepoPath::new("sub/model.bin").unwrap(),
        blob: Blob { id, size: MIB as u64 },
    };
    Copy { bench, mirror, weights }
}

impl Copy {
    async fn read(&self, file: &RemoteFile) -> Result<Vec<u8>, OriginError> {
        collect(self.mirror.open(&anybody(), file, ByteRange::new(10, 1000)).await?).await
    }
}

#[tokio::test]
async fn a_content_is_found_by_its_etag_or_by_its_place() {
    for below in ["", "hub/"] {
        let copy = copy(below).await;
        assert_eq!(copy.read(&copy.weights).await.unwrap(), bytes(MIB)[10..1000]);
        let home = format!("mirror/{below}models--acme--llama");
        copy.bench.store.delete(&format!("{home}/blobs/{}", copy.weights.blob.id.etag()));
        assert_eq!(copy.read(&copy.weights).await.unwrap(), bytes(MIB)[10..1000], "from its snapshot");
    }
}

#[tokio::test]
async fn what_a_mirror_does_not_have_is_not_asked_for_at_each_block() {
    let copy = copy("").await;
    let other = RemoteFile {
        path: RepoPath::new("elsewhere").unwrap(),
        blob: Blob { id: BlobId::Sha256([1; 32]), size: 5000 },
        ..copy.weights.clone()
    };
    copy.bench.store.log.clear();
    assert_eq!(copy.read(&other).await.unwrap_err().kind, OriginErrorKind::NoFile);
    let asked = copy.bench.store.log.all().len();
    assert_eq!(copy.read(&other).await.unwrap_err().kind, OriginErrorKind::NoFile);
    assert_eq!(copy.bench.store.log.all().len(), asked);
}

#[tokio::test]
async fn an_object_of_another_length_is_not_the_content() {
    let copy = copy("").await;
    let longer = RemoteFile { blob: Blob { size: MIB as u64 + 1, ..copy.weights.blob }, ..copy.weights.clone() };
    assert_eq!(copy.read(&longer).await.unwrap_err().kind, OriginErrorKind::NoFile);
}

#[tokio::test]
async fn names_come_from_refs_and_snapshots_and_only_those_with_a_known_hash() {
    let copy = copy("hub/").await;
    let told = copy.mirror.discover(&anybody(), &llama(), &Revision::main()).await.unwrap();
    assert_eq!(told.commit.to_string(), COMMIT);
    let snapshot = told.snapshot.unwrap();
    assert!(snapshot.partial);
    assert_eq!(paths(&snapshot), ["sub/model.bin"]);
    assert_eq!(file(&snapshot, "sub/model.bin").blob, copy.weights.blob);
    let dev = Revision::new("dev").unwrap();
    let error = copy.mirror.resolve(&anybody(), &llama(), &dev).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::NoRevision);
}

#[tokio::test]
async fn a_mirror_that_is_busy_is_a_transient_error() {
    let copy = copy("").await;
    copy.bench.store.goes_wrong(Rule::on("GET", "mirror", Fault::Refuse(503, "SlowDown", vec![])));
    assert!(copy.read(&copy.weights).await.unwrap_err().is_transient());
}
