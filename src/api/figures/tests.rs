//! Over real connections, with figures of the test's own.

use std::sync::mpsc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::metrics::Metrics;

async fn start(look: impl Fn() -> Vec<(Figure, u64)> + Send + Sync + 'static) -> Figures {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Figures::start(listener, Arc::new(look)).unwrap()
}

fn three_of_each() -> Vec<(Figure, u64)> {
    Metrics::FIGURES.iter().map(|figure| (*figure, 3)).collect()
}

/// Everything that comes until the connection is closed.
async fn say(figures: &Figures, words: &str) -> String {
    let mut stream = TcpStream::connect(figures.address).await.unwrap();
    stream.write_all(words.as_bytes()).await.unwrap();
    rest(&mut stream).await
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn ask(figures: &Figures, method: &str, path: &str) -> (u16, String) {
    let answer = say(figures, &format!("{method} {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n")).await;
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

#[tokio::test]
async fn each_page_has_its_methods() {
    let figures = start(three_of_each).await;
    let (status, page) = ask(&figures, "GET", "/metrics").await;
    assert!(status == 200 && page.contains("content-type: text/plain; version=0.0.4"), "{page}");
    assert!(page.contains("\nweightfs_read_bytes_total 3\n"), "{page}");
    let (status, head) = ask(&figures, "HEAD", "/metrics").await;
    assert!(status == 200 && head.ends_with("\r\n\r\n"), "{head}");
    let (status, page) = ask(&figures, "GET", "/healthz").await;
    assert!(status == 200 && page.ends_with("ok\n"), "{page}");
    assert_eq!(ask(&figures, "GET", "/").await.0, 404);
    for method in ["POST", "PUT", "DELETE"] {
        let (status, refused) = ask(&figures, method, "/metrics").await;
        assert!(status == 405 && refused.contains("allow: GET,HEAD"), "{refused}");
    }
    assert!(say(&figures, "no request\r\n\r\n").await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn one_that_drains_says_so_and_shows_its_figures_to_the_end() {
    let figures = start(three_of_each).await;
    figures.drain();
    assert_eq!(ask(&figures, "GET", "/healthz").await.0, 503);
    assert_eq!(ask(&figures, "GET", "/metrics").await.0, 200);
    let address = figures.address;
    figures.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn an_idle_connection_does_not_keep_it_from_ending() {
    let figures = start(three_of_each).await;
    let mut stream = TcpStream::connect(figures.address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: node\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    figures.stop().await;
    assert!(figures.connections.is_empty());
    assert!(rest(&mut stream).await.ends_with("ok\n"));
}

/// With the clock of the test: what waits for nothing but time gets it at once.
#[tokio::test(start_paused = true)]
async fn who_says_nothing_loses_the_connection_and_who_waits_gets_its_turn() {
    let figures = start(three_of_each).await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(figures.address).await.unwrap();
        stream.write_all(b"GET /healthz HT").await.unwrap();
        silent.push(stream);
    }
    assert_eq!(ask(&figures, "GET", "/healthz").await.0, 200);
    // Closed, with or without a word.
    for mut stream in silent {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
}

#[tokio::test]
async fn a_disk_that_hangs_holds_one_thread_and_is_told() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = parking_lot::Mutex::new(wait);
    let looks = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = looks.clone();
    let figures = start(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let _ = wait.lock().recv();
        three_of_each()
    })
    .await;
    let (first, second) = tokio::join!(ask(&figures, "GET", "/metrics"), ask(&figures, "GET", "/metrics"));
    assert_eq!((first.0, second.0), (503, 503));
    assert_eq!(ask(&figures, "GET", "/healthz").await.0, 200);
    assert_eq!(looks.load(std::sync::atomic::Ordering::SeqCst), 1);
    drop(go_on);
    assert_eq!(ask(&figures, "GET", "/metrics").await.0, 200);
}
