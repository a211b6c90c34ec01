//! Real mounts. What they need and a machine lacks is said, and the test is passed over.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command};

use rustix::fs::{Mode, OFlags};

use super::*;

/// Takes the mount away however the test ends.
struct Cleanup(PathBuf);

impl Drop for Cleanup {
    fn drop(&mut self) {
        while unmount(&self.0, true).is_ok() {}
    }
}

fn can_mount() -> bool {
    let can = kernel::may_mount() && kernel::open_device().is_ok();
    if !can {
        eprintln!("skipped: mounting needs root and /dev/fuse");
    }
    can
}

fn mounted(directory: &Path) -> (Mounted, Cleanup) {
    let options = MountOptions { directory: directory.to_owned(), allow_other: false };
    let mounted = mount(options).unwrap();
    let cleanup = Cleanup(mounted.directory.clone());
    (mounted, cleanup)
}

/// A process that holds the mount's own directory without asking its daemon, which is not there.
pub(super) fn hold(directory: &Path) -> Child {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(directory, flags, Mode::empty()).unwrap();
    Command::new("sleep").arg("60").stdin(root).spawn().unwrap()
}

#[test]
fn a_mount_shows_as_weightfs() {
    if !can_mount() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("with space");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("hidden meanwhile"), "").unwrap();
    let (mounted, _cleanup) = mounted(&directory);
    assert_eq!(mounted.by, Means::Kernel);
    let entry = find(&directory).unwrap();
    assert_eq!((entry.filesystem.as_str(), entry.source.to_str()), ("fuse.weightfs", Some("weightfs")));
    assert!(our_mounts().contains(&entry));
    assert!(is_below_our_mount(&directory.join("hub/any")));
    assert!(!is_below_our_mount(folder.path()));
    unmount(&directory, false).unwrap();
    assert_eq!(find(&directory), None);
}

#[test]
fn a_live_mount_is_not_mounted_over() {
    if !can_mount() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (_mounted, _cleanup) = mounted(folder.path());
    let again = |directory: &Path| mount(MountOptions { directory: directory.to_owned(), allow_other: false });
    assert!(matches!(again(folder.path()), Err(MountError::AlreadyMounted { .. })));
    let inside = again(&folder.path().join("inner"));
    assert!(matches!(inside, Err(MountError::InsideOurMount { .. })), "{inside:?}");
}

#[test]
fn a_stale_mount_is_cleaned() {
    if !can_mount() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (first, _cleanup) = mounted(folder.path());
    assert!(!stale(folder.path()), "a daemon that does not answer is a daemon");
    drop(first.device);
    assert!(stale(folder.path()));
    assert_eq!(clean_stale(folder.path()).unwrap(), 1);
    assert_eq!(find(folder.path()), None);
    assert_eq!(clean_stale(folder.path()).unwrap(), 0);
}

#[test]
fn the_next_mount_takes_a_stale_ones_place() {
    if !can_mount() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (first, _cleanup) = mounted(folder.path());
    drop(first.device);
    let (_second, _cleanup) = mounted(folder.path());
    unmount(folder.path(), false).unwrap();
    assert_eq!(find(folder.path()), None, "nothing is left below");
}

#[test]
fn a_busy_mount_names_the_process() {
    if !can_mount() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mounted, _cleanup) = mounted(folder.path());
    let mut holder = hold(&mounted.directory);
    let error = unmount(folder.path(), false).unwrap_err();
    let UnmountError::Busy { processes, .. } = &error else { panic!("{error}") };
    let named = BusyProcess { pid: holder.id(), name: "sleep".to_owned(), what: mounted.directory.clone() };
    assert!(processes.contains(&named), "{error}");
    assert!(error.to_string().contains(&format!("sleep (pid {})", holder.id())), "{error}");
    unmount(folder.path(), true).unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn what_cannot_be_mounted_at_is_said_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let file = folder.path().join("file");
    File::create(&file).unwrap();
    let refused = |directory: &Path| mount(MountOptions { directory: directory.to_owned(), allow_other: false });
    let error = refused(&missing).unwrap_err();
    assert!(error.to_string().contains("mkdir -p"), "{error}");
    assert!(matches!(refused(&file), Err(MountError::NotADirectory { .. })));
}

#[test]
fn what_is_not_our_mount_is_not_unmounted() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(unmount(folder.path(), false), Err(UnmountError::NotMounted { .. })));
    assert!(matches!(unmount(Path::new("/proc"), true), Err(UnmountError::NotOurs { .. })));
}
