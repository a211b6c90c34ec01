//! Each operation done to the end or killed on the way, and asked for again: the same answer, the same state.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Arc;

use rustix::io::Errno;

use super::{Home, Kill};
use crate::fs::ModelFs;
use crate::fs::attr::{Attr, Kind};
use crate::fs::delivery::Delivery;
use crate::fs::errno::errno;
use crate::fs::error::FsError;
use crate::fs::scratch::{Change, Owner, RenameMode};
use crate::tree::Node;
use crate::types::{Blob, BlobId, Commit, RepoPath, Revision, Snapshot};

const USER: Owner = Owner { uid: 1234, gid: 2345 };
const ROOT: Node = Node::ROOT;

/// Every place at which an operation may end, and twice at the worst ones.
fn deaths() -> Vec<Vec<Kill>> {
    let mut deaths: Vec<Vec<Kill>> = (0..8).map(|steps| vec![Kill::After(steps)]).collect();
    deaths.push(vec![Kill::BeforeAnswer]);
    deaths.push(vec![Kill::BeforeAnswer, Kill::BeforeAnswer]);
    deaths.extend((0..4).flat_map(|first| (0..4).map(move |second| vec![Kill::After(first), Kill::After(second)])));
    deaths
}

fn owner_of(path: &std::path::Path) -> (u32, u32, u32) {
    let stat = fs::symlink_metadata(path).unwrap();
    (stat.uid(), stat.gid(), stat.mode() & 0o7777)
}

fn expected(mode: u32) -> (u32, u32, u32) {
    if rustix::process::geteuid().is_root() {
        (USER.uid, USER.gid, mode)
    } else {
        (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw(), mode)
    }
}

fn errno_of<T: std::fmt::Debug>(answer: Result<T, FsError>) -> Errno {
    Errno::from_raw_os_error(errno(&answer.unwrap_err()))
}

async fn create(fs: Arc<ModelFs>, name: &str, delivery: Delivery) -> Result<Attr, FsError> {
    fs.create(ROOT, name, 0o640, USER, true, delivery).await
}

#[test]
fn a_file_is_created_once_and_wholly_wherever_the_daemon_dies() {
    for kills in deaths() {
        let mut home = Home::new();
        let made = home.ask(&kills, |fs, delivery| create(fs, "f", delivery)).unwrap();
        assert_eq!((made.kind, made.mode, made.size), (Kind::File, 0o640, 0), "{kills:?}");
        assert_eq!(owner_of(&home.on_disk("f")), expected(0o640), "{kills:?}");
        assert_eq!(home.find("f").unwrap().node, made.node);
        home.run(home.fs().write(made.node, 0, b"text")).unwrap();
        assert_eq!(fs::read(home.on_disk("f")).unwrap(), b"text");
    }
}

#[test]
fn a_file_that_the_daemons_user_may_not_open_is_created_again_too() {
    for kills in deaths() {
        let mut home = Home::new();
        let made =
            home.ask(&kills, |fs, delivery| async move { fs.create(ROOT, "f", 0o000, USER, true, delivery).await });
        assert_eq!(made.unwrap().mode, 0, "{kills:?}");
    }
}

#[test]
fn a_folder_and_a_link_are_made_once_and_wholly_wherever_the_daemon_dies() {
    for kills in deaths() {
        let mut home = Home::new();
        let folder = home.ask(&kills, |fs, delivery| async move { fs.mkdir(ROOT, "d", 0o750, USER, delivery).await });
        let folder = folder.unwrap();
        assert_eq!((folder.kind, folder.mode), (Kind::Folder, 0o750), "{kills:?}");
        assert_eq!(owner_of(&home.on_disk("d")), expected(0o750));
        let link =
            home.ask(
                &kills,
                |fs, delivery| async move { fs.symlink(folder.node, "l", "../nowhere", USER, delivery).await },
            );
        assert_eq!(link.unwrap().kind, Kind::Link, "{kills:?}");
        assert_eq!(owner_of(&home.on_disk("d/l")), expected(0o777));
        assert_eq!(fs::read_link(home.on_disk("d/l")).unwrap().to_str(), Some("../nowhere"));
    }
}

#[test]
fn a_second_name_is_made_once_wherever_the_daemon_dies() {
    for kills in deaths() {
        let mut home = Home::new();
        fs::write(home.on_disk("f"), "text").unwrap();
        let node = home.node("f");
        let linked = home.ask(&kills, |fs, delivery| async move { fs.link(node, ROOT, "g", delivery).await });
        assert_eq!(linked.unwrap().nlink, 2, "{kills:?}");
        assert_eq!(fs::read(home.on_disk("g")).unwrap(), b"text");
    }
}

#[test]
fn what_is_in_the_way_of_a_first_request_is_in_its_way() {
    let mut home = Home::new();
    fs::write(home.on_disk("f"), "").unwrap();
    fs::create_dir(home.on_disk("d")).unwrap();
    symlink("x", home.on_disk("l")).unwrap();
    let node = home.node("f");
    assert_eq!(errno_of(home.ask(&[], |fs, delivery| create(fs, "f", delivery))), Errno::EXIST);
    let answers = [
        home.ask(&[], |fs, delivery| async move { fs.mkdir(ROOT, "d", 0o700, USER, delivery).await }),
        home.ask(&[], |fs, delivery| async move { fs.symlink(ROOT, "l", "x", USER, delivery).await }),
        home.ask(&[], |fs, delivery| async move { fs.link(node, ROOT, "f", delivery).await }),
    ];
    for answer in answers {
        assert_eq!(errno_of(answer), Errno::EXIST);
    }
    let gone = [
        home.ask(&[], |fs, delivery| async move { fs.unlink(ROOT, "absent", delivery).await }),
        home.ask(&[], |fs, delivery| async move { fs.rmdir(ROOT, "absent", delivery).await }),
    ];
    for answer in gone {
        assert_eq!(errno_of(answer), Errno::ACCESS);
    }
    let rename = home.ask(&[], |fs, delivery| async move {
        fs.rename((ROOT, "absent"), (ROOT, "f"), RenameMode::Replace, delivery).await
    });
    assert_eq!(errno_of(rename), Errno::NOENT);
    assert_eq!(home.node("f"), node);
}

#[test]
fn what_an_earlier_attempt_cannot_have_made_is_in_the_way_of_a_second_one() {
    let mut home = Home::new();
    fs::write(home.on_disk("full"), "text").unwrap();
    fs::create_dir_all(home.on_disk("d/below")).unwrap();
    symlink("x", home.on_disk("l")).unwrap();
    fs::write(home.on_disk("one"), "").unwrap();
    let node = home.node("one");
    let again = [Kill::BeforeAnswer];
    assert_eq!(errno_of(home.ask(&again, |fs, delivery| create(fs, "full", delivery))), Errno::EXIST);
    assert_eq!(errno_of(home.ask(&again, |fs, delivery| create(fs, "l", delivery))), Errno::EXIST);
    let others = [
        home.ask(&again, |fs, delivery| async move { fs.mkdir(ROOT, "d", 0o700, USER, delivery).await }),
        home.ask(&again, |fs, delivery| async move { fs.symlink(ROOT, "l", "y", USER, delivery).await }),
        home.ask(&again, |fs, delivery| async move { fs.link(node, ROOT, "full", delivery).await }),
    ];
    for answer in others {
        assert_eq!(errno_of(answer), Errno::EXIST);
    }
    assert_eq!(fs::read(home.on_disk("full")).unwrap(), b"text");
    if rustix::process::geteuid().is_root() {
        // Nobody's file changes hands by a request that comes again.
        fs::write(home.on_disk("other"), "").unwrap();
        std::os::unix::fs::chown(home.on_disk("other"), Some(99), Some(99)).unwrap();
        assert_eq!(errno_of(home.ask(&again, |fs, delivery| create(fs, "other", delivery))), Errno::EXIST);
        assert_eq!(fs::metadata(home.on_disk("other")).unwrap().uid(), 99);
    }
}

#[test]
fn what_is_removed_is_removed_once_wherever_the_daemon_dies() {
    for kills in deaths() {
        let mut home = Home::new();
        fs::write(home.on_disk("f"), "").unwrap();
        fs::create_dir(home.on_disk("d")).unwrap();
        let (file, folder) = (home.node("f"), home.node("d"));
        home.ask(&kills, |fs, delivery| async move { fs.unlink(ROOT, "f", delivery).await }).unwrap();
        home.ask(&kills, |fs, delivery| async move { fs.rmdir(ROOT, "d", delivery).await }).unwrap();
        assert!(home.find("f").is_none() && home.find("d").is_none(), "{kills:?}");
        assert!(fs::read_dir(home.layer()).unwrap().next().is_none());
        for node in [file, folder] {
            home.fs().forget(node);
            assert_eq!(home.fs().nodes.path(node).unwrap(), None, "{kills:?}");
        }
        assert_eq!(home.orphans(), 0);
    }
}

#[test]
fn a_folder_that_is_not_empty_stays_however_often_it_is_asked_for() {
    let mut home = Home::new();
    fs::create_dir_all(home.on_disk("d/below")).unwrap();
    let node = home.node("d");
    for kills in deaths() {
        let removed = home.ask(&kills, |fs, delivery| async move { fs.rmdir(ROOT, "d", delivery).await });
        assert_eq!(errno_of(removed), Errno::NOTEMPTY);
        assert_eq!(home.node("d"), node, "{kills:?}");
    }
}

#[test]
fn a_rename_happens_once_wherever_the_daemon_dies() {
    for mode in [RenameMode::Replace, RenameMode::NoReplace, RenameMode::Exchange] {
        for kills in deaths() {
            let mut home = Home::new();
            fs::create_dir(home.on_disk("d")).unwrap();
            fs::write(home.on_disk("a"), "a").unwrap();
            let (folder, a) = (home.node("d"), home.node("a"));
            let mut b = None;
            if mode != RenameMode::NoReplace {
                fs::write(home.on_disk("d/b"), "b").unwrap();
                b = Some(home.node("d/b"));
            }
            let renamed = home
                .ask(&kills, |fs, delivery| async move { fs.rename((ROOT, "a"), (folder, "b"), mode, delivery).await });
            renamed.unwrap();
            assert_eq!(home.node("d/b"), a, "{mode:?} {kills:?}");
            assert_eq!(home.read(a).unwrap(), b"a", "{mode:?} {kills:?}");
            match (mode, b) {
                (RenameMode::Exchange, Some(b)) => {
                    assert_eq!(home.node("a"), b, "{kills:?}");
                    assert_eq!(home.read(b).unwrap(), b"b", "{kills:?}");
                }
                _ => assert!(home.find("a").is_none(), "{mode:?} {kills:?}"),
            }
        }
    }
}

#[test]
fn a_rename_onto_what_is_there_is_refused_however_often_it_is_asked_for() {
    let mut home = Home::new();
    fs::write(home.on_disk("a"), "a").unwrap();
    fs::hard_link(home.on_disk("a"), home.on_disk("b")).unwrap();
    let nodes = (home.node("a"), home.node("b"));
    for kills in deaths() {
        let renamed = home.ask(&kills, |fs, delivery| async move {
            fs.rename((ROOT, "a"), (ROOT, "b"), RenameMode::NoReplace, delivery).await
        });
        assert_eq!(errno_of(renamed), Errno::EXIST, "{kills:?}");
        assert_eq!((home.node("a"), home.node("b")), nodes);
    }
}

/// A repository whose branch is known.
fn with_branch(home: &Home) -> (String, Commit) {
    let commit = Commit::from_bytes([7; 20]);
    let repo = "acme/tiny".parse().unwrap();
    let blob = Blob { id: BlobId::Sha256([1; 32]), size: 10 };
    let (snapshot, _) = Snapshot::new(repo, commit, [(RepoPath::new("config.json").unwrap(), blob)]);
    let repo = snapshot.repo.clone();
    let identity = home.view.identity.clone();
    home.run(home.db.put_snapshot(&identity.endpoint, identity.digest(), Arc::new(snapshot))).unwrap();
    let main = Revision::main();
    home.run(home.db.put_pin(&identity.endpoint, identity.digest(), &repo, &main, commit)).unwrap();
    ("hub/models--acme--tiny/refs".to_owned(), commit)
}

#[test]
fn a_branch_that_a_client_writes_is_taken_note_of_wherever_the_daemon_dies() {
    for kills in deaths() {
        let mut home = Home::new();
        let (refs, commit) = with_branch(&home);
        let folder = home.node(&refs);
        let file =
            home.ask(
                &kills,
                |fs, delivery| async move { fs.create(folder, "main.tmp", 0o644, USER, true, delivery).await },
            );
        let file = file.unwrap().node;
        home.run(home.fs().write(file, 0, commit.to_string().as_bytes())).unwrap();
        home.run(home.fs().flush(file)).unwrap();
        let renamed = home.ask(&kills, |fs, delivery| async move {
            fs.rename((folder, "main.tmp"), (folder, "main"), RenameMode::Replace, delivery).await
        });
        renamed.unwrap();
        assert!(!home.on_disk(&refs).join("main").exists(), "it is pinned, so the note goes: {kills:?}");
        assert_eq!(home.read(home.node(&format!("{refs}/main"))).unwrap(), commit.to_string().as_bytes());
        assert!(home.find(&format!("{refs}/main.tmp")).is_none());
    }
}

#[test]
fn a_branch_that_was_opened_under_an_earlier_daemon_is_taken_note_of_when_it_is_closed() {
    let mut home = Home::new();
    let (refs, commit) = with_branch(&home);
    let folder = home.node(&refs);
    let file =
        home.ask(&[], |fs, delivery| async move { fs.create(folder, "main.tmp", 0o644, USER, true, delivery).await });
    let file = file.unwrap().node;
    home.run(home.fs().write(file, 0, commit.to_string().as_bytes())).unwrap();
    fs::rename(home.on_disk(&refs).join("main.tmp"), home.on_disk(&refs).join("main")).unwrap();
    let main = home.node(&format!("{refs}/main"));
    home.take_over();
    for closed in ["once", "and once more, by who has a copy of the descriptor"] {
        home.run(home.fs().flush(main)).expect(closed);
    }
    assert!(!home.on_disk(&refs).join("main").exists());
}

#[test]
fn an_open_file_goes_on_without_its_name_under_the_next_daemon() {
    let mut home = Home::new();
    let file = home.ask(&[], |fs, delivery| create(fs, "f", delivery)).unwrap().node;
    home.run(home.fs().write(file, 0, b"still ")).unwrap();
    home.ask(&[], |fs, delivery| async move { fs.unlink(ROOT, "f", delivery).await }).unwrap();
    home.take_over();
    home.run(home.fs().write(file, 6, b"here")).unwrap();
    assert_eq!(home.read(file).unwrap(), b"still here");
    let attr = home.run(home.fs().attr(file)).unwrap();
    assert_eq!((attr.size, attr.nlink), (10, 0), "a client that locks looks whether its file has a name");
    let cut = Change { size: Some(5), ..Change::default() };
    assert_eq!(home.run(home.fs().set_attr(file, &cut)).unwrap().size, 5);
    home.fs().sync(file, false).unwrap();
    assert!(home.find("f").is_none());
    home.fs().release(file);
    home.fs().forget(file);
    assert_eq!(home.orphans(), 0, "nobody has it open");
    assert!(matches!(home.read(file), Err(FsError::Stale)));
}

#[test]
fn an_open_file_outlives_what_is_renamed_onto_it_wherever_the_daemon_dies() {
    for kills in deaths() {
        let mut home = Home::new();
        let old = home.ask(&[], |fs, delivery| create(fs, "f", delivery)).unwrap().node;
        home.run(home.fs().write(old, 0, b"old")).unwrap();
        fs::write(home.on_disk("new"), "new").unwrap();
        let new = home.node("new");
        let renamed = home.ask(&kills, |fs, delivery| async move {
            fs.rename((ROOT, "new"), (ROOT, "f"), RenameMode::Replace, delivery).await
        });
        renamed.unwrap();
        home.take_over();
        assert_eq!((home.read(old).unwrap(), home.read(new).unwrap()), (b"old".to_vec(), b"new".to_vec()), "{kills:?}");
        home.fs().forget(old);
        assert_eq!(home.orphans(), 0);
    }
}

#[test]
fn files_that_were_open_without_a_name_go_with_the_mount() {
    let mut home = Home::new();
    let file = home.ask(&[], |fs, delivery| create(fs, "f", delivery)).unwrap().node;
    home.ask(&[], |fs, delivery| async move { fs.unlink(ROOT, "f", delivery).await }).unwrap();
    assert_eq!(home.orphans(), 1);
    home.take_over();
    assert_eq!(home.orphans(), 1);
    home.mount_afresh();
    assert_eq!(home.orphans(), 0);
    assert!(matches!(home.read(file), Err(FsError::Stale)));
}

#[test]
fn what_the_kernel_has_forgotten_without_anybody_hearing_of_it_is_asked_for() {
    let mut home = Home::new();
    let nodes = ["open", "closed"].map(|name| {
        let file = home.ask(&[], |fs, delivery| create(fs, name, delivery)).unwrap().node;
        home.ask(&[], |fs, delivery| async move { fs.unlink(ROOT, name, delivery).await }).unwrap();
        file
    });
    home.take_over();
    home.fs().forget_orphans(|_| Err(std::io::Error::other("no answer")));
    assert_eq!(home.orphans(), 2, "no answer is no leave to remove");
    home.fs().forget_orphans(|node| Ok(node == nodes[0]));
    assert_eq!(home.orphans(), 1);
    assert_eq!(home.read(nodes[0]).unwrap(), b"");
}

#[test]
fn a_file_that_nobody_has_open_is_removed_at_once() {
    let mut home = Home::new();
    fs::write(home.on_disk("f"), "").unwrap();
    home.node("f");
    home.ask(&[], |fs, delivery| async move { fs.unlink(ROOT, "f", delivery).await }).unwrap();
    assert_eq!(home.orphans(), 0);
}

#[test]
fn a_login_is_whole_or_as_before_wherever_the_daemon_dies() {
    for kills in deaths() {
        let mut home = Home::with_token(Some("hf_secret"));
        let node = home.node("token");
        home.ask(&kills, |fs, _| async move { fs.open(node, true).await }).unwrap();
        let mut text = String::new();
        fs::File::open(home.on_disk("token")).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hf_secret", "{kills:?}");
        assert_eq!(fs::metadata(home.on_disk("token")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(home.node("token"), node);
        home.mount_afresh();
        assert_eq!(home.orphans(), 0, "no draft of it stays behind");
    }
}
