//! Takes over what another cache of the Hub's clients holds: contents, lists of files, and where branches stood. Without
//! network.

mod hub_cache;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::error::ControlError;
use super::super::parts::Parts;
use super::progress::Progress;
use crate::cache::{Adopted, CacheError, Sharing};
use crate::fs::mount::containing_mount;
use crate::types::{Blob, Commit, Identity, RepoId, Snapshot};
use hub_cache::{CachedCommit, CachedFile, HubCache};

#[derive(Debug)]
pub struct Import {
    /// Whose the models are from now on.
    pub identity: Identity,
    /// An HF_HOME, its `hub` folder, or one repository's folder.
    pub directory: PathBuf,
    /// Make our files second names of the other cache's.
    pub link: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    pub models: u64,
    pub files: u64,
    pub bytes: u64,
    /// What was not here before.
    pub new_bytes: u64,
    /// Files that are not what they are called.
    pub refused: u64,
}

pub(super) async fn import(parts: &Parts, order: Import, progress: &Progress) -> Result<Imported, ControlError> {
    progress.update(|position| position.step = "looking through");
    let HubCache { repos, remarks } = read(order.directory.clone()).await?;
    for remark in remarks {
        progress.remark(remark).await;
    }
    if repos.is_empty() {
        return Err(ControlError::Refused(format!(
            "{}: there is no model here; expected an HF_HOME, its hub folder, or a folder like models--ORG--NAME",
            order.directory.display()
        )));
    }
    let files = || repos.iter().flat_map(|repo| &repo.commits).flat_map(|commit| commit.files.values());
    let contents: BTreeMap<String, u64> = files().map(|file| (file.blob.id.to_string(), file.blob.size)).collect();
    progress.update(|position| {
        position.step = "importing";
        (position.total_bytes, position.total_files) = (contents.values().sum(), files().count() as u64);
    });
    let mut importer =
        Importer { parts, order, progress, before: 0, imported: Imported::default(), known: BTreeMap::new() };
    for repo in repos {
        for commit in repo.commits {
            importer.take_over(&repo.repo, commit).await?;
        }
        importer.imported.models += 1;
    }
    Ok(importer.imported)
}

async fn read(directory: PathBuf) -> Result<HubCache, ControlError> {
    if let Some(mount) = containing_mount(&directory) {
        let text = format!("{}: it lies inside the weightfs mount {}", directory.display(), mount.directory.display());
        return Err(ControlError::Refused(text));
    }
    let reading = directory.clone();
    let found = tokio::task::spawn_blocking(move || HubCache::read(&reading)).await;
    let found = found.map_err(|_| ControlError::Broken)?;
    found.map_err(|cause| ControlError::File { action: "read the cache", path: directory, cause })
}

struct Importer<'a> {
    parts: &'a Parts,
    order: Import,
    progress: &'a Progress,
    /// Bytes of the contents before this one.
    before: u64,
    imported: Imported,
    /// Contents that were looked at, by name, and whether they are here now.
    known: BTreeMap<String, bool>,
}

impl Importer<'_> {
    async fn take_over(&mut self, repo: &RepoId, commit: CachedCommit) -> Result<(), ControlError> {
        let CachedCommit { commit, revisions, files, whole } = commit;
        let mut here = BTreeSet::new();
        for (path, file) in &files {
            if self.adopt(repo, commit, path.as_str(), file).await? {
                here.insert(path.clone());
            }
            self.progress.update(|position| position.files += 1);
        }
        let partial = whole.is_none();
        let found = files.into_iter().filter(|(path, _)| here.contains(path)).map(|(path, file)| (path, file.blob));
        let (mut snapshot, refused) = Snapshot::new(repo.clone(), commit, whole.unwrap_or_else(|| found.collect()));
        for (path, problem) in refused {
            self.progress.remark(format!("{repo}: {path} is left out: {problem}")).await;
        }
        if snapshot.is_empty() {
            return Ok(());
        }
        snapshot.partial = partial;
        let adopted = self.parts.tree.adopt(&self.order.identity, Arc::new(snapshot), &revisions).await;
        adopted.map_err(|source| ControlError::Name { model: repo.to_string(), source })
    }

    /// Answers whether the content is here now.
    async fn adopt(
        &mut self,
        repo: &RepoId,
        commit: Commit,
        path: &str,
        file: &CachedFile,
    ) -> Result<bool, ControlError> {
        let CachedFile { blob, at } = file;
        let name = format!("{}-{}", blob.id, blob.size);
        if let Some(known) = self.known.get(&name) {
            return Ok(*known);
        }
        let adopted = self.adopt_content(repo, commit, *blob, at).await;
        self.before += blob.size;
        let here = match adopted {
            Ok(Adopted::Different) => {
                self.imported.refused += 1;
                self.progress.remark(format!("{}: passed over: it is not what it is called", at.display())).await;
                false
            }
            Ok(adopted) => {
                self.imported.files += 1;
                self.imported.bytes += blob.size;
                self.imported.new_bytes += if adopted == Adopted::Kept { blob.size } else { 0 };
                true
            }
            // One file's trouble; the others may be as they should.
            Err(CacheError::Disk { path, source }) if path == *at => {
                self.imported.refused += 1;
                self.progress.remark(format!("{}: passed over: {source}", at.display())).await;
                false
            }
            Err(source) => {
                return Err(ControlError::Content { model: repo.to_string(), path: path.to_owned(), source });
            }
        };
        self.known.insert(name, here);
        Ok(here)
    }

    async fn adopt_content(&self, repo: &RepoId, commit: Commit, blob: Blob, at: &Path) -> Result<Adopted, CacheError> {
        let sharing = if self.order.link { Sharing::Link } else { Sharing::Copy };
        // What cannot be linked is gone through once more: it may go back.
        let mut done = |through: u64| self.progress.update(|position| position.bytes = self.before + through);
        let adopted = self.parts.cache.adopt(blob, at, sharing, (repo, commit), &mut done).await;
        done(blob.size);
        adopted
    }
}
