//! mount(8), fstab and `mount.weightfs`: real calls in a mount namespace of their own, so that this machine is not changed.

mod island;

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use test_hub::{Files, Hub};

use crate::harness::{eventually, noise};
use crate::machine::error;
use island::{Island, ORDINARY_UID};

const MIB: usize = 1 << 20;

/// A Hub with one model, and a machine where mount(8) knows the helper.
struct World {
    hub: Hub,
    island: Island,
    bytes: Vec<u8>,
    /// Below a mount.
    file: String,
}

impl World {
    fn new() -> Self {
        let hub = Hub::start().unwrap();
        let bytes = noise(31, 9 * MIB);
        let commit = hub.commit("acme/big", Files::new().bytes("model.safetensors", bytes.clone())).unwrap();
        let file = format!("hub/models--acme--big/snapshots/{commit}/model.safetensors");
        Self { hub, island: Island::new(), bytes, file }
    }

    fn options(&self, more: &str) -> String {
        let comma = if more.is_empty() { "" } else { "," };
        format!("endpoint={}{comma}{more}", self.hub.endpoint())
    }

    fn mount(&self, directory: &str, more: &str) {
        self.island.succeed(&["mount", "-t", "weightfs", "hub", directory, "-o", &self.options(more)]);
    }

    /// A reader in the middle of the model, and what it has read.
    fn begin_reading(&self, directory: &str) -> (fs::File, Vec<u8>) {
        let mut file = fs::File::open(self.model(directory)).unwrap();
        let mut read = vec![0; MIB];
        file.read_exact(&mut read).unwrap();
        (file, read)
    }

    fn model(&self, directory: &str) -> PathBuf {
        self.island.inside(directory).join(&self.file)
    }
}

#[test]
fn a_line_in_fstab_mounts_once_and_umount_ends_everything() {
    let world = World::new();
    let island = &world.island;
    let directory = island.directory("hf with space");
    let line = format!(
        "hub {} weightfs {},nofail,_netdev,noatime,x-systemd.automount,comment=models 0 0\n",
        directory.replace(' ', "\\040"),
        world.options("max_size=1G")
    );
    let fstab = island.path("fstab");
    fs::write(&fstab, line).unwrap();
    let mount_all = || island.succeed(&["mount", "-T", fstab.to_str().unwrap(), "-a"]);
    for _ in 0..2 {
        mount_all();
        mount_all();
        assert_eq!(island.mounts(&directory).len(), 1, "a second `mount -a` mounts nothing");
        let shown = island.succeed(&["findmnt", "-n", "-o", "SOURCE,FSTYPE,OPTIONS", &directory]);
        assert!(shown.starts_with("hub") && shown.contains("fuse.weightfs") && shown.contains("noatime"), "{shown}");
        assert!(shown.contains("nosuid,nodev"), "{shown}");
        assert!(fs::read(world.model(&directory)).unwrap() == world.bytes);
        assert_eq!(island.daemon("weightfs")["cache"]["limit_bytes"], 1 << 30);
        island.succeed(&["umount", &directory]);
        eventually("daemon and holder have ended", || island.is_quiet());
    }
}

#[test]
fn the_daemon_is_an_ordinary_user_and_its_holder_keeps_few_rights() {
    let world = World::new();
    let island = &world.island;
    let directory = island.directory("hf");
    world.mount(&directory, "");
    let daemon = island.daemon("weightfs");
    let status = island.process(daemon["pid"].as_i64().unwrap());
    let uid = ORDINARY_UID.to_string();
    assert_eq!(status["Uid"], format!("{uid}\t{uid}\t{uid}\t{uid}"));
    assert_eq!(status["Groups"].trim(), "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status[set], "0000000000000000", "{set}");
    }
    let holder = island.process(status["PPid"].parse().unwrap());
    assert_eq!(holder["Name"], "mount.weightfs");
    assert_eq!(holder["Uid"], "0\t0\t0\t0");
    // SYS_ADMIN, DAC_READ_SEARCH, SETUID, SETGID and KILL.
    let kept = format!("{:016x}", 1 << 21 | 1 << 2 | 1 << 7 | 1 << 6 | 1 << 5);
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(holder[set], kept, "{set}");
    }
    assert_eq!(holder["CapInh"], "0000000000000000");
    let stat = fs::read_to_string(format!("/proc/{}/stat", holder["Pid"])).unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    assert_eq!((fields[3], fields[4]), (holder["Pid"].as_str(), "0"), "a session of its own without a terminal");
    let environment = fs::read(format!("/proc/{}/environ", daemon["pid"])).unwrap();
    let of_cargo = |variable: &[u8]| variable.starts_with(b"CARGO");
    assert!(!environment.split(|byte| *byte == 0).any(of_cargo), "nothing of the caller's environment");
    // Everybody else may read.
    let copy = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "sha256sum"];
    let file = format!("{directory}/{}", world.file);
    island.succeed(&[copy.as_slice(), &[&file]].concat());
    island.succeed(&["umount", &directory]);
    eventually("daemon and holder have ended", || island.is_quiet());
}

#[test]
fn an_ordinary_users_daemon_passes_complete_files_through_by_its_holder() {
    let world = World::new();
    let island = &world.island;
    let directory = island.directory("hf");
    world.mount(&directory, "");
    let counter = |name: &str| island.daemon("weightfs")["counters"][name].as_u64().unwrap();
    assert_eq!(island.daemon("weightfs")["mounts"][0]["passthrough"], "on");
    eventually("the complete file is passed through", || {
        assert!(fs::read(world.model(&directory)).unwrap() == world.bytes);
        counter("passthrough_opens") > 0
    });
    island.succeed(&["umount", &directory]);
}

#[test]
fn a_killed_daemon_costs_a_reader_nothing() {
    let world = World::new();
    let island = &world.island;
    let directory = island.directory("hf");
    world.mount(&directory, "passthrough=off");
    let (mut file, mut read) = world.begin_reading(&directory);
    for _ in 0..3 {
        let before = island.daemon("weightfs")["pid"].as_i64().unwrap();
        kill(Pid::from_raw(before as i32), Signal::SIGKILL).unwrap();
        let mut more = vec![0; MIB];
        file.read_exact(&mut more).unwrap();
        read.extend(more);
        let after = island.daemon("weightfs")["pid"].as_i64().unwrap();
        assert_ne!(before, after);
        assert_eq!(island.process(after)["Uid"].split('\t').next().unwrap(), ORDINARY_UID.to_string());
    }
    file.read_to_end(&mut read).unwrap();
    assert!(read == world.bytes);
    drop(file);
    island.succeed(&["umount", &directory]);
    eventually("daemon and holder have ended", || island.is_quiet());
}

#[test]
fn two_mounts_of_one_user_have_one_daemon() {
    let world = World::new();
    let island = &world.island;
    let (first, second) = (island.directory("first"), island.directory("second"));
    world.mount(&first, "");
    world.mount(&second, "");
    let daemon = island.daemon("weightfs");
    assert_eq!(daemon["mounts"].as_array().unwrap().len(), 2);
    assert!(fs::read(world.model(&second)).unwrap() == world.bytes);
    kill(Pid::from_raw(daemon["pid"].as_i64().unwrap() as i32), Signal::SIGKILL).unwrap();
    for directory in [&first, &second] {
        assert!(fs::read(world.model(directory)).unwrap() == world.bytes);
        island.succeed(&["umount", directory]);
    }
    eventually("daemon and holder have ended", || island.is_quiet());
}

#[test]
fn a_killed_holder_costs_a_reader_nothing_and_the_next_one_is_the_daemons() {
    let world = World::new();
    let island = &world.island;
    let directory = island.directory("hf");
    world.mount(&directory, "");
    let (mut file, mut read) = world.begin_reading(&directory);
    let daemon = island.daemon("weightfs")["pid"].as_i64().unwrap();
    let holder: i32 = island.process(daemon)["PPid"].parse().unwrap();
    kill(Pid::from_raw(holder), Signal::SIGKILL).unwrap();
    // The lock's third line is where the holder listens.
    let lock = island.inside("/var/cache/weightfs-weightfs/weightfs/lock");
    let before = fs::read_to_string(&lock).unwrap();
    eventually("there is another holder", || fs::read_to_string(&lock).unwrap() != before);
    assert_eq!(island.daemon("weightfs")["pid"].as_i64(), Some(daemon));
    kill(Pid::from_raw(daemon as i32), Signal::SIGKILL).unwrap();
    file.read_to_end(&mut read).unwrap();
    assert!(read == world.bytes);
    drop(file);
    let after = island.daemon("weightfs")["pid"].as_i64().unwrap();
    assert_ne!(daemon, after);
    island.succeed(&["umount", &directory]);
    eventually("daemon and holder have ended", || island.is_quiet());
}

#[test]
fn the_daemons_user_unmounts_what_root_mounted_for_it() {
    let world = World::new();
    let island = &world.island;
    let uid = format!("--reuid={ORDINARY_UID}");
    let user = ["setpriv", &uid, "--regid=4711", "--clear-groups", "env", "HOME=/nonexistent"];
    let weightfs = ["weightfs", "umount", "--runtime-directory", "/run/weightfs-weightfs/weightfs"];
    let directory = island.directory("hf");
    for by in [weightfs.as_slice(), &["fusermount3", "-u"]] {
        world.mount(&directory, "");
        island.succeed(&[user.as_slice(), by, &[&directory]].concat());
        assert_eq!(island.mounts(&directory), [] as [String; 0]);
        eventually("daemon and holder have ended", || island.is_quiet());
    }
}

#[test]
fn an_upgrade_keeps_the_daemons_user_and_its_readers() {
    let world = World::new();
    let island = &world.island;
    let directory = island.directory("hf");
    world.mount(&directory, "");
    let (mut file, mut read) = world.begin_reading(&directory);
    let before = island.daemon("weightfs")["pid"].as_i64().unwrap();
    let holder = island.process(before)["PPid"].clone();
    island.succeed(&["weightfs", "upgrade", "--runtime-directory", "/run/weightfs-weightfs"]);
    let between = island.daemon("weightfs")["pid"].as_i64().unwrap();
    assert_ne!(before, between);
    kill(Pid::from_raw(holder.parse().unwrap()), Signal::SIGHUP).unwrap();
    eventually("the next daemon serves", || island.daemon("weightfs")["pid"].as_i64() != Some(between));
    let after = island.process(island.daemon("weightfs")["pid"].as_i64().unwrap());
    assert_eq!((after["Uid"].split('\t').next(), &after["PPid"]), (Some(ORDINARY_UID.to_string().as_str()), &holder));
    file.read_to_end(&mut read).unwrap();
    assert!(read == world.bytes);
    drop(file);
    island.succeed(&["umount", &directory]);
    eventually("daemon and holder have ended", || island.is_quiet());
}

/// A trigger of autofs that nobody answers: whoever walks into it waits for ever, as for systemd while it mounts.
const AUTOFS: &str = r#"
mkfifo "$1" && exec 4<>"$1" && exec mount -i -t autofs -o "fd=4,pgrp=$2,minproto=5,maxproto=5,direct" none "$3"
"#;

#[test]
fn a_mount_on_an_automount_point_does_not_wait_for_itself() {
    let world = World::new();
    let island = &world.island;
    let directory = island.directory("hf");
    let (fifo, group) = (island.path("fifo"), island.pid().to_string());
    let made = island.run(&["sh", "-c", AUTOFS, "sh", fifo.to_str().unwrap(), &group, &directory]);
    if !made.status.success() {
        eprintln!("skipped: no autofs here: {}", error(&made));
        return;
    }
    let (patience, options) = (["timeout", "-s", "KILL", "60"], world.options(""));
    let mount = ["mount", "-t", "weightfs", "hub", &directory, "-o", &options];
    island.succeed(&[patience.as_slice(), &mount].concat());
    assert_eq!(island.mounts(&directory), ["autofs", "fuse.weightfs"]);
    assert!(fs::read(world.model(&directory)).unwrap() == world.bytes);
    let again = island.run(&[patience.as_slice(), &mount].concat());
    assert!(error(&again).contains("already"), "{}", error(&again));
    island.succeed(&["umount", &directory]);
    eventually("daemon and holder have ended", || island.is_quiet());
    assert_eq!(island.mounts(&directory), ["autofs"]);
}

#[test]
fn a_daemon_that_is_broken_into_borrows_little_of_its_holder() {
    let world = World::new();
    let island = &world.island;
    let directory = island.directory("hf");
    world.mount(&directory, "");
    let lock = fs::read_to_string(island.inside("/var/cache/weightfs-weightfs/weightfs/lock")).unwrap();
    let socket = island.inside(lock.lines().nth(2).unwrap());
    let holder = mount_helper::client::Holder::connect(&socket).unwrap();
    // /run is a tmpfs there.
    let run = island.inside("/run");
    let number = nix::libc::minor(fs::metadata(&run).unwrap().dev());
    let name = format!("{number} /run");
    let file = fs::File::open("/etc/passwd").unwrap();
    holder.keep(&name, &[file.as_fd()]).unwrap();
    for lazy in [false, true] {
        // What is not its own counts as gone.
        holder.unmount(&name, lazy).unwrap();
    }
    assert!(island.mounts("/run").contains(&"tmpfs".to_owned()));
    holder.forget(&name).unwrap();
    let refused = holder.register(&format!("{} {directory}", island.connection(&directory)), file.as_fd());
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    island.succeed(&["umount", &directory]);
}

#[test]
fn a_mount_can_be_made_in_another_mount_namespace() {
    let world = World::new();
    let there = Island::new();
    let directory = there.directory("hf");
    let options = world.options("");
    let namespace = there.pid().to_string();
    world.island.succeed(&["mount.weightfs", "hub", &directory, "-N", &namespace, "-o", &options]);
    assert_eq!(world.island.mounts(&directory), [] as [String; 0]);
    assert!(fs::read(there.inside(&directory).join(&world.file)).unwrap() == world.bytes);
    there.succeed(&["umount", &directory]);
    eventually("daemon and holder have ended", || there.is_quiet());
}

#[test]
fn run_as_names_the_daemons_user() {
    let world = World::new();
    let island = &world.island;
    for user in ["nobody", "root"] {
        let directory = island.directory(user);
        world.mount(&directory, &format!("run_as={user}"));
        let pid = island.daemon(user)["pid"].as_i64().unwrap();
        let expected = if user == "root" { "0" } else { "65534" };
        assert_eq!(island.process(pid)["Uid"].split('\t').next(), Some(expected));
        assert!(fs::read(world.model(&directory)).unwrap() == world.bytes);
        island.succeed(&["umount", "-l", &directory]);
        eventually("daemon and holder have ended", || island.is_quiet());
    }
}

#[test]
fn a_mount_that_fails_leaves_nothing_and_says_why() {
    let world = World::new();
    let island = &world.island;
    let directory = island.directory("hf");
    let mount = |options: &str| island.run(&["mount", "-t", "weightfs", "hub", &directory, "-o", options]);
    let fails = |code: i32, options: &str, words: &str| {
        let output = mount(&world.options(options));
        assert_eq!(output.status.code(), Some(code), "{options}: {}", error(&output));
        assert!(error(&output).contains(words), "{options}: {}", error(&output));
        assert_eq!(island.mounts(&directory), [] as [String; 0], "{options}");
    };
    fails(1, "token=hf_secret", "token_file");
    fails(1, "ro", "read-only");
    fails(1, "remount", "unmount it");
    fails(1, "no_such_setting=1", "no-such-setting");
    fails(1, "max_size=much", "max-size");
    fails(1, "run_as=nobody-at-all", "no such user");
    fails(1, "config=/no/such/file", "/no/such/file");
    fails(1, "program=/no/such/program", "program=");
    fails(32, "token_file=/no/such/file", "/no/such/file");
    fails(2, "cache_dir=/proc/cache", "/proc/cache");
    fails(32, "cache_dir=/etc", "/etc");
    let source = island.run(&["mount", "-t", "weightfs", "s3", &directory]);
    assert_eq!(source.status.code(), Some(1));
    assert!(error(&source).contains("hub"));
    let missing = island.run(&["mount.weightfs", "hub", "/no/such/directory"]);
    assert_eq!(missing.status.code(), Some(32));
    assert!(error(&missing).contains("mkdir -p"));
    island.succeed(&["mount", "-f", "-t", "weightfs", "hub", &directory]);
    assert_eq!(island.mounts(&directory), [] as [String; 0]);
    assert!(island.is_quiet());
}

#[test]
fn a_directory_is_mounted_once_until_its_mount_is_dead() {
    let world = World::new();
    let island = &world.island;
    let directory = island.directory("hf");
    world.mount(&directory, "");
    let again = island.run(&["mount", "-t", "weightfs", "hub", &directory]);
    assert_eq!(again.status.code(), Some(32));
    assert!(error(&again).contains("already"), "{}", error(&again));
    let inside = island.run(&["mount.weightfs", "hub", &format!("{directory}/hub")]);
    assert!(error(&inside).contains("inside the weightfs mount"), "{}", error(&inside));
    let remount = island.run(&["mount", "-o", "remount,rw", &directory]);
    assert_eq!(remount.status.code(), Some(1));
    assert!(error(&remount).contains("unmount it"), "{}", error(&remount));
    // Holder and daemon gone at once: what is left is taken away by the next mount.
    let daemon = island.daemon("weightfs")["pid"].as_i64().unwrap();
    let holder = island.process(daemon)["PPid"].parse().unwrap();
    for pid in [holder, daemon as i32] {
        kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    }
    for pid in [holder, daemon as i32] {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    eventually("the mount is dead", || fs::read_dir(island.inside(&directory)).is_err());
    world.mount(&directory, "");
    assert_eq!(island.mounts(&directory).len(), 1);
    assert!(fs::read(world.model(&directory)).unwrap() == world.bytes);
    island.succeed(&["umount", &directory]);
}

#[test]
fn an_ordinary_user_is_told_how_to_mount_without_it() {
    let island = Island::new();
    let directory = island.directory("hf");
    let output = island.run(&[
        "setpriv",
        "--reuid=12345",
        "--regid=12345",
        "--clear-groups",
        "mount.weightfs",
        "hub",
        &directory,
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(error(&output).contains("weightfs mount DIR"), "{}", error(&output));
    let help = island.succeed(&["mount.weightfs", "--help"]);
    assert!(help.contains("/etc/fstab") && help.contains("Exit status"));
}

/// Mounts through fusermount3, kills the daemon in the middle of a file, and reads the rest of it.
const BY_MYSELF: &str = r#"
set -e
weightfs mount "$1"
exec 7<"$1/$2"
head -c 1000000 <&7 >"$HOME/read"
pid=$(weightfs status --format json | grep -o '"pid":[0-9]*' | head -n 1 | cut -d: -f2)
kill -9 "$pid"
cat <&7 >>"$HOME/read"
exec 7<&-
now=$(weightfs status --format json | grep -o '"pid":[0-9]*' | head -n 1 | cut -d: -f2)
[ "$now" != "$pid" ]
weightfs umount "$1"
"#;

#[test]
fn an_ordinary_users_own_mount_survives_its_daemon() {
    let world = World::new();
    let island = &world.island;
    let (home, directory) = (island.directory("home"), island.directory("hf"));
    let node = island.path("fuse").into_os_string().into_string().unwrap();
    let uid = ORDINARY_UID.to_string();
    island.succeed(&["sh", "-c", "mknod -m 666 $0 c 10 229 && mount --bind $0 /dev/fuse", &node]);
    island.succeed(&["chown", &uid, &home, &directory]);
    let ids = [format!("--reuid={uid}"), format!("--regid={uid}")];
    let surroundings =
        [format!("HOME={home}"), format!("XDG_RUNTIME_DIR={home}"), format!("HF_ENDPOINT={}", world.hub.endpoint())];
    let mut words = vec!["setpriv", &ids[0], &ids[1], "--clear-groups", "env"];
    words.extend(surroundings.iter().map(String::as_str));
    words.extend(["sh", "-c", BY_MYSELF, "sh", &directory, &world.file]);
    island.succeed(&words);
    assert!(fs::read(island.inside(&home).join("read")).unwrap() == world.bytes);
    eventually("daemon and holder have ended", || island.is_quiet());
}
