//! The second tree, for tools that take a path: `models/ORG/NAME[@REV]/…`, `s3/BUCKET/PREFIX[@COMMIT]/…` and
//! `dir/NAME[@COMMIT]/…`. Pure.
//!
//! A repository's name is followed by `@` and what is meant of it: a commit, a revision, or its contents. Without one it is
//! the newest commit of `main`. In revisions everything unusual is percent-encoded, in prefixes only `@` and `%`.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::layout::Place;
use crate::types::{BlobId, Commit, RepoId, RepoType, Revision};

/// The kinds that have a root here.
pub const ROOTS: [RepoType; 3] = [RepoType::Model, RepoType::Bucket, RepoType::Directory];

/// In the place of an organisation, for repositories that have none.
const NO_ORG: &str = "_";
/// After the `@`, for the contents of what has no folder below `hub/`.
const CONTENTS: &str = "blobs";
/// After the `@`, before the commit that a link leads to.
const LINK: &str = "=";

const IN_PREFIX: &AsciiSet = &CONTROLS.add(b'@').add(b'%');
const IN_REVISION: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// The path of the repository itself: `models/org/name`.
pub fn newest(repo: &RepoId) -> String {
    let root = repo.kind().plural();
    match repo.kind() {
        RepoType::Bucket => format!("{root}/{}", utf8_percent_encode(repo.name(), IN_PREFIX)),
        _ if repo.kind().is_on_hub() && !repo.name().contains('/') => format!("{root}/{NO_ORG}/{}", repo.name()),
        _ => format!("{root}/{}", repo.name()),
    }
}

/// The path of one of its revisions.
pub fn revision(repo: &RepoId, revision: &Revision) -> String {
    format!("{}@{}", newest(repo), utf8_percent_encode(revision.as_str(), IN_REVISION))
}

/// The folder of a commit's files.
pub fn folder(repo: &RepoId, commit: Commit) -> String {
    format!("{}@{commit}", newest(repo))
}

/// A link to [`folder`].
pub fn link(repo: &RepoId, commit: Commit) -> String {
    format!("{}@{LINK}{commit}", newest(repo))
}

/// Where that link leads to, from beside it.
pub fn link_target(repo: &RepoId, commit: Commit) -> String {
    let folder = folder(repo, commit);
    folder.rsplit('/').next().unwrap_or(&folder).to_owned()
}

/// The folder of its contents.
pub(super) fn contents(repo: &RepoId) -> String {
    format!("{}@{CONTENTS}", newest(repo))
}

/// The meaning of a path below one of the roots; `None` for any other path.
pub(super) fn place(path: &str) -> Option<Place> {
    let (root, rest) = path.split_once('/').unwrap_or((path, ""));
    let kind = ROOTS.into_iter().find(|kind| kind.plural() == root)?;
    // The first `@` ends the name: one that belongs to it is encoded.
    let Some((name, of_it)) = rest.split_once('@') else { return Some(unmarked(kind, rest)) };
    let (mark, below) = of_it.split_once('/').map_or((of_it, None), |(mark, below)| (mark, Some(below)));
    Some(repo(kind, name).and_then(|repo| marked(repo, mark, below)).unwrap_or(Place::Nothing))
}

/// A name as it stands: a repository's, or a folder on the way to it.
fn unmarked(kind: RepoType, name: &str) -> Place {
    if name.is_empty() {
        return Place::Shelf(kind, String::new());
    }
    match (kind, repo(kind, name)) {
        (RepoType::Model, Some(repo)) => Place::Newest(repo, Revision::main()),
        (RepoType::Model, None) if name == NO_ORG || is_org(name) => Place::Shelf(kind, name.to_owned()),
        (_, Some(repo)) => Place::Shelf(kind, repo.name().to_owned()),
        (_, None) => Place::Nothing,
    }
}

fn is_org(name: &str) -> bool {
    !name.contains('/') && RepoId::new(RepoType::Model, name).is_ok()
}

fn repo(kind: RepoType, name: &str) -> Option<RepoId> {
    match kind {
        RepoType::Model => {
            let (org, name) = name.split_once('/')?;
            let plain = if org == NO_ORG { name.to_owned() } else { format!("{org}/{name}") };
            RepoId::new(kind, &plain).ok().filter(|repo| (org == NO_ORG) != repo.name().contains('/'))
        }
        _ => {
            let plain = percent_decode_str(name).decode_utf8().ok()?;
            let repo = RepoId::new(kind, &plain).ok()?;
            // One path for one thing.
            (newest(&repo).strip_prefix(kind.plural())?.strip_prefix('/')? == name).then_some(repo)
        }
    }
}

fn marked(repo: RepoId, mark: &str, below: Option<&str>) -> Option<Place> {
    if mark == CONTENTS && !repo.kind().is_on_hub() {
        return match below {
            None => Some(Place::Blobs(repo)),
            Some(etag) => BlobId::from_etag(etag).ok().map(|blob| Place::Blob(repo, blob)),
        };
    }
    if let Some(commit) = mark.strip_prefix(LINK) {
        return commit.parse().ok().filter(|_| below.is_none()).map(|commit| Place::CommitLink(repo, commit));
    }
    if let Ok(commit) = mark.parse() {
        return Some(Place::Plain(repo, commit, below.unwrap_or_default().to_owned()));
    }
    let name = percent_decode_str(mark).decode_utf8().ok()?;
    let revision = Revision::new(&name).ok()?;
    (below.is_none() && self::revision(&repo, &revision).ends_with(&format!("@{mark}")))
        .then_some(Place::Newest(repo, revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn commit() -> Commit {
        COMMIT.parse().unwrap()
    }

    fn repo_of(text: &str) -> RepoId {
        text.parse().unwrap()
    }

    #[test]
    fn every_path_that_is_written_is_read_back() {
        for text in ["acme/tiny", "gpt2", "s3://bucket", "s3://bucket/a b/50%@x", "dir://pvc"] {
            let repo = repo_of(text);
            assert_eq!(place(&folder(&repo, commit())), Some(Place::Plain(repo.clone(), commit(), String::new())));
            let file = format!("{}/sub/a@b.bin", folder(&repo, commit()));
            assert_eq!(place(&file), Some(Place::Plain(repo.clone(), commit(), "sub/a@b.bin".to_owned())));
            assert_eq!(place(&link(&repo, commit())), Some(Place::CommitLink(repo.clone(), commit())));
            for name in ["v1.0", "refs/pr/7", "feature/a+b"] {
                let name = Revision::new(name).unwrap();
                assert_eq!(place(&revision(&repo, &name)), Some(Place::Newest(repo.clone(), name)));
            }
        }
    }

    #[test]
    fn a_name_without_a_mark_is_the_newest_commit_or_a_folder_on_the_way() {
        let shelf = |kind, name: &str| Some(Place::Shelf(kind, name.to_owned()));
        assert_eq!(place("models"), shelf(RepoType::Model, ""));
        assert_eq!(place("models/acme"), shelf(RepoType::Model, "acme"));
        assert_eq!(place("models/_"), shelf(RepoType::Model, "_"));
        assert_eq!(place("models/acme/tiny"), Some(Place::Newest(repo_of("acme/tiny"), Revision::main())));
        assert_eq!(place("models/_/gpt2"), Some(Place::Newest(repo_of("gpt2"), Revision::main())));
        assert_eq!(place("s3/bucket/a%40b"), shelf(RepoType::Bucket, "bucket/a@b"));
        assert_eq!(place("dir/pvc"), shelf(RepoType::Directory, "pvc"));
        assert_eq!(place("hub/x"), None);
    }

    #[test]
    fn a_content_of_what_has_no_hub_folder_lies_beside_it() {
        let (repo, blob) = (repo_of("s3://bucket/a"), BlobId::Local([7; 32]));
        let path = format!("{}/{}", contents(&repo), blob.etag());
        assert_eq!(place(&path), Some(Place::Blob(repo.clone(), blob)));
        assert_eq!(place(&contents(&repo)), Some(Place::Blobs(repo)));
    }

    #[test]
    fn what_is_not_written_so_means_nothing() {
        let below_a_branch = format!("models/acme/tiny@main/{COMMIT}");
        for path in [
            "models/acme/tiny/config.json",
            "models/-x",
            "models/acme/tiny@",
            "models/acme/tiny@refs%2fpr%2f7",
            "models/acme/tiny@=main",
            "models/_/a/b",
            "s3/bucket/a%62",
            "s3/bu@x",
            "s3/bucket/../x",
            "dir/a/b",
            &below_a_branch,
        ] {
            assert_eq!(place(path), Some(Place::Nothing), "{path}");
        }
    }
}
