//! The cache of the Hub's own clients, as it lies on disk: `models--ORG--NAME/{refs,snapshots,blobs,trees}`. Only read here.
//!
//! Nothing in it is trusted: a name that is none is passed over, and no link leads out of the directory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::types::{Blob, BlobId, Commit, RepoId, RepoPath, Revision};

/// A repository in it.
#[derive(Debug)]
pub struct CachedRepo {
    pub repo: RepoId,
    pub commits: Vec<CachedCommit>,
}

/// What it has of one commit.
#[derive(Debug)]
pub struct CachedCommit {
    pub commit: Commit,
    /// The refs that stood here.
    pub revisions: Vec<Revision>,
    pub files: BTreeMap<RepoPath, CachedFile>,
    /// Every file of the commit, where a client kept that list.
    pub whole: Option<Vec<(RepoPath, Blob)>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedFile {
    pub blob: Blob,
    /// Where its bytes are: a regular file.
    pub at: PathBuf,
}

/// What was found, and what was passed over and why.
#[derive(Debug, Default)]
pub struct HubCache {
    pub repos: Vec<CachedRepo>,
    pub remarks: Vec<String>,
}

/// Folders below a snapshot; deeper is no model.
const DEEPEST: usize = 64;
/// A list of a commit's files is not longer.
const LONGEST_LIST: u64 = 256 << 20;
/// A file that lies in a snapshot itself is named by its git hash up to this size, as the Hub would most likely do.
const LARGEST_GIT: u64 = 10 << 20;

impl HubCache {
    /// Reads the cache at `directory`, at its `hub/` or the one repository that it is. Takes its time.
    pub fn read(directory: &Path) -> io::Result<Self> {
        let root = fs::canonicalize(directory)?;
        let mut found = Self::default();
        if let Some(repo) = repo_at(&root) {
            found.add(&root, repo);
            return Ok(found);
        }
        let hub = root.join("hub");
        let hub = if hub.is_dir() { hub } else { root };
        for path in entries(&hub)? {
            if let Some(repo) = repo_at(&path) {
                found.add(&path, repo);
            }
        }
        Ok(found)
    }

    fn add(&mut self, folder: &Path, repo: RepoId) {
        match self.read_repo(folder, &repo) {
            Ok(commits) if commits.is_empty() => {}
            Ok(commits) => self.repos.push(CachedRepo { repo, commits }),
            Err(error) => self.remarks.push(format!("{}: cannot be read: {error}", folder.display())),
        }
    }

    fn read_repo(&mut self, folder: &Path, repo: &RepoId) -> io::Result<Vec<CachedCommit>> {
        let mut refs: BTreeMap<Commit, Vec<Revision>> = BTreeMap::new();
        read_refs(&folder.join("refs"), "", 0, &mut refs)?;
        let mut commits = Vec::new();
        for path in entries(&folder.join("snapshots"))? {
            let Some(commit) = name(&path).and_then(|name| name.parse().ok()) else { continue };
            let mut files = BTreeMap::new();
            self.read_folder(folder, &path, "", 0, &mut files)?;
            let whole = whole_list(&folder.join("trees").join(format!("{commit}.json")));
            let revisions = refs.remove(&commit).unwrap_or_default();
            if !files.is_empty() || whole.is_some() {
                commits.push(CachedCommit { commit, revisions, files, whole });
            }
        }
        for (commit, revisions) in refs {
            let names: Vec<_> = revisions.iter().map(Revision::as_str).collect();
            self.remarks.push(format!("{repo}: {} leads to {commit}, of which nothing is there", names.join(", ")));
        }
        Ok(commits)
    }

    fn read_folder(
        &mut self,
        repo: &Path,
        folder: &Path,
        below: &str,
        depth: usize,
        files: &mut BTreeMap<RepoPath, CachedFile>,
    ) -> io::Result<()> {
        for path in entries(folder)? {
            let Some(name) = name(&path) else { continue };
            let inner = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
            let kind = fs::symlink_metadata(&path)?.file_type();
            if kind.is_dir() && depth < DEEPEST {
                self.read_folder(repo, &path, &inner, depth + 1, files)?;
                continue;
            }
            match RepoPath::new(&inner).map_err(|problem| problem.to_string()).and_then(|inner| {
                let file = if kind.is_symlink() { linked(repo, &path) } else { plain(&path) };
                file.map(|file| (inner, file))
            }) {
                Ok((inner, file)) => drop(files.insert(inner, file)),
                Err(why) => self.remarks.push(format!("{}: passed over: {why}", path.display())),
            }
        }
        Ok(())
    }
}

fn repo_at(path: &Path) -> Option<RepoId> {
    let repo = RepoId::from_folder(name(path)?)?;
    path.join("snapshots").is_dir().then_some(repo)
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// In order; none where there is no such folder.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut paths = listed.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn read_refs(folder: &Path, below: &str, depth: usize, refs: &mut BTreeMap<Commit, Vec<Revision>>) -> io::Result<()> {
    for path in entries(folder)? {
        let Some(name) = name(&path) else { continue };
        let inner = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        let found = fs::symlink_metadata(&path)?;
        if found.is_dir() && depth < DEEPEST {
            read_refs(&path, &inner, depth + 1, refs)?;
        } else if found.is_file() && found.len() <= 64 {
            let commit = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
            if let (Some(commit), Ok(revision)) = (commit, Revision::new(&inner)) {
                refs.entry(commit).or_default().push(revision);
            }
        }
    }
    Ok(())
}

/// What a link of a snapshot leads to, in the same repository: named by its etag.
fn linked(repo: &Path, link: &Path) -> Result<CachedFile, String> {
    let at = fs::canonicalize(link).map_err(|error| error.to_string())?;
    if !at.starts_with(repo.parent().unwrap_or(repo)) {
        return Err(format!("it leads out of the cache, to {}", at.display()));
    }
    let found = fs::symlink_metadata(&at).map_err(|error| error.to_string())?;
    match name(&at).map(BlobId::from_etag) {
        Some(Ok(id)) if found.is_file() => Ok(CachedFile { blob: Blob { id, size: found.len() }, at }),
        // Named by something that is no hash: another server's etag.
        _ => plain(&at),
    }
}

/// A file without a name for its content: it gets one.
fn plain(at: &Path) -> Result<CachedFile, String> {
    let read = || {
        let found = fs::symlink_metadata(at)?;
        if !found.is_file() {
            return Ok(None);
        }
        let size = found.size();
        let mut file = fs::File::open(at)?;
        let id = if size <= LARGEST_GIT {
            let mut hash = Sha1::new().chain_update(format!("blob {size}\0"));
            io::copy(&mut file, &mut Hashing(&mut hash))?;
            BlobId::GitSha1(hash.finalize().into())
        } else {
            let mut hash = Sha256::new();
            io::copy(&mut file, &mut Hashing(&mut hash))?;
            BlobId::Sha256(hash.finalize().into())
        };
        Ok(Some(CachedFile { blob: Blob { id, size }, at: at.to_owned() }))
    };
    read().map_err(|error: io::Error| error.to_string())?.ok_or_else(|| "it is no file".to_owned())
}

struct Hashing<'a, D: Digest>(&'a mut D);

impl<D: Digest> io::Write for Hashing<'_, D> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Deserialize)]
struct TreeList {
    format_version: u64,
    files: BTreeMap<String, TreeFile>,
}

#[derive(Deserialize)]
struct TreeFile {
    size: u64,
    blob_id: String,
    lfs_sha256: Option<String>,
    lfs_size: Option<u64>,
}

/// The list that newer clients keep. One that does not read as a list of plain files is as good as none.
fn whole_list(path: &Path) -> Option<Vec<(RepoPath, Blob)>> {
    if fs::metadata(path).ok()?.len() > LONGEST_LIST {
        return None;
    }
    let list: TreeList = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    if list.format_version != 1 {
        return None;
    }
    let file = |(path, file): (String, TreeFile)| {
        let id = BlobId::from_etag(file.lfs_sha256.as_deref().unwrap_or(&file.blob_id)).ok()?;
        Some((RepoPath::new(&path).ok()?, Blob { id, size: file.lfs_size.unwrap_or(file.size) }))
    };
    list.files.into_iter().map(file).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    /// `hello` as git names it.
    const HELLO: &str = "ce013625030ba8dba906f756967f9e9ca394464a";

    fn cache() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let repo = folder.path().join("hub/models--acme--tiny");
        let snapshot = repo.join("snapshots").join(COMMIT);
        fs::create_dir_all(snapshot.join("sub")).unwrap();
        fs::create_dir_all(repo.join("blobs")).unwrap();
        fs::create_dir_all(repo.join("refs/refs/pr")).unwrap();
        fs::write(repo.join("refs/main"), COMMIT).unwrap();
        fs::write(repo.join("refs/refs/pr/1"), COMMIT).unwrap();
        fs::write(repo.join("blobs").join(HELLO), "hello\n").unwrap();
        symlink(format!("../../../blobs/{HELLO}"), snapshot.join("sub/a.txt")).unwrap();
        (folder, repo)
    }

    #[test]
    fn a_clients_cache_is_read_from_its_home_its_hub_folder_or_one_repository() {
        let (folder, repo) = cache();
        for place in [folder.path(), &folder.path().join("hub"), &repo] {
            let found = HubCache::read(place).unwrap();
            assert_eq!(found.remarks, [""; 0]);
            let commit = &found.repos[0].commits[0];
            assert_eq!(found.repos[0].repo.to_string(), "acme/tiny");
            assert_eq!(commit.revisions.iter().map(Revision::as_str).collect::<Vec<_>>(), ["main", "refs/pr/1"]);
            let (path, file) = commit.files.first_key_value().unwrap();
            assert_eq!((path.as_str(), file.blob.id.etag(), file.blob.size), ("sub/a.txt", HELLO.to_owned(), 6));
            assert!(commit.whole.is_none());
        }
    }

    #[test]
    fn a_link_out_of_the_cache_is_passed_over_and_a_plain_file_gets_the_name_of_its_content() {
        let (folder, repo) = cache();
        let snapshot = repo.join("snapshots").join(COMMIT);
        fs::write(folder.path().join("secret"), "x").unwrap();
        symlink(folder.path().join("secret"), snapshot.join("b.txt")).unwrap();
        symlink("nowhere", snapshot.join("c.txt")).unwrap();
        fs::write(snapshot.join("d.txt"), "hello\n").unwrap();
        let found = HubCache::read(folder.path()).unwrap();
        assert_eq!(found.remarks.len(), 2, "{:?}", found.remarks);
        let files = &found.repos[0].commits[0].files;
        assert_eq!(files.len(), 2);
        assert!(files.values().all(|file| file.blob.id.etag() == HELLO));
    }

    #[test]
    fn a_list_that_a_client_kept_is_taken_and_nonsense_is_none() {
        let (folder, repo) = cache();
        fs::create_dir(repo.join("trees")).unwrap();
        let list = |text: &str| {
            fs::write(repo.join("trees").join(format!("{COMMIT}.json")), text).unwrap();
            HubCache::read(folder.path()).unwrap().repos.remove(0).commits.remove(0).whole
        };
        let sha = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let text = format!(
            r#"{{"format_version":1,"files":{{
                "sub/a.txt":{{"size":6,"blob_id":"{HELLO}","lfs_sha256":null,"lfs_size":null,"xet_hash":null}},
                "model":{{"size":130,"blob_id":"{HELLO}","lfs_sha256":"{sha}","lfs_size":6,"xet_hash":"x"}}}}}}"#
        );
        let whole = list(&text).unwrap();
        assert_eq!(whole.len(), 2);
        assert_eq!((whole[0].1.id.etag(), whole[0].1.size), (sha.to_owned(), 6));
        for nonsense in ["", "[]", r#"{"format_version":2,"files":{}}"#, &text.replace("sub/a.txt", "../a.txt")] {
            assert!(list(nonsense).is_none(), "{nonsense}");
        }
    }
}
