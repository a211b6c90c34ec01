//! A holder that somebody else runs, and daemons that come and go as pods do: each in a process namespace of its own, the
//! holder without any privilege.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;
use test_hub::{Files, Hub};

use crate::harness::{eventually, noise};
use crate::machine::{Machine, is_mounted};

const MIB: usize = 1 << 20;

/// A program in a process namespace of its own, which ends with this.
struct Pod {
    outer: Child,
    log: PathBuf,
}

impl Pod {
    fn start(command: &Command, rights: &[&str], log: PathBuf) -> Self {
        let mut outer = Command::new("unshare");
        outer.args(["--pid", "--fork", "--kill-child=SIGKILL"]).args(rights);
        outer.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => outer.env(name, value),
                None => outer.env_remove(name),
            };
        }
        let file = File::create(&log).unwrap();
        let outer = outer.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Self { outer, log }
    }

    fn says(&self, words: &str) -> bool {
        fs::read_to_string(&self.log).unwrap().contains(words)
    }

    fn signal(&self, signal: Signal) {
        let outer = self.outer.id();
        let mut inner = None;
        eventually("the program runs", || {
            let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).unwrap_or_default();
            inner = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
            inner.is_some()
        });
        kill(Pid::from_raw(inner.unwrap()), signal).unwrap();
    }

    fn has_ended(&mut self) -> bool {
        self.outer.try_wait().unwrap().is_some()
    }

    fn await_end(&mut self) {
        eventually("it has ended", || self.has_ended());
    }

    fn end(mut self, signal: Signal) {
        self.signal(signal);
        self.await_end();
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // What is in the namespace ends with it.
        let _ = self.outer.kill();
        let _ = self.outer.wait();
    }
}

/// A node of a cluster, with one model behind its mount.
struct Cluster {
    _hub: Hub,
    machine: Machine,
    port: u16,
    bytes: Vec<u8>,
    commit: String,
    started: AtomicU64,
}

impl Cluster {
    fn new(size: usize) -> Self {
        let hub = Hub::start().unwrap();
        let bytes = noise(8, size);
        let files: Files = [("model.safetensors", bytes.clone())].into_iter().collect();
        let commit = hub.commit("acme/pods", files).unwrap();
        let machine = Machine::at(hub.endpoint());
        fs::create_dir(machine.path("run")).unwrap();
        Self { machine, port: test_hub::free_port(), bytes, commit, _hub: hub, started: AtomicU64::new(0) }
    }

    fn log(&self) -> PathBuf {
        self.machine.path(&format!("{}.log", self.started.fetch_add(1, Ordering::Relaxed)))
    }

    fn socket(&self) -> String {
        self.machine.path("run/holder.sock").to_str().unwrap().to_owned()
    }

    /// It may do nothing that an ordinary process may not.
    fn holder(&self, give_up: &str) -> Pod {
        let command = self.machine.command(&["holder", "--socket", &self.socket(), "--give-up", give_up]);
        Pod::start(&command, &["setpriv", "--bounding-set=-all", "--inh-caps=-all"], self.log())
    }

    fn daemon_without_waiting(&self) -> Pod {
        let mut command = self.machine.command(&["serve", "--host", "127.0.0.1", "--port", &self.port.to_string()]);
        command.env("WEIGHTFS_DAEMON_HOLDER", self.socket());
        Pod::start(&command, &[], self.log())
    }

    fn daemon(&self) -> Pod {
        let mut daemon = self.daemon_without_waiting();
        eventually("the daemon answers", || {
            assert!(!daemon.has_ended(), "{}", fs::read_to_string(&daemon.log).unwrap());
            !self.machine.daemons().is_empty()
        });
        daemon
    }

    fn mount(&mut self) -> PathBuf {
        let directory = self.machine.directory("hf");
        self.machine.succeed(&["mount", directory.to_str().unwrap()]);
        directory.join(format!("hub/models--acme--pods/snapshots/{}/model.safetensors", self.commit))
    }

    fn umount(&self) {
        self.machine.succeed(&["umount", self.machine.path("hf").to_str().unwrap()]);
    }

    /// Reads `file` all the time, past the kernel's memory, while `step` is done; every byte must be right.
    fn while_read(&self, file: &File, step: impl FnOnce(&dyn Fn())) {
        let (is_over, blocks) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut buffer = vec![0; MIB];
                while !is_over.load(Ordering::Acquire) {
                    for (at, right) in self.bytes.chunks(MIB).enumerate() {
                        file.read_exact_at(&mut buffer[..right.len()], (at * MIB) as u64).unwrap();
                        assert!(buffer[..right.len()] == *right, "wrong bytes in block {at}");
                        blocks.fetch_add(1, Ordering::AcqRel);
                    }
                    fadvise(file, 0, None, Advice::DontNeed).unwrap();
                }
            });
            let end = EndsWithMe(&is_over);
            step(&|| {
                let before = blocks.load(Ordering::Acquire);
                let further = before + 2 * self.bytes.len().div_ceil(MIB) as u64;
                eventually("it reads on", || blocks.load(Ordering::Acquire) > further || reader.is_finished());
            });
            drop(end);
            reader.join().unwrap();
        });
    }
}

/// A failed step ends the reader too.
struct EndsWithMe<'a>(&'a AtomicBool);

impl Drop for EndsWithMe<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn a_file_is_read_on_while_daemons_come_and_go() {
    let mut cluster = Cluster::new(24 * MIB + 7);
    let _holder = cluster.holder("300");
    let mut daemon = cluster.daemon();
    let file = File::open(cluster.mount()).unwrap();
    cluster.while_read(&file, |reads_on| {
        for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGINT, Signal::SIGKILL] {
            reads_on();
            daemon.signal(signal);
            daemon.await_end();
            assert!(is_mounted(&cluster.machine.path("hf")));
            daemon = cluster.daemon();
            reads_on();
        }
    });
    drop(file);
    cluster.umount();
    daemon.end(Signal::SIGTERM);
}

#[test]
fn the_next_daemon_waits_until_the_one_before_is_gone() {
    let mut cluster = Cluster::new(4 * MIB);
    let _holder = cluster.holder("300");
    let first = cluster.daemon();
    let file = File::open(cluster.mount()).unwrap();
    let mut second = cluster.daemon_without_waiting();
    cluster.while_read(&file, |reads_on| {
        reads_on();
        assert!(!second.has_ended() && !second.says("started"), "{}", fs::read_to_string(&second.log).unwrap());
        first.end(Signal::SIGTERM);
        eventually("the second one serves", || second.says("started"));
        reads_on();
    });
    drop(file);
    cluster.umount();
}

#[test]
fn a_holder_may_die_and_the_next_one_is_given_everything() {
    let mut cluster = Cluster::new(4 * MIB);
    let holder = cluster.holder("300");
    let mut daemon = cluster.daemon();
    let file = File::open(cluster.mount()).unwrap();
    let mut holders = vec![holder];
    cluster.while_read(&file, |reads_on| {
        for signal in [Signal::SIGKILL, Signal::SIGTERM] {
            holders.pop().unwrap().end(signal);
            reads_on();
            holders.push(cluster.holder("300"));
            eventually("it is given everything", || daemon.says("another holder keeps the mounts"));
            daemon.signal(Signal::SIGKILL);
            daemon.await_end();
            daemon = cluster.daemon();
            reads_on();
        }
    });
    drop(file);
    cluster.umount();
}

#[test]
fn what_is_mounted_while_there_is_no_holder_is_kept_by_the_next_one() {
    let mut cluster = Cluster::new(4 * MIB);
    let holder = cluster.holder("300");
    let mut daemon = cluster.daemon();
    holder.end(Signal::SIGKILL);
    let file = File::open(cluster.mount()).unwrap();
    let _holder = cluster.holder("300");
    eventually("it is given everything", || daemon.says("another holder keeps the mounts"));
    cluster.while_read(&file, |reads_on| {
        daemon.signal(Signal::SIGKILL);
        daemon.await_end();
        daemon = cluster.daemon();
        reads_on();
    });
    drop(file);
    cluster.umount();
}

#[test]
fn a_holder_that_alone_has_the_mounts_does_not_end_before_a_daemon_has_them() {
    let mut cluster = Cluster::new(4 * MIB);
    let mut holder = cluster.holder("300");
    let mut daemon = cluster.daemon();
    let file = File::open(cluster.mount()).unwrap();
    cluster.while_read(&file, |reads_on| {
        reads_on();
        daemon.signal(Signal::SIGKILL);
        daemon.await_end();
        eventually("it notices", || holder.says("the daemon is gone"));
        holder.signal(Signal::SIGTERM);
        eventually("it says why it stays", || holder.says("waits for the next daemon"));
        assert!(!holder.has_ended());
        daemon = cluster.daemon();
        holder.await_end();
        reads_on();
    });
    drop(file);
    cluster.umount();
}

#[test]
fn a_holder_to_which_no_daemon_comes_gives_readers_an_error() {
    let mut cluster = Cluster::new(4 * MIB);
    let holder = cluster.holder("1");
    let daemon = cluster.daemon();
    let file = File::open(cluster.mount()).unwrap();
    daemon.end(Signal::SIGKILL);
    // It waits for the end of the mount, and no longer.
    let error = file.read_exact_at(&mut vec![0; MIB], 0).unwrap_err();
    let gone = [Errno::NOTCONN, Errno::CONNABORTED].map(Errno::raw_os_error);
    assert!(gone.contains(&error.raw_os_error().unwrap()), "{error}");
    assert!(holder.says("no daemon came for 1 s"));
    // What is left of the mount is taken away by the next daemon's.
    let _daemon = cluster.daemon();
    cluster.machine.succeed(&["mount", cluster.machine.path("hf").to_str().unwrap()]);
    assert!(fs::read(cluster.machine.path("hf").join("hub/models--acme--pods/refs/main")).is_ok());
    cluster.umount();
}

#[test]
fn a_daemon_whose_holder_is_not_there_says_which_and_ends() {
    let cluster = Cluster::new(1);
    let mut daemon = cluster.daemon_without_waiting();
    daemon.await_end();
    assert!(daemon.says(&cluster.socket()) && daemon.says("no holder listens there (daemon.holder)"));
}
