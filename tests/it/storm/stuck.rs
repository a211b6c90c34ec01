//! A daemon that is killed while the kernel keeps one of its notices waiting, for a reader that waits for the daemon.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rustix::fs::{Advice, fadvise};
use test_hub::{Fault, Files, Target};

use super::holders::EndsProcesses;
use super::scene::Scene;
use crate::harness::{eventually, noise};

const MIB: usize = 1 << 20;
/// As much of huge files stays in the page cache as was read last.
const WINDOW: usize = 128 * MIB;

#[test]
fn a_daemon_whose_notice_waits_for_a_reader_can_be_killed() {
    let scene = scene();
    let (read, bytes) = kill_while_a_notice_waits(&scene);
    assert!(read.unwrap() == bytes[..MIB], "wrong bytes");
    scene.umount();
}

#[test]
fn where_nobody_follows_a_daemon_whose_notice_waits_its_readers_get_an_error() {
    let scene = scene().with("WEIGHTFS_DAEMON_HELD", "false");
    let (read, bytes) = kill_while_a_notice_waits(&scene);
    read.unwrap_err();
    scene.mount();
    let file = File::open(model(&scene, "acme/large")).unwrap();
    let mut first = vec![0; MIB];
    file.read_exact_at(&mut first, 0).unwrap();
    assert!(first == bytes[..MIB], "wrong bytes");
    drop(file);
    scene.umount();
}

/// Of a large file nothing is kept: another one, which must stay, takes all the room.
fn scene() -> Scene {
    let scene = Scene::new().with("WEIGHTFS_CACHE_MAX_SIZE_BYTES", "9437184");
    scene.with("WEIGHTFS_MOUNT_DROP_BEHIND_BYTES", "1048576")
}

fn model(scene: &Scene, name: &str) -> PathBuf {
    let folder = scene.directory.join(format!("hub/models--{}", name.replace('/', "--")));
    let commit = fs::read_to_string(folder.join("refs/main")).unwrap();
    folder.join("snapshots").join(commit).join("model.safetensors")
}

/// What the reader got for whom the notice waited, and what it should be.
fn kill_while_a_notice_waits(scene: &Scene) -> (io::Result<Vec<u8>>, Vec<u8>) {
    let bytes = noise(3, WINDOW);
    for (model, bytes) in [("acme/large", bytes.clone()), ("acme/kept", noise(4, 9 * MIB))] {
        let files: Files = [("model.safetensors", bytes)].into_iter().collect();
        scene.hub.commit(model, files).unwrap();
    }
    scene.mount();
    let pinned = scene.run(&["model", "download", "--quiet", "--pin", "acme/kept"]);
    assert!(pinned.status.success(), "{}", crate::machine::error(&pinned));
    let (large, kept) = (model(scene, "acme/large"), model(scene, "acme/kept"));
    let file = File::open(&large).unwrap();
    let mut buffer = vec![0; MIB];
    for (at, right) in bytes.chunks(MIB).enumerate() {
        file.read_exact_at(&mut buffer, (at * MIB) as u64).unwrap();
        assert!(buffer == right);
    }
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    scene.hub.set_faults(vec![Fault::on(Target::Cdn).stall_after(0)]);
    let read = thread::scope(|scope| {
        let _end = EndsProcesses(scene);
        let reader = scope.spawn(|| {
            let mut first = vec![0; MIB];
            file.read_exact_at(&mut first, 0).map(|()| first)
        });
        let serving = scene.serving().unwrap();
        let daemon = scene.processes().into_iter().find(|process| process.pid == serving).unwrap();
        eventually("the reader waits for the origin", || scene.hub.log().iter().any(|asked| !asked.faults.is_empty()));
        // What was read first, and is wanted again, is now to leave the page cache.
        File::open(&kept).unwrap().read_exact_at(&mut [0; 1], 0).unwrap();
        eventually("the kernel keeps a notice waiting", || waits_in_kernel(daemon.pid));
        daemon.kill();
        assert!(daemon.ends_within(Duration::from_secs(20)).unwrap(), "it cannot be killed");
        scene.hub.set_faults(Vec::new());
        reader.join().unwrap()
    });
    (read, bytes)
}

/// Whether a thread of a daemon, or of a process that it started, waits where no signal reaches it.
fn waits_in_kernel(daemon: i32) -> bool {
    let numbers = super::processes::numbers();
    numbers.filter(|pid| *pid == daemon || parent(*pid) == Some(daemon)).any(|pid| {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        tasks.map(|task| task.path().join("stat")).any(|path| state(&path).is_some_and(|(state, _)| state == "D"))
    })
}

fn parent(pid: i32) -> Option<i32> {
    state(format!("/proc/{pid}/stat").as_ref())?.1.parse().ok()
}

/// The third and fourth field, behind a name that may contain anything.
fn state(path: &std::path::Path) -> Option<(String, String)> {
    let text = fs::read_to_string(path).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
}
