//! Where control sockets are and how one comes to be: never open to others, not for a moment.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::net::UnixListener;

/// The kernel's `sun_path`, less its closing zero.
const MAX_PATH: usize = 107;
const NAME: &str = "control.sock";

#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("{path}: cannot {action}: {cause}")]
    Io { action: &'static str, path: PathBuf, cause: io::Error },
    #[error(
        "{path}: it is not a directory of uid {uid} that is closed to others; remove it or set runtime_directory to another place"
    )]
    NotOurs { path: PathBuf, uid: u32 },
    #[error("{path}: a socket's path may have {MAX_PATH} bytes at most; set runtime_directory to a shorter one")]
    Long { path: PathBuf },
}

/// The socket of the daemon on `cache`, both paths canonical. The default cache's is where one looks first.
pub fn path(runtime: &Path, default_cache: &Path, cache: &Path) -> PathBuf {
    if cache == default_cache {
        return runtime.join(NAME);
    }
    let digest = Sha256::digest(cache.as_os_str().as_encoded_bytes());
    runtime.join(&hex::encode(digest)[..12]).join(NAME)
}

/// Every control socket below `runtime`, of live daemons or not.
pub fn all(runtime: &Path) -> Vec<PathBuf> {
    let below = fs::read_dir(runtime).into_iter().flatten().flatten().map(|entry| entry.path().join(NAME));
    let mut sockets: Vec<_> = below.chain([runtime.join(NAME)]).filter(|path| path.exists()).collect();
    sockets.sort();
    sockets
}

/// The socket's file; it goes when this does.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Best effort: a stale socket is replaced by the next daemon.
        let _ = fs::remove_file(&self.0);
    }
}

/// Listens at `path`, whose directories below `runtime` are made. What was there is replaced: the caller holds the
/// cache's lock, so no other daemon can be behind it.
pub fn bind(runtime: &Path, path: &Path) -> Result<(UnixListener, SocketFile), SocketError> {
    prepare(runtime, path)?;
    // It gets its name only when its mode is right.
    let unnamed = path.with_extension("new");
    if path.as_os_str().len().max(unnamed.as_os_str().len()) > MAX_PATH {
        return Err(SocketError::Long { path: path.to_owned() });
    }
    let failed = |action| move |cause| SocketError::Io { action, path: path.to_owned(), cause };
    match fs::remove_file(&unnamed) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(failed("replace the socket")(cause)),
        _ => {}
    }
    let listener = UnixListener::bind(&unnamed).map_err(failed("listen"))?;
    fs::set_permissions(&unnamed, Permissions::from_mode(0o600)).map_err(failed("set the socket's mode"))?;
    fs::rename(&unnamed, path).map_err(failed("name the socket"))?;
    Ok((listener, SocketFile(path.to_owned())))
}

/// Makes the directories of a socket.
pub fn prepare(runtime: &Path, path: &Path) -> Result<(), SocketError> {
    make_private(runtime)?;
    match path.parent() {
        Some(directory) if directory != runtime => make_private(directory),
        _ => Ok(()),
    }
}

/// Makes `directory` with mode 0700, or checks that the one there is ours alone: /tmp is everybody's.
fn make_private(directory: &Path) -> Result<(), SocketError> {
    let failed = |cause| SocketError::Io { action: "make the runtime directory", path: directory.to_owned(), cause };
    if let Some(above) = directory.parent() {
        fs::create_dir_all(above).map_err(failed)?;
    }
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => return Err(failed(cause)),
        _ => {}
    }
    let found = fs::symlink_metadata(directory).map_err(failed)?;
    let uid = nix::unistd::geteuid().as_raw();
    if !is_private(found.is_dir(), found.uid(), found.mode(), uid) {
        return Err(SocketError::NotOurs { path: directory.to_owned(), uid });
    }
    Ok(())
}

fn is_private(is_dir: bool, owner: u32, mode: u32, uid: u32) -> bool {
    is_dir && owner == uid && mode & 0o022 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_cache_has_the_plain_socket_and_every_other_one_of_its_own() {
        let path = |cache| path(Path::new("/run/weightfs"), Path::new("/var/cache/weightfs"), Path::new(cache));
        assert_eq!(path("/var/cache/weightfs"), Path::new("/run/weightfs/control.sock"));
        assert_eq!(path("/data"), Path::new("/run/weightfs/bd47413b5c03/control.sock"));
        assert_ne!(path("/data"), path("/data2"));
    }

    #[tokio::test]
    async fn a_socket_is_0600_in_a_0700_directory_and_replaces_a_stale_one() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = folder.path().join("run");
        let path = runtime.join("abc").join(NAME);
        // As a killed daemon leaves it.
        let (_, stale) = bind(&runtime, &path).unwrap();
        std::mem::forget(stale);
        let (_listener, file) = bind(&runtime, &path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        for directory in [&runtime, &runtime.join("abc")] {
            assert_eq!(fs::metadata(directory).unwrap().mode() & 0o777, 0o700);
        }
        assert_eq!(all(&runtime), std::slice::from_ref(&path));
        drop(file);
        assert_eq!(all(&runtime), [] as [PathBuf; 0]);
    }

    #[tokio::test]
    async fn a_runtime_directory_that_others_can_write_or_that_is_a_link_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(bind(&open, &open.join(NAME)), Err(SocketError::NotOurs { .. })));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        assert!(matches!(bind(&link, &link.join(NAME)), Err(SocketError::NotOurs { .. })));
        assert!(!is_private(true, 1001, 0o700, 1000));
    }

    #[tokio::test]
    async fn a_path_too_long_for_a_socket_is_refused_with_what_to_set() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = folder.path().join("x".repeat(100));
        let error = bind(&runtime, &runtime.join(NAME)).unwrap_err();
        assert!(error.to_string().contains("set runtime_directory to a shorter one"));
    }
}
