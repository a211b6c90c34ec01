//! Names: revisions, listings, who may see what.

use serde_json::json;
use test_hub::{Fault, Files, Hub, RepoSettings, Target};
use tokio::time::Instant;

use super::*;
use crate::origin::OriginErrorKind;
use crate::types::BlobId;

#[tokio::test]
async fn a_branch_a_tag_and_a_pull_request_resolve_to_their_commits() {
    let scene = Scene::new();
    let other = scene.hub.commit_to("acme/tiny", "refs/pr/1", [("x", "y")]).unwrap();
    scene.hub.set_tag("acme/tiny", "v1", &other).unwrap();
    let resolve = async |revision: &str| {
        let revision = Revision::new(revision).unwrap();
        scene.origin.resolve(&scene.anyone(), &tiny(), &revision).await.unwrap().to_string()
    };
    assert_eq!(resolve("main").await, scene.commit);
    assert_eq!(resolve("refs/pr/1").await, other);
    assert_eq!(resolve("v1").await, other);
    assert_eq!(resolve(&other).await, other);
}

#[tokio::test]
async fn every_page_of_a_listing_is_read() {
    let scene = Scene::with(Hub::builder().page_size(2).token("alice", ALICE).start().unwrap());
    let snapshot = scene.snapshot(&scene.anyone()).await.unwrap();
    let files: Vec<_> = snapshot.files().map(|(path, blob)| (path.as_str(), blob.size)).collect();
    assert_eq!(files, [("config.json", 8), ("model.safetensors", 600_000), ("nested/folder/vocab.txt", 4)]);
    let id = |path: &str| snapshot.files().find(|(name, _)| name.as_str() == path).unwrap().1.id;
    assert!(matches!(id("config.json"), BlobId::GitSha1(_)));
    assert!(matches!(id("model.safetensors"), BlobId::Sha256(_)));
    assert!(!snapshot.gated && !snapshot.private && snapshot.created_at > 1_600_000_000);
    assert!(scene.metrics.catalog_requests.get() >= 4, "info and three pages");
}

#[tokio::test]
async fn datasets_spaces_and_kernels_have_routes_of_their_own() {
    let scene = Scene::new();
    for (kind, prefix) in [(RepoType::Dataset, "datasets"), (RepoType::Space, "spaces"), (RepoType::Kernel, "kernels")]
    {
        let expected = scene.hub.commit(format!("{prefix}/acme/x"), [("data.txt", "words")]).unwrap();
        let repo = RepoId::new(kind, "acme/x").unwrap();
        let anyone = scene.anyone();
        let found = scene.origin.resolve(&anyone, &repo, &main_branch()).await.unwrap();
        assert_eq!(found.to_string(), expected);
        let snapshot = scene.origin.snapshot(&anyone, &repo, found).await.unwrap();
        let file = snapshot.files().find_map(|(path, _)| snapshot.remote_file(path)).unwrap();
        assert_eq!(scene.read(&anyone, &file, ByteRange::new(1, 4)).await.unwrap(), b"ord");
    }
}

#[tokio::test]
async fn what_is_missing_is_an_answer_and_asked_once() {
    let scene = Scene::new();
    let ghost = RepoId::new(RepoType::Model, "acme/ghost").unwrap();
    let error = scene.origin.resolve(&scene.anyone(), &ghost, &main_branch()).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::NoRepo);
    assert!(error.cause.contains("give a token"), "{error}");
    let error = scene.origin.resolve(&scene.as_user(ALICE), &ghost, &main_branch()).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::NoRepo);
    assert!(error.cause.contains("the token may not see it"), "{error}");
    let missing = Revision::new("no-such-branch").unwrap();
    let error = scene.origin.resolve(&scene.anyone(), &tiny(), &missing).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::NoRevision);
    assert_eq!(scene.hub.log().len(), 3);
    assert_eq!(scene.metrics.catalog_failures.get(), 0);
}

#[tokio::test]
async fn a_private_repo_is_there_only_for_its_readers() {
    let scene = Scene::new();
    scene.hub.set_private("acme/tiny", &["alice"]).unwrap();
    let error = scene.snapshot(&scene.anyone()).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::NoRepo);
    assert_eq!(scene.snapshot(&scene.as_user(BOB)).await.unwrap_err().kind, OriginErrorKind::NoRepo);
    assert!(scene.snapshot(&scene.as_user(ALICE)).await.unwrap().private);
}

#[tokio::test]
async fn a_gated_repo_is_listed_for_everyone_and_read_by_the_granted() {
    let scene = Scene::new();
    scene.hub.set_gated("acme/tiny", &["alice"]).unwrap();
    let snapshot = scene.snapshot(&scene.anyone()).await.unwrap();
    assert!(snapshot.gated);
    for path in ["config.json", "model.safetensors"] {
        let file = scene.file(path).await;
        let range = ByteRange::new(0, 4);
        for other in [scene.anyone(), scene.as_user(BOB)] {
            let error = scene.origin.authorize(&other, &file).await.unwrap_err();
            assert_eq!(error.kind, OriginErrorKind::Denied);
            assert_eq!(scene.read(&other, &file, range).await.unwrap_err().kind, OriginErrorKind::Denied);
        }
        scene.origin.authorize(&scene.as_user(ALICE), &file).await.unwrap();
        assert_eq!(scene.read(&scene.as_user(ALICE), &file, range).await.unwrap().len(), 4);
    }
}

#[tokio::test]
async fn a_disabled_repo_and_a_bad_token_are_denied() {
    let scene = Scene::new();
    let error = scene.snapshot(&scene.as_user("hf_made_up")).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::Denied);
    assert!(error.cause.contains("the token is not accepted"), "{error}");
    scene.hub.put_repo("acme/tiny", RepoSettings { disabled: true, ..RepoSettings::default() });
    assert_eq!(scene.snapshot(&scene.anyone()).await.unwrap_err().kind, OriginErrorKind::Denied);
}

#[tokio::test]
async fn a_renamed_repo_is_followed() {
    let scene = Scene::new();
    let file = scene.file("model.safetensors").await;
    scene.hub.rename_repo("acme/tiny", "acme/renamed");
    let anyone = scene.anyone();
    let found = scene.origin.resolve(&anyone, &tiny(), &main_branch()).await.unwrap();
    assert_eq!(found, commit(&scene.commit));
    assert_eq!(scene.snapshot(&anyone).await.unwrap().files().count(), 3);
    let range = ByteRange::new(10, 20);
    assert_eq!(scene.read(&anyone, &file, range).await.unwrap(), part(range));
}

#[tokio::test]
async fn hostile_names_are_left_out_and_the_rest_is_served() {
    let scene = Scene::new();
    let long = "x".repeat(300);
    for path in ["../../etc/passwd", "/etc/passwd", "a\0b", "a//b", "config.json/below", "", &long] {
        let entry = json!({"type": "file", "oid": "1".repeat(40), "size": 1, "path": path});
        scene.hub.add_raw_tree_entry("acme/tiny", &scene.commit, entry).unwrap();
    }
    for entry in [json!({"type": "file"}), json!(null), json!({"type": "file", "path": "x", "oid": 7, "size": "y"})] {
        scene.hub.add_raw_tree_entry("acme/tiny", &scene.commit, entry).unwrap();
    }
    let snapshot = scene.snapshot(&scene.anyone()).await.unwrap();
    let names: Vec<_> = snapshot.files().map(|(path, _)| path.as_str()).collect();
    assert_eq!(names, ["config.json", "model.safetensors", "nested/folder/vocab.txt"]);
}

#[tokio::test]
async fn offline_nobody_is_asked() {
    let scene = Scene::new();
    let file = scene.file("config.json").await;
    let offline = Identity::new(scene.hub.endpoint(), None, true);
    let origin = &scene.origin;
    let errors = [
        origin.resolve(&offline, &tiny(), &main_branch()).await.unwrap_err(),
        origin.snapshot(&offline, &tiny(), commit(&scene.commit)).await.unwrap_err(),
        origin.authorize(&offline, &file).await.unwrap_err(),
        scene.read(&offline, &file, ByteRange::new(0, 1)).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind, OriginErrorKind::Offline);
        assert!(error.cause.contains("run once online"), "{error}");
    }
    assert!(scene.hub.log().is_empty());
}

#[tokio::test]
async fn a_stumbling_hub_is_asked_again() {
    let scene = Scene::new();
    let stumble = Fault::on(Target::Api).times(3);
    for fault in [stumble.clone().status(503), stumble.clone().disconnect(), stumble.cut_after(10)] {
        scene.hub.set_faults(fault);
        assert_eq!(scene.snapshot(&scene.anyone()).await.unwrap().files().count(), 3);
    }
}

#[tokio::test]
async fn a_hub_that_is_away_is_given_up_at_the_deadline() {
    let scene = Scene::new();
    scene.hub.stop();
    let give_up = Duration::from_millis(300);
    let (origin, _) = origin_that_gives_up_after(give_up);
    let start = Instant::now();
    let error = origin.resolve(&scene.anyone(), &tiny(), &main_branch()).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::Transient);
    assert!(error.cause.contains("cannot connect"), "{error}");
    assert!(start.elapsed() >= give_up);
    scene.hub.restart().unwrap();
    origin.resolve(&scene.anyone(), &tiny(), &main_branch()).await.unwrap();
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let scene = Scene::new();
    for fault in [Fault::on(Target::Api).retry_after(1), Fault::on(Target::Api).rate_limit("api", 0)] {
        scene.hub.clear_log();
        scene.hub.set_faults(fault.status(429).times(1));
        let start = Instant::now();
        scene.origin.resolve(&scene.anyone(), &tiny(), &main_branch()).await.unwrap();
        assert!(start.elapsed() >= Duration::from_secs(1));
        assert_eq!(scene.hub.log().len(), 2, "nothing was asked in between");
    }
}

#[tokio::test]
async fn a_hub_that_asked_for_a_pause_is_not_asked_by_others() {
    let scene = Scene::new();
    scene.hub.set_faults(Fault::on(Target::Api).status(429).retry_after(1).times(1));
    scene.hub.commit("acme/other", Files::new().text("a", "b")).unwrap();
    let other = RepoId::new(RepoType::Model, "acme/other").unwrap();
    let (anyone, tiny, main) = (scene.anyone(), tiny(), main_branch());
    let first = scene.origin.resolve(&anyone, &tiny, &main);
    let second = async {
        while scene.metrics.catalog_failures.get() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        scene.origin.resolve(&anyone, &other, &main).await
    };
    let (first, second) = tokio::join!(first, second);
    first.and(second).unwrap();
    let times: Vec<f64> = scene.hub.log().iter().map(|record| record.time).collect();
    assert_eq!(times.len(), 3);
    assert!(times[1] - times[0] >= 0.9, "{times:?}");
}

#[tokio::test]
async fn the_first_question_about_a_revision_brings_its_files_too() {
    let scene = Scene::new();
    let listed = scene.snapshot(&scene.anyone()).await.unwrap();
    let before = scene.hub.log().len();
    let found = scene.origin.discover(&scene.anyone(), &tiny(), &main_branch()).await.unwrap();
    assert_eq!(scene.hub.log().len(), before + 1);
    assert_eq!(found.commit.to_string(), scene.commit);
    let found = found.snapshot.unwrap();
    assert!(found.files().eq(listed.files()));
    assert_eq!((found.private, found.gated, found.created_at), (listed.private, listed.gated, listed.created_at));
}
