//! Hubs that are not quite Hubs: mirrors that serve everything themselves, and servers that mean no good.

use super::canned::Canned;
use super::*;
use crate::origin::OriginErrorKind;
use crate::types::{Blob, BlobId};

const COMMIT: &str = "1111111111111111111111111111111111111111";

fn lfs_file(size: u64) -> RemoteFile {
    let blob = Blob { id: BlobId::Sha256([7; 32]), size };
    RemoteFile { repo: tiny(), commit: commit(COMMIT), path: RepoPath::new("w.bin").unwrap(), blob }
}

fn info() -> Vec<u8> {
    json(&format!("{{\"sha\": \"{COMMIT}\"}}"), "")
}

fn json(body: &str, headers: &str) -> Vec<u8> {
    format!("200 OK\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn a_mirror_without_redirects_serves_large_files_itself() {
    let mirror = Canned::start(|head| match head.starts_with("HEAD ") {
        true => b"200 OK\r\nContent-Length: 10\r\nETag: \"5f3-6a\"\r\n\r\n".to_vec(),
        false => b"206 Partial Content\r\nContent-Range: bytes 2-4/10\r\nContent-Length: 3\r\n\r\n234".to_vec(),
    });
    let mirror = mirror.await;
    let (origin, _) = origin();
    let alice = Identity::new(&mirror.endpoint, Some(Token::new(ALICE)), false);
    for _ in 0..2 {
        assert_eq!(read(&origin, &alice, &lfs_file(10), ByteRange::new(2, 5)).await.unwrap(), b"234");
    }
    let asked = mirror.asked();
    assert_eq!(asked.len(), 3, "one HEAD, two GETs");
    assert!(asked.iter().all(|head| head.contains("Bearer hf_alice")), "it is the identity's own Hub");
    assert!(asked.iter().all(|head| head.contains("accept-encoding: identity")));
}

#[tokio::test]
async fn a_body_longer_than_the_range_is_nonsense() {
    let server = Canned::start(|head| match head.starts_with("HEAD ") {
        true => b"200 OK\r\nContent-Length: 10\r\n\r\n".to_vec(),
        false => b"206 Partial Content\r\nContent-Range: bytes 2-4/10\r\n\r\n23456".to_vec(),
    });
    let server = server.await;
    let (origin, _) = origin();
    let anyone = Identity::new(&server.endpoint, None, false);
    let error = read(&origin, &anyone, &lfs_file(10), ByteRange::new(2, 5)).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::Nonsense);
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let server = Canned::start(|_| b"307 Temporary Redirect\r\nLocation: /again?x=1\r\n\r\n".to_vec()).await;
    let (origin, _) = origin();
    let anyone = Identity::new(&server.endpoint, None, false);
    let error = origin.resolve(&anyone, &tiny(), &main_branch()).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::Permanent);
    assert!(error.cause.contains("too many redirects") && !error.url.contains('?'), "{error}");
    assert!(server.asked().len() <= 6);
}

#[tokio::test]
async fn a_listing_goes_on_at_the_hub_only() {
    let elsewhere = Canned::start(|_| json("[]", "")).await;
    let link = format!("Link: <{}/next>; rel=\"next\"\r\n", elsewhere.endpoint);
    let server = Canned::start(move |head| if head.contains("/revision/") { info() } else { json("[]", &link) }).await;
    let (origin, _) = origin();
    let alice = Identity::new(&server.endpoint, Some(Token::new(ALICE)), false);
    let error = origin.snapshot(&alice, &tiny(), commit(COMMIT)).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::Permanent);
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn a_question_about_names_is_not_redirected_off_the_hub() {
    let elsewhere = Canned::start(|_| info()).await;
    let answer = format!("302 Found\r\nLocation: {}/api\r\n\r\n", elsewhere.endpoint).into_bytes();
    let server = Canned::start(move |_| answer.clone()).await;
    let (origin, _) = origin();
    let alice = Identity::new(&server.endpoint, Some(Token::new(ALICE)), false);
    let error = origin.resolve(&alice, &tiny(), &main_branch()).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::Permanent);
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn a_page_that_is_no_answer_is_nonsense_and_ends() {
    let portal = Canned::start(|_| json("<html>Please log in to the hotel's network</html>", "")).await;
    let (origin, _) = origin();
    let anyone = Identity::new(&portal.endpoint, None, false);
    let error = origin.resolve(&anyone, &tiny(), &main_branch()).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::Nonsense);
    assert!(portal.asked().len() <= 5);
}

#[tokio::test]
async fn a_token_that_fits_no_header_is_an_error_that_does_not_show_it() {
    let server = Canned::start(|_| info()).await;
    let (origin, _) = origin();
    let broken = Identity::new(&server.endpoint, Some(Token::new("hf_se\ncret")), false);
    let error = origin.resolve(&broken, &tiny(), &main_branch()).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::Permanent);
    assert!(!error.to_string().contains("cret"), "{error}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_storage_that_redirects_back_to_the_hub_does_not_get_it_a_token() {
    let home = Arc::new(parking_lot::Mutex::new(String::new()));
    let back = home.clone();
    let storage =
        Canned::start(move |_| format!("302 Found\r\nLocation: {}/back\r\n\r\n", back.lock()).into_bytes()).await;
    let location = format!("302 Found\r\nLocation: {}/signed?s=1\r\n\r\n", storage.endpoint).into_bytes();
    let server = Canned::start(move |head| match head.starts_with("GET /back ") {
        true => b"206 Partial Content\r\nContent-Range: bytes 2-4/10\r\nContent-Length: 3\r\n\r\n234".to_vec(),
        false => location.clone(),
    });
    let server = server.await;
    home.lock().push_str(&server.endpoint);
    let (origin, _) = origin();
    let alice = Identity::new(&server.endpoint, Some(Token::new(ALICE)), false);
    assert_eq!(read(&origin, &alice, &lfs_file(10), ByteRange::new(2, 5)).await.unwrap(), b"234");
    let with_token: Vec<_> = server.asked().iter().map(|head| head.contains("hf_alice")).collect();
    assert_eq!(with_token, [true, false], "the resolve, and what the storage sent us to");
    assert!(storage.asked().iter().all(|head| !head.contains("hf_alice")));
}

#[tokio::test]
async fn a_hub_whose_info_names_files_only_is_asked_for_their_tree() {
    let answer = json(r#"{"sha": "1111111111111111111111111111111111111111", "siblings": [{"rfilename": "x"}]}"#, "");
    let mirror = Canned::start(move |_| answer.clone()).await;
    let scene = Scene::new();
    let identity = Identity::new(&mirror.endpoint, None, false);
    let found = scene.origin.discover(&identity, &tiny(), &main_branch()).await.unwrap();
    assert_eq!(found.commit.to_string(), "1".repeat(40));
    assert!(found.snapshot.is_none());
}
