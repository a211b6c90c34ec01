//! A machine on which daemons and holders are killed, and nothing of which is left behind.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::mount::MntFlags;
use serde_json::Value;
use test_hub::{Hub, Options};
use weightfs::daemon::lock::{self, LockState};

use super::builds;
use super::processes::{self, Process, Role};
use crate::harness::eventually;
use crate::machine::{Machine, error, is_mounted};

/// How long processes that were killed may take to be gone.
const BURIAL: Duration = Duration::from_secs(20);

pub struct Scene {
    pub hub: Hub,
    machine: Machine,
    pub directory: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Scene {
    pub fn new() -> Self {
        let hub = Hub::start().unwrap();
        let mut machine = Machine::at(hub.endpoint());
        machine.install(builds::program());
        let directory = machine.directory("hf");
        Self { hub, machine, directory, variables: Vec::new() }
    }

    /// A variable for every command from now on.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.machine.path(name)
    }

    /// From now on commands run the program that lies there.
    pub fn install(&mut self, program: &Path) {
        self.machine.install(program.to_owned());
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.machine.command(words);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    pub fn begin(&self, words: &[&str]) -> Child {
        self.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub fn mount(&self) {
        let output = self.run(&["mount", self.directory.to_str().unwrap()]);
        assert!(output.status.success(), "{}", error(&output));
    }

    /// Processes in mount namespaces that were made meanwhile, by other tests: what they have a copy of stays in use after
    /// its unmount, until they end.
    fn copies(&self) -> Vec<i32> {
        let directory = format!(" {} ", self.directory.display());
        let own = fs::read_link("/proc/self/ns/mnt").unwrap();
        let has_copy = |pid: &i32| {
            let elsewhere = fs::read_link(format!("/proc/{pid}/ns/mnt")).is_ok_and(|namespace| namespace != own);
            elsewhere && fs::read_to_string(format!("/proc/{pid}/mountinfo")).is_ok_and(|all| all.contains(&directory))
        };
        processes::numbers().filter(has_copy).collect()
    }

    /// In good order, after which no process is left.
    pub fn umount(&self) {
        eventually("no other mount namespace has a copy of the mount", || self.copies().is_empty());
        let output = self.run(&["umount", self.directory.to_str().unwrap()]);
        assert!(output.status.success(), "{}; copies of the mount: {:?}", error(&output), self.copies());
        eventually("daemon and holder have ended", || self.processes().is_empty());
        assert!(!is_mounted(&self.directory));
    }

    /// What `status` says of the only daemon.
    pub fn status(&self) -> Value {
        let output = self.run(&["status", "--format", "json"]);
        assert!(output.status.success(), "{}", error(&output));
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        status["daemons"][0].clone()
    }

    /// Waits until `status` tells of a daemon, and returns what it says of it.
    pub fn served(&self) -> Value {
        let mut status = Value::Null;
        eventually("status tells of a daemon", || {
            status = self.status();
            status.is_object()
        });
        status
    }

    pub fn processes(&self) -> Vec<Process> {
        Process::of(&self.path("cache"))
    }

    pub fn all(&self, role: Role) -> Vec<Process> {
        self.processes().into_iter().filter(|process| process.role == role).collect()
    }

    /// The one there is, or that comes soon.
    pub fn the(&self, role: Role) -> Process {
        self.another(role, &BTreeSet::new())
    }

    /// One that is none of `known`.
    pub fn another(&self, role: Role, known: &BTreeSet<i32>) -> Process {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(process) = self.all(role).into_iter().find(|process| !known.contains(&process.pid)) {
                return process;
            }
            assert!(Instant::now() < deadline, "no {role:?}; the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The daemon that says in the lock file that it serves.
    pub fn serving(&self) -> Option<i32> {
        match lock::probe(&self.path("cache")) {
            Ok(LockState::Held(Some(daemon))) => Some(daemon.pid as i32),
            _ => None,
        }
    }

    /// Until as many holders have taken the place of one that died.
    pub fn wait_for_holder(&self, number: usize) {
        let said = "another one keeps the mounts from now on";
        eventually("another holder has taken over", || self.log().matches(said).count() == number);
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("cache/weightfs.log")).unwrap_or_default()
    }

    /// Bytes per second of everything that is fetched.
    pub fn limit_bandwidth(&self, limit: Option<u64>) {
        self.hub.set_options(Options { link_bandwidth: limit, ..self.hub.options() });
    }

    /// A folder in the writable layer with files that stay.
    pub fn fill(&self, folder: &Path, files: usize) -> BTreeSet<String> {
        fs::create_dir_all(folder).unwrap();
        let names: BTreeSet<String> = (0..files).map(|number| format!("lasting-{number}")).collect();
        names.iter().for_each(|name| drop(File::create(folder.join(name)).unwrap()));
        names
    }

    /// However things stand: no process is left, the connection is aborted, and nobody waits in the kernel.
    pub fn end_all(&self) {
        self.kill_all();
        // A killed daemon with a thread in the kernel that waits for a reader, who waits for an answer, keeps the connection
        // open. By force it is aborted even if the mount is in use.
        if is_mounted(&self.directory) {
            let _ = nix::mount::umount2(&self.directory, MntFlags::MNT_FORCE);
        }
    }

    fn kill_all(&self) {
        let deadline = Instant::now() + BURIAL;
        loop {
            let mut processes = self.processes();
            if processes.is_empty() || Instant::now() > deadline {
                return;
            }
            // Holders first: they start others.
            processes.sort_by_key(|process| process.role != Role::Holder);
            processes.iter().for_each(Process::kill);
            for process in &processes {
                let _ = process.ends_within(Duration::from_secs(2));
            }
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", last_lines(&self.log()));
        }
        self.end_all();
        // With what works: the machine takes the dead mount away.
        self.machine.install(builds::program());
    }
}

fn last_lines(text: &str) -> String {
    const SHOWN: usize = 60;
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}
