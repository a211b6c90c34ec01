//! How a server begins and ends.

use std::net::TcpListener;

use nix::sys::signal::Signal;
use weightfs::api::wire::model::ModelStatus;

use super::server::{MIB, MODEL, Server, download, files_of, hub, set_bandwidth, wanted};
use crate::harness::eventually;
use crate::machine::{Machine, error, is_mounted};

#[test]
fn a_stream_under_way_ends_whole_after_sigterm() {
    let (hub, _, bytes) = hub(24 * MIB);
    let mut server = Server::start(&hub);
    set_bandwidth(&hub, Some(12 * MIB as u64));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut client = server.models().await;
        let mut stream = client.stream_model_files(files_of(MODEL)).await.unwrap().into_inner();
        let mut came = stream.message().await.unwrap().unwrap().data.len();
        server.signal(Signal::SIGTERM);
        while let Some(chunk) = stream.message().await.unwrap() {
            came += chunk.data.len();
        }
        assert_eq!(came, bytes.len() + 7);
    });
    let output = server.await_end();
    assert!(output.status.success(), "{}", error(&output));
    assert!(server.machine.has_ended());
}

#[test]
fn what_is_not_done_in_time_is_broken_off_with_a_word() {
    let (hub, ..) = hub(64 * MIB);
    let mut server = Server::start_with(&hub, &[("WEIGHTFS_SERVER_SHUTDOWN_TIMEOUT_SECONDS", "1")]);
    set_bandwidth(&hub, Some(MIB as u64));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (mut client, mut other) = (server.models().await, server.models().await);
        let mut stream = client.stream_model_files(files_of(MODEL)).await.unwrap().into_inner();
        let mut updates = other.ensure_model_downloaded(wanted(MODEL, None)).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
        updates.message().await.unwrap().unwrap();
        server.signal(Signal::SIGINT);
        let status = loop {
            match stream.message().await {
                Ok(chunk) => assert!(!chunk.unwrap().is_last_file),
                Err(status) => break status,
            }
        };
        assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
        let mut last = None;
        while let Some(update) = updates.message().await.unwrap() {
            last = Some(update);
        }
        let last = last.unwrap();
        assert_eq!(last.status(), ModelStatus::Error, "{last:?}");
    });
    assert!(server.await_end().status.success());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (hub, ..) = hub(64 * MIB);
    let mut server = Server::start_with(&hub, &[("WEIGHTFS_SERVER_SHUTDOWN_TIMEOUT_SECONDS", "86400")]);
    set_bandwidth(&hub, Some(MIB as u64));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut client = server.models().await;
        let mut stream = client.stream_model_files(files_of(MODEL)).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
        server.signal(Signal::SIGTERM);
        // The first one is known by this: nobody new is let in.
        let port = server.port;
        eventually("it takes nothing new", || std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
        assert!(!server.has_ended());
        server.signal(Signal::SIGTERM);
        while let Ok(Some(_)) = stream.message().await {}
    });
    assert!(server.await_end().status.success());
}

#[test]
fn a_port_in_use_and_a_host_that_is_none_say_what_to_set() {
    let (hub, ..) = hub(100);
    let machine = Machine::at(hub.endpoint());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = machine.fail(1, &["serve", "--host", "127.0.0.1", "--port", &port]);
    assert!(said.contains("in use") && said.contains("server.port"), "{said}");
    let said = machine.fail(1, &["serve", "--host", "192.0.2.1"]);
    assert!(said.contains("192.0.2.1") && said.contains("server.host"), "{said}");
    let said = machine.fail(2, &["serve", "--port", "0"]);
    assert!(said.contains("1 to 65535"), "{said}");
    let said = machine.fail(2, &["serve", "--host", "http://x"]);
    assert!(said.contains("host name"), "{said}");
}

#[test]
fn a_server_with_mounts_is_one_daemon_and_ends_with_them() {
    let (hub, commit, bytes) = hub(2 * MIB);
    let mut machine = Machine::at(hub.endpoint());
    let directory = machine.directory("hf");
    let mut server = Server::start_on(machine, &[]);
    server.machine.succeed(&["mount", directory.to_str().unwrap()]);
    assert_eq!(server.machine.daemons().len(), 1);
    let path = directory.join("hub/models--acme--big/snapshots").join(&commit).join("model.safetensors");
    assert!(std::fs::read(path).unwrap() == bytes);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { download(&mut server.models().await, MODEL).await });
    assert_eq!(hub.data_bytes(), bytes.len() as u64 + 7, "readers and clients share what came");
    let port = test_hub::free_port().to_string();
    let said = server.machine.fail(1, &["serve", "--host", "127.0.0.1", "--port", &port]);
    assert!(said.contains("has this cache directory"), "{said}");
    // A terminal that goes away is no reason.
    server.signal(Signal::SIGHUP);
    server.machine.succeed(&["umount", directory.to_str().unwrap()]);
    server.machine.succeed(&["mount", directory.to_str().unwrap()]);
    server.signal(Signal::SIGTERM);
    assert!(server.await_end().status.success());
    assert!(!is_mounted(&directory));
}

#[test]
fn a_port_that_is_open_to_everybody_is_warned_of() {
    let (hub, ..) = hub(100);
    let folder = tempfile::tempdir().unwrap();
    let (log, token) = (folder.path().join("log"), folder.path().join("token"));
    std::fs::write(&token, "secret").unwrap();
    let (log, token) = (log.to_str().unwrap().to_owned(), token.to_str().unwrap().to_owned());
    let told = |host: &str, machine: Machine, variables: &[(&str, &str)]| {
        let _ = std::fs::remove_file(&log);
        let mut server = Server::start_at(host, machine, &[variables, &[("WEIGHTFS_LOGGING_FILE", &log)]].concat());
        server.signal(Signal::SIGTERM);
        assert!(server.await_end().status.success());
        let said = std::fs::read_to_string(&log).unwrap();
        assert!(said.contains("serving other machines"), "{said}");
        said.contains("set server.token_file")
    };
    assert!(told("0.0.0.0", Machine::at(hub.endpoint()), &[]));
    assert!(!told("127.0.0.1", Machine::at(hub.endpoint()), &[]));
    assert!(!told("0.0.0.0", Machine::at(hub.endpoint()), &[("WEIGHTFS_SERVER_TOKEN_FILE", &token)]));
}
