//! How these tests ask: a client that follows no redirects, and answers that are read as far as they come.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use test_hub::Hub;

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Whether the body ended where its length said.
    pub complete: bool,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// One for all tests, as its TLS setup is slow; it keeps no connection, so that none outlives its test's runtime.
pub fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    let builder = || Client::builder().redirect(Policy::none()).no_proxy().pool_max_idle_per_host(0);
    CLIENT.get_or_init(|| builder().build().unwrap())
}

pub async fn send(request: RequestBuilder) -> reqwest::Result<Answer> {
    let mut response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let (mut body, mut complete) = (Vec::new(), true);
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(_) => {
                complete = false;
                break;
            }
        }
    }
    Ok(Answer { status, headers, body, complete })
}

pub async fn ask(method: Method, url: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = client().request(method, url).timeout(Duration::from_secs(20));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(request).await.unwrap()
}

pub async fn get(hub: &Hub, path: &str) -> Answer {
    ask(Method::GET, &format!("{}{path}", hub.endpoint()), &[]).await
}

pub async fn head(hub: &Hub, path: &str) -> Answer {
    ask(Method::HEAD, &format!("{}{path}", hub.endpoint()), &[]).await
}

pub async fn get_as(hub: &Hub, path: &str, secret: &str) -> Answer {
    let bearer = format!("Bearer {secret}");
    ask(Method::GET, &format!("{}{path}", hub.endpoint()), &[("authorization", &bearer)]).await
}

/// The signed URL that a resolve of this path redirects to.
pub async fn signed_url(hub: &Hub, path: &str) -> String {
    let answer = head(hub, path).await;
    assert_eq!(answer.status, 302);
    answer.header("location").to_owned()
}

pub async fn get_range(url: &str, range: &str) -> Answer {
    ask(Method::GET, url, &[("range", range)]).await
}

/// Bytes that differ from their neighbours and from block to block.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8 ^ (at / 251 % 256) as u8).collect()
}

/// A Hub with `acme/tiny`: a git file, an LFS file of 100 000 bytes and a nested one.
pub fn tiny_hub() -> (Hub, String) {
    let hub = Hub::start().unwrap();
    let commit = hub.commit("acme/tiny", tiny_files()).unwrap();
    (hub, commit)
}

pub fn tiny_files() -> test_hub::Files {
    test_hub::Files::new()
        .text("config.json", "{\"a\": 1}")
        .bytes("model.safetensors", pattern(100_000))
        .text("onnx/config.json", "{}")
}

pub const CONFIG: &str = "/acme/tiny/resolve/main/config.json";
pub const MODEL: &str = "/acme/tiny/resolve/main/model.safetensors";
