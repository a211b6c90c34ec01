//! Which files a commit has, from either of the answers that list them: the pages of a tree, or the siblings of a
//! repository's info. What cannot be shown is named in the log and left out.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::types::{Blob, BlobId, Commit, RepoId, RepoPath, Snapshot};

/// 16 TiB: sizes are added up, and the sum of a whole listing must stay a number.
const MAX_FILE_SIZE: u64 = 1 << 44;
/// A hostile listing must not fill the log.
const MAX_NAMED_REFUSALS: usize = 100;
/// Up to here siblings are believed to be all the files; the Hub may cut longer lists.
const MAX_SIBLINGS: usize = 1000;

/// An entry of a listing, as the Hub said it.
pub(super) struct Entry(Value);

#[derive(Deserialize)]
struct TreeEntry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    oid: String,
    #[serde(default)]
    size: u64,
    lfs: Option<LfsEntry>,
}

#[derive(Deserialize)]
struct LfsEntry {
    oid: String,
    size: u64,
}

/// The entries that these siblings are, if they are all that a listing would say.
pub(super) fn of_siblings(siblings: Vec<Value>) -> Option<Vec<Entry>> {
    let complete = 1..=MAX_SIBLINGS;
    if !complete.contains(&siblings.len()) {
        return None;
    }
    siblings.into_iter().map(Entry::of_sibling).collect()
}

/// The files of a commit, without what cannot be shown.
pub(super) fn read(repo: &RepoId, commit: Commit, entries: Vec<Entry>) -> Snapshot {
    let mut refusals = Refusals { repo, commit, count: 0 };
    let listed = entries.into_iter().filter_map(|entry| {
        entry.read().unwrap_or_else(|refusal| {
            refusals.add(&refusal.path, &refusal.reason);
            None
        })
    });
    let (snapshot, refused) = Snapshot::new(repo.clone(), commit, listed.collect::<Vec<_>>());
    for (path, problem) in refused {
        refusals.add(path.as_str(), &problem.to_string());
    }
    refusals.finish();
    snapshot
}

struct Refusal {
    path: String,
    reason: String,
}

impl Entry {
    pub(super) fn of_tree(entry: Value) -> Self {
        Self(entry)
    }

    /// `None` for a sibling without hash and size, as Hubs give it that do not know the question.
    fn of_sibling(sibling: Value) -> Option<Self> {
        let oid = sibling.get("blobId")?.as_str()?;
        let size = sibling.get("size")?.as_u64()?;
        let lfs = match sibling.get("lfs") {
            None | Some(Value::Null) => Value::Null,
            Some(lfs) => json!({"oid": lfs.get("sha256")?, "size": lfs.get("size")?}),
        };
        let path = sibling.get("rfilename")?;
        Some(Self(json!({"type": "file", "path": path, "oid": oid, "size": size, "lfs": lfs})))
    }

    /// A file; `None` for a folder.
    fn read(self) -> Result<Option<(RepoPath, Blob)>, Refusal> {
        let path = self.0.get("path").and_then(Value::as_str).unwrap_or_default().to_owned();
        let refuse = |reason: String| Refusal { path: path.clone(), reason };
        let entry: TreeEntry = serde_json::from_value(self.0).map_err(|error| refuse(error.to_string()))?;
        if entry.kind != "file" {
            return Ok(None);
        }
        let path = RepoPath::new(&entry.path).map_err(|problem| refuse(problem.to_string()))?;
        let (oid, size) = match &entry.lfs {
            Some(lfs) => (lfs.oid.strip_prefix("sha256:").unwrap_or(&lfs.oid), lfs.size),
            None => (entry.oid.as_str(), entry.size),
        };
        let id = BlobId::from_etag(oid).map_err(|error| refuse(error.to_string()))?;
        if matches!(id, BlobId::Sha256(_)) != entry.lfs.is_some() {
            return Err(refuse(format!("`{oid}` is not the kind of hash that such a file has")));
        }
        if size > MAX_FILE_SIZE {
            return Err(refuse(format!("a size of {size} bytes is not plausible")));
        }
        Ok(Some((path, Blob { id, size })))
    }
}

/// Says in the log what a listing holds that is not shown, and why.
struct Refusals<'a> {
    repo: &'a RepoId,
    commit: Commit,
    count: usize,
}

impl Refusals<'_> {
    fn add(&mut self, path: &str, reason: &str) {
        self.count += 1;
        if self.count <= MAX_NAMED_REFUSALS {
            // `?path` escapes what could confuse a terminal.
            tracing::warn!(repo = %self.repo, commit = %self.commit, ?path, reason, "a file of the listing is left out");
        }
    }

    fn finish(self) {
        if self.count > MAX_NAMED_REFUSALS {
            let more = self.count - MAX_NAMED_REFUSALS;
            tracing::warn!(repo = %self.repo, commit = %self.commit, more, "more files of the listing are left out");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_file_of_git_or_lfs_or_a_folder() {
        let (sha1, sha256) = ("1".repeat(40), "2".repeat(64));
        let read = |entry| Entry::of_tree(entry).read().ok().flatten();
        let (path, blob) = read(json!({"type": "file", "oid": sha1, "size": 3, "path": "a/b", "new": [1]})).unwrap();
        assert_eq!((path.as_str(), blob), ("a/b", Blob { id: BlobId::GitSha1([0x11; 20]), size: 3 }));
        let lfs = json!({"oid": sha256, "size": 9, "pointerSize": 130});
        let (_, blob) = read(json!({"type": "file", "oid": sha1, "size": 9, "path": "w", "lfs": lfs})).unwrap();
        assert_eq!(blob, Blob { id: BlobId::Sha256([0x22; 32]), size: 9 });
        let folder = json!({"type": "directory", "oid": sha1, "size": 0, "path": "a"});
        assert!(matches!(Entry::of_tree(folder).read(), Ok(None)));
    }

    #[test]
    fn a_strange_entry_is_refused_with_its_reason() {
        let (sha1, sha256) = ("1".repeat(40), "2".repeat(64));
        let file = |path: &str, oid: &str, size: Value| json!({"type": "file", "oid": oid, "size": size, "path": path});
        let strange = [
            file("../x", &sha1, json!(1)),
            file("a\0b", &sha1, json!(1)),
            file("x", "", json!(1)),
            file("x", &sha256, json!(1)),
            file("x", &sha1, json!(-1)),
            file("x", &sha1, json!(u64::MAX)),
            json!({"type": "file"}),
            json!(7),
        ];
        for entry in strange {
            let refusal = Entry::of_tree(entry.clone()).read().err().unwrap_or_else(|| panic!("{entry}"));
            assert!(!refusal.reason.is_empty());
        }
    }

    #[test]
    fn siblings_list_a_commit_only_if_each_has_hash_and_size() {
        let (sha1, sha256) = ("1".repeat(40), "2".repeat(64));
        let git = json!({"rfilename": "a/b", "blobId": sha1, "size": 3});
        let lfs = json!({"rfilename": "w", "blobId": sha1, "size": 9, "lfs": {"sha256": sha256, "size": 9, "pointerSize": 130}});
        let entries = of_siblings(vec![git.clone(), lfs]).unwrap();
        let read: Vec<_> = entries.into_iter().map(|entry| entry.read().ok().flatten().unwrap().1).collect();
        let expected =
            [Blob { id: BlobId::GitSha1([0x11; 20]), size: 3 }, Blob { id: BlobId::Sha256([0x22; 32]), size: 9 }];
        assert_eq!(read, expected);
        assert!(of_siblings(vec![git.clone(), json!({"rfilename": "c"})]).is_none());
        assert!(of_siblings(Vec::new()).is_none());
        assert!(of_siblings(vec![git; MAX_SIBLINGS + 1]).is_none(), "a list that may be cut");
    }
}
