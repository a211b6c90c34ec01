//! Servers that break off, stall, lie about ranges or ignore them.

use test_hub::{Fault, Target};
use tokio::time::Instant;

use super::*;
use crate::origin::OriginErrorKind;

const RANGE: ByteRange = ByteRange { start: 100_000, end: 400_000 };

/// Reads the weights under a fault of the CDN.
async fn struck(scene: &Scene, fault: Fault) -> Result<Vec<u8>, OriginError> {
    let file = scene.file("model.safetensors").await;
    scene.hub.set_faults(fault);
    scene.read(&scene.anyone(), &file, RANGE).await
}

#[tokio::test]
async fn server_that_ignores_range_still_gives_the_right_bytes() {
    let scene = Scene::new();
    assert_eq!(struck(&scene, Fault::on(Target::Cdn).ignore_range()).await.unwrap(), part(RANGE));
    let git = scene.file("config.json").await;
    scene.hub.set_faults(Fault::on(Target::Resolve).ignore_range());
    assert_eq!(scene.read(&scene.anyone(), &git, ByteRange::new(2, 5)).await.unwrap(), b"a\":");
}

#[tokio::test]
async fn what_follows_the_range_is_not_waited_for() {
    let scene = Scene::new();
    let fault = Fault::on(Target::Cdn).ignore_range().stall_after(RANGE.end);
    assert_eq!(struck(&scene, fault).await.unwrap(), part(RANGE));
    assert_eq!(scene.metrics.fetched_bytes.get(), RANGE.end);
}

#[tokio::test]
async fn stalled_body_is_a_transient_error() {
    let scene = Scene::new();
    let start = Instant::now();
    let error = struck(&scene, Fault::on(Target::Cdn).stall_after(1000)).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::Transient);
    assert!(error.cause.contains("stalled"), "{error}");
    assert!(start.elapsed() >= STALL);
    assert_eq!(scene.metrics.fetch_failures.get(), 1);
}

#[tokio::test]
async fn no_answer_at_all_is_a_transient_error() {
    let scene = Scene::new();
    let error = struck(&scene, Fault::on(Target::Cdn).latency_ms(600_000)).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::Transient);
    assert!(error.cause.contains("no answer in time"), "{error}");
}

#[tokio::test]
async fn short_body_is_a_transient_error_after_the_bytes_that_came() {
    let scene = Scene::new();
    let file = scene.file("model.safetensors").await;
    scene.hub.set_faults(Fault::on(Target::Cdn).cut_after(1000));
    let mut stream = scene.origin.open(&scene.anyone(), &file, RANGE).await.unwrap();
    let mut came = Vec::new();
    let error = loop {
        match stream.try_next().await {
            Ok(Some(piece)) => came.extend_from_slice(&piece),
            Ok(None) => panic!("a short body ended as if it were whole"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, OriginErrorKind::Transient);
    assert_eq!(came, part(RANGE)[..1000]);
    assert!(stream.try_next().await.unwrap().is_none(), "an error is the end");
}

#[tokio::test]
async fn another_range_than_asked_for_is_nonsense() {
    let scene = Scene::new();
    let lies = [
        Fault::on(Target::Cdn).content_range("bytes 0-299999/600000"),
        Fault::on(Target::Cdn).content_range("bytes 100000-399999/600001"),
        Fault::on(Target::Cdn).content_range("lines 1-2"),
        Fault::on(Target::Cdn).shorten_range(10),
    ];
    for lie in lies {
        assert_eq!(struck(&scene, lie).await.unwrap_err().kind, OriginErrorKind::Nonsense);
    }
}

#[tokio::test]
async fn a_storage_in_trouble_is_transient_and_may_ask_for_a_pause() {
    let scene = Scene::new();
    let error = struck(&scene, Fault::on(Target::Cdn).status(503)).await.unwrap_err();
    assert_eq!((error.kind, error.retry_after), (OriginErrorKind::Transient, None));
    let error = struck(&scene, Fault::on(Target::Cdn).status(429).retry_after(30)).await.unwrap_err();
    assert_eq!(error.retry_after, Some(Duration::from_secs(30)));
    scene.hub.clear_faults();
    let file = scene.file("model.safetensors").await;
    let error = scene.read(&scene.anyone(), &file, RANGE).await.unwrap_err();
    assert!(error.retry_after.is_some_and(|left| left > Duration::from_secs(20)), "{error}");
    assert!(scene.hub.log().is_empty(), "one attempt of the caller, but none at the storage");
}

#[tokio::test]
async fn a_connection_that_breaks_is_transient() {
    let scene = Scene::new();
    let error = struck(&scene, Fault::on(Target::Cdn).disconnect()).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::Transient);
    scene.hub.clear_faults();
    scene.hub.stop();
    let file = file_without_asking(&scene);
    let error = scene.read(&scene.anyone(), &file, ByteRange::new(0, 1)).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::Transient);
}

fn file_without_asking(scene: &Scene) -> RemoteFile {
    use crate::types::{Blob, BlobId};
    let blob = Blob { id: BlobId::Sha256([1; 32]), size: 10 };
    RemoteFile { repo: tiny(), commit: commit(&scene.commit), path: RepoPath::new("w").unwrap(), blob }
}
