//! A mount for one pod: what it shows of the Hub. Its writable layer begins empty and ends with the mount.

use serde::{Deserialize, Serialize};

use crate::tree::layout::Place;
use crate::types::{Commit, RepoId, Revision};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Named>", into = "Vec<Named>")]
pub struct Pod {
    /// Nothing else is there; the whole Hub where none is named.
    pub only: Vec<Shown>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub repo: RepoId,
    /// Of all revisions only this one, which leads to this commit for good, and so does `main`.
    pub pinned: Option<(Revision, Commit)>,
}

/// As it is written down for a later daemon.
#[derive(Serialize, Deserialize)]
struct Named {
    repo: String,
    pinned: Option<(String, String)>,
}

impl Pod {
    /// Whether anything may be found there.
    pub(super) fn shows(&self, place: &Place) -> bool {
        match place {
            Place::Repo(repo)
            | Place::Refs(repo)
            | Place::Snapshots(repo)
            | Place::Blobs(repo)
            | Place::Blob(repo, _)
            | Place::NoExist(repo)
            | Place::Trees(repo) => self.shows_repo(repo),
            Place::Ref(repo, revision) | Place::Newest(repo, revision) => self.shows_revision(repo, revision.as_str()),
            Place::Snapshot(repo, commit, _)
            | Place::NoExistIn(repo, commit, _)
            | Place::CommitLink(repo, commit)
            | Place::Plain(repo, commit, _) => self.shows_commit(repo, *commit),
            Place::Root | Place::Hub | Place::Shelf(..) | Place::Discarded | Place::Nothing | Place::Scratch => true,
        }
    }

    pub(super) fn shows_repo(&self, repo: &RepoId) -> bool {
        self.only.is_empty() || self.shown(repo).is_some()
    }

    pub(super) fn shows_commit(&self, repo: &RepoId, commit: Commit) -> bool {
        let pinned = self.shown(repo).map(|shown| &shown.pinned);
        self.only.is_empty() || pinned.is_some_and(|pinned| pinned.as_ref().is_none_or(|(_, known)| *known == commit))
    }

    /// A folder on the way to the revision is shown too.
    pub(super) fn shows_revision(&self, repo: &RepoId, revision: &str) -> bool {
        let leads_to = |name: &Revision| name.as_str().strip_prefix(revision).is_some_and(|rest| rest.starts_with('/'));
        match self.shown(repo) {
            None => self.only.is_empty(),
            Some(Shown { pinned: None, .. }) => true,
            Some(Shown { pinned: Some((name, _)), .. }) => {
                name.as_str() == revision || revision == Revision::MAIN || leads_to(name)
            }
        }
    }

    /// The commit that a revision has here for good.
    pub(super) fn commit(&self, repo: &RepoId, revision: &Revision) -> Option<Commit> {
        let (_, commit) = self.shown(repo)?.pinned.as_ref()?;
        self.shows_revision(repo, revision.as_str()).then_some(*commit)
    }

    fn shown(&self, repo: &RepoId) -> Option<&Shown> {
        self.only.iter().find(|shown| shown.repo == *repo)
    }
}

impl From<Pod> for Vec<Named> {
    fn from(pod: Pod) -> Self {
        let named = |Shown { repo, pinned }: Shown| Named {
            repo: repo.to_string(),
            pinned: pinned.map(|(revision, commit)| (revision.to_string(), commit.to_string())),
        };
        pod.only.into_iter().map(named).collect()
    }
}

impl TryFrom<Vec<Named>> for Pod {
    type Error = String;

    fn try_from(named: Vec<Named>) -> Result<Self, String> {
        let shown = |Named { repo, pinned }: Named| {
            let repo = repo.parse().map_err(|error: crate::types::ParseRepoError| error.to_string())?;
            let pin = |(revision, commit): (String, String)| {
                let revision = Revision::new(&revision).map_err(|error| error.to_string())?;
                let commit = commit.parse().map_err(|error: crate::types::ParseCommitError| error.to_string())?;
                Ok::<_, String>((revision, commit))
            };
            Ok(Shown { repo, pinned: pinned.map(pin).transpose()? })
        };
        Ok(Self { only: named.into_iter().map(shown).collect::<Result<_, String>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    const OTHER: &str = "1123456789abcdef0123456789abcdef01234567";

    fn pod() -> Pod {
        let pinned = Some((Revision::new("rel/v1").unwrap(), COMMIT.parse().unwrap()));
        let open = Shown { repo: "acme/open".parse().unwrap(), pinned: None };
        Pod { only: vec![open, Shown { repo: "acme/pinned".parse().unwrap(), pinned }] }
    }

    fn shows(pod: &Pod, path: &str) -> bool {
        pod.shows(&Place::of(path))
    }

    #[test]
    fn only_what_is_named_is_shown_by_any_path() {
        for path in ["", "hub", "hub/.locks", "token", "models", "models/acme"] {
            assert!(shows(&pod(), path), "{path}");
        }
        for rest in ["", "/refs", "/refs/x", "/snapshots", "/blobs", "/.no_exist", "/trees"] {
            assert!(shows(&pod(), &format!("hub/models--acme--open{rest}")), "{rest}");
            assert!(!shows(&pod(), &format!("hub/models--acme--other{rest}")), "{rest}");
        }
        assert!(!shows(&pod(), "models/acme/other") && shows(&pod(), "models/acme/open@x"));
        assert!(!shows(&pod(), &format!("hub/models--acme--other/blobs/{COMMIT}")));
        assert!(shows(&Pod::default(), "hub/models--acme--other/refs/x"));
    }

    #[test]
    fn of_a_pinned_repo_one_commit_is_shown_by_its_revision_and_main() {
        let of = |path: &str| shows(&pod(), &format!("hub/models--acme--pinned/{path}"));
        for path in ["refs/main", "refs/rel", "refs/rel/v1"] {
            assert!(of(path), "{path}");
        }
        for path in ["refs/v1", "refs/rel/v2", "refs/re"] {
            assert!(!of(path), "{path}");
        }
        assert!(of(&format!("snapshots/{COMMIT}/a")) && !of(&format!("snapshots/{OTHER}/a")));
        assert!(!of(&format!(".no_exist/{OTHER}/a")));
        let (repo, main) = ("acme/pinned".parse().unwrap(), Revision::main());
        assert_eq!(pod().commit(&repo, &main), Some(COMMIT.parse().unwrap()));
        assert_eq!(pod().commit(&"acme/open".parse().unwrap(), &main), None);
    }

    #[test]
    fn a_later_daemon_shows_the_same() {
        let text = serde_json::to_string(&pod()).unwrap();
        assert_eq!(serde_json::from_str::<Pod>(&text).unwrap(), pod());
        assert!(serde_json::from_str::<Pod>("[{\"repo\": \"../x\", \"pinned\": null}]").is_err());
    }
}
