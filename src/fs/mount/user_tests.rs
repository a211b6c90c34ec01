//! fusermount3 as an ordinary user: this test program again, in a mount namespace of its own with a FUSE device for all.

use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Stdio};

use super::*;

const DIRECTORY: &str = "WEIGHTFS_TEST_USER_DIRECTORY";
const NOBODY: u32 = 65534;
/// The script's word for "this machine does not let me prepare that".
const UNPREPARED: i32 = 77;

/// The test program may lie where an ordinary user cannot reach it, so it is bound to where they can.
const SCRIPT: &str = r#"
mknod "$1/fuse" c 10 229 && chmod 666 "$1/fuse" && mount --bind "$1/fuse" /dev/fuse || exit 77
touch "$1/program" && mount --bind "$2" "$1/program" || exit 77
exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all \
    "$1/program" --exact fs::mount::user_tests::mounts_busily_and_unmounts --ignored --nocapture
"#;

#[test]
fn an_ordinary_user_mounts_with_fusermount3() {
    if !kernel::may_mount() || Command::new("fusermount3").arg("-V").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: needs root and fusermount3");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let directory = folder.path().join("mount");
    std::fs::create_dir(&directory).unwrap();
    chown(&directory, Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"]);
    command.arg(folder.path()).arg(std::env::current_exe().unwrap()).env(DIRECTORY, &directory);
    let output = command.output().unwrap();
    if output.status.code() == Some(UNPREPARED) {
        eprintln!("skipped: no mount namespace with a device: {}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
#[ignore = "the second half of the test above, which runs it as an ordinary user"]
fn mounts_busily_and_unmounts() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else {
        eprintln!("skipped: only the test above runs this");
        return;
    };
    let options = |allow_other| MountOptions { directory: directory.clone(), allow_other };

    let first = mount(options(false)).unwrap();
    assert_eq!(first.by, Means::Fusermount);
    let entry = find(&directory).unwrap();
    assert_eq!((entry.filesystem.as_str(), entry.source.to_str()), ("fuse.weightfs", Some("weightfs")));

    let mut holder = super::tests::hold(&directory);
    let busy = unmount(&directory, false).unwrap_err();
    assert!(busy.to_string().contains(&format!("sleep (pid {})", holder.id())), "{busy}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    unmount(&directory, false).unwrap();
    assert_eq!(find(&directory), None);

    let second = mount(options(false)).unwrap();
    drop(second.device);
    assert_eq!(clean_stale(&directory).unwrap(), 1);

    // What the helper says reaches the user.
    match mount(options(true)) {
        Ok(_) => unmount(&directory, true).unwrap(),
        Err(error) => assert!(error.to_string().contains("user_allow_other"), "{error}"),
    }
}
