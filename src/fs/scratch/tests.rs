//! The layer as its callers see it, and what ordinary users may plant in it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;

use super::*;
use crate::fs::delivery::Attempt;

const USER: Owner = Owner { uid: 1234, gid: 2345 };

struct Layer {
    folder: TempDir,
    scratch: Scratch,
}

fn layer() -> Layer {
    let folder = tempfile::tempdir().unwrap();
    let scratch = Scratch::open(folder.path().join("view/layer")).unwrap();
    Layer { folder, scratch }
}

impl Layer {
    fn on_disk(&self, path: &str) -> PathBuf {
        self.scratch.path.join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let mut file =
            self.scratch.create(path, 0o644, USER, CreateFlags { truncate: true, ..CreateFlags::default() }).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn text(&self, path: &str) -> String {
        let mut text = String::new();
        let mut file = self.scratch.open_file(path, Access::Read, OpenFlags::default()).unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    fn mode(&self, path: &str) -> u32 {
        self.scratch.stat(path).unwrap().unwrap().mode
    }
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: giving files away needs root");
    }
    root
}

fn errno<T: fmt::Debug>(result: Result<T>) -> Errno {
    Errno::from_io_error(&result.unwrap_err().source).unwrap()
}

/// Everything about a folder that an operation could have changed.
fn fingerprint(folder: &Path) -> BTreeMap<PathBuf, (u32, u32, u64, i64, Vec<u8>)> {
    let mut seen = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let m = fs::symlink_metadata(&path).unwrap();
        let bytes = if m.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        if m.is_dir() {
            seen.extend(fingerprint(&path));
        }
        seen.insert(path, (m.mode(), m.uid(), m.nlink(), m.mtime(), bytes));
    }
    seen
}

/// Every operation on one path; what it answers is for the caller to doubt.
fn try_everything(scratch: &Scratch, path: &str) {
    let change = Change {
        mode: Some(0o777),
        uid: Some(USER.uid),
        size: Some(1),
        mtime: Some(NewTime::At(UNIX_EPOCH)),
        ..Change::default()
    };
    let truncate = CreateFlags { truncate: true, ..CreateFlags::default() };
    let _ = scratch.create(path, 0o777, USER, truncate).map(|mut file| file.write_all(b"overwritten"));
    let open = OpenFlags { truncate: true, append: false };
    let _ = scratch.open_file(path, Access::ReadWrite, open).map(|mut file| file.write_all(b"overwritten"));
    let parts = [Change { size: None, ..change }, Change { size: None, mode: None, ..change }, change];
    for change in parts {
        let _ = scratch.set_attr(path, &change);
    }
    let _ = scratch.mkdir(path, 0o777, USER, Attempt::First);
    let _ = scratch.ensure_dir(path);
    let _ = scratch.symlink(path, "x", USER, Attempt::First);
    let _ = scratch.sync(path, false);
    let _ = scratch.link(path, "linked", Attempt::First);
    let _ = scratch.link("own", path, Attempt::First);
    let _ = scratch.rename("own", path, RenameMode::Exchange);
    let _ = scratch.rename("own", path, RenameMode::Replace);
    let _ = scratch.rename(path, "moved", RenameMode::Replace);
    let _ = scratch.unlink(path);
    let _ = scratch.rmdir(path);
}

#[test]
fn a_planted_symlink_never_leads_out() {
    let layer = layer();
    let outside = layer.folder.path().join("outside");
    fs::create_dir_all(outside.join("folder")).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    let before = fingerprint(&outside);
    let targets = [
        ("absolute", outside.clone()),
        ("relative", "../../outside".into()),
        ("proc", Path::new("/proc/self/root").join(outside.strip_prefix("/").unwrap())),
    ];
    for (link, target) in &targets {
        for name in ["secret", "folder", "new", "folder/new"] {
            layer.write("own", "own");
            let (inside, last) = (format!("{link}/{name}"), format!("{link}-last"));
            let _ = fs::remove_file(layer.on_disk(link));
            let _ = fs::remove_file(layer.on_disk(&last));
            symlink(target, layer.on_disk(link)).unwrap();
            symlink(target.join(name), layer.on_disk(&last)).unwrap();
            assert_eq!(errno(layer.scratch.stat(&inside)), Errno::LOOP);
            assert_eq!(errno(layer.scratch.list(&inside)), Errno::LOOP);
            assert!(layer.scratch.list(link).is_err());
            assert!(layer.scratch.open_file(&inside, Access::Read, OpenFlags::default()).is_err());
            assert!(layer.scratch.open_file(&last, Access::Read, OpenFlags::default()).is_err());
            assert!(layer.scratch.readlink(&inside).is_err());
            assert_eq!(layer.scratch.stat(&last).unwrap().unwrap().kind, ScratchKind::Symlink);
            try_everything(&layer.scratch, &inside);
            try_everything(&layer.scratch, &last);
            assert_eq!(fingerprint(&outside), before, "{link} {name}");
        }
    }
}

#[test]
fn a_symlink_swapped_in_between_never_leads_out() {
    let layer = layer();
    let outside = layer.folder.path().join("outside");
    fs::create_dir_all(outside.join("sub")).unwrap();
    layer.scratch.ensure_dir("real/sub").unwrap();
    symlink(&outside, layer.on_disk("link")).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                layer.scratch.rename("real", "link", RenameMode::Exchange).unwrap();
            }
        });
        let mut made = 0;
        for round in 0..3000 {
            let file = format!("real/sub/file-{round}");
            made += usize::from(layer.scratch.create(&file, 0o666, USER, CreateFlags::default()).is_ok());
            let _ = layer.scratch.mkdir(&format!("real/sub/folder-{round}"), 0o777, USER, Attempt::First);
        }
        done.store(true, Ordering::Relaxed);
        assert!(made > 0, "the directory was there at times");
    });
    assert_eq!(fs::read_dir(outside.join("sub")).unwrap().count(), 0);
}

#[test]
fn a_path_that_climbs_is_refused() {
    let layer = layer();
    for path in ["..", "../x", "a/../../x", "/etc/passwd", ".", "a/.", "a//b", "a/", "a\0b"] {
        assert_eq!(errno(layer.scratch.stat(path)), Errno::INVAL, "{path:?}");
        assert_eq!(errno(layer.scratch.mkdir(path, 0o755, USER, Attempt::First)), Errno::INVAL, "{path:?}");
        assert!(layer.scratch.ensure_dir(path).is_err(), "{path:?}");
    }
    assert_eq!(errno(layer.scratch.rmdir("")), Errno::INVAL);
}

#[test]
fn token_files_are_always_private() {
    let layer = layer();
    for token in ["token", "stored_tokens"] {
        layer.write(token, "hf_secret");
        assert_eq!(layer.mode(token), 0o600);
        let loosened = layer.scratch.set_attr(token, &Change { mode: Some(0o644), ..Change::default() }).unwrap();
        assert_eq!(loosened.mode, 0o600);
        layer.write("new", "hf_other");
        layer.scratch.rename("new", token, RenameMode::Replace).unwrap();
        assert_eq!((layer.mode(token), layer.text(token)), (0o600, "hf_other".to_owned()));
        layer.write("new", "hf_third");
        layer.scratch.rename(token, "new", RenameMode::Exchange).unwrap();
        assert_eq!((layer.mode(token), layer.text(token)), (0o600, "hf_third".to_owned()));
        assert_eq!(errno(layer.scratch.link(token, "second", Attempt::First)), Errno::PERM);
        layer.scratch.unlink(token).unwrap();
        assert_eq!(errno(layer.scratch.link("new", token, Attempt::First)), Errno::PERM);
    }
    layer.scratch.mkdir("folder", 0o755, USER, Attempt::First).unwrap();
    layer.write("folder/token", "any");
    assert_eq!(layer.mode("folder/token"), 0o644, "only at the root is it a credential");
    fs::write(layer.on_disk("token"), "by hand").unwrap();
    fs::set_permissions(layer.on_disk("token"), PermissionsExt::from_mode(0o644)).unwrap();
    let again = Scratch::open(layer.scratch.path.clone()).unwrap();
    assert_eq!(again.stat("token").unwrap().unwrap().mode, 0o600);
}

#[test]
fn a_new_entry_belongs_to_who_asked_with_the_mode_asked() {
    if !is_root() {
        return;
    }
    let layer = layer();
    layer.scratch.create("file", 0o666, USER, CreateFlags::default()).unwrap();
    layer.scratch.mkdir("folder", 0o777, USER, Attempt::First).unwrap();
    layer.scratch.symlink("link", "/nowhere", USER, Attempt::First).unwrap();
    for (path, kind) in
        [("file", ScratchKind::File), ("folder", ScratchKind::Directory), ("link", ScratchKind::Symlink)]
    {
        let attr = layer.scratch.stat(path).unwrap().unwrap();
        assert_eq!((attr.kind, attr.uid, attr.gid), (kind, USER.uid, USER.gid));
    }
    assert_eq!((layer.mode("file"), layer.mode("folder")), (0o666, 0o777));
    assert_eq!(layer.scratch.readlink("link").unwrap(), "/nowhere");
    let other = Owner { uid: 1, gid: 1 };
    layer.scratch.create("file", 0o600, other, CreateFlags::default()).unwrap();
    assert_eq!((layer.mode("file"), layer.scratch.stat("file").unwrap().unwrap().uid), (0o666, USER.uid));
}

#[test]
fn a_setgid_directory_passes_its_group_on() {
    if !is_root() {
        return;
    }
    let layer = layer();
    layer.scratch.mkdir("shared", 0o2775, USER, Attempt::First).unwrap();
    let other = Owner { uid: 1, gid: 1 };
    layer.scratch.create("shared/file", 0o664, other, CreateFlags::default()).unwrap();
    layer.scratch.mkdir("shared/folder", 0o775, other, Attempt::First).unwrap();
    layer.scratch.symlink("shared/link", "x", other, Attempt::First).unwrap();
    for path in ["shared/file", "shared/folder", "shared/link"] {
        let attr = layer.scratch.stat(path).unwrap().unwrap();
        assert_eq!((attr.uid, attr.gid), (1, USER.gid), "{path}");
    }
    assert_eq!((layer.mode("shared/folder"), layer.mode("shared/file")), (0o2775, 0o664));
}

#[test]
fn create_and_open_keep_truncate_or_append_as_asked() {
    let layer = layer();
    layer.write("f", "abc");
    layer.scratch.create("f", 0o644, USER, CreateFlags::default()).unwrap();
    assert_eq!(layer.text("f"), "abc");
    let exclusive = CreateFlags { exclusive: true, ..CreateFlags::default() };
    assert_eq!(errno(layer.scratch.create("f", 0o644, USER, exclusive)), Errno::EXIST);
    let append = OpenFlags { append: true, truncate: false };
    let mut file = layer.scratch.open_file("f", Access::Write, append).unwrap();
    file.write_all(b"d").unwrap();
    assert_eq!(layer.text("f"), "abcd");
    let truncate = OpenFlags { append: false, truncate: true };
    let file = layer.scratch.open_file("f", Access::ReadWrite, truncate).unwrap();
    file.write_all_at(b"z", 1).unwrap();
    assert_eq!(layer.text("f"), "\0z");
    layer.scratch.sync("f", true).unwrap();
    layer.scratch.sync("", false).unwrap();
    assert_eq!(errno(layer.scratch.open_file("none", Access::Read, truncate)), Errno::NOENT);
}

#[test]
fn attributes_change_one_by_one() {
    let layer = layer();
    layer.write("f", "abc");
    let moment = UNIX_EPOCH + Duration::new(1_000_000, 5);
    let before = layer.scratch.stat("f").unwrap().unwrap();
    let change = Change { mtime: Some(NewTime::At(moment)), ..Change::default() };
    let after = layer.scratch.set_attr("f", &change).unwrap();
    assert_eq!((after.mtime, after.atime, after.mode), (moment, before.atime, before.mode));
    let change = Change { size: Some(1), mode: Some(0o400), mtime: Some(NewTime::Now), ..Change::default() };
    let after = layer.scratch.set_attr("f", &change).unwrap();
    assert_eq!((after.size, after.mode), (1, 0o400));
    assert!(after.mtime > moment);
    assert_eq!(errno(layer.scratch.set_attr("none", &change)), Errno::NOENT);
}

#[test]
fn a_links_attributes_are_its_own() {
    if !is_root() {
        return;
    }
    let layer = layer();
    layer.write("f", "abc");
    layer.scratch.symlink("link", "f", USER, Attempt::First).unwrap();
    let before = layer.scratch.stat("f").unwrap();
    let own = Change { uid: Some(7), mtime: Some(NewTime::At(UNIX_EPOCH)), ..Change::default() };
    let link = layer.scratch.set_attr("link", &own).unwrap();
    assert_eq!((link.kind, link.uid, link.mtime), (ScratchKind::Symlink, 7, UNIX_EPOCH));
    assert!(layer.scratch.set_attr("link", &Change { mode: Some(0), ..Change::default() }).is_err());
    assert!(layer.scratch.set_attr("link", &Change { size: Some(0), ..Change::default() }).is_err());
    assert_eq!(layer.scratch.stat("f").unwrap(), before);
}

#[test]
fn virtual_parents_are_made_when_they_are_needed() {
    let layer = layer();
    assert_eq!(errno(layer.scratch.mkdir("hub/.locks", 0o700, USER, Attempt::First)), Errno::NOENT);
    assert_eq!(layer.scratch.stat("hub/.locks").unwrap(), None);
    assert!(layer.scratch.list("hub").unwrap().is_empty());
    for _ in 0..2 {
        layer.scratch.ensure_dir("hub/.locks").unwrap();
    }
    let attr = layer.scratch.stat("hub/.locks").unwrap().unwrap();
    assert_eq!((attr.mode, attr.uid), (0o755, rustix::process::geteuid().as_raw()));
    layer.write("hub/file", "");
    assert_eq!(errno(layer.scratch.ensure_dir("hub/file/below")), Errno::NOTDIR);
    assert_eq!(layer.scratch.stat("hub/file/below").unwrap(), None);
}

#[test]
fn a_rename_replaces_keeps_or_exchanges() {
    let layer = layer();
    layer.write("a", "a");
    layer.write("b", "b");
    assert_eq!(errno(layer.scratch.rename("a", "b", RenameMode::NoReplace)), Errno::EXIST);
    layer.scratch.rename("a", "b", RenameMode::Exchange).unwrap();
    assert_eq!((layer.text("a"), layer.text("b")), ("b".to_owned(), "a".to_owned()));
    layer.scratch.rename("a", "b", RenameMode::Replace).unwrap();
    assert_eq!((layer.scratch.stat("a").unwrap(), layer.text("b")), (None, "b".to_owned()));
    layer.scratch.link("b", "c", Attempt::First).unwrap();
    let (b, c) = (layer.scratch.stat("b").unwrap().unwrap(), layer.scratch.stat("c").unwrap().unwrap());
    assert_eq!((b.inode, b.nlink), (c.inode, 2));
}

#[test]
fn a_fifo_is_not_there_and_opening_it_does_not_wait() {
    let layer = layer();
    nix::unistd::mkfifo(&layer.on_disk("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    File::create(layer.on_disk("file")).unwrap();
    assert_eq!(layer.scratch.list("").unwrap(), [("file".to_owned(), ScratchKind::File)]);
    assert_eq!(layer.scratch.stat("fifo").unwrap(), None);
    for access in [Access::Read, Access::Write, Access::ReadWrite] {
        assert_eq!(errno(layer.scratch.open_file("fifo", access, OpenFlags::default())), Errno::PERM);
    }
}
