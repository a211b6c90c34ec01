//! The files that the SDK reads profiles from, watched, since it reads them once.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What they looked like at one time.
pub(super) struct ProfileFiles(Vec<FileState>);

#[derive(Clone)]
struct FileState {
    path: PathBuf,
    found: Option<Look>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Look {
    modified: SystemTime,
    size: u64,
    inode: u64,
}

impl ProfileFiles {
    /// A home directory may lie on a file server that is away.
    const DEADLINE: Duration = Duration::from_secs(1);

    pub(super) async fn now() -> Self {
        let look = || paths().into_iter().map(|path| FileState { found: look_at(&path), path }).collect();
        Self(in_time(look).await.unwrap_or_default())
    }

    pub(super) async fn have_changed(&self) -> bool {
        let files = self.0.clone();
        in_time(move || files.iter().any(|file| look_at(&file.path) != file.found)).await.unwrap_or(false)
    }
}

/// `None` if it takes too long: then nothing is known of them.
async fn in_time<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let looking = tokio::task::spawn_blocking(look);
    tokio::time::timeout(ProfileFiles::DEADLINE, looking).await.ok()?.ok()
}

fn paths() -> Vec<PathBuf> {
    let home = std::env::home_dir().unwrap_or_default();
    let file = |variable: &str, below: &str| match std::env::var_os(variable) {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => home.join(".aws").join(below),
    };
    vec![file("AWS_CONFIG_FILE", "config"), file("AWS_SHARED_CREDENTIALS_FILE", "credentials")]
}

fn look_at(path: &Path) -> Option<Look> {
    let found = std::fs::metadata(path).ok()?;
    Some(Look { modified: found.modified().ok()?, size: found.len(), inode: found.ino() })
}
