//! The program `weightfs`: where it is, run as the daemon's user, and what it says.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::account::Account;
use super::failure::{Code, Failure};

const NAME: &str = "weightfs";
/// Where it is looked for when it does not lie beside this one.
const FOLDERS: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// Its path: as it is given, or found.
pub fn find(given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = given {
        return match is_program(path) {
            true => Ok(path.to_owned()),
            false => Err(Failure::usage(format!("program={}: it is no absolute path of a program", path.display()))),
        };
    }
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.to_owned()));
    let folders: Vec<PathBuf> = beside.into_iter().chain(FOLDERS.map(PathBuf::from)).collect();
    let found = folders.iter().map(|folder| folder.join(NAME)).find(|path| is_program(path));
    found.ok_or_else(|| {
        let looked: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        Failure::system(format!(
            "the program weightfs is not in {}; install it, or name it: program=",
            looked.join(", ")
        ))
    })
}

fn is_program(path: &Path) -> bool {
    let runs = |metadata: fs::Metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
    path.is_absolute() && fs::metadata(path).is_ok_and(runs)
}

/// What the program says of a mount that it is about to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What its daemon writes in the background.
    pub log: PathBuf,
    /// Where a new holder is to be found.
    pub socket: PathBuf,
    pub give_up: Duration,
    pub daemon: Daemon,
}

/// Who serves the cache directory now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Daemon {
    None,
    /// With the socket of its holder.
    Held(PathBuf),
    Unheld,
}

impl Plan {
    /// Lines of a word and a value.
    fn parse(text: &str) -> Option<Self> {
        let value = |word: &str| text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        let give_up = Duration::from_secs(value("give-up")?.parse().ok()?);
        let daemon = match value("daemon")? {
            "none" => Daemon::None,
            "unheld" => Daemon::Unheld,
            held => Daemon::Held(held.strip_prefix("held ")?.into()),
        };
        Some(Self { log: value("log")?.into(), socket: value("socket")?.into(), give_up, daemon })
    }
}

/// The program with the words of one mount.
pub struct Caller<'a> {
    pub path: &'a Path,
    pub account: &'a Account,
    pub directory: &'a Path,
    pub words: &'a [OsString],
}

impl Caller<'_> {
    /// Checks the settings and makes the cache directory.
    pub fn plan(&self) -> Result<Plan, Failure> {
        let text = self.run("mount-plan")?;
        let other = || Failure::new(Code::Internal, format!("{} is of another version: {text}", self.path.display()));
        Plan::parse(&text).ok_or_else(other)
    }

    /// Has the daemon that runs mount it.
    pub fn mount(&self) -> Result<(), Failure> {
        self.run("mount").map(drop)
    }

    fn run(&self, word: &str) -> Result<String, Failure> {
        let mut command = Command::new(self.path);
        command.arg(word).arg(self.directory).args(self.words);
        command.env_clear().envs(self.account.environment()).current_dir("/").stdin(Stdio::null());
        if let Some((uid, gid)) = self.account.ids() {
            command.gid(gid).uid(uid);
        }
        let output = command.output().map_err(|error| {
            let text = format!("{}: the user {} cannot start it: {error}", self.path.display(), self.account.name);
            Failure::system(text)
        })?;
        match output.status.code() {
            Some(0) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            Some(2) => Err(Failure::usage(said(&output))),
            _ => Err(Failure::mount(said(&output))),
        }
    }
}

/// Its error in our words: options have no dashes here, and nobody called the program itself.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let is_about_the_call = |line: &&str| line.starts_with("Usage:") || line.starts_with("For more information");
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty() && !is_about_the_call(line)).collect();
    match lines.as_slice() {
        [] => format!("weightfs ended with {} and said nothing", output.status),
        lines => lines.iter().map(|line| plain(line)).collect::<Vec<_>>().join("\n"),
    }
}

fn plain(line: &str) -> String {
    let line = line.trim();
    let line = line.strip_prefix("weightfs: ").or_else(|| line.strip_prefix("error: ")).unwrap_or(line);
    line.replace("argument '--", "option '").replace("value '", "the value '")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_line_by_line() {
        let plan =
            Plan::parse("log /c/weightfs.log\nsocket /run/h 2\ngive-up 300\ndaemon held /run/h 1.sock\nlater word\n")
                .unwrap();
        assert_eq!((plan.log.to_str(), plan.socket.to_str()), (Some("/c/weightfs.log"), Some("/run/h 2")));
        assert_eq!(plan.give_up, Duration::from_secs(300));
        assert_eq!(plan.daemon, Daemon::Held("/run/h 1.sock".into()));
        assert_eq!(Plan::parse("log /c\nsocket /r\ngive-up 1\ndaemon none\n").unwrap().daemon, Daemon::None);
        assert_eq!(Plan::parse("log /c\nsocket /r\ngive-up 1\ndaemon what\n"), None);
        assert_eq!(Plan::parse(""), None);
    }

    #[test]
    fn a_program_is_an_absolute_path_of_one() {
        assert!(find(Some(Path::new("/bin/sh"))).is_ok());
        assert!(find(Some(Path::new("sh"))).is_err());
        assert!(find(Some(Path::new("/etc/passwd"))).unwrap_err().text.contains("program=/etc/passwd"));
    }
}
