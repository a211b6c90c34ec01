//! How a repository lies in a directory: as its plain files, or as the Hub's clients keep it.

use std::io;
use std::path::{Path, PathBuf};

use super::Role;
use crate::types::{Commit, RepoId, Revision};

/// Where its files are. `anchor` is what no link may lead out of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    /// They lie below `anchor/below` as they are.
    Plain { anchor: PathBuf, below: String },
    /// `anchor/{refs,snapshots,blobs}`.
    HubCache { anchor: PathBuf },
}

/// Of a file that holds a commit's name.
const LONGEST_REF: u64 = 64;

impl Layout {
    /// `None` if there is nothing of it.
    pub(super) fn find(root: &Path, repo: &RepoId, role: Role) -> io::Result<Option<Self>> {
        let is_cached = |anchor: &Path| anchor.join("snapshots").is_dir();
        if let Some(folder) = repo.folder() {
            let anchors = [root.join(&folder), root.join("hub").join(&folder)];
            if let Some(anchor) = anchors.into_iter().find(|anchor| is_cached(anchor)) {
                return Ok(Some(Self::HubCache { anchor }));
            }
        }
        if role == Role::Mirror {
            return Ok(None);
        }
        match std::fs::metadata(root) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let is_repo = name(root).is_some_and(|name| RepoId::from_folder(&name).is_some());
        if is_repo && is_cached(root) {
            return Ok(Some(Self::HubCache { anchor: root.to_owned() }));
        }
        // A commit's folder in such a cache: its links lead to the blobs beside it.
        let commit = name(root).filter(|name| name.parse::<Commit>().is_ok());
        if let (Some(commit), Some(snapshots)) = (commit, root.parent())
            && let (Some("snapshots"), Some(anchor)) = (name(snapshots).as_deref(), snapshots.parent())
        {
            return Ok(Some(Self::Plain { anchor: anchor.to_owned(), below: format!("snapshots/{commit}") }));
        }
        Ok(Some(Self::Plain { anchor: root.to_owned(), below: String::new() }))
    }

    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain { .. })
    }

    pub(super) fn anchor(&self) -> &Path {
        match self {
            Self::Plain { anchor, .. } | Self::HubCache { anchor } => anchor,
        }
    }

    /// The commit that a ref names.
    pub(super) fn commit(&self, revision: &Revision) -> io::Result<Option<Commit>> {
        let Self::HubCache { anchor } = self else { return Ok(None) };
        let path = anchor.join("refs").join(revision.as_str());
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() && found.len() <= LONGEST_REF => {
                Ok(std::fs::read_to_string(&path)?.trim().parse().ok())
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
