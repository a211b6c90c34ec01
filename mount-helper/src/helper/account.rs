//! Whose daemon it is: the user, what it is to find in its environment, and the directories that root has to make for it.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, User};

use super::failure::Failure;

/// The user that daemons run as unless somebody says otherwise, where there is one of this name.
const DEFAULT: &str = "weightfs";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What a daemon may know of whoever calls mount(8). All else would make a mount depend on who mounts it.
const KEPT: [&str; 13] = [
    "LANG",
    "LC_ALL",
    "TZ",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

#[derive(Debug, Clone)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    home: PathBuf,
}

impl Account {
    pub fn find(run_as: Option<&str>) -> Result<Self, Failure> {
        let unknown =
            |name: &str, error: nix::Error| Failure::system(format!("cannot look up the user {name}: {error}"));
        let user = match run_as {
            Some(name) => {
                let found = match name.parse() {
                    Ok(uid) => User::from_uid(Uid::from_raw(uid)),
                    Err(_) => User::from_name(name),
                };
                let none = || {
                    Failure::usage(format!("run_as={name}: there is no such user; make one: useradd --system {name}"))
                };
                found.map_err(|error| unknown(name, error))?.ok_or_else(none)?
            }
            None => match User::from_name(DEFAULT).map_err(|error| unknown(DEFAULT, error))? {
                Some(user) => user,
                None => return Ok(Self::root()),
            },
        };
        let User { name, uid, gid, dir, .. } = user;
        Ok(Self { name, uid: uid.as_raw(), gid: gid.as_raw(), home: dir })
    }

    fn root() -> Self {
        Self { name: "root".to_owned(), uid: 0, gid: 0, home: "/root".into() }
    }

    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// User and group of its processes, where they are not this one's own.
    pub fn ids(&self) -> Option<(u32, u32)> {
        (!self.is_root()).then_some((self.uid, self.gid))
    }

    /// All that its processes find in their environment. The program has its own rule for where root's files are.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        let mut variables: Vec<(OsString, OsString)> =
            KEPT.iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?))).collect();
        let mut set = |name: &str, value: OsString| variables.push((name.into(), value));
        set("PATH", PATH.into());
        set("HOME", self.home.clone().into());
        set("USER", self.name.clone().into());
        set("LOGNAME", self.name.clone().into());
        if !self.is_root() {
            set("XDG_CACHE_HOME", self.cache().into());
            set("XDG_RUNTIME_DIR", self.runtime().into());
            set("XDG_CONFIG_HOME", "/etc".into());
            // An existing login, which would be looked for below XDG_CACHE_HOME.
            set("HF_HOME", self.home.join(".cache/huggingface").into());
        }
        variables
    }

    fn cache(&self) -> PathBuf {
        format!("/var/cache/weightfs-{}", self.name).into()
    }

    fn runtime(&self) -> PathBuf {
        format!("/run/weightfs-{}", self.name).into()
    }

    /// Makes what this user could not make by itself.
    pub fn make_directories(&self, cache: Option<&Path>) -> Result<(), Failure> {
        if self.is_root() {
            return Ok(());
        }
        self.make(&self.runtime())?;
        match cache {
            None => self.make(&self.cache()),
            Some(cache) if is_roots_to_make(cache) => self.make(cache),
            // The daemon makes it, or says why it cannot.
            Some(_) => Ok(()),
        }
    }

    fn make(&self, directory: &Path) -> Result<(), Failure> {
        let failed = |error: io::Error| {
            let text = format!("{}: cannot make it for the user {}: {error}", directory.display(), self.name);
            Failure::system(text)
        };
        match DirBuilder::new().mode(0o700).create(directory) {
            Ok(()) => {
                let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
                nix::unistd::chown(directory, Some(uid), Some(gid)).map_err(|errno| failed(errno.into()))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}

/// Below what others may write to, root makes nothing: they could put something else in its place.
fn is_roots_to_make(directory: &Path) -> bool {
    let safe = |metadata: fs::Metadata| metadata.is_dir() && metadata.uid() == 0 && metadata.mode() & 0o022 == 0;
    let above = directory.parent().and_then(|above| fs::canonicalize(above).ok());
    directory.is_absolute()
        && above.is_some_and(|above| above.ancestors().all(|place| fs::symlink_metadata(place).is_ok_and(safe)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_makes_directories_only_where_nobody_else_can_write() {
        assert!(is_roots_to_make(Path::new("/usr/weightfs")));
        assert!(!is_roots_to_make(Path::new("/tmp/weightfs")));
        assert!(!is_roots_to_make(Path::new("weightfs")));
    }

    #[test]
    fn an_unknown_user_is_named() {
        let failure = Account::find(Some("no-such-user")).unwrap_err();
        assert!(failure.text.contains("run_as=no-such-user"), "{}", failure.text);
        assert!(Account::find(Some("0")).unwrap().is_root());
    }

    #[test]
    fn a_daemon_finds_no_token_of_whoever_mounts_it() {
        let account = Account { name: "alice".to_owned(), uid: 1000, gid: 1000, home: "/home/alice".into() };
        let names: Vec<_> = account.environment().into_iter().map(|(name, _)| name).collect();
        assert!(!names.iter().any(|name| name == "HF_TOKEN"));
        assert!(names.iter().any(|name| name == "XDG_RUNTIME_DIR"));
        assert_eq!(account.ids(), Some((1000, 1000)));
    }
}
