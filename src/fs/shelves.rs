//! The tree of plain paths: `models/ORG/NAME[@REV]/…`, `s3/BUCKET/PREFIX/…` and `dir/NAME/…`.
//!
//! A name here is answered with the node of what it means. A file is its content, the same node as below `blobs/`; a
//! revision is a link to one commit's folder, and a link to another commit is another node. So no node ever changes.

use super::attr::{Kind, Lasting, Shape};
use super::error::FsError;
use super::list::Names;
use super::lookup::Found;
use super::model_fs::ModelFs;
use crate::tree::layout::{Place, blob_path, join, split};
use crate::tree::{TreeError, path_tree};
use crate::types::{Blob, Commit, RepoId, RepoType, Revision, SnapshotEntry};

impl ModelFs {
    /// The path and place whose node answers to the name `path`; `None` if there is nothing.
    pub(super) async fn meant(&self, path: String) -> Result<Option<(String, Place)>, FsError> {
        let (repo, revision) = match Place::of(&path) {
            Place::Newest(repo, revision) => (repo, revision),
            Place::Shelf(kind, name) => match self.declared(kind, &name) {
                Some(repo) => (repo, Revision::main()),
                None => return Ok(Some((path, Place::Shelf(kind, name)))),
            },
            Place::Plain(repo, commit, file) => return Ok(Some(self.meant_in_commit(path, repo, commit, file).await?)),
            place => return Ok(Some((path, place))),
        };
        if !self.view.shows(&Place::Newest(repo.clone(), revision.clone())) {
            return Ok(None);
        }
        match self.commit(&repo, &revision).await {
            Ok(commit) => Ok(Some((path_tree::link(&repo, commit), Place::CommitLink(repo, commit)))),
            Err(TreeError::Absent) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn meant_in_commit(
        &self,
        path: String,
        repo: RepoId,
        commit: Commit,
        file: String,
    ) -> Result<(String, Place), FsError> {
        let known = match self.snapshot_for(&repo, commit, &file).await {
            Ok(snapshot) => snapshot.entry(&file),
            // What that means is told by who looks for it.
            Err(_) => None,
        };
        Ok(match known {
            Some(SnapshotEntry::File(blob)) => (blob_path(&repo, &blob.id), Place::Blob(repo, blob.id)),
            _ => (path, Place::Plain(repo, commit, file)),
        })
    }

    /// The repository that the configuration gives this name.
    fn declared(&self, kind: RepoType, name: &str) -> Option<RepoId> {
        self.tree.declared().into_iter().find(|repo| repo.kind() == kind && repo.name() == name)
    }

    /// A folder on the way to repositories. That of an organisation is there for any name: its members are found by name.
    pub(super) fn find_shelf(&self, kind: RepoType, name: &str) -> Found {
        let leads_on = |repo: &RepoId| {
            repo.kind() == kind && repo.name().strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))
        };
        match kind {
            RepoType::Model => {}
            _ if name.is_empty() || self.tree.declared().iter().any(leads_on) => {}
            _ => return Found::Absent(Lasting::Briefly),
        }
        Found::Virtual(Shape::folder(Lasting::AWhile))
    }

    /// The roots that have anything in them.
    pub(super) fn add_roots(&self, names: &mut Names) {
        let declared = self.tree.declared();
        let shown = |kind| kind == RepoType::Model || declared.iter().any(|repo| repo.kind() == kind);
        let roots = path_tree::ROOTS.into_iter().filter(|kind| shown(*kind));
        names.extend(roots.map(|kind| (kind.plural().to_owned(), Kind::Folder)));
    }

    /// What lies directly below the folder at `path`, which leads to repositories.
    pub(super) fn add_shelf(&self, names: &mut Names, path: &str, kind: RepoType) -> Result<(), FsError> {
        let mut repos = self.tree.declared();
        if kind == RepoType::Model {
            repos.extend(self.tree.known_repos(&self.view.identity)?);
        }
        for repo in repos.iter().filter(|repo| repo.kind() == kind && self.view.shows_repo(repo)) {
            let place = path_tree::newest(repo);
            let Some(rest) = place.strip_prefix(path).and_then(|rest| rest.strip_prefix('/')) else { continue };
            match rest.split_once('/') {
                Some((folder, _)) => drop(names.insert(folder.to_owned(), Kind::Folder)),
                None => drop(names.insert(rest.to_owned(), Kind::Link)),
            }
        }
        Ok(())
    }

    /// The folders of commits that may show the kernel this content, each with the name that it has there.
    pub(super) fn plain_names(&self, repo: &RepoId, blob: &Blob) -> Result<Vec<(String, String)>, FsError> {
        let files = self.tree.files_with(&self.view.identity, repo, blob)?;
        Ok(files
            .into_iter()
            .map(|(commit, path)| {
                let path = join(&path_tree::folder(repo, commit), path.as_str());
                let (folder, name) = split(&path);
                (folder.to_owned(), name.to_owned())
            })
            .collect())
    }
}
