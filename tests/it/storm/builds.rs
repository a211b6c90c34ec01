//! Other builds of the program: the same one, in which another version stands.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program that was built for this test, or one that somebody wants to measure.
pub fn program() -> PathBuf {
    std::env::var_os("WEIGHTFS_STORM_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_weightfs").into()).into()
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub struct Build {
    pub version: String,
    pub path: PathBuf,
}

/// This build, and one of another version.
pub fn two(folder: &Path) -> [Build; 2] {
    fs::create_dir(folder).unwrap();
    let this = Build { version: VERSION.to_owned(), path: folder.join("this") };
    fs::copy(program(), &this.path).unwrap();
    let other = Build { version: other_version(), path: folder.join("other") };
    fs::copy(program(), &other.path).unwrap();
    other.write_version();
    for build in [&this, &other] {
        let output = Command::new(&build.path).arg("--version").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said.trim(), format!("weightfs {}", build.version));
    }
    [this, other]
}

/// Of the same length.
fn other_version() -> String {
    let (rest, last) = VERSION.split_at(VERSION.len() - 1);
    format!("{rest}{}", if last == "9" { "8" } else { "9" })
}

impl Build {
    /// Wherever the old one stands: it is in nothing but text, where no other byte depends on it. `sed` is fast even in a
    /// test that was built without optimisation.
    fn write_version(&self) {
        let change = format!("s/{}/{}/g", VERSION.replace('.', r"\."), self.version);
        let done = Command::new("sed").env("LC_ALL", "C").args(["-i", &change]).arg(&self.path).status();
        assert!(done.unwrap().success());
    }

    /// As a package manager does: the name leads to another file from one moment to the next.
    pub fn install_at(&self, program: &Path) {
        let new = program.with_extension("new");
        fs::hard_link(&self.path, &new).unwrap();
        fs::rename(&new, program).unwrap();
    }
}

/// In the same way.
pub fn install_script(program: &Path, script: &str) {
    let new = program.with_extension("new");
    fs::write(&new, script).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&new, program).unwrap();
}
