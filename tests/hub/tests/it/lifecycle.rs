//! Start, stop, restart, drop.

use std::net::TcpStream;

use crate::asking::{CONFIG, MODEL, client, get, send, signed_url, tiny_hub};

fn accepts(endpoint: &str) -> bool {
    TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).is_ok()
}

#[tokio::test]
async fn stopped_hub_refuses_and_comes_back_on_its_ports() {
    let (hub, _) = tiny_hub();
    let url = signed_url(&hub, MODEL).await;
    let client = client();
    assert_eq!(send(client.get(&url)).await.unwrap().status, 200);
    hub.stop();
    assert!(!accepts(hub.endpoint()) && !accepts(hub.cdn_endpoint()));
    assert!(send(client.get(&url)).await.is_err());
    hub.restart().unwrap();
    assert_eq!(get(&hub, CONFIG).await.status, 200);
    assert_eq!(send(client.get(&url)).await.unwrap().status, 200, "what it signed is still good");
}

#[test]
fn dropped_hub_closes_its_ports() {
    let (hub, _) = tiny_hub();
    let (endpoint, cdn) = (hub.endpoint().to_owned(), hub.cdn_endpoint().to_owned());
    assert!(accepts(&endpoint) && accepts(&cdn));
    drop(hub);
    assert!(!accepts(&endpoint) && !accepts(&cdn));
}
