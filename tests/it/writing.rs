//! What clients write is kept, and what is virtual is not theirs to change.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use rustix::fs::Dir;
use rustix::io::Errno;
use test_hub::{Files, Hub};

use crate::harness::{World, errno, eventually, names};

const EACCES: i32 = Errno::ACCESS.raw_os_error();

fn world() -> (World, String) {
    let hub = Hub::start().unwrap();
    let commit = hub.commit("acme/tiny", Files::new().text("config.json", "{}")).unwrap();
    (World::new(hub), commit)
}

#[test]
fn what_clients_write_survives_a_remount() {
    let (mut world, _) = world();
    let home = world.mount_point();
    fs::create_dir_all(home.join("modules/transformers_modules")).unwrap();
    fs::write(home.join("modules/transformers_modules/x.py"), "x = 1").unwrap();
    fs::write(home.join("token"), "hf_abc").unwrap();
    fs::create_dir_all(home.join("hub/.locks/models--acme--tiny")).unwrap();
    fs::write(home.join("hub/.locks/models--acme--tiny/x.lock"), "").unwrap();
    fs::write(home.join("a"), "a").unwrap();
    fs::rename(home.join("a"), home.join("modules/b")).unwrap();
    symlink("b", home.join("modules/c")).unwrap();
    world.restart();
    assert_eq!(fs::read_to_string(home.join("modules/transformers_modules/x.py")).unwrap(), "x = 1");
    assert_eq!(fs::read_to_string(home.join("modules/c")).unwrap(), "a");
    assert_eq!(fs::read_to_string(home.join("token")).unwrap(), "hf_abc");
    let token = fs::metadata(home.join("token")).unwrap();
    assert_eq!(token.permissions().mode() & 0o777, 0o600, "a token is private whatever was asked");
    assert_eq!(names(&home), ["hub", "models", "modules", "token"]);
    fs::remove_dir_all(home.join("modules")).unwrap();
    assert!(!home.join("modules").exists());
}

#[test]
fn a_file_goes_on_after_its_name_is_gone() {
    let (world, _) = world();
    let path = world.mount_point().join("scratch");
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    file.write_all(b"still here").unwrap();
    assert_eq!(file.metadata().unwrap().len(), 10);
    assert_eq!(errno(File::open(&path)), Errno::NOENT.raw_os_error());
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let mut bytes = [0; 10];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"still here", "not only from the page cache");
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    let orphans = || fs::read_dir(orphans_of(&world)).unwrap().count();
    assert_eq!(orphans(), 1, "the next daemon would find it");
    drop(file);
    eventually("it takes up no room once it is closed", || orphans() == 0);
}

fn orphans_of(world: &World) -> PathBuf {
    let layers = fs::read_dir(world.cache_directory().join("views")).unwrap();
    let orphans = layers.map(|entry| entry.unwrap().path()).find(|path| path.extension() == Some("orphans".as_ref()));
    orphans.unwrap()
}

#[test]
fn a_place_in_a_folder_can_be_gone_back_to() {
    let (world, commit) = world();
    let folder = world.mount_point().join("modules");
    fs::create_dir(&folder).unwrap();
    (0..300).for_each(|number| fs::write(folder.join(format!("{number}")), "").unwrap());
    for folder in [folder, world.repo("acme/tiny").join("snapshots").join(commit)] {
        let mut open = Dir::read_from(File::open(&folder).unwrap()).unwrap();
        let entries: Vec<_> = open.by_ref().map(Result::unwrap).collect();
        for pair in entries.windows(2) {
            open.seek(pair[0].offset()).unwrap();
            assert_eq!(open.next().unwrap().unwrap().file_name(), pair[1].file_name());
        }
        open.seek(entries.last().unwrap().offset()).unwrap();
        assert!(open.next().is_none());
        open.rewind();
        assert_eq!(open.count(), entries.len());
    }
}

#[test]
fn the_virtual_part_refuses_changes_with_eacces_and_never_erofs() {
    let (world, commit) = world();
    let repo = world.repo("acme/tiny");
    let file = world.file("acme/tiny", &commit, "config.json");
    fs::read(&file).unwrap();
    assert_eq!(errno(fs::remove_file(&file)), EACCES);
    assert_eq!(errno(OpenOptions::new().write(true).open(&file)), EACCES);
    assert_eq!(errno(fs::write(repo.join("blobs/x.incomplete"), "")), EACCES);
    assert_eq!(errno(fs::create_dir(repo.join("snapshots").join(&commit).join("np"))), EACCES);
    assert_eq!(errno(fs::remove_dir_all(&repo)), EACCES);
    assert_eq!(errno(fs::create_dir(world.repo("acme/absent"))), EACCES);
    assert_eq!(errno(fs::create_dir(world.mount_point().join("models/acme/absent"))), EACCES);
    assert_eq!(errno(fs::rename(&file, world.mount_point().join("x"))), EACCES);
    assert_eq!(fs::read(&file).unwrap(), b"{}");
}

#[test]
fn writing_the_same_commit_into_refs_succeeds_and_changes_nothing() {
    let (world, commit) = world();
    let refs = world.repo("acme/tiny").join("refs");
    assert_eq!(fs::read_to_string(refs.join("main")).unwrap(), commit);
    fs::write(refs.join("main"), &commit).unwrap();
    fs::write(refs.join("main.tmp"), &commit).unwrap();
    fs::rename(refs.join("main.tmp"), refs.join("main")).unwrap();
    assert_eq!(fs::read_to_string(refs.join("main")).unwrap(), commit);
    assert_eq!(names(&refs), ["main"]);
}

#[test]
fn another_commit_written_into_refs_is_asked_for_and_not_believed() {
    let (world, first) = world();
    let main = world.repo("acme/tiny").join("refs/main");
    assert_eq!(fs::read_to_string(&main).unwrap(), first);
    fs::write(&main, "f".repeat(40)).unwrap();
    assert_eq!(fs::read_to_string(&main).unwrap(), first);
    let second = world.hub.commit("acme/tiny", Files::new().text("config.json", "new")).unwrap();
    fs::write(&main, &second).unwrap();
    assert_eq!(fs::read_to_string(&main).unwrap(), second);
}

#[test]
fn what_nobody_needs_is_accepted_and_dropped() {
    let (world, commit) = world();
    let trees = world.repo("acme/tiny").join("trees");
    fs::read(world.repo("acme/tiny").join("refs/main")).unwrap();
    fs::write(trees.join("x.tmp"), "{}").unwrap();
    fs::rename(trees.join("x.tmp"), trees.join(format!("{commit}.json"))).unwrap();
    fs::write(world.mount_point().join("hub/CACHEDIR.TAG"), "Signature").unwrap();
    fs::write(world.repo("acme/tiny").join(".no_exist").join(&commit).join("absent.json"), "").unwrap();
    assert_eq!(names(&trees), [""; 0]);
}

#[test]
fn an_open_file_without_a_name_can_still_be_cut_and_changed() {
    let (world, _) = world();
    let path = world.mount_point().join("scratch");
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    file.write_all(b"still here").unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "another").unwrap();
    file.set_len(5).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    let left = file.metadata().unwrap();
    assert_eq!((left.len(), left.permissions().mode() & 0o777), (5, 0o600));
    assert_eq!(fs::read_to_string(&path).unwrap(), "another");
}

#[test]
fn files_that_change_places_keep_their_contents() {
    let (world, _) = world();
    let home = world.mount_point();
    for name in ["one", "two"] {
        fs::create_dir(home.join(name)).unwrap();
        fs::write(home.join(name).join("file"), name).unwrap();
    }
    let open = [File::open(home.join("one/file")).unwrap(), File::open(home.join("two/file")).unwrap()];
    let directory = File::open(&home).unwrap();
    rustix::fs::renameat_with(&directory, "one", &directory, "two", rustix::fs::RenameFlags::EXCHANGE).unwrap();
    for (name, other, open) in [("one", "two", &open[0]), ("two", "one", &open[1])] {
        assert_eq!(fs::read_to_string(home.join(name).join("file")).unwrap(), other);
        assert_eq!(open.metadata().unwrap().ino(), fs::metadata(home.join(other).join("file")).unwrap().ino());
        assert_eq!(std::io::read_to_string(open).unwrap(), name);
    }
}

#[test]
fn on_a_shared_mount_everybody_may_lock_write_refs_and_add_modules() {
    let hub = Hub::start().unwrap();
    let commit = hub.commit("acme/tiny", Files::new().text("config.json", "{}")).unwrap();
    let world = World::shared(hub);
    let home = world.mount_point();
    let refs = world.repo("acme/tiny").join("refs");
    assert_eq!(fs::read_to_string(refs.join("main")).unwrap(), commit);
    fs::create_dir_all(home.join("hub/.locks/models--acme--tiny")).unwrap();
    fs::create_dir_all(home.join("modules/transformers_modules/acme")).unwrap();
    fs::write(home.join("hub/.locks/models--acme--tiny/x.lock"), "").unwrap();
    fs::create_dir(home.join("private")).unwrap();
    fs::set_permissions(home.join("private"), fs::Permissions::from_mode(0o700)).unwrap();
    let mode = |path: &str| fs::metadata(home.join(path)).unwrap().permissions().mode() & 0o7777;
    let folders = ["hub", "hub/.locks", "hub/.locks/models--acme--tiny", "modules/transformers_modules/acme"];
    for folder in folders {
        assert_eq!(mode(folder), 0o1777, "{folder}");
    }
    assert_eq!(mode("hub/.locks/models--acme--tiny/x.lock"), 0o666);
    assert_eq!(mode("private"), 0o700);
    // Sticky, it would keep others from renaming onto a branch, which is the daemon's.
    assert_eq!(fs::metadata(&refs).unwrap().permissions().mode() & 0o7777, 0o777);
}
