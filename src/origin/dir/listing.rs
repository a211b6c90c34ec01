//! The files below a directory, each with a name for its content.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use sha2::{Digest, Sha256};

use super::blocking::Progress;
use super::layout::Layout;
use crate::types::{Blob, BlobId, Commit, RemoteFile, RepoId, RepoPath, Snapshot};

/// Folders below each other; deeper is no model.
const DEEPEST: usize = 64;
/// Files of one model.
const MOST_FILES: usize = 200_000;

/// What tells a file from the one that lay there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    inode: u64,
    pub(super) size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Look {
    pub(super) fn at(file: &File) -> io::Result<Self> {
        Ok(Self::of(&file.metadata()?))
    }

    fn of(found: &Metadata) -> Self {
        Self {
            inode: found.ino(),
            size: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    /// The device is not part of it: that of a file server is another one after each mount.
    fn id(&self, root: &Path, path: &str) -> BlobId {
        let mut hash = Sha256::new();
        for text in [root.as_os_str().as_encoded_bytes(), path.as_bytes()] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        for number in [self.inode, self.size] {
            hash.update(number.to_le_bytes());
        }
        for (seconds, nanoseconds) in [self.modified, self.changed] {
            hash.update(seconds.to_le_bytes());
            hash.update(nanoseconds.to_le_bytes());
        }
        BlobId::Local(hash.finalize().into())
    }
}

/// Opens what a path below `anchor` leads to, unless it leads out of it.
fn open_beneath(anchor: &File, path: &str, flags: OFlags) -> io::Result<File> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    // A pipe in the place of a file is not waited for.
    let wait = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NONBLOCK };
    let flags = flags | OFlags::CLOEXEC | wait;
    Ok(File::from(openat2(anchor, path, flags, Mode::empty(), resolve)?))
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// One walk.
struct Walk<'a> {
    root: &'a Path,
    anchor: File,
    layout: &'a Layout,
    progress: &'a Progress,
    files: Vec<(RepoPath, Blob)>,
    /// Seconds since 1970 of the youngest file.
    youngest: u64,
}

/// The files as they are now, or those of `commit`; `None` if that is not what is there.
pub(super) fn snapshot(
    root: &Path,
    layout: &Layout,
    repo: &RepoId,
    commit: Option<Commit>,
    progress: &Progress,
) -> io::Result<Option<Snapshot>> {
    let top = match (layout, commit) {
        (Layout::Plain { below, .. }, _) => below.clone(),
        (Layout::HubCache { .. }, Some(commit)) => format!("snapshots/{commit}"),
        (Layout::HubCache { .. }, None) => return Ok(None),
    };
    let mut walk =
        Walk { root, anchor: File::open(layout.anchor())?, layout, progress, files: Vec::new(), youngest: 0 };
    if !layout.anchor().join(&top).is_dir() {
        return Ok(None);
    }
    walk.folder(&top, "", 0)?;
    let Walk { mut files, youngest, .. } = walk;
    files.sort_by(|one, other| one.0.cmp(&other.0));
    let listed = match layout {
        Layout::Plain { .. } => commit_of(&files),
        Layout::HubCache { .. } => commit.unwrap_or_else(|| commit_of(&files)),
    };
    if commit.is_some_and(|commit| commit != listed) {
        return Ok(None);
    }
    let (mut snapshot, refused) = Snapshot::new(repo.clone(), listed, files);
    for (path, problem) in refused {
        tracing::warn!(%repo, %path, %problem, "a file is not shown");
    }
    // A client may have taken only some of the commit's files.
    snapshot.partial = !layout.is_plain();
    snapshot.created_at = youngest;
    Ok(Some(snapshot))
}

/// A name for exactly these files.
fn commit_of(files: &[(RepoPath, Blob)]) -> Commit {
    let mut hash = Sha256::new();
    for (path, blob) in files {
        hash.update(format!("{path}\0{}\0{}\n", blob.id, blob.size));
    }
    let mut name = [0; 20];
    name.copy_from_slice(&hash.finalize()[..20]);
    Commit::from_bytes(name)
}

impl Walk<'_> {
    fn folder(&mut self, at: &str, shown: &str, depth: usize) -> io::Result<()> {
        let path = if at.is_empty() { "." } else { at };
        let folder = open_beneath(&self.anchor, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&folder)? {
            let entry = entry?;
            match entry.file_name().to_str() {
                Ok("." | "..") => {}
                Ok(name) => names.push((name.to_owned(), entry.file_type())),
                Err(_) => self.remark(&entry.file_name().to_string_lossy(), "its name is not UTF-8"),
            }
        }
        names.sort_by(|one, other| one.0.cmp(&other.0));
        for (name, kind) in names {
            let (at, shown) = (join(at, &name), join(shown, &name));
            let is_folder = match kind {
                // Some file systems do not say.
                rustix::fs::FileType::Unknown => {
                    let found = open_beneath(&self.anchor, &at, OFlags::PATH | OFlags::NOFOLLOW)?.metadata()?;
                    found.is_dir()
                }
                kind => kind.is_dir(),
            };
            if is_folder && depth < DEEPEST {
                match self.folder(&at, &shown, depth + 1) {
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => self.remark(&shown, error),
                    walked => walked?,
                }
            } else if is_folder {
                self.remark(&shown, "it lies too deep");
            } else {
                self.file(&at, &shown)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, at: &str, shown: &str) -> io::Result<()> {
        if self.files.len() >= MOST_FILES {
            let why = format!("there are more than {MOST_FILES} files; name a folder further down");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        self.progress.step();
        match self.look_at(at, shown) {
            Ok((path, blob)) => self.files.push((path, blob)),
            Err(why) => self.remark(shown, why),
        }
        Ok(())
    }

    /// The reason why it is passed over, if it is.
    fn look_at(&mut self, at: &str, shown: &str) -> Result<(RepoPath, Blob), String> {
        let path = RepoPath::new(shown).map_err(|problem| problem.to_string())?;
        let file = open_beneath(&self.anchor, at, OFlags::PATH)
            .map_err(|error| format!("it leads nowhere, or out of the directory: {error}"))?;
        let found = file.metadata().map_err(|error| error.to_string())?;
        if !found.is_file() {
            return Err("it is neither a file nor a link to one".to_owned());
        }
        let look = Look::of(&found);
        let id = self.named_by_link(at).unwrap_or_else(|| look.id(self.root, shown));
        self.youngest = self.youngest.max(found.mtime().max(0) as u64);
        Ok((path, Blob { id, size: look.size }))
    }

    /// The hash that a snapshot's link leads to, in a cache of the Hub's clients.
    fn named_by_link(&self, at: &str) -> Option<BlobId> {
        if self.layout.is_plain() {
            return None;
        }
        let target = rustix::fs::readlinkat(&self.anchor, at, Vec::new()).ok()?;
        let target = target.to_str().ok()?;
        BlobId::from_etag(target.rsplit('/').next()?).ok().filter(BlobId::proves_bytes)
    }

    fn remark(&self, shown: &str, why: impl std::fmt::Display) {
        tracing::warn!(directory = %self.root.display(), path = shown, %why, "it is passed over");
    }
}

/// The file that has this content; `None` if there is none, or not any more.
pub(super) fn open(root: &Path, layout: &Layout, wanted: &RemoteFile) -> io::Result<Option<(File, Look)>> {
    let anchor = File::open(layout.anchor())?;
    let candidates = match layout {
        Layout::Plain { below, .. } => vec![join(below, wanted.path.as_str())],
        Layout::HubCache { .. } => {
            vec![format!("blobs/{}", wanted.blob.id.etag()), format!("snapshots/{}/{}", wanted.commit, wanted.path)]
        }
    };
    for path in candidates {
        let file = match open_beneath(&anchor, &path, OFlags::RDONLY) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let look = Look::at(&file)?;
        let is_it = match wanted.blob.id {
            BlobId::Local(_) => look.id(root, wanted.path.as_str()) == wanted.blob.id,
            _ => look.size == wanted.blob.size,
        };
        if is_it && file.metadata()?.is_file() {
            return Ok(Some((file, look)));
        }
    }
    Ok(None)
}

/// The path of a content that lies under its hash.
pub(super) fn local(root: &Path, layout: &Layout, wanted: &RemoteFile) -> io::Result<Option<PathBuf>> {
    let Layout::HubCache { anchor } = layout else { return Ok(None) };
    if !wanted.blob.id.proves_bytes() || open(root, layout, wanted)?.is_none() {
        return Ok(None);
    }
    let path = anchor.join("blobs").join(wanted.blob.id.etag());
    let is_there = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
    Ok(is_there.then_some(path))
}
