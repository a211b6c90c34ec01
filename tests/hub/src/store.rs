//! Every repository, token and blob the stand-in knows, and who may see which. The only shared mutable state of
//! the Hub side; readers take an `Arc` of a repository and hold no lock while they answer.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::Value;

use crate::commit::{Commit, CommitError};
use crate::content::Content;
use crate::files::Files;
use crate::hash_cache::HashCache;
use crate::repo::{Repo, RepoId, RepoSettings, branch_ref};

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("there is no repository {0}")]
    NoRepo(RepoId),
    #[error("{repo} has no commit {commit}")]
    NoCommit { repo: RepoId, commit: String },
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Who asks, as far as the Authorization header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    Anonymous,
    /// The name of a registered token.
    Named(String),
    /// A header that names no registered token.
    Unknown,
}

impl Caller {
    fn is_one_of(&self, names: &[String]) -> bool {
        matches!(self, Caller::Named(name) if names.contains(name))
    }
}

pub enum Lookup {
    Found(Arc<Repo>),
    Moved(RepoId),
    /// Missing and hidden look the same.
    Absent,
}

/// Bytes that the CDN can serve.
#[derive(Clone)]
pub struct Blob {
    pub content: Content,
    pub size: u64,
}

#[derive(Default)]
pub struct Store {
    inner: RwLock<Inner>,
    hashes: HashCache,
}

#[derive(Default)]
struct Inner {
    repos: BTreeMap<RepoId, Arc<Repo>>,
    renamed: HashMap<RepoId, RepoId>,
    /// Secret to name.
    tokens: HashMap<String, String>,
    /// By sha256.
    blobs: HashMap<String, Blob>,
    /// By sha256.
    xet_hashes: HashMap<String, String>,
    xet_tokens: u64,
}

impl Inner {
    fn repo_mut(&mut self, id: &RepoId) -> Result<&mut Repo, StoreError> {
        match self.repos.get_mut(id) {
            Some(repo) => Ok(Arc::make_mut(repo)),
            None => Err(StoreError::NoRepo(id.clone())),
        }
    }
}

impl Store {
    pub fn add_token(&self, name: &str, secret: &str) {
        let mut inner = self.inner.write();
        inner.tokens.insert(secret.to_owned(), name.to_owned());
    }

    pub fn caller(&self, authorization: Option<&str>) -> Caller {
        let Some(header) = authorization else {
            return Caller::Anonymous;
        };
        let secret = header.strip_prefix("Bearer ").map(str::trim);
        let inner = self.inner.read();
        match secret.and_then(|secret| inner.tokens.get(secret)) {
            Some(name) => Caller::Named(name.clone()),
            None => Caller::Unknown,
        }
    }

    /// Creates the repository or changes the settings of the one there is.
    pub fn put_repo(&self, id: &RepoId, settings: RepoSettings) {
        let mut inner = self.inner.write();
        let repo = inner.repos.entry(id.clone()).or_default();
        Arc::make_mut(repo).settings = settings;
    }

    pub fn change_settings(&self, id: &RepoId, change: impl FnOnce(&mut RepoSettings)) -> Result<(), StoreError> {
        change(&mut self.inner.write().repo_mut(id)?.settings);
        Ok(())
    }

    pub fn remove_repo(&self, id: &RepoId) -> bool {
        self.inner.write().repos.remove(id).is_some()
    }

    /// Requests for `old` are sent on to `new`, and the repository moves along if it is there.
    pub fn rename(&self, old: &RepoId, new: &RepoId) {
        let mut inner = self.inner.write();
        if let Some(repo) = inner.repos.remove(old) {
            inner.repos.insert(new.clone(), repo);
        }
        inner.renamed.insert(old.clone(), new.clone());
    }

    /// Adds a commit without moving a branch; the repository is created where there is none.
    pub fn commit(&self, id: &RepoId, files: Files) -> Result<String, StoreError> {
        let rule = match self.get(id) {
            Some(repo) => repo.settings.lfs.clone(),
            None => RepoSettings::default().lfs,
        };
        let mut commit = Commit::build(id, files, &rule, &self.hashes)?;
        let mut inner = self.inner.write();
        for file in commit.files.values() {
            if let Some(lfs) = &file.lfs {
                let blob = Blob { content: file.content.clone(), size: file.size };
                inner.blobs.insert(lfs.sha256.clone(), blob);
            }
        }
        let commit_id = commit.id.clone();
        let repo = Arc::make_mut(inner.repos.entry(id.clone()).or_default());
        if let Some(same) = repo.commits.get(&commit_id) {
            commit.time = same.time;
            commit.raw = same.raw.clone();
        }
        repo.commits.insert(commit_id.clone(), Arc::new(commit));
        Ok(commit_id)
    }

    pub fn set_branch(&self, id: &RepoId, branch: &str, commit: &str) -> Result<(), StoreError> {
        self.set_ref(id, branch_ref(branch), commit)
    }

    pub fn set_tag(&self, id: &RepoId, tag: &str, commit: &str) -> Result<(), StoreError> {
        self.set_ref(id, format!("refs/tags/{tag}"), commit)
    }

    fn set_ref(&self, id: &RepoId, name: String, commit: &str) -> Result<(), StoreError> {
        let mut inner = self.inner.write();
        let repo = inner.repo_mut(id)?;
        let target = repo.resolve(commit).ok_or_else(|| no_commit(id, commit))?;
        repo.refs.insert(name, target.id.clone());
        Ok(())
    }

    /// Removes a branch, or the ref with that full name; says whether there was one.
    pub fn delete_ref(&self, id: &RepoId, name: &str) -> Result<bool, StoreError> {
        let mut inner = self.inner.write();
        let refs = &mut inner.repo_mut(id)?.refs;
        Ok(refs.remove(&branch_ref(name)).is_some())
    }

    pub fn add_raw_entry(&self, id: &RepoId, commit: &str, entry: Value) -> Result<(), StoreError> {
        let mut inner = self.inner.write();
        let repo = inner.repo_mut(id)?;
        let found = repo.resolve(commit).ok_or_else(|| no_commit(id, commit))?;
        if let Some(stored) = repo.commits.get_mut(&found.id) {
            Arc::make_mut(stored).raw.push(entry);
        }
        Ok(())
    }

    pub fn get(&self, id: &RepoId) -> Option<Arc<Repo>> {
        self.inner.read().repos.get(id).cloned()
    }

    pub fn repos(&self) -> Vec<(RepoId, Arc<Repo>)> {
        let inner = self.inner.read();
        let pairs = inner.repos.iter();
        pairs.map(|(id, repo)| (id.clone(), Arc::clone(repo))).collect()
    }

    /// The file of that sha256 is in the Xet store too, under this name.
    pub fn set_xet_hash(&self, sha256: &str, hash: &str) {
        self.inner.write().xet_hashes.insert(sha256.to_owned(), hash.to_owned());
    }

    pub fn xet_hash(&self, sha256: &str) -> Option<String> {
        self.inner.read().xet_hashes.get(sha256).cloned()
    }

    /// How many tokens for the Xet store were given out, with this one.
    pub fn next_xet_token(&self) -> u64 {
        let mut inner = self.inner.write();
        inner.xet_tokens += 1;
        inner.xet_tokens
    }

    pub fn blob(&self, sha256: &str) -> Option<Blob> {
        self.inner.read().blobs.get(sha256).cloned()
    }

    /// The repository under that name, or where it went, as far as the caller may know.
    pub fn look_up(&self, id: &RepoId, caller: &Caller) -> Lookup {
        if let Some(repo) = self.get(id) {
            return match may_see(&repo, caller) {
                true => Lookup::Found(repo),
                false => Lookup::Absent,
            };
        }
        match self.new_name(id) {
            Some(to) if self.get(&to).is_some_and(|repo| may_see(&repo, caller)) => Lookup::Moved(to),
            _ => Lookup::Absent,
        }
    }

    fn new_name(&self, id: &RepoId) -> Option<RepoId> {
        let inner = self.inner.read();
        let other_case = || inner.repos.keys().find(|known| known.equals_but_for_case(id));
        inner.renamed.get(id).or_else(other_case).cloned()
    }
}

pub fn may_see(repo: &Repo, caller: &Caller) -> bool {
    !repo.settings.private || caller.is_one_of(&repo.settings.readers)
}

pub fn may_resolve(repo: &Repo, caller: &Caller) -> bool {
    !repo.settings.gated || caller.is_one_of(&repo.settings.granted)
}

fn no_commit(repo: &RepoId, commit: &str) -> StoreError {
    StoreError::NoCommit { repo: repo.clone(), commit: commit.to_owned() }
}
