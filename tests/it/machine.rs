//! The program as a user has it: a command line, and whatever daemons it starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::unistd::Pid;
use serde_json::Value;

/// A user's machine: directories of its own, and a Hub if it is told of one, which no mount needs.
pub struct Machine {
    folder: tempfile::TempDir,
    mounts: Vec<PathBuf>,
    endpoint: String,
    program: PathBuf,
    is_held: bool,
}

impl Machine {
    pub fn new() -> Self {
        Self::at("http://127.0.0.1:9")
    }

    pub fn at(endpoint: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = env!("CARGO_BIN_EXE_weightfs").into();
        Self { folder, mounts: Vec::new(), endpoint: endpoint.to_owned(), program, is_held: true }
    }

    /// From now on commands run the program that lies there.
    pub fn install(&mut self, program: PathBuf) {
        self.program = program;
    }

    /// Its daemons are followed by no other ones when they die.
    pub fn alone(mut self) -> Self {
        self.is_held = false;
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A new directory to mount at.
    pub fn directory(&mut self, name: &str) -> PathBuf {
        let directory = self.path(name);
        fs::create_dir(&directory).unwrap();
        self.mounts.push(directory.clone());
        directory
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        let ours = |name: &str| ["HF_", "WEIGHTFS_", "AWS_"].iter().any(|prefix| name.starts_with(prefix));
        for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
            command.env_remove(name);
        }
        command.args(arguments).env("HOME", self.folder.path()).env("HF_ENDPOINT", &self.endpoint);
        command.env("WEIGHTFS_CACHE_DIRECTORY", self.path("cache"));
        command.env("WEIGHTFS_RUNTIME_DIRECTORY", self.path("run"));
        command.env("WEIGHTFS_DAEMON_HELD", self.is_held.to_string());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command that must succeed prints.
    pub fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", error(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command that must fail with `code` says.
    pub fn fail(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", error(&output));
        error(&output)
    }

    pub fn daemons(&self) -> Vec<Value> {
        let status: Value = serde_json::from_str(&self.succeed(&["status", "--format", "json"])).unwrap();
        status["daemons"].as_array().unwrap().clone()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.daemons()[0]["pid"].as_i64().unwrap() as i32)
    }

    /// Every known commit, as `model list` tells it.
    pub fn models(&self) -> Vec<Value> {
        let list: Value = serde_json::from_str(&self.succeed(&["model", "list", "--all", "--format", "json"])).unwrap();
        list["models"].as_array().unwrap().clone()
    }

    pub fn has_ended(&self) -> bool {
        fs::read_to_string(self.path("cache/lock")).unwrap().is_empty() && self.daemons().is_empty()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for mount in &self.mounts {
            // A test that failed may have left no program.
            let _ = self.command(&["umount", "--lazy", mount.to_str().unwrap()]).output();
        }
    }
}

pub fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn is_mounted(directory: &Path) -> bool {
    weightfs::fs::mount::find(directory).is_some()
}
