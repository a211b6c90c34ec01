//! What a repository is: its kind and name, who may see it, and which commit each of its refs names.
//!
//! Plain data without IO. `store` keeps the repositories and decides who gets to see one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::commit::Commit;
use crate::lfs::LfsRule;

/// Below this many digits the start of a commit id is taken for a branch name.
const SHORTEST_COMMIT_PREFIX: usize = 7;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RepoKind {
    Model,
    Dataset,
    Space,
    Kernel,
}

impl RepoKind {
    pub const ALL: [RepoKind; 4] = [RepoKind::Model, RepoKind::Dataset, RepoKind::Space, RepoKind::Kernel];

    /// As in `/api/models/...` and in the folders of a root directory.
    pub fn plural(self) -> &'static str {
        match self {
            RepoKind::Model => "models",
            RepoKind::Dataset => "datasets",
            RepoKind::Space => "spaces",
            RepoKind::Kernel => "kernels",
        }
    }

    pub fn from_plural(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.plural() == name)
    }

    /// What stands before the name in a resolve URL: nothing for models.
    pub fn url_prefix(self) -> String {
        match self {
            RepoKind::Model => String::new(),
            other => format!("{}/", other.plural()),
        }
    }
}

/// `models/acme/tiny`; a plain `acme/tiny` or `gpt2` is a model.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct RepoId {
    pub kind: RepoKind,
    pub name: String,
}

impl RepoId {
    pub fn new(kind: RepoKind, name: impl Into<String>) -> Self {
        let name = name.into();
        RepoId { kind, name }
    }

    pub fn author(&self) -> Option<&str> {
        self.name.split_once('/').map(|(author, _)| author)
    }

    pub fn equals_but_for_case(&self, other: &RepoId) -> bool {
        self.kind == other.kind && self.name.eq_ignore_ascii_case(&other.name)
    }
}

impl From<&str> for RepoId {
    fn from(text: &str) -> Self {
        let split = text.split_once('/');
        match split.and_then(|(first, rest)| Some((RepoKind::from_plural(first)?, rest))) {
            Some((kind, name)) => RepoId::new(kind, name),
            None => RepoId::new(RepoKind::Model, text),
        }
    }
}

impl From<String> for RepoId {
    fn from(text: String) -> Self {
        RepoId::from(text.as_str())
    }
}

impl From<&RepoId> for RepoId {
    fn from(id: &RepoId) -> Self {
        id.clone()
    }
}

impl From<RepoId> for String {
    fn from(id: RepoId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.plural(), self.name)
    }
}

/// Who may see a repository and how its next commits are stored. Tokens are named, never written out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RepoSettings {
    /// Only `readers` know that it exists.
    pub private: bool,
    pub readers: Vec<String>,
    /// Everybody sees it listed, only `granted` may resolve its files.
    pub gated: bool,
    pub granted: Vec<String>,
    pub disabled: bool,
    pub lfs: LfsRule,
}

#[derive(Clone, Debug, Default)]
pub struct Repo {
    pub settings: RepoSettings,
    /// Full ref name (`refs/heads/main`, `refs/tags/v1`, `refs/pr/1`) to commit id.
    pub refs: BTreeMap<String, String>,
    pub commits: BTreeMap<String, Arc<Commit>>,
}

impl Repo {
    /// The commit that a branch, a tag, a full ref, a commit id or the start of one names.
    pub fn resolve(&self, revision: &str) -> Option<Arc<Commit>> {
        let named = [format!("refs/heads/{revision}"), format!("refs/tags/{revision}"), revision.to_owned()];
        let id = named.iter().find_map(|name| self.refs.get(name));
        match id {
            Some(id) => self.commits.get(id).cloned(),
            None => self.by_commit_id(revision),
        }
    }

    fn by_commit_id(&self, start: &str) -> Option<Arc<Commit>> {
        let is_hex = start.bytes().all(|b| b.is_ascii_hexdigit());
        if start.len() < SHORTEST_COMMIT_PREFIX || !is_hex {
            return None;
        }
        let mut matches = self.commits.iter().filter(|(id, _)| id.starts_with(start));
        match (matches.next(), matches.next()) {
            (Some((_, commit)), None) => Some(Arc::clone(commit)),
            _ => None,
        }
    }
}

/// `main` is `refs/heads/main`; what already starts with `refs/` stays as it is.
pub fn branch_ref(name: &str) -> String {
    if name.starts_with("refs/") { name.to_owned() } else { format!("refs/heads/{name}") }
}
