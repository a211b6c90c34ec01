//! Who keeps a mount busy, told from the text of /proc alone: a stat of what they hold would ask the mount's daemon.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A process that holds something in a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusyProcess {
    pub pid: u32,
    /// The command's name, as `ps` shows it.
    pub name: String,
    /// One of the paths it holds: its working directory, an open file, a mapping.
    pub what: PathBuf,
}

impl fmt::Display for BusyProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {}) uses {}", self.name, self.pid, self.what.display())
    }
}

/// Every process with something at or below `directory`, as far as this user may look.
pub(super) fn processes(directory: &Path) -> Vec<BusyProcess> {
    let Ok(listing) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = listing.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| process(pid, directory)).collect()
}

fn process(pid: u32, directory: &Path) -> Option<BusyProcess> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let links = ["cwd", "root", "exe"].map(|name| proc.join(name)).into_iter();
    let open = std::fs::read_dir(proc.join("fd")).into_iter().flatten().filter_map(|fd| Some(fd.ok()?.path()));
    let held = links.chain(open).filter_map(|link| std::fs::read_link(link).ok());
    let what = held.into_iter().find(|path| path.starts_with(directory)).or_else(|| mapping(&proc, directory))?;
    let name = std::fs::read_to_string(proc.join("comm")).unwrap_or_default();
    Some(BusyProcess { pid, name: name.trim_end().to_owned(), what })
}

/// A line of maps ends with the path of what is mapped, from the first slash on.
fn mapping(proc: &Path, directory: &Path) -> Option<PathBuf> {
    let maps = std::fs::read(proc.join("maps")).ok()?;
    let mut paths = maps.split(|&byte| byte == b'\n').filter_map(|line| {
        let start = line.iter().position(|&byte| byte == b'/')?;
        Some(Path::new(std::ffi::OsStr::from_bytes(&line[start..])))
    });
    paths.find(|path| path.starts_with(directory)).map(Path::to_owned)
}
