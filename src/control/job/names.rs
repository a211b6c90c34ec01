//! From a model's name and revision to its files.

use std::fmt;
use std::sync::Arc;

use crate::tree::{TreeError, path_tree};
use crate::types::{Commit, Identity, RemoteFile, RepoId, Revision, Snapshot};

use super::super::error::ControlError;
use super::super::parts::Parts;
use super::Progress;

/// A model as somebody named it, and who did.
#[derive(Debug, Clone)]
pub struct ModelName {
    pub identity: Identity,
    pub repo: RepoId,
    pub revision: Revision,
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repo, self.revision)
    }
}

impl ModelName {
    pub(in crate::control) fn error(&self, source: TreeError) -> ControlError {
        ControlError::Name { model: self.to_string(), source }
    }
}

/// Where the files of a model are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    pub commit: Commit,
    /// The folder of plain files in any mount, for the kinds of repositories that have one.
    pub folder: Option<String>,
    pub files: u64,
    pub bytes: u64,
}

impl Parts {
    pub(in crate::control) async fn resolve(&self, model: &ModelName) -> Result<Resolved, ControlError> {
        let snapshot = self.find(model, &Progress::new().0).await?;
        let has_folder = path_tree::ROOTS.contains(&model.repo.kind());
        Ok(Resolved {
            commit: snapshot.commit,
            folder: has_folder.then(|| path_tree::folder(&model.repo, snapshot.commit)),
            files: snapshot.len() as u64,
            bytes: snapshot.files().map(|(_, blob)| blob.size).sum(),
        })
    }

    /// The files that `model` names now. The Hub is asked where the branch stands; if it does not answer, the commit that
    /// the branch is pinned to is the answer, with a remark.
    pub(in crate::control) async fn find(
        &self,
        model: &ModelName,
        progress: &Progress,
    ) -> Result<Arc<Snapshot>, ControlError> {
        progress.update(|position| position.step = "looking up");
        let ModelName { identity, repo, revision } = model;
        let newest = self.tree.newest(identity, repo, revision).await.map_err(|error| model.error(error))?;
        if let Some(error) = newest.unconfirmed {
            let commit = newest.commit;
            progress
                .remark(format!("{model}: the Hub does not answer ({error}); taking commit {commit}, as known here"))
                .await;
        }
        let snapshot = self.tree.whole_snapshot(identity, repo, newest.commit).await;
        let snapshot = snapshot.map_err(|error| model.error(error))?;
        if snapshot.partial {
            let files = snapshot.len();
            progress.remark(format!("{model}: only the {files} files that were imported are known of it")).await;
        }
        Ok(snapshot)
    }
}

/// Every file of `snapshot` that `wanted` takes, by path.
pub(super) fn files(snapshot: &Snapshot, wanted: impl Fn(&str) -> bool) -> Vec<RemoteFile> {
    let paths = snapshot.files().map(|(path, _)| path).filter(|path| wanted(path.as_str()));
    paths.filter_map(|path| snapshot.remote_file(path)).collect()
}
