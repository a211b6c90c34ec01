//! Plain paths for tools that take one: the same models, the same contents, the same cache as below `hub/`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rustix::io::Errno;
use test_hub::{Files, Hub};

use crate::harness::{NodeOptions, World, errno, eventually, names, noise};

const LEN: usize = (3 << 20) + 17;

fn tiny() -> (World, String) {
    let hub = Hub::start().unwrap();
    let files = Files::new().text("config.json", "{}").bytes("sub/model.safetensors", noise(1, LEN));
    let commit = hub.commit("acme/tiny", files).unwrap();
    (World::new(hub), commit)
}

#[test]
fn a_model_is_a_folder_of_plain_files_by_its_id_branch_tag_or_commit() {
    let (world, commit) = tiny();
    world.hub.set_tag("acme/tiny", "v1/a", &commit).unwrap();
    let models = world.mount_point().join("models");
    for name in ["tiny", "tiny@main", "tiny@v1%2Fa", &format!("tiny@{commit}")] {
        let model = models.join("acme").join(name);
        assert_eq!(names(&model), ["config.json", "sub"], "{name}");
        assert_eq!(fs::read(model.join("config.json")).unwrap(), b"{}");
        let weights = fs::symlink_metadata(model.join("sub/model.safetensors")).unwrap();
        assert!(weights.is_file() && weights.len() == LEN as u64, "no link: {name}");
    }
    assert_eq!(fs::read_link(models.join("acme/tiny")).unwrap().to_str(), Some(format!("tiny@{commit}").as_str()));
    assert_eq!(names(&models), ["acme"]);
    assert_eq!(names(&models.join("acme")), ["tiny"], "not each of its commits");
    for absent in ["acme/tiny@v2", "acme/none", "acme/tiny/none", "acme/tiny@0000000000000000000000000000000000000000"]
    {
        assert_eq!(errno(fs::metadata(models.join(absent))), Errno::NOENT.raw_os_error(), "{absent}");
    }
}

#[test]
fn a_model_without_an_organisation_has_a_place_too() {
    let (world, _) = tiny();
    world.hub.commit("gpt2", Files::new().text("config.json", "{}")).unwrap();
    assert_eq!(fs::read(world.mount_point().join("models/_/gpt2/config.json")).unwrap(), b"{}");
    assert_eq!(names(&world.mount_point().join("models/_")), ["gpt2"]);
}

#[test]
fn a_file_is_the_same_one_under_all_its_names_and_is_fetched_once() {
    let (world, commit) = tiny();
    let plain = world.mount_point().join("models/acme/tiny/sub/model.safetensors");
    let linked = world.file("acme/tiny", &commit, "sub/model.safetensors");
    assert!(fs::read(&plain).unwrap() == noise(1, LEN));
    assert!(fs::read(&linked).unwrap() == noise(1, LEN));
    assert_eq!(world.hub.data_bytes(), LEN as u64);
    // When it is complete both names move to the file that the kernel reads itself.
    eventually("both names are one inode", || {
        let inode = |path| fs::metadata(path).unwrap().ino();
        inode(&plain) == inode(&linked) && inode(&plain) & 0xffff != 0
    });
    assert!(fs::read(&plain).unwrap() == noise(1, LEN));
}

#[test]
fn the_name_without_a_revision_follows_the_branch_and_an_open_folder_does_not() {
    let (mut world, first) = tiny();
    world.restart_with(NodeOptions { refresh: Duration::ZERO, ..NodeOptions::default() }, None, false);
    let model = world.mount_point().join("models/acme/tiny");
    assert_eq!(fs::read(model.join("config.json")).unwrap(), b"{}");
    let open = rustix::fs::open(&model, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    world.hub.commit("acme/tiny", Files::new().text("config.json", "new")).unwrap();
    eventually("the link leads to the new commit", || fs::read(model.join("config.json")).unwrap() == b"new");
    let old = rustix::fs::openat(&open, "config.json", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    assert_eq!(std::io::read_to_string(fs::File::from(old)).unwrap(), "{}");
    assert!(model.with_file_name(format!("tiny@{first}")).join("sub").is_dir());
}

#[test]
fn nothing_in_this_tree_can_be_changed() {
    let (world, _) = tiny();
    let model = world.mount_point().join("models/acme/tiny/");
    let refused = Errno::ACCESS.raw_os_error();
    assert_eq!(errno(fs::write(model.join("config.json"), "x")), refused);
    assert_eq!(errno(fs::write(model.join("new"), "x")), refused);
    assert_eq!(errno(fs::create_dir(world.mount_point().join("models/acme/mine"))), refused);
    assert_eq!(errno(fs::remove_file(model.join("config.json"))), refused);
    assert_eq!(errno(fs::rename(model.join("config.json"), world.mount_point().join("x"))), refused);
}

#[test]
fn attributes_tell_what_is_here_of_a_file_and_of_a_commit() {
    let (world, commit) = tiny();
    let model = world.mount_point().join("models/acme/tiny/");
    let weights = model.join("sub/model.safetensors");
    let attribute = |path: &std::path::Path, name: &str| {
        let mut value = [0; 200];
        let len = rustix::fs::getxattr(path, format!("user.weightfs.{name}"), &mut value[..]).unwrap();
        String::from_utf8(value[..len].to_vec()).unwrap()
    };
    assert_eq!([attribute(&weights, "state"), attribute(&weights, "cached_bytes")], ["absent", "0"]);
    assert!(fs::read(&weights).unwrap() == noise(1, LEN));
    eventually("it is verified", || attribute(&weights, "state") == "verified");
    assert_eq!(attribute(&weights, "cached_bytes"), LEN.to_string());
    assert_eq!(attribute(&weights, "commit"), commit);
    assert!(attribute(&weights, "blob").starts_with("sha256:"));
    assert_eq!(attribute(&weights, "origin"), format!("{}/acme/tiny", world.hub.endpoint()));
    // The other file has not been read.
    assert_eq!([attribute(&model, "state"), attribute(&model, "cached_bytes")], ["partial", &LEN.to_string()]);
    assert_eq!(attribute(&model.join("sub"), "state"), "verified");
    let mut names = [0; 500];
    let len = rustix::fs::listxattr(&weights, &mut names[..]).unwrap();
    assert_eq!(names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()).count(), 5);
    let mut little = [0; 1];
    let short = rustix::fs::getxattr(&weights, "user.weightfs.commit", &mut little[..]);
    assert_eq!(short.unwrap_err(), Errno::RANGE);
    let none = rustix::fs::getxattr(&weights, "user.other", &mut little[..]);
    assert_eq!(none.unwrap_err(), Errno::NODATA);
}
