//! `/_hub/...`: the same powers over HTTP, unlogged and out of reach of faults.

use reqwest::Method;
use serde_json::{Value, json};
use test_hub::{Fault, Hub};

use crate::asking::{client, get, get_as, send, tiny_hub};

async fn admin(hub: &Hub, method: Method, what: &str, body: Value) -> (u16, Value) {
    let url = format!("{}/_hub/{what}", hub.endpoint());
    let answer = send(client().request(method, url).json(&body)).await.unwrap();
    (answer.status, answer.json())
}

async fn post(hub: &Hub, what: &str, body: Value) -> Value {
    let (status, answer) = admin(hub, Method::POST, what, body).await;
    assert_eq!(status, 200, "{what}: {answer}");
    answer
}

#[tokio::test]
async fn repositories_are_made_over_http() {
    let hub = Hub::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("from_dir.txt"), "dir").unwrap();
    let files = json!({
        "plain.txt": "plain",
        "text.txt": { "text": "text" },
        "base64.txt": { "base64": "YmFzZQ==" },
        "file.txt": { "file": folder.path().join("from_dir.txt") },
    });
    let new = json!({ "repo": "acme/tiny", "files": files, "from_dir": folder.path() });
    let commit = post(&hub, "commit", new).await["commit"].clone();
    for (name, text) in [("plain", "plain"), ("text", "text"), ("base64", "base"), ("file", "dir"), ("from_dir", "dir")]
    {
        assert_eq!(get(&hub, &format!("/acme/tiny/resolve/main/{name}.txt")).await.text(), text);
    }
    post(&hub, "branch", json!({ "repo": "acme/tiny", "branch": "dev", "commit": commit })).await;
    post(&hub, "tag", json!({ "repo": "acme/tiny", "tag": "v1", "commit": commit })).await;
    let detached = json!({ "repo": "acme/tiny", "branch": null, "files": { "a": "b" } });
    let detached = post(&hub, "commit", detached).await["commit"].clone();
    let (_, repos) = admin(&hub, Method::GET, "repos", Value::Null).await;
    assert_eq!(repos[0]["repo"], "models/acme/tiny");
    let refs = json!({ "refs/heads/dev": commit, "refs/heads/main": commit, "refs/tags/v1": commit });
    assert_eq!(repos[0]["refs"], refs);
    assert!(repos[0]["commits"].as_array().unwrap().contains(&detached));
    post(&hub, "rename", json!({ "from": "acme/tiny", "to": "acme/small" })).await;
    assert_eq!(get(&hub, "/api/models/acme/tiny").await.status, 307);
    let (_, removed) = admin(&hub, Method::DELETE, "repo", json!({ "repo": "acme/small" })).await;
    assert_eq!(removed["removed"], true);
}

#[tokio::test]
async fn access_is_set_over_http() {
    let (hub, commit) = tiny_hub();
    post(&hub, "token", json!({ "name": "alice", "secret": "hf_alice" })).await;
    post(&hub, "repo", json!({ "repo": "acme/tiny", "private": true, "readers": ["alice"] })).await;
    assert_eq!(get(&hub, "/api/models/acme/tiny").await.status, 401);
    assert_eq!(get_as(&hub, "/api/models/acme/tiny", "hf_alice").await.json()["sha"], commit);
    let entry = json!({ "repo": "acme/tiny", "commit": commit, "entry": { "path": "../x" } });
    post(&hub, "raw-entry", entry).await;
    post(&hub, "expire-urls", Value::Null).await;
}

#[tokio::test]
async fn faults_and_options_are_set_over_http() {
    let (hub, _) = tiny_hub();
    let rules = json!({ "rules": [{ "target": "api", "count": 1, "status": 503 }] });
    let (status, now) = admin(&hub, Method::PUT, "faults", rules).await;
    assert_eq!((status, &now["rules"][0]["count"]), (200, &json!(1)));
    assert_eq!(get(&hub, "/api/models/acme/tiny").await.status, 503);
    let (_, now) = admin(&hub, Method::GET, "faults", Value::Null).await;
    assert_eq!(now["rules"][0]["count"], 0);
    post(&hub, "faults", json!({ "target": "cdn", "latency_ms": 5 })).await;
    assert_eq!(hub.faults().rules.len(), 2);
    admin(&hub, Method::DELETE, "faults", Value::Null).await;
    assert!(hub.faults().rules.is_empty());
    let (_, options) = admin(&hub, Method::PUT, "options", json!({ "page_size": 2 })).await;
    assert_eq!((&options["page_size"], &options["expanded_page_size"]), (&json!(2), &json!(50)));
    assert_eq!(hub.options().page_size, 2);
}

#[tokio::test]
async fn admin_is_neither_logged_nor_struck() {
    let (hub, _) = tiny_hub();
    hub.set_faults(Fault::new().status(500));
    let (status, ready) = admin(&hub, Method::GET, "ready", Value::Null).await;
    assert_eq!(status, 200);
    assert_eq!(ready, json!({ "endpoint": hub.endpoint(), "cdn": hub.cdn_endpoint() }));
    assert!(hub.log().is_empty());
    get(&hub, "/api/models/acme/tiny").await;
    let (_, log) = admin(&hub, Method::GET, "log", Value::Null).await;
    assert_eq!(log[0]["path"], "/api/models/acme/tiny");
    assert_eq!((&log[0]["host"], &log[0]["status"], &log[0]["seq"]), (&json!("hub"), &json!(500), &json!(0)));
    admin(&hub, Method::DELETE, "log", Value::Null).await;
    assert!(hub.log().is_empty());
}

#[tokio::test]
async fn mistakes_are_explained() {
    let (hub, _) = tiny_hub();
    for (what, body) in [
        ("commit", json!({ "repo": "acme/tiny", "files": { "../x": "" } })),
        ("commit", json!({ "repo": "acme/tiny", "files": {}, "colour": 1 })),
        ("commit", json!({ "repo": "acme/tiny", "from_dir": "/does/not/exist" })),
        ("branch", json!({ "repo": "acme/none", "branch": "main", "commit": "0" })),
        ("faults", json!({ "lateny_ms": 5 })),
        ("repo", json!({ "private": true })),
    ] {
        let (status, answer) = admin(&hub, Method::POST, what, body).await;
        assert_eq!(status, 400, "{what}");
        assert!(!answer["error"].as_str().unwrap().is_empty());
    }
    assert_eq!(admin(&hub, Method::GET, "nope", Value::Null).await.0, 404);
}
