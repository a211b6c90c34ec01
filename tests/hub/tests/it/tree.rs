//! `tree` and `paths-info`: entries, directories, pages, and entries no honest Hub would send.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use test_hub::{Files, Hub};

use crate::asking::{client, get, pattern, send, tiny_hub};

fn paths(entries: &Value) -> Vec<&str> {
    entries.as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn recursive_tree_lists_files_and_directories() {
    let (hub, _) = tiny_hub();
    let tree = get(&hub, "/api/models/acme/tiny/tree/main?recursive=true&expand=false").await.json();
    assert_eq!(paths(&tree), ["config.json", "model.safetensors", "onnx", "onnx/config.json"]);
    assert_eq!(tree[0]["type"], "file");
    assert_eq!(tree[0]["size"], 8);
    assert!(tree[0].get("lfs").is_none());
    let sha256 = hex::encode(Sha256::digest(pattern(100_000)));
    assert_eq!(tree[1]["lfs"], json!({ "oid": sha256, "size": 100_000, "pointerSize": 131 }));
    assert_eq!(tree[1]["size"], 100_000);
    assert_ne!(tree[1]["oid"], sha256);
    assert_eq!((&tree[2]["type"], &tree[2]["size"]), (&json!("directory"), &json!(0)));
    assert_eq!(tree[2]["oid"].as_str().unwrap().len(), 40);
}

#[tokio::test]
async fn tree_of_a_directory_lists_its_children() {
    let (hub, _) = tiny_hub();
    hub.commit("acme/deep", [("a/b/c.txt", "x"), ("a/d.txt", "y"), ("e.txt", "z")]).unwrap();
    for (path, expected) in [
        ("", vec!["a", "e.txt"]),
        ("/a", vec!["a/b", "a/d.txt"]),
        ("/a%2Fb", vec!["a/b/c.txt"]),
        ("/a?recursive=True", vec!["a/b", "a/b/c.txt", "a/d.txt"]),
    ] {
        let tree = get(&hub, &format!("/api/models/acme/deep/tree/main{path}")).await.json();
        assert_eq!(paths(&tree), expected, "{path}");
    }
    let missing = get(&hub, "/api/models/acme/deep/tree/main/nope").await;
    assert_eq!((missing.status, missing.header("x-error-code")), (404, "EntryNotFound"));
}

/// All paths, and the number of pages it took.
async fn follow(hub: &Hub, path: &str) -> (Vec<String>, usize) {
    let (mut all, mut pages) = (Vec::new(), 0);
    let mut next = path.to_owned();
    loop {
        let answer = get(hub, &next).await;
        assert_eq!(answer.status, 200);
        all.extend(paths(&answer.json()).into_iter().map(str::to_owned));
        pages += 1;
        let link = answer.header("link");
        if link.is_empty() {
            return (all, pages);
        }
        let url = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
        next = url.strip_prefix(hub.endpoint()).unwrap().to_owned();
    }
}

#[tokio::test]
async fn long_trees_come_in_pages() {
    let hub = Hub::builder().page_size(10).start().unwrap();
    let names: Vec<String> = (0..120).map(|number| format!("{number:03}.txt")).collect();
    let files: Files = names.iter().map(|name| (name.clone(), "x")).collect();
    hub.commit("acme/many", files).unwrap();
    let tree = "/api/models/acme/many/tree/main?recursive=true";
    assert_eq!(follow(&hub, tree).await, (names.clone(), 12));
    assert_eq!(follow(&hub, &format!("{tree}&expand=true")).await, (names.clone(), 3));
    assert_eq!(follow(&hub, &format!("{tree}&limit=7")).await, (names, 18));
    assert_eq!(get(&hub, &format!("{tree}&cursor=!")).await.status, 400);
}

#[tokio::test]
async fn expanded_entries_name_their_last_commit() {
    let (hub, commit) = tiny_hub();
    let tree = get(&hub, "/api/models/acme/tiny/tree/main?expand=true").await.json();
    assert_eq!(tree[0]["lastCommit"]["id"], commit);
}

#[tokio::test]
async fn paths_info_answers_forms_and_json_alike() {
    let (hub, _) = tiny_hub();
    let url = format!("{}/api/models/acme/tiny/paths-info/main", hub.endpoint());
    let form = "paths=config.json&paths=onnx&paths=nope&expand=False";
    let form = client().post(&url).header("content-type", "application/x-www-form-urlencoded").body(form);
    let form = send(form).await.unwrap().json();
    let body = json!({ "paths": ["config.json", "onnx", "nope"], "expand": false });
    let json = send(client().post(&url).json(&body)).await.unwrap().json();
    assert_eq!(paths(&form), ["config.json", "onnx"]);
    assert_eq!(form, json);
    let broken = client().post(&url).header("content-type", "application/json").body("{");
    assert_eq!(send(broken).await.unwrap().status, 400);
    assert_eq!(send(client().get(&url)).await.unwrap().status, 405);
}

#[tokio::test]
async fn raw_entries_are_shown_as_they_are() {
    let (hub, commit) = tiny_hub();
    let long = "x".repeat(5000);
    for path in ["../x", "/abs", "nul\0", &long, "config.json/below"] {
        let entry = json!({ "type": "file", "oid": "0", "size": 1, "path": path });
        hub.add_raw_tree_entry("acme/tiny", &commit, entry).unwrap();
    }
    let tree = get(&hub, "/api/models/acme/tiny/tree/main?recursive=true").await.json();
    assert_eq!(paths(&tree)[4..], ["../x", "/abs", "nul\0", &long, "config.json/below"]);
    let info = get(&hub, "/api/models/acme/tiny").await.json();
    assert_eq!(info["siblings"][3]["rfilename"], "../x");
}
