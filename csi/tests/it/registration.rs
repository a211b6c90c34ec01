//! A kubelet that finds the driver.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use crate::node::registration::registration_client::RegistrationClient;
use crate::node::registration::{InfoRequest, RegistrationStatus};
use crate::node::{Node, PATIENCE, channel, hub};

#[test]
fn the_kubelet_learns_where_the_driver_is() {
    let node = Node::start(hub().0);
    let info = node.block_on(async {
        let mut client = RegistrationClient::new(channel(&node.registration_socket()).await);
        let info = client.get_info(InfoRequest {}).await.unwrap().into_inner();
        let status = RegistrationStatus { plugin_registered: true, error: String::new() };
        client.notify_registration_status(status).await.unwrap();
        info
    });
    assert_eq!([info.r#type.as_str(), info.name.as_str()], ["CSIPlugin", "csi.weightfs.dev"]);
    assert_eq!(info.endpoint, node.csi_socket().to_str().unwrap());
    assert_eq!(info.supported_versions, ["1.0.0"]);
    let mode = std::fs::metadata(node.csi_socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_driver_that_is_refused_ends_and_says_why() {
    let mut node = Node::start(hub().0);
    node.block_on(async {
        let mut client = RegistrationClient::new(channel(&node.registration_socket()).await);
        let status = RegistrationStatus { plugin_registered: false, error: "wrong version".to_owned() };
        client.notify_registration_status(status).await.unwrap();
    });
    assert!(node.driver_has_failed());
    assert!(node.logged("driver.log").contains("wrong version"));
    assert!(!node.registration_socket().exists());
}

/// They name the socket's path as the host, some of them escaped; no host has such a name. HTTP/2 by hand, since no client here
/// would say it.
#[test]
fn a_kubelet_that_calls_the_socket_by_its_path_is_answered() {
    let node = Node::start(hub().0);
    for host in ["%2Fvar%2Flib%2Fkubelet%2Fplugins_registry%2Freg.sock", "/var/lib/kubelet/plugins_registry/reg.sock"] {
        let mut connection = UnixStream::connect(node.registration_socket()).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        connection.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
        connection.write_all(&frame(HEADERS, END_HEADERS, 1, &headers(host))).unwrap();
        connection.write_all(&frame(DATA, END_STREAM, 1, &[0; 5])).unwrap();
        let mut answer = Vec::new();
        while !contains(&answer, b"csi.weightfs.dev") {
            let mut piece = [0; 1024];
            let size = connection.read(&mut piece).unwrap();
            answer.extend_from_slice(&piece[..size]);
            assert!(size > 0, "{host}: it hung up after {:?}", String::from_utf8_lossy(&answer));
        }
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// POST, http, `:path`, `:authority`, `content-type` and `te` as HPACK has them.
fn headers(host: &str) -> Vec<u8> {
    let text = |name: u8, value: &str| [&[name, u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
    let path = text(0x44, "/pluginregistration.Registration/GetInfo");
    [vec![0x83, 0x86], path, text(0x41, host), text(0x5f, "application/grpc"), b"\x40\x02te\x08trailers".to_vec()]
        .concat()
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
