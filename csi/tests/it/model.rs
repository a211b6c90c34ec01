//! One model's plain tree.

use std::fs;

use crate::node::{Node, Volume, eventually, hub, mounts};

/// Of both of its files.
const BYTES: u64 = (3 << 20) + 2;

fn tiny() -> Volume {
    Volume::default().with("view", "model").with("repo", "acme/tiny")
}

#[test]
fn a_pod_reads_plain_files_and_two_pods_share_one_connection() {
    let node = Node::start(hub().0);
    let (one, other) = (node.publish("one", &tiny()).unwrap(), node.publish("two", &tiny()).unwrap());
    for target in [&one, &other] {
        assert_eq!(fs::read_to_string(target.join("config.json")).unwrap(), "{}");
        assert_eq!(fs::read(target.join("sub/model.safetensors")).unwrap(), vec![7; 3 << 20]);
    }
    assert_eq!(fs::write(one.join("x"), "").unwrap_err().kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(node.connections(), 1);
    assert_eq!(node.hub.data_bytes(), BYTES, "fetched once for both");
    node.unpublish("one").unwrap();
    assert!(!one.exists());
    assert_eq!(fs::read_to_string(other.join("config.json")).unwrap(), "{}");
    node.unpublish("two").unwrap();
    assert_eq!(node.connections(), 0);
}

#[test]
fn a_volume_keeps_its_commit_and_a_later_one_has_the_newest() {
    let (hub, _) = hub();
    let node = Node::start(hub);
    let old = node.publish("old", &tiny()).unwrap();
    node.hub.commit("acme/tiny", test_hub::Files::new().text("config.json", "new")).unwrap();
    let new = node.publish("new", &tiny()).unwrap();
    assert_eq!(fs::read_to_string(old.join("config.json")).unwrap(), "{}");
    assert_eq!(fs::read_to_string(new.join("config.json")).unwrap(), "new");
}

#[test]
fn a_folder_of_a_model_can_be_the_volume() {
    let node = Node::start(hub().0);
    let target = node.publish("pod", &tiny().with("subPath", "sub")).unwrap();
    assert!(target.join("model.safetensors").is_file());
    let status = node.publish("file", &tiny().with("subPath", "config.json")).unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status}");
    let status = node.publish("none", &tiny().with("subPath", "none")).unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound, "{status}");
    assert_eq!(mounts(&node.kubelet().join("pods")), 1, "what failed left nothing");
}

#[test]
fn what_cannot_be_had_is_told_at_once() {
    let (hub, _) = hub();
    let node = Node::start(hub);
    for (volume, code) in [
        (Volume::default().with("view", "model").with("repo", "acme/none"), tonic::Code::NotFound),
        (tiny().with("revision", "v9"), tonic::Code::NotFound),
        (tiny().with("cacheDir", "/etc"), tonic::Code::InvalidArgument),
        (tiny().with("repo", "--/x"), tonic::Code::InvalidArgument),
    ] {
        let status = node.publish("pod", &volume).unwrap_err();
        assert_eq!(status.code(), code, "{status}");
    }
    node.hub.stop();
    let status = node.publish("pod", &tiny()).unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
    node.hub.restart().unwrap();
    eventually("the kubelet's next try succeeds", || node.publish("pod", &tiny()).is_ok());
}

#[test]
fn a_warm_volume_is_fetched_before_anybody_reads_it() {
    let node = Node::start(hub().0);
    node.publish("pod", &tiny().with("warm", "true")).unwrap();
    eventually("it is all here", || node.hub.data_bytes() == BYTES);
}
