//! The specification's own tests, kubernetes-csi's csi-sanity, against the driver with everything behind it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::node::{Node, hub};

/// What tests/setup.sh installs.
fn csi_sanity() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let own = root.join("target/tools/csi-sanity").to_str().unwrap().to_owned();
    let path = std::env::var("CSI_SANITY").unwrap_or(own);
    assert!(Path::new(&path).exists(), "{path} is not there: tests/setup.sh csi, or name one by CSI_SANITY");
    path
}

/// Of its own accord it leaves out what the driver does not claim to have. Nothing is left out by us.
fn run(parameters: &str) {
    let node = Node::start(hub().0);
    let path = |name: &str| node.folder.path().join(name);
    fs::write(path("parameters.yaml"), parameters).unwrap();
    fs::write(path("secrets.yaml"), "NodePublishVolumeSecret:\n  token: hf_reader\n").unwrap();
    let socket = format!("--csi.endpoint={}", node.csi_socket().display());
    let output = Command::new("timeout")
        .args(["120", &csi_sanity(), &socket, "--ginkgo.no-color"])
        .arg(format!("--csi.mountdir={}", path("mount").display()))
        .arg(format!("--csi.stagingdir={}", path("staging").display()))
        .arg(format!("--csi.testvolumeparameters={}", path("parameters.yaml").display()))
        .arg(format!("--csi.secrets={}", path("secrets.yaml").display()))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let passed = text.lines().find(|line| line.contains(" Passed")).unwrap_or_default();
    eprintln!("{passed}");
    assert!(text.contains("SUCCESS! -- 32 Passed"), "fewer than there were: {passed}");
    assert_eq!(node.connections(), 0, "it unpublished all that it published");
}

#[test]
fn a_models_plain_tree_passes_every_spec_that_applies() {
    run("repo: acme/tiny\nview: model\nrevision: main\n");
}

#[test]
fn an_hf_home_passes_every_spec_that_applies() {
    run("repo: acme/tiny\n");
}
