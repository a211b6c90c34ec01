//! What a path below a virtual HF_HOME means, and back. Pure.
//!
//! A path here is relative, `/`-joined and clean; the empty path is the root.

use super::path_tree;
use crate::types::{BlobId, Commit, RepoId, RepoPath, RepoType, Revision};

/// The meaning of a path. Whether the thing exists is for [`super::Tree`] to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Root,
    /// `hub`
    Hub,
    /// `hub/models--org--name`
    Repo(RepoId),
    /// `hub/…/refs`
    Refs(RepoId),
    /// `hub/…/refs/REV`: the revision, or a folder on the way to one (`refs/refs/pr`).
    Ref(RepoId, Revision),
    /// `hub/…/snapshots`
    Snapshots(RepoId),
    /// `hub/…/snapshots/COMMIT` and everything below: a folder or a link.
    Snapshot(RepoId, Commit, String),
    /// `hub/…/blobs`
    Blobs(RepoId),
    /// `hub/…/blobs/ETAG`
    Blob(RepoId, BlobId),
    /// `hub/…/.no_exist`
    NoExist(RepoId),
    /// `hub/…/.no_exist/COMMIT` and everything below.
    NoExistIn(RepoId, Commit, String),
    /// `hub/…/trees`
    Trees(RepoId),
    /// `models`, `s3` or `dir` and what lies between it and a repository: a folder. For `s3` and `dir` only the
    /// configuration tells it from a repository, as which it is what [`Place::Newest`] is.
    Shelf(RepoType, String),
    /// `models/ORG/NAME`, `models/ORG/NAME@REV`: the commit that the revision leads to.
    Newest(RepoId, Revision),
    /// `models/ORG/NAME@=COMMIT`: a link to the folder of the commit beside it. What [`Place::Newest`] turns out to be.
    CommitLink(RepoId, Commit),
    /// `models/ORG/NAME@COMMIT` and everything below: a folder or a plain file.
    Plain(RepoId, Commit, String),
    /// What clients write and nobody needs: accepted and dropped.
    Discarded,
    /// A name inside the virtual part that means nothing: absent, and not to be made.
    Nothing,
    /// Everything else below HF_HOME: the writable layer's.
    Scratch,
}

/// `dir/name`, or `name` at the root.
pub fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The folder a path lies in and its name there.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The folder of a repository below `hub/`, for those that have one.
fn hub_folder(repo: &RepoId) -> Option<String> {
    repo.folder().map(|folder| format!("hub/{folder}"))
}

/// The path of a file's content, to which all its names lead.
pub fn blob_path(repo: &RepoId, blob: &BlobId) -> String {
    match hub_folder(repo) {
        Some(folder) => format!("{folder}/blobs/{}", blob.etag()),
        None => format!("{}/{}", path_tree::contents(repo), blob.etag()),
    }
}

/// The folder of a commit's files: as the Hub's clients have it, or plain.
pub fn commit_path(repo: &RepoId, commit: Commit) -> String {
    match hub_folder(repo) {
        Some(folder) => format!("{folder}/snapshots/{commit}"),
        None => path_tree::folder(repo, commit),
    }
}

/// What `snapshots/COMMIT/PATH` links to: `../../blobs/ETAG`, one `../` more for each folder.
pub fn link_target(path: &RepoPath, blob: &BlobId) -> String {
    format!("{}blobs/{}", "../".repeat(path.depth() + 2), blob.etag())
}

impl Place {
    pub fn of(path: &str) -> Place {
        let Some(below_hub) = path.strip_prefix("hub/") else {
            return match path {
                "" => Place::Root,
                "hub" => Place::Hub,
                _ => path_tree::place(path).unwrap_or(Place::Scratch),
            };
        };
        let (folder, rest) = below_hub.split_once('/').map_or((below_hub, None), |(folder, rest)| (folder, Some(rest)));
        match (RepoId::from_folder(folder), rest) {
            (Some(repo), None) => Place::Repo(repo),
            (Some(repo), Some(rest)) => Self::in_repo(repo, rest),
            (None, None) if folder == "CACHEDIR.TAG" => Place::Discarded,
            (None, _) => Place::Scratch,
        }
    }

    fn in_repo(repo: RepoId, path: &str) -> Place {
        let (folder, rest) = path.split_once('/').map_or((path, None), |(folder, rest)| (folder, Some(rest)));
        match (folder, rest) {
            ("refs", None) => Place::Refs(repo),
            ("refs", Some(name)) => Revision::new(name).map_or(Place::Nothing, |revision| Place::Ref(repo, revision)),
            ("snapshots", None) => Place::Snapshots(repo),
            ("snapshots", Some(rest)) => Self::below_commit(rest, |commit, path| Place::Snapshot(repo, commit, path)),
            ("blobs", None) => Place::Blobs(repo),
            ("blobs", Some(etag)) => BlobId::from_etag(etag).map_or(Place::Nothing, |blob| Place::Blob(repo, blob)),
            (".no_exist", None) => Place::NoExist(repo),
            (".no_exist", Some(rest)) => Self::below_commit(rest, |commit, path| Place::NoExistIn(repo, commit, path)),
            ("trees", None) => Place::Trees(repo),
            ("trees", Some(_)) => Place::Discarded,
            _ => Place::Nothing,
        }
    }

    fn below_commit(rest: &str, place: impl FnOnce(Commit, String) -> Place) -> Place {
        let (commit, path) = rest.split_once('/').unwrap_or((rest, ""));
        match commit.parse() {
            Ok(commit) => place(commit, path.to_owned()),
            Err(_) => Place::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn repo() -> RepoId {
        "acme/tiny".parse().unwrap()
    }

    #[test]
    fn every_path_of_the_clients_has_its_meaning() {
        let commit = COMMIT.parse().unwrap();
        let repo_path = |rest: &str| Place::of(&format!("hub/models--acme--tiny{rest}"));
        assert_eq!(Place::of(""), Place::Root);
        assert_eq!(Place::of("hub"), Place::Hub);
        assert_eq!(repo_path(""), Place::Repo(repo()));
        assert_eq!(repo_path("/refs/main"), Place::Ref(repo(), Revision::main()));
        assert_eq!(repo_path("/refs/refs/pr/1"), Place::Ref(repo(), Revision::new("refs/pr/1").unwrap()));
        assert_eq!(repo_path(&format!("/snapshots/{COMMIT}")), Place::Snapshot(repo(), commit, String::new()));
        assert_eq!(repo_path(&format!("/snapshots/{COMMIT}/a/b")), Place::Snapshot(repo(), commit, "a/b".to_owned()));
        assert_eq!(repo_path(&format!("/.no_exist/{COMMIT}/x")), Place::NoExistIn(repo(), commit, "x".to_owned()));
        assert_eq!(repo_path(&format!("/blobs/{COMMIT}")), Place::Blob(repo(), BlobId::from_etag(COMMIT).unwrap()));
        assert_eq!(repo_path(&format!("/trees/{COMMIT}.json")), Place::Discarded);
    }

    #[test]
    fn what_clients_write_elsewhere_is_the_writable_layers() {
        for path in
            ["token", "stored_tokens", "modules/x/y.py", "xet/logs", "hub/.locks/models--a--b/x.lock", "hub/tmp1"]
        {
            assert_eq!(Place::of(path), Place::Scratch, "{path}");
        }
        assert_eq!(Place::of("hub/CACHEDIR.TAG"), Place::Discarded);
    }

    #[test]
    fn what_means_nothing_in_a_repo_is_nothing() {
        for rest in ["x", "blobs/abc.incomplete", "snapshots/main", "refs/a b", "refs/../x", "snapshots/XYZ/a"] {
            assert_eq!(Place::of(&format!("hub/models--a--b/{rest}")), Place::Nothing, "{rest}");
        }
    }

    #[test]
    fn only_the_roots_of_the_second_tree_are_taken_from_clients() {
        for path in ["models", "models/acme/tiny", "s3", "dir/x"] {
            assert_ne!(Place::of(path), Place::Scratch, "{path}");
        }
        assert_eq!(Place::of("models.txt"), Place::Scratch);
    }

    #[test]
    fn a_link_leads_from_its_folder_to_the_blob() {
        let blob = BlobId::from_etag(COMMIT).unwrap();
        assert_eq!(link_target(&RepoPath::new("a.txt").unwrap(), &blob), format!("../../blobs/{COMMIT}"));
        assert_eq!(link_target(&RepoPath::new("1/b/a.txt").unwrap(), &blob), format!("../../../../blobs/{COMMIT}"));
        assert_eq!(blob_path(&repo(), &blob), format!("hub/models--acme--tiny/blobs/{COMMIT}"));
    }
}
