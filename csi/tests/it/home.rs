//! An HF_HOME with a writable layer of the pod's own.

use std::fs;

use crate::node::{Node, Volume, hub};

#[test]
fn each_pod_has_a_writable_layer_that_ends_with_it() {
    let node = Node::start(hub().0);
    let volume = Volume::default();
    let (one, other) = (node.publish("one", &volume).unwrap(), node.publish("two", &volume).unwrap());
    fs::create_dir_all(one.join("hub/.locks/x")).unwrap();
    fs::write(one.join("note"), "mine").unwrap();
    assert!(!other.join("note").exists());
    let commit = fs::read_to_string(other.join("hub/models--acme--tiny/refs/main")).unwrap();
    let config = other.join("hub/models--acme--tiny/snapshots").join(&commit).join("config.json");
    assert_eq!(fs::read_to_string(config).unwrap(), "{}");
    let layers = node.cache().join("pods");
    assert_ne!(fs::read_dir(&layers).unwrap().count(), 0);
    node.unpublish("one").unwrap();
    node.unpublish("two").unwrap();
    assert_eq!(fs::read_dir(&layers).unwrap().count(), 0, "nothing of them is left");
    let again = node.publish("one", &volume).unwrap();
    assert!(!again.join("note").exists());
}

#[test]
fn an_hf_home_shows_only_the_models_it_was_made_for() {
    let (hub, _) = hub();
    hub.commit("acme/other", test_hub::Files::new().text("config.json", "{}")).unwrap();
    let node = Node::start(hub);
    let whole = node.publish("whole", &Volume::default()).unwrap();
    assert!(whole.join("hub/models--acme--other").exists());
    let home = node.publish("pod", &Volume::default().with("repo", "acme/tiny")).unwrap();
    assert!(home.join("hub/models--acme--tiny/refs/main").exists());
    assert!(!home.join("hub/models--acme--other").exists());
    assert!(!home.join("models/acme/other").exists());
    let listed: Vec<_> = fs::read_dir(home.join("hub")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(listed, ["models--acme--tiny"]);
}

#[test]
fn a_pinned_hf_home_stays_at_its_commit_and_calls_it_main() {
    let (hub, first) = hub();
    hub.set_tag("acme/tiny", "v1", &first).unwrap();
    let second = hub.commit("acme/tiny", test_hub::Files::new().text("config.json", "new")).unwrap();
    let node = Node::start(hub);
    let home = node.publish("pod", &Volume::default().with("repo", "acme/tiny").with("revision", "v1")).unwrap();
    let repo = home.join("hub/models--acme--tiny");
    for name in ["v1", "main"] {
        assert_eq!(fs::read_to_string(repo.join("refs").join(name)).unwrap(), first, "{name}");
    }
    assert!(repo.join("snapshots").join(&first).join("config.json").exists());
    assert!(!repo.join("snapshots").join(&second).exists());
}

#[test]
fn what_would_break_its_clients_or_be_ignored_is_refused_with_advice() {
    let node = Node::start(hub().0);
    let model = Volume::default().with("view", "model").with("repo", "acme/tiny");
    for (volume, word) in [
        (Volume::default().read_only(), "leave readOnly out"),
        (model.clone().mount_flag("noatime"), "`noatime` is not taken"),
    ] {
        let status = node.publish("wrong", &volume).unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert!(status.message().contains(word), "{status}");
    }
    node.publish("right", &model.read_only().mount_flag("nosuid")).unwrap();
}
