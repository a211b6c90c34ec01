//! A kubelet that finds the driver.

use std::os::unix::fs::PermissionsExt;

use crate::node::registration::registration_client::RegistrationClient;
use crate::node::registration::{InfoRequest, RegistrationStatus};
use crate::node::{Node, channel, hub};

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

/// Kubelets call it by its path, which is no host's name: HTTP/2 as grpc-go writes it, byte by byte.
#[test]
fn a_kubelet_that_calls_the_socket_by_its_path_is_answered() {
    let node = Node::start(hub().0);
    let mut connection = UnixStream::connect(node.registration_socket()).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    for host in ["%2Fvar%2Flib%2Fkubelet%2Fplugins_registry%2Freg.sock", "/var/lib/kubelet/plugins_registry/reg.sock"] {
        let mut connection = connection.try_clone().unwrap();
        let (path, kind) = ("/pluginregistration.Registration/GetInfo", "application/grpc");
        let literal = |name: u8, value: &str| [&[name, u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
        // POST and http; :path, :authority and content-type by their numbers in HPACK's table.
        let headers = [&[0x83, 0x86][..], &literal(0x44, path), &literal(0x41, host), &literal(0x5f, kind)].concat();
    }
}
