//! When things break: the driver, the daemon, what is between them.

use std::fs;

use crate::node::{Node, Volume, eventually, hub, mounts};

fn model() -> Volume {
    Volume::default().with("view", "model").with("repo", "acme/tiny")
}

#[test]
fn the_same_call_again_changes_nothing() {
    let node = Node::start(hub().0);
    for volume in [model(), Volume::default()] {
        let target = node.publish("pod", &volume).unwrap();
        if volume.is_home() {
            fs::write(target.join("note"), "kept").unwrap();
        }
        let before = mounts(node.folder.path());
        node.publish("pod", &volume).unwrap();
        assert_eq!(mounts(node.folder.path()), before);
        assert!(!volume.is_home() || target.join("note").exists());
        for _ in 0..2 {
            node.unpublish("pod").unwrap();
        }
    }
    assert_eq!(mounts(node.folder.path()), 0);
}

#[test]
fn a_running_pods_volume_stays_whatever_becomes_of_its_secret_or_its_record() {
    let mut node = Node::start(hub().0);
    let volume = model().with("tokenKey", "team");
    let with_token = volume.clone().secret("team", "hf_reader");
    let target = node.publish("pod", &with_token).unwrap();
    node.publish("pod", &volume).unwrap();
    assert_eq!(node.publish("new", &volume).unwrap_err().code(), tonic::Code::InvalidArgument);
    node.kill_driver();
    let records = node.kubelet().join("plugins/csi.weightfs.dev/volumes");
    fs::remove_dir_all(records).unwrap();
    node.start_driver();
    node.publish("pod", &with_token).unwrap();
    assert_eq!((mounts(&target), fs::read_to_string(target.join("config.json")).unwrap()), (1, "{}".to_owned()));
    node.unpublish("pod").unwrap();
    assert_eq!(mounts(&target), 0);
}

#[test]
fn pods_read_on_while_the_driver_is_replaced_and_the_next_one_unpublishes_them() {
    let mut node = Node::start(hub().0);
    let target = node.publish("pod", &model()).unwrap();
    node.kill_driver();
    assert_eq!(fs::read_to_string(target.join("config.json")).unwrap(), "{}");
    node.start_driver();
    assert!(!node.is_abnormal("pod"));
    node.publish("pod", &model()).unwrap();
    assert_eq!(mounts(&target), 1);
    node.unpublish("pod").unwrap();
    assert_eq!(mounts(node.folder.path()), 0);
}

#[test]
fn with_the_daemon_dead_a_republish_succeeds_and_an_unpublish_leaves_nothing() {
    let mut node = Node::start(hub().0);
    let volumes = [("model", model()), ("home", Volume::default())];
    for (pod, volume) in &volumes {
        node.publish(pod, volume).unwrap();
    }
    node.kill_daemon();
    for (pod, volume) in &volumes {
        node.publish(pod, volume).unwrap();
        assert_eq!(mounts(&node.target(pod)), 1, "it is not unmounted");
    }
    let status = node.publish("new", &model()).unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
    eventually("it is told", || node.is_abnormal("model"));
    for (pod, _) in &volumes {
        node.unpublish(pod).unwrap();
        assert_eq!(node.stats(pod).unwrap_err().code(), tonic::Code::NotFound);
    }
    assert_eq!(mounts(node.folder.path()), 0);
}

#[test]
fn pods_read_on_while_daemons_come_and_go_where_a_holder_keeps_their_mounts() {
    let mut node = Node::start_held(hub().0);
    let target = node.publish("pod", &model()).unwrap();
    let home = node.publish("home", &Volume::default().with("repo", "acme/tiny")).unwrap();
    fs::write(home.join("note"), "kept").unwrap();
    let config = fs::File::open(target.join("config.json")).unwrap();
    for round in 0..4 {
        if round % 2 == 0 {
            node.end_daemon()
        } else {
            node.kill_daemon()
        }
        let (late, still) = (target.join("config.json"), home.join("note"));
        let reader = std::thread::spawn(move || (fs::read(late).unwrap(), fs::read(still).unwrap()));
        node.start_daemon();
        assert_eq!(reader.join().unwrap(), (b"{}".to_vec(), b"kept".to_vec()));
        let mut text = [0; 2];
        std::os::unix::fs::FileExt::read_exact_at(&config, &mut text, 0).unwrap();
        assert_eq!(&text, b"{}");
        for (pod, volume) in [("pod", model()), ("home", Volume::default().with("repo", "acme/tiny"))] {
            node.publish(pod, &volume).unwrap();
            assert_eq!(mounts(&node.target(pod)), 1, "nothing was bound anew");
        }
    }
    drop(config);
    for pod in ["pod", "home"] {
        node.unpublish(pod).unwrap();
    }
    assert_eq!(mounts(node.folder.path()), 0);
    assert!(node.events().is_empty(), "nobody had to be told of anything");
}

#[test]
fn a_probe_tells_whether_the_driver_answers() {
    let mut node = Node::start(hub().0);
    assert!(node.probes());
    node.kill_driver();
    assert!(!node.probes());
}

#[test]
fn a_stale_volume_is_told_of_and_healed_for_containers_that_start_later() {
    let mut node = Node::start(hub().0);
    let target = node.publish("pod", &model()).unwrap();
    let home = node.publish("home", &Volume::default().with("repo", "acme/tiny")).unwrap();
    node.kill_daemon();
    assert!(fs::read(target.join("config.json")).is_err());
    node.start_daemon();
    for (pod, volume) in [("pod", model()), ("home", Volume::default().with("repo", "acme/tiny"))] {
        node.publish(pod, &volume).unwrap();
        assert_eq!(mounts(&node.target(pod)), 2, "the dead one is still below: nothing is unmounted");
        node.publish(pod, &volume).unwrap();
        assert_eq!(mounts(&node.target(pod)), 2, "and not once more each time");
    }
    assert_eq!(fs::read_to_string(target.join("config.json")).unwrap(), "{}");
    assert!(home.join("hub/models--acme--tiny").exists() && !home.join("hub/models--acme--other").exists());
    eventually("it is well again", || !node.is_abnormal("pod"));
    eventually("it is told of each pod, once", || node.events().len() == 2);
    let (namespace, event) = node.events().swap_remove(0);
    let object = &event["involvedObject"];
    assert_eq!(
        (namespace.as_str(), object["name"].as_str(), object["uid"].as_str()),
        ("models", Some("pod"), Some("1-2-3"))
    );
    assert!(event["message"].as_str().unwrap().contains("Delete the pod"), "{event}");
    for pod in ["pod", "home"] {
        node.unpublish(pod).unwrap();
    }
    assert_eq!(mounts(node.folder.path()), 0);
}

#[test]
fn what_a_killed_driver_left_of_pods_that_are_gone_is_taken_away_at_the_start() {
    let mut node = Node::start(hub().0);
    let target = node.publish("gone", &model()).unwrap();
    node.kill_driver();
    rustix::mount::unmount(&target, rustix::mount::UnmountFlags::DETACH).unwrap();
    fs::remove_dir_all(node.kubelet().join("pods/gone")).unwrap();
    node.start_driver();
    eventually("nothing is left", || mounts(node.folder.path()) == 0);
}

#[test]
fn what_is_not_there_is_unpublished() {
    let node = Node::start(hub().0);
    node.unpublish("never").unwrap();
    let target = node.publish("pod", &model()).unwrap();
    rustix::mount::unmount(&target, rustix::mount::UnmountFlags::DETACH).unwrap();
    fs::remove_dir(&target).unwrap();
    assert!(node.is_abnormal("pod"));
    node.unpublish("pod").unwrap();
    assert_eq!(mounts(node.folder.path()), 0);
}
