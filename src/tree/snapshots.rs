//! The file lists of commits, asked for once and kept.

use std::sync::Arc;

use super::{Tree, TreeError};
use crate::db::GrantScope;
use crate::origin::{OriginError, OriginErrorKind};
use crate::types::{Blob, BlobId, Commit, Identity, RemoteFile, RepoId, RepoPath, Revision, Snapshot, SnapshotEntry};

impl Tree {
    /// The files of `commit`. A known list costs no network. If it is partial, what is in it is so, and what is not may be
    /// all the same: ask [`Tree::whole_snapshot`].
    pub async fn snapshot(
        self: &Arc<Self>,
        identity: &Identity,
        repo: &RepoId,
        commit: Commit,
    ) -> Result<Arc<Snapshot>, TreeError> {
        if let Some(snapshot) = self.known_snapshot(identity, repo, commit)? {
            return Ok(snapshot);
        }
        self.told_list(identity, repo, commit).await
    }

    /// Every file of `commit`. A partial list is the answer only if the origin gives no better one.
    pub async fn whole_snapshot(
        self: &Arc<Self>,
        identity: &Identity,
        repo: &RepoId,
        commit: Commit,
    ) -> Result<Arc<Snapshot>, TreeError> {
        let partial = match self.known_snapshot(identity, repo, commit)? {
            Some(whole) if !whole.partial || identity.offline => return Ok(whole),
            Some(partial) => partial,
            None => return self.told_list(identity, repo, commit).await,
        };
        // An origin that is away is not waited for at every name that is not in the list.
        let key = (identity.digest(), repo.clone(), commit);
        if self.unlisted.contains_key(&key) {
            return Ok(partial);
        }
        let listed = tokio::time::timeout(Self::REFRESH_DEADLINE, self.told_list(identity, repo, commit)).await;
        match listed {
            Ok(Err(TreeError::Origin(error))) if error.is_transient() => {}
            Ok(listed) => return listed,
            Err(_) => tracing::warn!(%repo, %commit, "the Hub is slow; only the files that were imported are known"),
        }
        self.unlisted.insert(key, ());
        Ok(partial)
    }

    /// What the origin lists, or what its refusal means.
    async fn told_list(
        self: &Arc<Self>,
        identity: &Identity,
        repo: &RepoId,
        commit: Commit,
    ) -> Result<Arc<Snapshot>, TreeError> {
        match self.list(identity, repo, commit).await {
            Ok(snapshot) => Ok(snapshot),
            Err(error) => Err(self.refused(identity, repo, error).await),
        }
    }

    /// The files of `commit` if this node has the list and `identity` may see it.
    pub fn known_snapshot(
        &self,
        identity: &Identity,
        repo: &RepoId,
        commit: Commit,
    ) -> Result<Option<Arc<Snapshot>>, TreeError> {
        if !self.shows_names(identity, repo)? {
            return Ok(None);
        }
        let key = (identity.endpoint.clone(), repo.clone(), commit);
        if let Some(snapshot) = self.snapshots.get(&key) {
            return Ok(Some(snapshot));
        }
        let Some(snapshot) = self.db.snapshot(&identity.endpoint, repo, commit)? else { return Ok(None) };
        let snapshot = Arc::new(snapshot);
        self.snapshots.insert(key, snapshot.clone());
        Ok(Some(snapshot))
    }

    /// Takes over what another cache knew of a commit, for `identity`, and where `revisions` stood there. What the Hub said
    /// itself counts more.
    pub async fn adopt(
        &self,
        identity: &Identity,
        snapshot: Arc<Snapshot>,
        revisions: &[Revision],
    ) -> Result<(), TreeError> {
        let (repo, commit) = (snapshot.repo.clone(), snapshot.commit);
        self.db.adopt_snapshot(&identity.endpoint, identity.digest(), snapshot).await?;
        self.snapshots.invalidate(&(identity.endpoint.clone(), repo.clone(), commit));
        for revision in revisions {
            if self.db.pin(&identity.endpoint, identity.digest(), &repo, revision)?.is_none() {
                self.db.put_pin(&identity.endpoint, identity.digest(), &repo, revision, commit).await?;
            }
        }
        Ok(())
    }

    /// The commits that `snapshots/` lists.
    pub fn commits(&self, identity: &Identity, repo: &RepoId) -> Result<Vec<Commit>, TreeError> {
        Ok(self.db.commits(&identity.endpoint, repo)?)
    }

    /// Some file of `repo` with this content, and the date of its commit. Which one does not matter: equal ids have
    /// equal bytes.
    pub fn file_with(
        &self,
        identity: &Identity,
        repo: &RepoId,
        blob: &BlobId,
    ) -> Result<Option<(RemoteFile, u64)>, TreeError> {
        if !self.shows_names(identity, repo)? {
            return Ok(None);
        }
        let Some((file, date)) = self.db.file_with(&identity.endpoint, repo, blob)? else { return Ok(None) };
        // The list as a whole is known by its checksum; a single row of it may be damaged.
        let list = self.known_snapshot(identity, repo, file.commit)?;
        let listed = list.and_then(|list| list.entry(file.path.as_str()));
        let sound = file.blob.id == *blob && matches!(listed, Some(SnapshotEntry::File(blob)) if blob == file.blob);
        Ok(sound.then_some((file, date)))
    }

    /// Where the known commits of `repo` have this content.
    pub fn files_with(
        &self,
        identity: &Identity,
        repo: &RepoId,
        blob: &Blob,
    ) -> Result<Vec<(Commit, RepoPath)>, TreeError> {
        Ok(self.db.files_with(&identity.endpoint, repo, blob)?)
    }

    /// Where a repository lies, for people.
    pub fn whereabouts(&self, identity: &Identity, repo: &RepoId) -> String {
        self.catalog.whereabouts(identity, repo)
    }

    /// The repositories that the configuration names.
    pub fn declared(&self) -> Vec<RepoId> {
        self.catalog.declared()
    }

    /// Every content that the known commits of `repo` name.
    pub fn blobs(&self, identity: &Identity, repo: &RepoId) -> Result<Vec<Blob>, TreeError> {
        if !self.shows_names(identity, repo)? {
            return Ok(Vec::new());
        }
        Ok(self.db.blobs(&identity.endpoint, repo)?)
    }

    /// The repositories with a file of this content, as far as this node has listed them.
    pub fn repos_with(&self, identity: &Identity, blob: &Blob) -> Result<Vec<RepoId>, TreeError> {
        Ok(self.db.repos_with(&identity.endpoint, blob)?)
    }

    /// Whether this node knows that `identity` may see what `repo` holds.
    pub fn shows_names(&self, identity: &Identity, repo: &RepoId) -> Result<bool, TreeError> {
        let access = self.db.access(&identity.endpoint, identity.digest(), repo)?;
        Ok(access.is_some_and(|access| access.shows_names()))
    }

    /// Whether `identity` may read the contents of `file`. Free for what is public; a gated repository asks the origin once.
    pub async fn authorize(&self, identity: &Identity, file: &RemoteFile) -> Result<(), TreeError> {
        let reader = (identity.digest(), file.repo.clone());
        if self.readers.contains_key(&reader) {
            return Ok(());
        }
        let access = self.db.access(&identity.endpoint, identity.digest(), &file.repo)?;
        if access.is_some_and(|access| access.shows_contents()) {
            self.readers.insert(reader, ());
            return Ok(());
        }
        match self.catalog.authorize(identity, file).await {
            Ok(()) => {
                let (endpoint, digest) = (&identity.endpoint, identity.digest());
                Ok(self.db.put_grant(endpoint, digest, &file.repo, GrantScope::Contents).await?)
            }
            Err(error) => {
                tracing::warn!(repo = %file.repo, path = %file.path, %error, "may not be read");
                Err(error.into())
            }
        }
    }

    /// Asks the origin for the list, once for all who ask together, and records it.
    pub(super) async fn list(
        self: &Arc<Self>,
        identity: &Identity,
        repo: &RepoId,
        commit: Commit,
    ) -> Result<Arc<Snapshot>, OriginError> {
        if let Ok(Some(snapshot)) = self.known_snapshot(identity, repo, commit)
            && !snapshot.partial
        {
            return Ok(snapshot);
        }
        let key = (identity.digest(), repo.clone(), commit);
        let listing = async { self.listed(identity, self.catalog.snapshot(identity, repo, commit).await?).await };
        self.listings.get_with(key, listing).await
    }

    /// Records a list. Without the record no file below could be given a lasting meaning.
    pub(super) async fn listed(&self, identity: &Identity, snapshot: Snapshot) -> Result<Arc<Snapshot>, OriginError> {
        let snapshot = Arc::new(snapshot);
        let (endpoint, digest) = (&identity.endpoint, identity.digest());
        // Who knows only some of the files does not know either who else may see them.
        let recorded = match snapshot.partial {
            true => self.db.adopt_snapshot(endpoint, digest, snapshot.clone()).await,
            false => self.db.put_snapshot(endpoint, digest, snapshot.clone()).await,
        };
        recorded.map_err(|error| {
            OriginError::new(OriginErrorKind::Permanent, identity.endpoint.as_ref(), error.to_string())
        })?;
        // A partial list may be there.
        let key = (identity.endpoint.clone(), snapshot.repo.clone(), snapshot.commit);
        self.snapshots.insert(key, snapshot.clone());
        Ok(snapshot)
    }
}
