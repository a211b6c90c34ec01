//! What is there: names to nodes, nodes to attributes.

use std::sync::Arc;

use super::attr::{Attr, Lasting, Shape};
use super::error::FsError;
use super::model_fs::ModelFs;
use super::scratch::ScratchAttr;
use crate::cache::SpaceState;
use crate::tree::layout::{self, Place, join};
use crate::tree::path_tree;
use crate::tree::{Node, TreeError};
use crate::types::{Commit, RepoId, RepoPath, Revision, Snapshot, SnapshotEntry};

/// The answer to a name.
pub enum Lookup {
    Found(Attr),
    Absent(Lasting),
}

/// What lies at a path.
pub(super) enum Found {
    Virtual(Shape),
    Scratch(ScratchAttr),
    Absent(Lasting),
}

/// The file at the root of an HF_HOME that holds its user's credential.
pub(super) const TOKEN: &str = "token";

const COMMIT_LEN: u64 = 40;

/// How a commit's folder shows its files.
#[derive(Clone, Copy)]
enum FileForm {
    /// As links to the contents, as the Hub's clients have it.
    Link,
    /// As themselves.
    Plain,
}

impl ModelFs {
    pub async fn lookup(&self, parent: Node, name: &str) -> Result<Lookup, FsError> {
        let (folder, _) = self.place(parent)?;
        let path = join(&folder, name);
        let Some((path, place)) = self.meant(path).await? else { return Ok(Lookup::Absent(Lasting::Briefly)) };
        match self.find(&path, &place).await? {
            Found::Absent(lasting) => Ok(Lookup::Absent(lasting)),
            Found::Virtual(shape) => {
                let node = self.node_at(self.nodes.ensure(&path).await?, &place, shape.size())?;
                Ok(Lookup::Found(shape.at(node, &self.view)))
            }
            Found::Scratch(stored) => Ok(Lookup::Found(self.stored_attr(self.nodes.ensure(&path).await?, stored))),
        }
    }

    pub async fn attr(&self, node: Node) -> Result<Attr, FsError> {
        if let Some(open) = self.open_without_name(node)? {
            return self.open_attr(node, &open);
        }
        let (path, place) = self.place(node)?;
        match self.find(&path, &place).await? {
            Found::Virtual(shape) => Ok(shape.at(node, &self.view)),
            Found::Scratch(stored) => Ok(self.stored_attr(node, stored)),
            Found::Absent(_) if place == Place::Discarded => {
                let size = self.discarded.size(node);
                Ok(Shape::writable_file(&self.view, size, Lasting::Briefly).at(node, &self.view))
            }
            Found::Absent(_) => Err(FsError::Stale),
        }
    }

    pub async fn link_target(&self, node: Node) -> Result<Vec<u8>, FsError> {
        let (path, place) = self.place(node)?;
        let (repo, commit, file) = match place {
            Place::Snapshot(repo, commit, file) => (repo, commit, file),
            Place::CommitLink(repo, commit) => return Ok(path_tree::link_target(&repo, commit).into_bytes()),
            _ => return Ok(self.scratch.readlink(&path)?.into_encoded_bytes()),
        };
        let snapshot = self.tree.snapshot(&self.view.identity, &repo, commit).await?;
        match snapshot.entry(&file) {
            Some(SnapshotEntry::File(blob)) => {
                let file = RepoPath::new(&file).map_err(|_| FsError::Stale)?;
                Ok(layout::link_target(&file, &blob.id).into_bytes())
            }
            Some(SnapshotEntry::Folder) => Err(FsError::NotALink),
            None => Err(FsError::Stale),
        }
    }

    /// The walk from a meaning to what is there. Everything that exists is decided here.
    pub(super) async fn find(&self, path: &str, place: &Place) -> Result<Found, FsError> {
        let view = &self.view;
        if !view.shows(place) {
            return Ok(Found::Absent(Lasting::Briefly));
        }
        Ok(match place {
            Place::Root | Place::Hub => Found::Virtual(Shape::writable_folder(view, Lasting::ForGood)),
            Place::Repo(repo) => self.find_repo(repo).await?,
            Place::Refs(_) | Place::NoExist(_) | Place::Trees(_) => {
                Found::Virtual(Shape::open_folder(view, Lasting::ForGood))
            }
            Place::Snapshots(_) | Place::Blobs(_) => Found::Virtual(Shape::folder(Lasting::ForGood)),
            Place::Ref(repo, revision) => self.find_ref(path, repo, revision).await?,
            Place::Snapshot(repo, commit, file) => self.find_in_commit(repo, *commit, file, FileForm::Link).await?,
            Place::Blob(repo, blob) => match self.tree.file_with(&view.identity, repo, blob)? {
                Some((file, created_at)) => Found::Virtual(Shape::file(file.blob.size).dated(created_at)),
                None => Found::Absent(Lasting::Briefly),
            },
            Place::NoExistIn(repo, commit, file) => self.find_absence(repo, *commit, file).await?,
            Place::Shelf(kind, name) => self.find_shelf(*kind, name),
            Place::CommitLink(repo, commit) => {
                let target = path_tree::link_target(repo, *commit);
                Found::Virtual(Shape::link(target.len()).lasting(Lasting::Briefly))
            }
            Place::Plain(repo, commit, file) => self.find_in_commit(repo, *commit, file, FileForm::Plain).await?,
            Place::Newest(..) | Place::Discarded | Place::Nothing => Found::Absent(Lasting::Briefly),
            Place::Scratch => self.find_scratch(path)?,
        })
    }

    async fn find_repo(&self, repo: &RepoId) -> Result<Found, FsError> {
        match self.tree.exists(&self.view.identity, repo).await {
            Ok(()) => Ok(Found::Virtual(Shape::folder(Lasting::AWhile))),
            Err(TreeError::Absent) => Ok(Found::Absent(Lasting::Briefly)),
            Err(error) => Err(error.into()),
        }
    }

    /// A pinned revision, a folder on the way to one, or what a client put there.
    async fn find_ref(&self, path: &str, repo: &RepoId, revision: &Revision) -> Result<Found, FsError> {
        if self.is_folder_of_revisions(repo, revision)? {
            return Ok(Found::Virtual(Shape::open_folder(&self.view, Lasting::Briefly)));
        }
        if let Some(stored) = self.scratch.stat(path)? {
            return Ok(Found::Scratch(stored));
        }
        // A commit needs no ref, and clients take the absence of one as the sign that they hold a commit.
        if is_temporary(revision) || revision.as_commit().is_some() {
            return Ok(Found::Absent(Lasting::Briefly));
        }
        match self.commit(repo, revision).await {
            Ok(_) => Ok(Found::Virtual(Shape::writable_file(&self.view, COMMIT_LEN, Lasting::Briefly))),
            Err(TreeError::Absent) => Ok(Found::Absent(Lasting::Briefly)),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn commit(&self, repo: &RepoId, revision: &Revision) -> Result<Commit, TreeError> {
        match self.view.commit(repo, revision) {
            Some(commit) => Ok(commit),
            None => self.tree.commit(&self.view.identity, repo, revision).await,
        }
    }

    fn is_folder_of_revisions(&self, repo: &RepoId, revision: &Revision) -> Result<bool, FsError> {
        // The Hub's own families, whose members are found by name only.
        if matches!(revision.as_str(), "refs" | "refs/pr" | "refs/convert") {
            return Ok(true);
        }
        let below = |known: &(String, Commit)| {
            known.0.strip_prefix(revision.as_str()).is_some_and(|rest| rest.starts_with('/'))
        };
        Ok(self.tree.revisions(&self.view.identity, repo)?.iter().any(below))
    }

    async fn find_in_commit(
        &self,
        repo: &RepoId,
        commit: Commit,
        file: &str,
        form: FileForm,
    ) -> Result<Found, FsError> {
        let snapshot = match self.snapshot_for(repo, commit, file).await {
            Ok(snapshot) => snapshot,
            Err(TreeError::Absent) => return Ok(Found::Absent(Lasting::Briefly)),
            Err(error) => return Err(error.into()),
        };
        if file.is_empty() {
            return Ok(Found::Virtual(Shape::folder(Lasting::ForGood).dated(snapshot.created_at)));
        }
        Ok(match snapshot.entry(file) {
            Some(SnapshotEntry::Folder) => Found::Virtual(Shape::folder(Lasting::ForGood).dated(snapshot.created_at)),
            Some(SnapshotEntry::File(blob)) => {
                let file = RepoPath::new(file).map_err(|_| FsError::Absent)?;
                let shape = match form {
                    FileForm::Link => Shape::link(layout::link_target(&file, &blob.id).len()),
                    FileForm::Plain => Shape::file(blob.size),
                };
                Found::Virtual(shape.dated(snapshot.created_at))
            }
            None if snapshot.partial => Found::Absent(Lasting::Briefly),
            None => Found::Absent(Lasting::ForGood),
        })
    }

    /// The list of a commit, whole if it must be to tell of `file`.
    pub(super) async fn snapshot_for(
        &self,
        repo: &RepoId,
        commit: Commit,
        file: &str,
    ) -> Result<Arc<Snapshot>, TreeError> {
        let snapshot = self.tree.snapshot(&self.view.identity, repo, commit).await?;
        if file.is_empty() || !snapshot.partial || snapshot.entry(file).is_some() {
            return Ok(snapshot);
        }
        self.tree.whole_snapshot(&self.view.identity, repo, commit).await
    }

    /// `.no_exist/COMMIT/PATH` exists for every file that the commit does not have, so that clients need not ask the Hub.
    async fn find_absence(&self, repo: &RepoId, commit: Commit, file: &str) -> Result<Found, FsError> {
        let snapshot = match self.snapshot_for(repo, commit, file).await {
            Ok(snapshot) => snapshot,
            Err(TreeError::Absent) => return Ok(Found::Absent(Lasting::Briefly)),
            Err(error) => return Err(error.into()),
        };
        let folder = Found::Virtual(Shape::open_folder(&self.view, Lasting::ForGood));
        if file.is_empty() {
            return Ok(folder);
        }
        Ok(match snapshot.entry(file) {
            Some(SnapshotEntry::File(_)) => Found::Absent(Lasting::ForGood),
            Some(SnapshotEntry::Folder) => folder,
            None if snapshot.partial => Found::Absent(Lasting::Briefly),
            // A name alone does not tell a folder from a file. A wrong guess costs the client one question to the Hub.
            None if !layout::split(file).1.contains('.') => folder,
            None => Found::Virtual(Shape::writable_file(&self.view, 0, Lasting::ForGood)),
        })
    }

    fn find_scratch(&self, path: &str) -> Result<Found, FsError> {
        if let Some(stored) = self.scratch.stat(path)? {
            return Ok(Found::Scratch(stored));
        }
        Ok(match self.view.shown_token() {
            Some(token) if path == TOKEN => {
                let size = token.secret().len() as u64;
                Found::Virtual(Shape::writable_file(&self.view, size, Lasting::Briefly).private())
            }
            _ => Found::Absent(Lasting::Briefly),
        })
    }

    /// How much room there is: the disk's, or that of the cache's limit where it has one.
    pub fn space(&self) -> Result<rustix::fs::StatVfs, FsError> {
        let mut shown = self.scratch.statvfs()?;
        let SpaceState { limit, free, .. } = self.cache.space();
        if let Some(limit) = limit {
            let unit = shown.f_frsize.max(1);
            shown.f_blocks = limit.div_ceil(unit);
            shown.f_bavail = (free / unit).min(shown.f_blocks);
            shown.f_bfree = shown.f_bavail;
        }
        Ok(shown)
    }
}

/// What clients write before they rename it to a revision: the Hub need not be asked about it.
fn is_temporary(revision: &Revision) -> bool {
    let (_, name) = layout::split(revision.as_str());
    name.contains(".tmp") || name.starts_with("tmp") || name.contains(".incomplete")
}
