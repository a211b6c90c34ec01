//! Bytes: ranges, redirects, signed URLs, tokens.

use futures::future::join_all;
use test_hub::{Fault, Hub, Options, Target};

use super::*;
use crate::origin::OriginErrorKind;
use crate::types::{Blob, BlobId};

const RANGE: ByteRange = ByteRange { start: 1000, end: 90_000 };

#[tokio::test]
async fn every_range_is_exactly_the_bytes_asked_for() {
    let scene = Scene::new();
    let (git, lfs) = (scene.file("config.json").await, scene.file("model.safetensors").await);
    for range in [(0, 1), (0, 600_000), (599_999, 600_000), (12_345, 345_678)].map(|(a, b)| ByteRange::new(a, b)) {
        assert_eq!(scene.read(&scene.anyone(), &lfs, range).await.unwrap(), part(range));
    }
    assert_eq!(scene.read(&scene.anyone(), &git, ByteRange::new(0, 8)).await.unwrap(), b"{\"a\": 1}");
    assert_eq!(scene.read(&scene.anyone(), &git, ByteRange::new(2, 3)).await.unwrap(), b"a");
    assert_eq!(scene.metrics.fetched_bytes.get(), 1 + 600_000 + 1 + 333_333 + 8 + 1);
    assert_eq!(scene.metrics.fetch_failures.get(), 0);
}

#[tokio::test]
async fn a_git_file_costs_one_request_a_range() {
    let scene = Scene::new();
    let file = scene.file("config.json").await;
    scene.read(&scene.anyone(), &file, ByteRange::new(0, 8)).await.unwrap();
    let log = scene.hub.log();
    assert_eq!(log.len(), 1);
    assert_eq!((log[0].method.as_str(), log[0].range.as_deref()), ("GET", Some("bytes=0-7")));
}

#[tokio::test]
async fn one_resolve_serves_many_ranges() {
    let scene = Scene::new();
    let file = scene.file("model.safetensors").await;
    let anyone = scene.anyone();
    let ranges: Vec<_> = (0..12).map(|n| ByteRange::at(n * 50_000, 50_000)).collect();
    let parts = join_all(ranges.iter().map(|range| scene.read(&anyone, &file, *range))).await;
    for (range, bytes) in ranges.iter().zip(parts) {
        assert_eq!(bytes.unwrap(), part(*range));
    }
    assert_eq!(scene.requests(Host::Hub, "HEAD").len(), 1);
    assert_eq!(scene.requests(Host::Cdn, "GET").len(), 12);
    assert_eq!(scene.hub.log().len(), 13);
}

#[tokio::test]
async fn expired_url_is_renewed_once() {
    let scene = Scene::new();
    let file = scene.file("model.safetensors").await;
    let anyone = scene.anyone();
    scene.read(&anyone, &file, RANGE).await.unwrap();
    scene.hub.expire_urls();
    scene.hub.clear_log();
    assert_eq!(scene.read(&anyone, &file, RANGE).await.unwrap(), part(RANGE), "without an error in between");
    let seen: Vec<_> = scene.hub.log().iter().map(|record| (record.host, record.status)).collect();
    assert_eq!(seen, [(Host::Cdn, Some(403)), (Host::Hub, Some(302)), (Host::Cdn, Some(206))]);
}

#[tokio::test]
async fn a_fresh_url_that_is_refused_is_an_error_without_its_query() {
    let scene = Scene::new();
    let file = scene.file("model.safetensors").await;
    scene.hub.set_faults(Fault::on(Target::Cdn).status(403));
    let error = scene.read(&scene.anyone(), &file, RANGE).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::Permanent);
    assert!(error.url.starts_with(scene.hub.cdn_endpoint()) && !error.to_string().contains("Signature"), "{error}");
    assert_eq!(scene.requests(Host::Cdn, "GET").len(), 1);
}

#[tokio::test]
async fn a_url_is_left_before_it_expires() {
    let lifetime = Duration::from_secs(1);
    let hub = Hub::builder().token("alice", ALICE).url_lifetime(lifetime).start().unwrap();
    let scene = Scene::with(hub);
    let file = scene.file("model.safetensors").await;
    scene.read(&scene.anyone(), &file, RANGE).await.unwrap();
    tokio::time::sleep(lifetime).await;
    scene.read(&scene.anyone(), &file, RANGE).await.unwrap();
    assert_eq!(scene.requests(Host::Hub, "HEAD").len(), 2);
    assert!(scene.requests(Host::Cdn, "GET").iter().all(|record| record.status == Some(206)));
}

#[tokio::test]
async fn token_never_goes_to_the_cdn() {
    let scene = Scene::new();
    let file = scene.file("model.safetensors").await;
    let alice = scene.as_user(ALICE);
    scene.snapshot(&alice).await.unwrap();
    assert_eq!(scene.read(&alice, &file, RANGE).await.unwrap(), part(RANGE));
    let log = scene.hub.log();
    assert!(log.iter().any(|record| record.host == Host::Cdn));
    for record in log {
        assert_eq!(record.authorization, record.host == Host::Hub, "{record:?}");
    }
}

#[tokio::test]
async fn one_identitys_url_is_not_used_for_another() {
    let scene = Scene::new();
    let file = scene.file("model.safetensors").await;
    for identity in [scene.anyone(), scene.as_user(ALICE), scene.as_user(BOB), scene.as_user(ALICE)] {
        scene.read(&identity, &file, RANGE).await.unwrap();
    }
    let asked: Vec<_> = scene.requests(Host::Hub, "HEAD").into_iter().map(|record| record.token).collect();
    assert_eq!(asked, [None, Some("alice".to_owned()), Some("bob".to_owned())]);
}

#[tokio::test]
async fn a_grant_that_was_taken_back_ends_its_urls() {
    let scene = Scene::new();
    let file = scene.file("model.safetensors").await;
    let bob = scene.as_user(BOB);
    scene.read(&bob, &file, RANGE).await.unwrap();
    scene.hub.set_gated("acme/tiny", &["alice"]).unwrap();
    scene.origin.authorize(&bob, &file).await.unwrap_err();
    assert_eq!(scene.read(&bob, &file, RANGE).await.unwrap_err().kind, OriginErrorKind::Denied);
}

#[tokio::test]
async fn a_relative_redirect_on_the_hub_is_followed() {
    let scene = Scene::new();
    scene.hub.set_options(Options { resolve_cache: true, ..scene.hub.options() });
    let file = scene.file("config.json").await;
    let alice = scene.as_user(ALICE);
    assert_eq!(scene.read(&alice, &file, ByteRange::new(2, 5)).await.unwrap(), b"a\":");
    scene.origin.authorize(&alice, &file).await.unwrap();
}

#[tokio::test]
async fn another_content_than_expected_is_nonsense() {
    let scene = Scene::new();
    for path in ["config.json", "model.safetensors"] {
        let file = scene.file(path).await;
        let other_size = Blob { size: file.blob.size + 1, ..file.blob };
        let id = file.blob.id.etag().chars().rev().collect::<String>();
        let other_id = Blob { id: BlobId::from_etag(&id).unwrap(), ..file.blob };
        for blob in [other_size, other_id] {
            let error = scene.read(&scene.anyone(), &RemoteFile { blob, ..file.clone() }, ByteRange::new(0, 4)).await;
            assert_eq!(error.unwrap_err().kind, OriginErrorKind::Nonsense);
        }
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_says_so() {
    let scene = Scene::new();
    let mut file = scene.file("config.json").await;
    file.path = RepoPath::new("absent.json").unwrap();
    let error = scene.read(&scene.anyone(), &file, ByteRange::new(0, 4)).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::NoFile);
}
