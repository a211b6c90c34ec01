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
