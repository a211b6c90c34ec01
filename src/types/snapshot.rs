//! The files of one commit.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::{Blob, BlobId, Commit, PathProblem, RepoId, RepoPath};

/// A file as an origin can deliver it: where it lies and what its content is called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RemoteFile {
    pub repo: RepoId,
    pub commit: Commit,
    pub path: RepoPath,
    pub blob: Blob,
}

/// The immutable file list of one commit, whole unless it says otherwise. Folders are implied by the files in them.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub repo: RepoId,
    pub commit: Commit,
    /// Whether only granted identities may know of the repository.
    pub private: bool,
    /// Whether the Hub asks for an agreement before it hands out contents.
    pub gated: bool,
    /// These files are in it, and there may be others: the list does not come from the Hub.
    pub partial: bool,
    /// Seconds since 1970: the commit's own date where it is known, else when it was first listed.
    pub created_at: u64,
    files: BTreeMap<RepoPath, Blob>,
    folders: BTreeSet<String>,
    sizes: BTreeMap<BlobId, u64>,
}

/// What a path within a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotEntry {
    File(Blob),
    Folder,
}

impl Snapshot {
    /// Builds the list and leaves out, one by one, what could not be shown as a tree; those come back with the reason.
    pub fn new(
        repo: RepoId,
        commit: Commit,
        listed: impl IntoIterator<Item = (RepoPath, Blob)>,
    ) -> (Self, Vec<(RepoPath, PathProblem)>) {
        let mut snapshot = Self {
            repo,
            commit,
            private: false,
            gated: false,
            partial: false,
            created_at: 0,
            files: BTreeMap::new(),
            folders: BTreeSet::new(),
            sizes: BTreeMap::new(),
        };
        let mut refused = Vec::new();
        for (path, blob) in listed {
            if let Err(problem) = snapshot.insert(&path, blob) {
                refused.push((path, problem));
            }
        }
        (snapshot, refused)
    }

    fn insert(&mut self, path: &RepoPath, blob: Blob) -> Result<(), PathProblem> {
        if let Some(known) = self.files.get(path) {
            return if *known == blob { Ok(()) } else { Err(PathProblem::Ambiguous) };
        }
        if self.sizes.get(&blob.id).is_some_and(|size| *size != blob.size) {
            return Err(PathProblem::Ambiguous);
        }
        let is_file = |folder: &str| RepoPath::new(folder).is_ok_and(|folder| self.files.contains_key(&folder));
        if self.folders.contains(path.as_str()) || path.parents().any(is_file) {
            return Err(PathProblem::FileAndFolder);
        }
        self.folders.extend(path.parents().map(str::to_owned));
        self.sizes.insert(blob.id, blob.size);
        self.files.insert(path.clone(), blob);
        Ok(())
    }

    pub fn files(&self) -> impl Iterator<Item = (&RepoPath, Blob)> {
        self.files.iter().map(|(path, blob)| (path, *blob))
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub fn entry(&self, path: &str) -> Option<SnapshotEntry> {
        if self.folders.contains(path) {
            return Some(SnapshotEntry::Folder);
        }
        let path = RepoPath::new(path).ok()?;
        self.files.get(&path).map(|blob| SnapshotEntry::File(*blob))
    }

    /// Names directly below `folder` (empty for the root), in order.
    pub fn children(&self, folder: &str) -> impl Iterator<Item = (&str, SnapshotEntry)> + use<'_> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        // Only what lies below the folder is looked at: a walk over the tree asks for every folder.
        let from = (Bound::Included(prefix.as_str()), Bound::Unbounded);
        let files = self.files.range::<str, _>(from).map(|(path, blob)| (path.as_str(), SnapshotEntry::File(*blob)));
        let folders = self.folders.range::<str, _>(from).map(|path| (path.as_str(), SnapshotEntry::Folder));
        let (in_files, in_folders) = (prefix.clone(), prefix.clone());
        let files = files.map_while(move |(path, entry)| Some((path.strip_prefix(in_files.as_str())?, entry)));
        let folders = folders.map_while(move |(path, entry)| Some((path.strip_prefix(in_folders.as_str())?, entry)));
        files.chain(folders).filter(|(name, _)| !name.contains('/'))
    }

    pub fn remote_file(&self, path: &RepoPath) -> Option<RemoteFile> {
        let blob = *self.files.get(path)?;
        Some(RemoteFile { repo: self.repo.clone(), commit: self.commit, path: path.clone(), blob })
    }

    /// What its contents take, each counted once however many files have it.
    pub fn content_bytes(&self) -> u64 {
        self.sizes.values().sum()
    }

    pub fn total_bytes(&self) -> u64 {
        self.files.values().map(|blob| blob.size).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::RepoType;

    fn snapshot(paths: &[(&str, u8)]) -> (Snapshot, Vec<(RepoPath, PathProblem)>) {
        let repo = RepoId::new(RepoType::Model, "acme/tiny").unwrap();
        let listed = paths.iter().map(|(path, content)| {
            (RepoPath::new(path).unwrap(), Blob { id: BlobId::Sha256([*content; 32]), size: 1 })
        });
        Snapshot::new(repo, Commit::from_bytes([1; 20]), listed)
    }

    #[test]
    fn folders_are_implied_by_their_files() {
        let (snapshot, refused) = snapshot(&[("a/b/c", 1), ("a/d", 2), ("a-b/x", 4), ("e", 3)]);
        assert!(refused.is_empty());
        let names = |folder| {
            let mut names: Vec<_> = snapshot.children(folder).map(|(name, _)| name).collect();
            names.sort();
            names
        };
        assert_eq!(names(""), ["a", "a-b", "e"]);
        assert_eq!(names("a"), ["b", "d"]);
        assert_eq!(names("a/b"), ["c"]);
        assert_eq!(names("x"), [""; 0]);
        assert_eq!(snapshot.entry("a/b"), Some(SnapshotEntry::Folder));
        assert_eq!(snapshot.entry("a/x"), None);
    }

    #[test]
    fn a_name_that_is_file_and_folder_is_refused_and_the_rest_is_kept() {
        let (kept, refused) = snapshot(&[("a", 1), ("a/b", 2), ("c", 3)]);
        assert_eq!(refused, [(RepoPath::new("a/b").unwrap(), PathProblem::FileAndFolder)]);
        assert_eq!(kept.files().count(), 2);
        let (_, refused) = snapshot(&[("a/b", 1), ("a", 2)]);
        assert_eq!(refused, [(RepoPath::new("a").unwrap(), PathProblem::FileAndFolder)]);
    }

    #[test]
    fn one_hash_with_two_lengths_is_refused() {
        let repo = RepoId::new(RepoType::Model, "acme/tiny").unwrap();
        let blob = |size| Blob { id: BlobId::Sha256([7; 32]), size };
        let path = |name| RepoPath::new(name).unwrap();
        let listed = [(path("a"), blob(1)), (path("b"), blob(2)), (path("c"), blob(1))];
        let (kept, refused) = Snapshot::new(repo, Commit::from_bytes([1; 20]), listed);
        assert_eq!(refused, [(path("b"), PathProblem::Ambiguous)]);
        assert_eq!(kept.files().count(), 2);
    }
}
