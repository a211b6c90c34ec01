//! Which origin a repository belongs to, and in what order the Hub's contents are asked for.
//!
//! It is the one origin and the one catalog that the parts above know. A repository that the configuration places
//! elsewhere is asked for there and nowhere else. For all others the Hub says which names there are, and their bytes come
//! from the first of a chain that has them. Where the Hub does not answer, its mirrors tell the names that they know.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::mirror::Mirror;
use super::{ByteStream, Catalog, Discovered, Origin, OriginError, OriginErrorKind, Source};
use crate::types::{Blob, ByteRange, Commit, Identity, RemoteFile, RepoId, Revision, Snapshot};

/// One place in the order in which the Hub's contents are asked for.
pub enum Link {
    Hub,
    Mirror(Mirror),
}

pub struct Routes {
    hub: Arc<dyn Source>,
    chain: Vec<Link>,
    placed: HashMap<RepoId, Arc<dyn Source>>,
}

impl Routes {
    pub fn new(hub: Arc<dyn Source>, chain: Vec<Link>, placed: HashMap<RepoId, Arc<dyn Source>>) -> Self {
        Self { hub, chain, placed }
    }

    /// Only the Hub.
    pub fn to_hub(hub: Arc<dyn Source>) -> Self {
        Self::new(hub, vec![Link::Hub], HashMap::new())
    }

    /// The only one that is asked about a repository; `None` for one of the Hub's.
    fn placed(&self, repo: &RepoId) -> Result<Option<&dyn Source>, OriginError> {
        match self.placed.get(repo) {
            Some(source) => Ok(Some(source.as_ref())),
            None if repo.kind().is_on_hub() => Ok(None),
            None => {
                Err(OriginError::new(OriginErrorKind::NoRepo, repo.to_string(), "the configuration does not name it"))
            }
        }
    }

    fn mirrors(&self) -> impl Iterator<Item = &Mirror> {
        self.chain.iter().filter_map(|link| match link {
            Link::Hub => None,
            Link::Mirror(mirror) => Some(mirror),
        })
    }

    fn asks_hub(&self) -> bool {
        self.chain.iter().any(|link| matches!(link, Link::Hub))
    }

    /// The Hub's answer, or that of the first mirror that has one while the Hub has none.
    async fn named<'a, T, F>(&'a self, repo: &RepoId, ask: impl Fn(&'a dyn Source) -> F) -> Result<T, OriginError>
    where
        F: Future<Output = Result<T, OriginError>>,
    {
        if let Some(source) = self.placed(repo)? {
            return ask(source).await;
        }
        let refused = match self.asks_hub() {
            true => match ask(self.hub.as_ref()).await {
                Err(error) if error.is_transient() || error.kind == OriginErrorKind::Offline => error,
                told => return told,
            },
            false => OriginError::new(OriginErrorKind::NoRepo, repo.to_string(), "origin.chain does not ask the Hub"),
        };
        for mirror in self.mirrors() {
            if let Some(told) = mirror.names(&ask).await {
                return Ok(told);
            }
        }
        Err(refused)
    }
}

#[async_trait]
impl Origin for Routes {
    fn name(&self) -> &'static str {
        "routes"
    }

    async fn open(&self, identity: &Identity, file: &RemoteFile, range: ByteRange) -> Result<ByteStream, OriginError> {
        if let Some(source) = self.placed(&file.repo)? {
            return source.open(identity, file, range).await;
        }
        let mut refused = None;
        for link in &self.chain {
            let opened = match link {
                Link::Hub => self.hub.open(identity, file, range).await.map(Some),
                Link::Mirror(mirror) => mirror.open(identity, file, range).await,
            };
            match (opened, link) {
                (Ok(Some(stream)), _) => return Ok(stream),
                (Ok(None), _) => {}
                // What the Hub refuses to somebody no mirror hands out.
                (Err(error), Link::Hub) if !error.is_transient() && error.kind != OriginErrorKind::Offline => {
                    return Err(error);
                }
                (Err(error), Link::Hub) => refused = Some(error),
                (Err(error), Link::Mirror(_)) => drop(refused.get_or_insert(error)),
            }
        }
        let nobody =
            || OriginError::new(OriginErrorKind::NoFile, file.repo.to_string(), "nothing in origin.chain has it");
        Err(refused.unwrap_or_else(nobody))
    }

    async fn local(&self, file: &RemoteFile) -> Option<PathBuf> {
        if let Ok(Some(source)) = self.placed(&file.repo) {
            return source.local(file).await;
        }
        for mirror in self.mirrors() {
            if let Some(path) = mirror.local(file).await {
                return Some(path);
            }
        }
        None
    }

    fn disproved(&self, blob: &Blob) {
        self.mirrors().for_each(|mirror| mirror.disproved(blob));
        self.hub.disproved(blob);
    }
}

#[async_trait]
impl Catalog for Routes {
    async fn resolve(&self, identity: &Identity, repo: &RepoId, revision: &Revision) -> Result<Commit, OriginError> {
        self.named(repo, |source| source.resolve(identity, repo, revision)).await
    }

    async fn discover(
        &self,
        identity: &Identity,
        repo: &RepoId,
        revision: &Revision,
    ) -> Result<Discovered, OriginError> {
        self.named(repo, |source| source.discover(identity, repo, revision)).await
    }

    async fn snapshot(&self, identity: &Identity, repo: &RepoId, commit: Commit) -> Result<Snapshot, OriginError> {
        self.named(repo, |source| source.snapshot(identity, repo, commit)).await
    }

    fn freshness(&self, repo: &RepoId) -> Option<Duration> {
        self.placed.get(repo).unwrap_or(&self.hub).freshness(repo)
    }

    fn whereabouts(&self, identity: &Identity, repo: &RepoId) -> String {
        self.placed.get(repo).unwrap_or(&self.hub).whereabouts(identity, repo)
    }

    fn declared(&self) -> Vec<RepoId> {
        let mut declared: Vec<RepoId> = self.placed.keys().cloned().collect();
        declared.sort();
        declared
    }

    async fn authorize(&self, identity: &Identity, file: &RemoteFile) -> Result<(), OriginError> {
        match self.placed(&file.repo)? {
            Some(source) => source.authorize(identity, file).await,
            None => self.hub.authorize(identity, file).await,
        }
    }
}
