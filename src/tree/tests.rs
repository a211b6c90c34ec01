//! What the tree believes, for how long, and whom it tells.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Tree, TreeError, TreeSettings};
use crate::db::Database;
use crate::origin::{Catalog, OriginError, OriginErrorKind};
use crate::types::{Blob, BlobId, Commit, Identity, RemoteFile, RepoId, RepoPath, Revision, Snapshot, Token};

/// A Hub of one repository, whose answers a test can change.
#[derive(Default)]
struct Scripted {
    branches: Mutex<HashMap<String, Commit>>,
    trouble: Mutex<Option<OriginErrorKind>>,
    /// Only this token may see it, if one is set.
    only: Option<Token>,
    asked: AtomicUsize,
}

impl Scripted {
    fn at(commit: u8) -> Self {
        let hub = Self::default();
        hub.moves(commit);
        hub
    }

    fn moves(&self, commit: u8) {
        self.branches.lock().insert("main".to_owned(), Commit::from_bytes([commit; 20]));
    }

    fn fails_with(&self, kind: OriginErrorKind) {
        *self.trouble.lock() = Some(kind);
    }

    fn answer(&self, identity: &Identity) -> Result<(), OriginError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let error = |kind| Err(OriginError::new(kind, "http://hub/api", "as told"));
        if identity.offline {
            return error(OriginErrorKind::Offline);
        }
        if self.only.is_some() && identity.token != self.only {
            return error(OriginErrorKind::NoRepo);
        }
        self.trouble.lock().map_or(Ok(()), error)
    }
}

#[async_trait]
impl Catalog for Scripted {
    fn whereabouts(&self, identity: &Identity, repo: &RepoId) -> String {
        format!("{}/{repo}", identity.endpoint)
    }

    async fn resolve(&self, identity: &Identity, _: &RepoId, revision: &Revision) -> Result<Commit, OriginError> {
        self.answer(identity)?;
        let commit = self.branches.lock().get(revision.as_str()).copied();
        commit.ok_or_else(|| OriginError::new(OriginErrorKind::NoRevision, "http://hub/api", "no such branch"))
    }

    async fn snapshot(&self, identity: &Identity, repo: &RepoId, commit: Commit) -> Result<Snapshot, OriginError> {
        self.answer(identity)?;
        let blob = Blob { id: BlobId::Sha256([commit.as_bytes()[0]; 32]), size: 5 };
        let (mut snapshot, _) = Snapshot::new(repo.clone(), commit, [(RepoPath::new("config.json").unwrap(), blob)]);
        snapshot.private = self.only.is_some();
        Ok(snapshot)
    }

    async fn authorize(&self, identity: &Identity, _: &RemoteFile) -> Result<(), OriginError> {
        self.answer(identity)
    }
}

struct Bench {
    _folder: tempfile::TempDir,
    hub: Arc<Scripted>,
    tree: Arc<Tree>,
    repo: RepoId,
}

impl Bench {
    fn new(hub: Scripted, refresh: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Arc::new(Database::open(&folder.path().join("models.db")).unwrap());
        let hub = Arc::new(hub);
        let tree = Tree::new(db, hub.clone(), TreeSettings { refresh });
        Self { _folder: folder, hub, tree, repo: "acme/tiny".parse().unwrap() }
    }

    async fn main(&self, identity: &Identity) -> Result<Commit, TreeError> {
        self.tree.commit(identity, &self.repo, &Revision::main()).await
    }

    fn asked(&self) -> usize {
        self.hub.asked.load(Ordering::SeqCst)
    }
}

const AN_HOUR: Duration = Duration::from_secs(3600);

fn somebody(token: Option<&str>) -> Identity {
    Identity::new("http://hub", token.map(Token::new), false)
}

fn commit(n: u8) -> Commit {
    Commit::from_bytes([n; 20])
}

#[tokio::test]
async fn a_branch_stays_at_the_commit_it_was_first_resolved_to() {
    let bench = Bench::new(Scripted::at(1), AN_HOUR);
    assert_eq!(bench.main(&somebody(None)).await.unwrap(), commit(1));
    bench.hub.moves(2);
    assert_eq!(bench.main(&somebody(None)).await.unwrap(), commit(1));
    assert_eq!(bench.asked(), 2, "one revision and one listing");
}

#[tokio::test]
async fn an_old_pin_answers_at_once_and_is_refreshed_behind_the_readers_back() {
    let bench = Bench::new(Scripted::at(1), Duration::ZERO);
    bench.main(&somebody(None)).await.unwrap();
    bench.hub.moves(2);
    let refreshed = async {
        while bench.main(&somebody(None)).await.unwrap() != commit(2) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), refreshed).await.expect("it is never refreshed");
}

#[tokio::test]
async fn a_failing_refresh_keeps_the_pin() {
    let bench = Bench::new(Scripted::at(1), Duration::ZERO);
    bench.main(&somebody(None)).await.unwrap();
    bench.hub.fails_with(OriginErrorKind::Transient);
    assert_eq!(bench.main(&somebody(None)).await.unwrap(), commit(1));
    bench.tree.told(&somebody(None), &bench.repo, &Revision::main(), commit(9)).await.unwrap();
    assert_eq!(bench.main(&somebody(None)).await.unwrap(), commit(1));
}

#[tokio::test]
async fn those_who_ask_together_ask_once() {
    let bench = Bench::new(Scripted::at(1), AN_HOUR);
    let anybody = somebody(None);
    let asking = (0..20).map(|_| bench.main(&anybody));
    for answer in futures::future::join_all(asking).await {
        assert_eq!(answer.unwrap(), commit(1));
    }
    assert_eq!(bench.asked(), 2);
}

#[tokio::test]
async fn an_absence_is_believed_and_a_failure_is_no_absence() {
    let bench = Bench::new(Scripted::default(), AN_HOUR);
    bench.hub.fails_with(OriginErrorKind::NoRepo);
    for _ in 0..3 {
        assert!(matches!(bench.tree.exists(&somebody(None), &bench.repo).await, Err(TreeError::Absent)));
    }
    assert_eq!(bench.asked(), 1);
    bench.hub.fails_with(OriginErrorKind::Transient);
    let other = somebody(Some("hf_other"));
    assert!(matches!(bench.tree.exists(&other, &bench.repo).await, Err(TreeError::Origin(_))));
}

#[tokio::test]
async fn a_repo_without_main_exists_all_the_same() {
    let bench = Bench::new(Scripted::default(), AN_HOUR);
    bench.tree.exists(&somebody(None), &bench.repo).await.unwrap();
}

#[tokio::test]
async fn what_one_credential_may_see_is_not_shown_to_another() {
    let hub = Scripted { only: Some(Token::new("hf_alice")), ..Scripted::at(1) };
    let bench = Bench::new(hub, AN_HOUR);
    let (alice, bob) = (somebody(Some("hf_alice")), somebody(Some("hf_bob")));
    bench.main(&alice).await.unwrap();
    assert!(matches!(bench.main(&bob).await, Err(TreeError::Absent)));
    assert!(bench.tree.known_snapshot(&bob, &bench.repo, commit(1)).unwrap().is_none());
    assert_eq!(bench.tree.known_repos(&bob).unwrap(), []);
    assert_eq!(bench.tree.known_repos(&alice).unwrap(), std::slice::from_ref(&bench.repo));
}

#[tokio::test]
async fn a_public_pin_of_another_login_serves_every_login() {
    let bench = Bench::new(Scripted::at(1), AN_HOUR);
    bench.main(&somebody(Some("hf_alice"))).await.unwrap();
    let asked = bench.asked();
    let offline = Identity::new("http://hub", None, true);
    assert_eq!(bench.main(&offline).await.unwrap(), commit(1));
    assert_eq!(bench.asked(), asked, "and asks nobody");
    assert_eq!(bench.tree.revisions(&offline, &bench.repo).unwrap(), [("main".to_owned(), commit(1))]);
    let unknown = Revision::new("dev").unwrap();
    assert!(matches!(bench.tree.commit(&offline, &bench.repo, &unknown).await, Err(TreeError::Absent)));
}
