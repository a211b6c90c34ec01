//! A mount namespace with the helper where mount(8) looks for it, a user `weightfs`, and /run and /var/cache of its own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::harness::eventually;
use crate::machine::error;

/// Of the user `weightfs` there.
pub const ORDINARY_UID: u32 = 4711;

/// Programs of the machine stay what they are: links lead to them. The programs under test are bound, since an ordinary
/// user may not reach where they were built. Ends with its input.
const SETUP: &str = r#"
# What other tests have mounted would stay in use as long as this has a copy.
awk '$3 == "fuse.weightfs" { print $2 }' /proc/mounts | while read -r other; do umount -l "$other"; done
set -e
mkdir "$1/sbin"
mount --bind /usr/sbin "$1/sbin"
mount -t tmpfs tmpfs /usr/sbin
for program in "$1"/sbin/*; do ln -s "$program" /usr/sbin/; done
rm -f /usr/sbin/mount.weightfs /usr/sbin/mount.fuse.weightfs /usr/sbin/weightfs
touch /usr/sbin/mount.weightfs /usr/sbin/weightfs
mount --bind "$2" /usr/sbin/weightfs
mount --bind "$3" /usr/sbin/mount.weightfs
ln -s mount.weightfs /usr/sbin/mount.fuse.weightfs
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/cache
{ grep -v ^weightfs: /etc/passwd; echo "weightfs:x:$4:$4::/nonexistent:/usr/sbin/nologin"; } > "$1/passwd"
mount --bind "$1/passwd" /etc/passwd
echo ready
read -r end || true
"#;

pub struct Island {
    folder: tempfile::TempDir,
    keeper: Child,
    mounted: RefCell<Vec<String>>,
}

impl Island {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", SETUP, "sh"]).arg(folder.path());
        command.arg(env!("CARGO_BIN_EXE_weightfs")).arg(env!("CARGO_BIN_EXE_mount-weightfs"));
        command.arg(ORDINARY_UID.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the namespace was not made");
        Self { folder, keeper, mounted: RefCell::default() }
    }

    /// Of a process that is there.
    pub fn pid(&self) -> u32 {
        self.keeper.id()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A new directory to mount at.
    pub fn directory(&self, name: &str) -> String {
        let directory = self.path(name);
        fs::create_dir(&directory).unwrap();
        let directory = directory.into_os_string().into_string().unwrap();
        self.mounted.borrow_mut().push(directory.clone());
        directory
    }

    /// How this process, which is not there, sees an absolute path of the island.
    pub fn inside(&self, path: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.keeper.id())).join(path.trim_start_matches('/'))
    }

    pub fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.keeper.id())).arg("--wd=/").arg("--").args(words);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HF_") || name.starts_with("WEIGHTFS_")) {
            command.env_remove(name);
        }
        command.output().unwrap()
    }

    /// What a command that must succeed prints.
    pub fn succeed(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}", error(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The type of everything mounted at a directory.
    pub fn mounts(&self, directory: &str) -> Vec<String> {
        let table = fs::read_to_string(format!("/proc/{}/mountinfo", self.keeper.id())).unwrap();
        let escaped = directory.replace(' ', "\\040");
        let at_directory = |line: &&str| line.split(' ').nth(4) == Some(&escaped);
        let kind = |line: &str| Some(line.split(" - ").nth(1)?.split(' ').next()?.to_owned());
        table.lines().filter(at_directory).filter_map(kind).collect()
    }

    /// The number of the FUSE connection at a directory.
    pub fn connection(&self, directory: &str) -> u32 {
        let shown = self.succeed(&["findmnt", "-n", "-o", "MAJ:MIN", directory]);
        shown.trim().split(':').nth(1).unwrap().parse().unwrap()
    }

    /// The only daemon of a user.
    pub fn daemon(&self, user: &str) -> Value {
        let runtime = if user == "root" { "/run/weightfs".to_owned() } else { format!("/run/weightfs-{user}") };
        let mut found = None;
        eventually("a daemon answers", || {
            let status = self.succeed(&["weightfs", "status", "--runtime-directory", &runtime, "--format", "json"]);
            let status: Value = serde_json::from_str(&status).unwrap();
            let daemons = status["daemons"].as_array().unwrap();
            assert!(daemons.len() < 2, "{daemons:?}");
            found = daemons.first().cloned();
            found.is_some()
        });
        found.unwrap()
    }

    /// What /proc says of a process.
    pub fn process(&self, pid: i64) -> HashMap<String, String> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let pair = |line: &str| line.split_once(":\t").map(|(name, value)| (name.to_owned(), value.to_owned()));
        status.lines().filter_map(pair).collect()
    }

    /// Whether no process but the keeper is left there.
    pub fn is_quiet(&self) -> bool {
        let space = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
        let own = self.keeper.id().to_string();
        let here = space(&own);
        let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut others = pids.filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()) && *pid != own);
        !others.any(|pid| space(&pid) == here)
    }
}

impl Drop for Island {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.inside("/var/cache/weightfs-weightfs/weightfs/weightfs.log");
            eprintln!("{}", fs::read_to_string(log).unwrap_or_default());
        }
        for directory in self.mounted.get_mut().clone() {
            while !self.mounts(&directory).is_empty() && self.run(&["umount", "-l", &directory]).status.success() {}
        }
        // Daemons and holders end with their mounts.
        let quiet =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| eventually("all have ended", || self.is_quiet())));
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
        if !std::thread::panicking() {
            quiet.unwrap();
        }
    }
}
