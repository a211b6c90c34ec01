//! Repositories from folders, with what `.hub` says about them.

use std::fs;
use std::path::Path;

use reqwest::Method;
use test_hub::Hub;

use crate::asking::{ask, get, get_as};

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[tokio::test]
async fn folders_are_repositories() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(root, "models/acme/tiny/config.json", "main");
    write(root, "models/acme/tiny/.gitattributes", "*");
    write(root, "models/acme/tiny/.git/HEAD", "not content");
    write(root, "models/acme/tiny/.hub/repo.json", r#"{"tags": {"v1": "dev"}, "renamed_from": ["acme/old"]}"#);
    write(root, "models/acme/tiny/.hub/revisions/dev/config.json", "dev");
    write(root, "models/acme/tiny/.hub/revisions/refs%2Fpr%2F1/config.json", "pr");
    write(root, "models/_/gpt2/config.json", "gpt2");
    write(root, "datasets/acme/words/a.txt", "words");
    write(root, "models/acme/secret/config.json", "secret");
    write(root, "models/acme/secret/.hub/repo.json", r#"{"private": true, "readers": ["alice"]}"#);
    write(root, ".hub/tokens.json", r#"{"alice": "hf_alice"}"#);
    let hub = Hub::builder().root(root).start().unwrap();
    for (path, text) in [
        ("/acme/tiny/resolve/main/config.json", "main"),
        ("/acme/tiny/resolve/dev/config.json", "dev"),
        ("/acme/tiny/resolve/v1/config.json", "dev"),
        ("/acme/tiny/resolve/refs%2Fpr%2F1/config.json", "pr"),
        ("/gpt2/resolve/main/config.json", "gpt2"),
        ("/datasets/acme/words/resolve/main/a.txt", "words"),
    ] {
        assert_eq!(get(&hub, path).await.text(), text, "{path}");
    }
    let siblings = get(&hub, "/api/models/acme/tiny").await.json()["siblings"].clone();
    assert_eq!(siblings.as_array().unwrap().len(), 2);
    assert_eq!(get(&hub, "/api/models/acme/old").await.status, 307);
    assert_eq!(get(&hub, "/api/models/acme/secret").await.status, 401);
    assert_eq!(get_as(&hub, "/api/models/acme/secret", "hf_alice").await.status, 200);
}

#[tokio::test]
async fn rescan_moves_main_to_what_the_folder_holds_now() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "models/acme/tiny/config.json", "old");
    let hub = Hub::builder().root(root.path()).start().unwrap();
    let old = get(&hub, "/api/models/acme/tiny").await.json()["sha"].clone();
    write(root.path(), "models/acme/tiny/config.json", "newer");
    let url = format!("{}/_hub/rescan", hub.endpoint());
    assert_eq!(ask(Method::POST, &url, &[]).await.status, 200);
    assert_eq!(get(&hub, "/acme/tiny/resolve/main/config.json").await.text(), "newer");
    assert_ne!(get(&hub, "/api/models/acme/tiny").await.json()["sha"], old);
}

#[test]
fn wrong_description_is_an_error_that_names_it() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "models/acme/tiny/config.json", "x");
    write(root.path(), "models/acme/tiny/.hub/repo.json", r#"{"privat": true}"#);
    let error = Hub::builder().root(root.path()).start().err().unwrap().to_string();
    assert!(error.contains("acme/tiny/.hub/repo.json") && error.contains("privat"), "{error}");
}
