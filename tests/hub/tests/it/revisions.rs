//! Branches, tags, pull requests and commits, and what moves when something is pushed.

use test_hub::Hub;

use crate::asking::get;

async fn version(hub: &Hub, revision: &str) -> String {
    let answer = get(hub, &format!("/acme/tiny/resolve/{revision}/v.txt")).await;
    assert_eq!(answer.status, 200, "{revision}");
    answer.text().to_owned()
}

#[tokio::test]
async fn every_kind_of_revision_resolves() {
    let hub = Hub::start().unwrap();
    let old = hub.commit("acme/tiny", [("v.txt", "old")]).unwrap();
    hub.set_tag("acme/tiny", "v1.0", &old).unwrap();
    let new = hub.commit("acme/tiny", [("v.txt", "new")]).unwrap();
    let request = hub.commit_to("acme/tiny", "refs/pr/1", [("v.txt", "pr")]).unwrap();
    hub.commit_to("acme/tiny", "refs/convert/parquet", [("v.txt", "parquet")]).unwrap();
    for (revision, expected) in [
        ("main", "new"),
        ("refs%2Fheads%2Fmain", "new"),
        ("v1.0", "old"),
        ("refs%2Fpr%2F1", "pr"),
        ("refs%2Fconvert%2Fparquet", "parquet"),
        (old.as_str(), "old"),
        (&new[..10], "new"),
    ] {
        assert_eq!(version(&hub, revision).await, expected, "{revision}");
    }
    let info = get(&hub, "/api/models/acme/tiny/revision/refs%2Fpr%2F1").await;
    assert_eq!(info.json()["sha"], request);
}

#[tokio::test]
async fn moved_branch_leaves_the_old_commit_readable() {
    let hub = Hub::start().unwrap();
    let old = hub.commit("acme/tiny", [("v.txt", "old")]).unwrap();
    let new = hub.commit_detached("acme/tiny", [("v.txt", "new")]).unwrap();
    assert_eq!(version(&hub, "main").await, "old");
    hub.set_branch("acme/tiny", "main", &new).unwrap();
    assert_eq!(version(&hub, "main").await, "new");
    assert_eq!(version(&hub, &old).await, "old");
    assert!(hub.set_branch("acme/tiny", "main", &"0".repeat(40)).is_err());
}

#[tokio::test]
async fn commit_ids_depend_on_content_alone() {
    let first = Hub::start().unwrap().commit("acme/tiny", [("v.txt", "x")]).unwrap();
    let second = Hub::start().unwrap().commit("acme/tiny", [("v.txt", "x")]).unwrap();
    assert_eq!(first, second);
    assert_eq!(first.len(), 40);
}

#[tokio::test]
async fn refs_are_listed_by_kind() {
    let hub = Hub::start().unwrap();
    let commit = hub.commit("acme/tiny", [("v.txt", "x")]).unwrap();
    hub.set_tag("acme/tiny", "v1", &commit).unwrap();
    hub.commit_to("acme/tiny", "refs/pr/1", [("v.txt", "y")]).unwrap();
    let refs = get(&hub, "/api/models/acme/tiny/refs").await.json();
    assert_eq!(refs["branches"][0]["name"], "main");
    assert_eq!(refs["branches"][0]["ref"], "refs/heads/main");
    assert_eq!(refs["branches"][0]["targetCommit"], commit);
    assert_eq!(refs["tags"][0]["ref"], "refs/tags/v1");
    assert_eq!(refs["converts"].as_array().unwrap().len(), 0);
    assert!(refs.get("pullRequests").is_none());
    let all = get(&hub, "/api/models/acme/tiny/refs?include_prs=1").await.json();
    assert_eq!(all["pullRequests"][0]["ref"], "refs/pr/1");
    assert!(hub.delete_ref("acme/tiny", "refs/pr/1").unwrap());
    assert_eq!(get(&hub, "/acme/tiny/resolve/refs%2Fpr%2F1/v.txt").await.status, 404);
}

#[tokio::test]
async fn info_names_commit_and_files() {
    let hub = Hub::start().unwrap();
    let commit = hub.commit("acme/tiny", [("v.txt", "x"), ("a/b.bin", "y")]).unwrap();
    let info = get(&hub, "/api/models/acme/tiny").await.json();
    assert_eq!(info["id"], "acme/tiny");
    assert_eq!(info["modelId"], "acme/tiny");
    assert_eq!(info["sha"], commit);
    assert_eq!((&info["private"], &info["gated"], &info["disabled"]), (&false.into(), &false.into(), &false.into()));
    assert_eq!(info["siblings"], serde_json::json!([{ "rfilename": "a/b.bin" }, { "rfilename": "v.txt" }]));
    let blobs = get(&hub, "/api/models/acme/tiny?blobs=true").await.json();
    assert_eq!(blobs["siblings"][0]["lfs"]["size"], 1);
    let list = get(&hub, "/api/models?author=acme").await.json();
    assert_eq!(list[0]["id"], "acme/tiny");
    let nope = get(&hub, "/api/models/acme/tiny/revision/nope").await;
    assert_eq!((nope.status, nope.header("x-error-code")), (404, "RevisionNotFound"));
}
