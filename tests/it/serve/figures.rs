//! What a server shows of itself over HTTP.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::server::{MIB, MODEL, Server, chunks, download, files_of, hub, set_bandwidth};
use crate::harness::eventually;
use crate::machine::Machine;

/// The status and the page, if anybody listens.
pub fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, page) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, page.to_owned()))
}

fn start(hub: &test_hub::Hub) -> (Server, u16) {
    let port = test_hub::free_port();
    (Server::start_with(hub, &[("WEIGHTFS_SERVER_METRICS_PORT", &port.to_string())]), port)
}

fn figure(port: u16, name: &str) -> u64 {
    let (status, page) = get(port, "/metrics").unwrap();
    assert_eq!(status, 200, "{page}");
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in\n{page}")).parse().unwrap()
}

#[test]
fn figures_follow_what_is_done() {
    let (hub, _, bytes) = hub(2 * MIB);
    let mut machine = Machine::at(hub.endpoint());
    let directory = machine.directory("hf");
    let port = test_hub::free_port();
    let server = Server::start_on(machine, &[("WEIGHTFS_SERVER_METRICS_PORT", &port.to_string())]);
    assert_eq!((figure(port, "weightfs_mounts"), figure(port, "weightfs_fetched_bytes_total")), (0, 0));
    server.machine.succeed(&["mount", directory.to_str().unwrap()]);
    assert_eq!((figure(port, "weightfs_mounts"), figure(port, "weightfs_detached_mounts")), (1, 0));
    server.runtime.block_on(async { download(&mut server.models().await, MODEL).await });
    let fetched = bytes.len() as u64 + 7;
    assert_eq!(figure(port, "weightfs_fetched_bytes_total"), fetched);
    assert_eq!(figure(port, "weightfs_served_bytes_total"), 0);
    server.runtime.block_on(async { chunks(&mut server.models().await, files_of(MODEL)).await.unwrap() });
    assert_eq!(figure(port, "weightfs_served_bytes_total"), fetched);
    assert!(figure(port, "weightfs_cache_bytes") >= fetched);
    assert_eq!((figure(port, "weightfs_flights"), figure(port, "weightfs_fetches")), (0, 0));
    // Without a limit there is none to show.
    assert!(!get(port, "/metrics").unwrap().1.contains("weightfs_cache_limit_bytes"));
    server.machine.succeed(&["umount", directory.to_str().unwrap()]);
    assert_eq!(figure(port, "weightfs_mounts"), 0);
    assert!(server.end().status.success());
    assert_eq!(get(port, "/healthz"), None);
}

#[test]
fn what_is_on_its_way_is_shown_and_so_is_the_end() {
    let (hub, ..) = hub(24 * MIB);
    let (mut server, port) = start(&hub);
    assert_eq!(get(port, "/healthz"), Some((200, "ok\n".to_owned())));
    set_bandwidth(&hub, Some(8 * MIB as u64));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut client = server.models().await;
        let mut stream = client.stream_model_files(files_of(MODEL)).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
        assert!(figure(port, "weightfs_flights") > 0 && figure(port, "weightfs_fetches") > 0);
        server.signal(Signal::SIGTERM);
        eventually("it says that it ends", || get(port, "/healthz").is_some_and(|(status, _)| status == 503));
        assert!(figure(port, "weightfs_fetches") > 0);
        while stream.message().await.unwrap().is_some() {}
    });
    assert!(server.await_end().status.success());
}

#[test]
fn a_port_for_figures_that_cannot_be_had_says_what_to_set() {
    let (hub, ..) = hub(100);
    let machine = Machine::at(hub.endpoint());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, other) = (taken.local_addr().unwrap().port().to_string(), test_hub::free_port().to_string());
    let serve = |port: &str, figures: &str| {
        machine.fail(1, &["serve", "--host", "127.0.0.1", "--port", port, "--metrics-port", figures])
    };
    let said = serve(&other, &port);
    assert!(said.contains("in use") && said.contains("server.metrics_port (--metrics-port)"), "{said}");
    let said = serve(&other, &other);
    assert!(said.contains("server.port and server.metrics_port"), "{said}");
}
