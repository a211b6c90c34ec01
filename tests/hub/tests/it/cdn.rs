//! The CDN: signed URLs that expire, exact ranges, nothing of the Hub, no credentials.

use std::time::Duration;

use reqwest::Method;
use test_hub::{Files, Host, Hub};

use crate::asking::{MODEL, ask, get_range, pattern, signed_url, tiny_files, tiny_hub};

#[tokio::test]
async fn signed_url_serves_the_bytes() {
    let (hub, _) = tiny_hub();
    let url = signed_url(&hub, MODEL).await;
    let whole = ask(Method::GET, &url, &[]).await;
    assert_eq!((whole.status, whole.header("content-length")), (200, "100000"));
    assert_eq!(whole.body, pattern(100_000));
    let head = ask(Method::HEAD, &url, &[]).await;
    assert_eq!((head.status, head.header("content-length")), (200, "100000"));
}

#[tokio::test]
async fn ranges_are_exact() {
    let (hub, _) = tiny_hub();
    let url = signed_url(&hub, MODEL).await;
    let data = pattern(100_000);
    for (range, expected, stated) in [
        ("bytes=0-0", 0..1, "bytes 0-0/100000"),
        ("bytes=5000-69999", 5000..70_000, "bytes 5000-69999/100000"),
        ("bytes=99990-", 99_990..100_000, "bytes 99990-99999/100000"),
        ("bytes=99990-200000", 99_990..100_000, "bytes 99990-99999/100000"),
        ("bytes=-10", 99_990..100_000, "bytes 99990-99999/100000"),
    ] {
        let part = get_range(&url, range).await;
        assert_eq!((part.status, part.header("content-range")), (206, stated));
        assert_eq!(part.body, data[expected], "{range}");
    }
    let past = get_range(&url, "bytes=100000-").await;
    assert_eq!((past.status, past.header("content-range")), (416, "bytes */100000"));
}

#[tokio::test]
async fn cdn_says_nothing_of_the_hub() {
    let (hub, commit) = tiny_hub();
    let url = signed_url(&hub, MODEL).await;
    let answer = get_range(&url, "bytes=0-9").await;
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("x-")));
    assert!(!format!("{:?}", answer.headers).contains(&commit));
    let sha256 = url.split('?').next().unwrap().rsplit('/').next().unwrap();
    assert_eq!(sha256.len(), 64);
    assert!(!answer.header("etag").contains(sha256));
}

#[tokio::test]
async fn changed_url_is_refused() {
    let (hub, _) = tiny_hub();
    let url = signed_url(&hub, MODEL).await;
    let unsigned = url.split('?').next().unwrap().to_owned();
    let later = url.replace("Expires=3600", "Expires=9999");
    for url in [unsigned, later, format!("{}/repos/x", hub.cdn_endpoint())] {
        let answer = ask(Method::GET, &url, &[]).await;
        assert_eq!(answer.status, 403, "{url}");
        assert!(answer.text().contains("<Code>SignatureDoesNotMatch</Code>"));
    }
}

#[tokio::test]
async fn expired_url_is_refused() {
    let hub = Hub::builder().url_lifetime(Duration::from_millis(10)).start().unwrap();
    hub.commit("acme/tiny", tiny_files()).unwrap();
    let url = signed_url(&hub, MODEL).await;
    // The URL states whole seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let answer = ask(Method::GET, &url, &[]).await;
    assert_eq!((answer.status, answer.header("content-type")), (403, "application/xml"));
    assert!(answer.text().contains("Request has expired"));
}

#[tokio::test]
async fn all_urls_expire_at_once_on_request() {
    let (hub, _) = tiny_hub();
    let old = signed_url(&hub, MODEL).await;
    hub.expire_urls();
    assert!(ask(Method::GET, &old, &[]).await.text().contains("Request has expired"));
    let new = signed_url(&hub, MODEL).await;
    assert_eq!(ask(Method::GET, &new, &[]).await.status, 200);
}

#[tokio::test]
async fn credentials_are_refused_and_seen() {
    let (hub, _) = tiny_hub();
    hub.add_token("alice", "hf_alice");
    let url = signed_url(&hub, MODEL).await;
    for header in ["Bearer hf_alice", "Bearer hf_other"] {
        assert_eq!(ask(Method::GET, &url, &[("authorization", header)]).await.status, 400);
    }
    let log = hub.log();
    let leaks: Vec<_> = log.iter().filter(|record| record.host == Host::Cdn).collect();
    assert!(leaks.iter().all(|record| record.authorization && record.bytes < 1000));
    assert_eq!(leaks[0].token.as_deref(), Some("alice"));
    assert_eq!(leaks[1].token, None);
}

#[tokio::test]
async fn file_on_disk_is_streamed_by_range() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    let data = pattern(3_000_000);
    std::fs::write(&path, &data).unwrap();
    let hub = Hub::start().unwrap();
    hub.commit("acme/disk", Files::new().disk("model.gguf", &path)).unwrap();
    let url = signed_url(&hub, "/acme/disk/resolve/main/model.gguf").await;
    assert_eq!(ask(Method::GET, &url, &[]).await.body, data);
    let part = get_range(&url, "bytes=262143-2000000").await;
    assert_eq!(part.body, data[262_143..=2_000_000]);
}

#[tokio::test]
async fn file_that_changed_on_disk_is_not_served_under_its_old_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    std::fs::write(&path, pattern(1000)).unwrap();
    let hub = Hub::start().unwrap();
    hub.commit("acme/disk", Files::new().disk("model.gguf", &path)).unwrap();
    std::fs::write(&path, pattern(999)).unwrap();
    let url = signed_url(&hub, "/acme/disk/resolve/main/model.gguf").await;
    assert_eq!(ask(Method::GET, &url, &[]).await.status, 500);
}
