//! Who may see what.

use std::fs;

use crate::node::{Node, Volume, hub};

#[test]
fn a_private_model_is_for_those_alone_whose_token_may_see_it_though_its_bytes_are_here() {
    let (hub, _) = hub();
    hub.set_private("acme/tiny", &["reader"]).unwrap();
    let node = Node::start(hub);
    let volume = Volume::default().with("view", "model").with("repo", "acme/tiny");
    let reader = node.publish("reader", &volume.clone().secret("token", "hf_reader")).unwrap();
    assert_eq!(fs::read(reader.join("sub/model.safetensors")).unwrap(), vec![7; 3 << 20]);
    let status = node.publish("stranger", &volume).unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound, "{status}");

    let home = node.publish("home", &Volume::default()).unwrap();
    assert!(!home.join("hub/models--acme--tiny").exists());
    let team = volume.with("view", "hf-home").with("tokenKey", "team");
    let theirs = node.publish("team", &team.clone().secret("team", "hf_reader")).unwrap();
    assert!(theirs.join("hub/models--acme--tiny/refs/main").exists());
    let status = node.publish("forgotten", &team).unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status}");
    assert_eq!(node.hub.data_bytes(), 3 << 20, "one cache");
}

#[test]
fn no_token_is_on_disk_or_in_a_log() {
    let (hub, _) = hub();
    let node = Node::start(hub);
    let home = node.publish("home", &Volume::default().secret("token", "hf_reader")).unwrap();
    let volume = Volume::default().with("view", "model").with("repo", "acme/tiny").secret("token", "hf_reader");
    node.publish("model", &volume).unwrap();
    let found = std::process::Command::new("grep").args(["-rl", "hf_reader"]).arg(node.folder.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    assert!(!home.join("token").exists(), "other programs of the pod would read it");
}
