//! A commit: an unchanging tree of files, with the ids that git and LFS give them.

use std::collections::BTreeMap;
use std::io;
use std::time::SystemTime;

use serde_json::Value;
use sha1::{Digest, Sha1};

use crate::content::Content;
use crate::files::{Files, Source};
use crate::git;
use crate::hash_cache::{HashCache, HashKind};
use crate::lfs::LfsRule;
use crate::repo::RepoId;

#[derive(Clone, Debug)]
pub struct Commit {
    pub id: String,
    pub time: SystemTime,
    pub files: BTreeMap<String, FileEntry>,
    /// Tree ids by path, without the root.
    pub directories: BTreeMap<String, String>,
    /// Entries shown in listings as they are, for clients that must distrust them.
    pub raw: Vec<Value>,
}

#[derive(Clone, Debug)]
pub struct FileEntry {
    /// Of the file itself, or of the pointer that git holds in its place.
    pub oid: String,
    pub size: u64,
    pub lfs: Option<LfsObject>,
    pub content: Content,
}

#[derive(Clone, Debug)]
pub struct LfsObject {
    pub sha256: String,
    pub pointer_size: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error("`{0}` is not a path a repository may hold: it must be relative, without empty, `.` or `..` parts")]
    BadPath(String),
    #[error("cannot read the content of `{path}`: {source}")]
    Content { path: String, source: io::Error },
}

impl Commit {
    /// Hashes every file. The id depends on the repository and the content alone.
    pub fn build(repo: &RepoId, files: Files, rule: &LfsRule, hashes: &HashCache) -> Result<Self, CommitError> {
        let mut entries = BTreeMap::new();
        for (path, source) in files.0 {
            check_path(&path)?;
            let built = FileEntry::build(&path, source, rule, hashes);
            let entry = match built {
                Ok(entry) => entry,
                Err(source) => return Err(CommitError::Content { path, source }),
            };
            entries.insert(path, entry);
        }
        if let Some(path) = shadowed(&entries) {
            return Err(CommitError::BadPath(path));
        }
        let oids = entries.iter().map(|(path, e)| (path.clone(), e.oid.clone()));
        let mut directories = git::tree_oids(&oids.collect());
        let root = directories.remove("").unwrap_or_default();
        Ok(Commit { id: commit_id(repo, &root), time: SystemTime::now(), files: entries, directories, raw: Vec::new() })
    }
}

impl FileEntry {
    fn build(path: &str, source: Source, rule: &LfsRule, hashes: &HashCache) -> io::Result<Self> {
        let content = source.open()?;
        let size = content.size();
        if !rule.applies(path, size) {
            let oid = hashes.hash(&content, HashKind::GitSha1)?;
            return Ok(FileEntry { oid, size, lfs: None, content });
        }
        let sha256 = hashes.hash(&content, HashKind::Sha256)?;
        let pointer = git::lfs_pointer(&sha256, size);
        Ok(FileEntry {
            oid: git::blob_oid(pointer.as_bytes()),
            size,
            lfs: Some(LfsObject { sha256, pointer_size: pointer.len() as u64 }),
            content,
        })
    }
}

fn commit_id(repo: &RepoId, root_tree: &str) -> String {
    let mut hasher = Sha1::new();
    hasher.update(format!("commit {repo}\0{root_tree}"));
    hex::encode(hasher.finalize())
}

fn check_path(path: &str) -> Result<(), CommitError> {
    let bad = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains('\0');
    if path.split('/').any(bad) {
        return Err(CommitError::BadPath(path.to_owned()));
    }
    Ok(())
}

/// A file whose name is also a directory's, which git cannot hold.
fn shadowed(entries: &BTreeMap<String, FileEntry>) -> Option<String> {
    let is_directory = |path: &str| {
        let inside = format!("{path}/");
        let mut after = entries.range(inside.clone()..);
        after.next().is_some_and(|(next, _)| next.starts_with(&inside))
    };
    entries.keys().find(|path| is_directory(path)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(repo: &str, files: Files) -> Result<Commit, CommitError> {
        let rule = LfsRule::default();
        Commit::build(&repo.into(), files, &rule, &HashCache::default())
    }

    #[test]
    fn equal_content_gives_an_equal_commit() {
        let files = Files::from([("config.json", "{}"), ("a/model.bin", "weights")]);
        let first = commit("acme/tiny", files.clone()).unwrap();
        assert_eq!(first.id, commit("acme/tiny", files.clone()).unwrap().id);
        assert_ne!(first.id, commit("acme/other", files).unwrap().id);
        assert!(first.files["config.json"].lfs.is_none());
        assert!(first.files["a/model.bin"].lfs.is_some());
        assert!(first.directories.contains_key("a"));
    }

    #[test]
    fn impossible_trees_are_refused() {
        for path in ["../x", "/abs", "a//b", ""] {
            assert!(commit("acme/tiny", Files::from([(path, "")])).is_err(), "{path}");
        }
        let both = Files::from([("a", "file"), ("a/b", "below")]);
        assert!(commit("acme/tiny", both).is_err());
    }
}
