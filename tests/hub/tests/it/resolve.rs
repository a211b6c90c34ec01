//! `/resolve/`: the headers clients read, for git files and for LFS files.

use reqwest::Method;
use sha2::{Digest, Sha256};
use test_hub::{Files, Hub, LfsRule, Options, RepoSettings};

use crate::asking::{CONFIG, MODEL, ask, get, get_range, head, pattern, tiny_hub};

/// `printf '{"a": 1}' | git hash-object --stdin`
const CONFIG_OID: &str = "4a036f56bb619924ec4189bd84ed716c766971ae";

#[tokio::test]
async fn git_file_comes_with_its_blob_id_and_commit() {
    let (hub, commit) = tiny_hub();
    for answer in [get(&hub, CONFIG).await, head(&hub, CONFIG).await] {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("etag"), format!("\"{CONFIG_OID}\""));
        assert_eq!(answer.header("content-length"), "8");
        assert_eq!(answer.header("x-repo-commit"), commit);
        assert_eq!(answer.header("accept-ranges"), "bytes");
    }
    assert_eq!(get(&hub, CONFIG).await.text(), "{\"a\": 1}");
    assert!(head(&hub, CONFIG).await.body.is_empty());
}

#[tokio::test]
async fn git_file_answers_ranges() {
    let (hub, _) = tiny_hub();
    let url = format!("{}{CONFIG}", hub.endpoint());
    let part = get_range(&url, "bytes=1-3").await;
    assert_eq!((part.status, part.text()), (206, "\"a\""));
    assert_eq!(part.header("content-range"), "bytes 1-3/8");
    assert_eq!(part.header("content-length"), "3");
    assert_eq!(get_range(&url, "bytes=-2").await.text(), "1}");
    let past = get_range(&url, "bytes=8-").await;
    assert_eq!((past.status, past.header("content-range")), (416, "bytes */8"));
}

#[tokio::test]
async fn unchanged_git_file_is_not_sent_again() {
    let (hub, _) = tiny_hub();
    let url = format!("{}{CONFIG}", hub.endpoint());
    let tag = format!("\"{CONFIG_OID}\"");
    let same = ask(Method::GET, &url, &[("if-none-match", &tag)]).await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    let other = ask(Method::GET, &url, &[("if-none-match", "\"other\"")]).await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn lfs_file_is_a_redirect_that_describes_the_file() {
    let (hub, commit) = tiny_hub();
    let sha256 = hex::encode(Sha256::digest(pattern(100_000)));
    for answer in [get(&hub, MODEL).await, head(&hub, MODEL).await] {
        assert_eq!(answer.status, 302);
        assert_eq!(answer.header("x-repo-commit"), commit);
        assert_eq!(answer.header("x-linked-etag"), format!("\"{sha256}\""));
        assert_eq!(answer.header("x-linked-size"), "100000");
        let location = answer.header("location");
        assert!(location.starts_with(hub.cdn_endpoint()), "{location}");
        for part in ["Expires=", "Signature=", "Key-Pair-Id=", "X-Amz-Expires=3600"] {
            assert!(location.contains(part), "{location} lacks {part}");
        }
    }
    let answer = get(&hub, MODEL).await;
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    assert!(answer.body.len() < 1000, "the redirect has a body of its own");
}

#[tokio::test]
async fn missing_file_names_the_commit_that_lacks_it() {
    let (hub, commit) = tiny_hub();
    let answer = head(&hub, "/acme/tiny/resolve/main/nope.json").await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.header("x-error-code"), "EntryNotFound");
    assert_eq!(answer.header("x-error-message"), "Entry not found");
    assert_eq!(answer.header("x-repo-commit"), commit);
    assert_eq!(head(&hub, "/acme/tiny/resolve/main/onnx").await.status, 404);
}

#[tokio::test]
async fn missing_revision_is_told_from_a_missing_file() {
    let (hub, _) = tiny_hub();
    let answer = get(&hub, "/acme/tiny/resolve/nope/config.json").await;
    assert_eq!((answer.status, answer.header("x-error-code")), (404, "RevisionNotFound"));
}

#[tokio::test]
async fn names_without_organisation_and_other_kinds_resolve() {
    let hub = Hub::start().unwrap();
    for (repo, path) in [
        ("gpt2", "/gpt2/resolve/main/a.txt"),
        ("datasets/acme/words", "/datasets/acme/words/resolve/main/a.txt"),
        ("spaces/acme/demo", "/spaces/acme/demo/resolve/main/a.txt"),
        ("kernels/acme/attention", "/kernels/acme/attention/resolve/main/a.txt"),
    ] {
        hub.commit(repo, [("a.txt", repo)]).unwrap();
        assert_eq!(get(&hub, path).await.text(), repo);
    }
}

#[tokio::test]
async fn file_names_are_decoded() {
    let hub = Hub::start().unwrap();
    hub.commit("acme/odd", [("a b/ü%#?.txt", "odd")]).unwrap();
    let answer = get(&hub, "/acme/odd/resolve/main/a%20b/%C3%BC%25%23%3F.txt").await;
    assert_eq!(answer.text(), "odd");
}

#[tokio::test]
async fn what_is_lfs_follows_the_rule_of_the_repository() {
    let hub = Hub::start().unwrap();
    let lfs = LfsRule { threshold: 10, patterns: Vec::new() };
    hub.put_repo("acme/rule", RepoSettings { lfs, ..RepoSettings::default() });
    let files = Files::new().bytes("small.bin", vec![1; 10]).bytes("large.txt", vec![1; 11]);
    hub.commit("acme/rule", files).unwrap();
    assert_eq!(head(&hub, "/acme/rule/resolve/main/small.bin").await.status, 200);
    assert_eq!(head(&hub, "/acme/rule/resolve/main/large.txt").await.status, 302);
}

#[tokio::test]
async fn git_file_may_be_a_relative_redirect_within_the_hub() {
    let (hub, commit) = tiny_hub();
    hub.set_options(Options { resolve_cache: true, ..Options::default() });
    let answer = head(&hub, CONFIG).await;
    assert_eq!((answer.status, answer.header("x-repo-commit")), (307, commit.as_str()));
    let location = answer.header("location");
    assert!(location.starts_with("/api/resolve-cache/models/acme/tiny/"), "{location}");
    let cached = get(&hub, location).await;
    assert_eq!((cached.status, cached.text()), (200, "{\"a\": 1}"));
    assert_eq!(cached.header("x-repo-commit"), commit);
}

#[tokio::test]
async fn nonsense_is_refused_without_harm() {
    let (hub, _) = tiny_hub();
    for path in ["/", "/api/", "/a", "/%00/%ff/resolve/%fe/x", "/acme/tiny/resolve/main/", "/api/models/a/b/c/d"] {
        let status = get(&hub, path).await.status;
        assert!((400..500).contains(&status) || path == "/api/", "{path}: {status}");
    }
    let url = format!("{}{CONFIG}", hub.endpoint());
    assert_eq!(ask(Method::PUT, &url, &[]).await.status, 405);
    assert_eq!(get(&hub, CONFIG).await.status, 200);
}
