//! A copy of the Hub clients' cache below a prefix: `models--ORG--NAME/{blobs/ETAG,snapshots/COMMIT/PATH,refs/REV}`, as
//! `aws s3 sync ~/.cache/huggingface/hub s3://bucket/prefix` leaves it. A mirror: it is never more than a place to look.
//!
//! A store has no links. A copy has a file twice, below `blobs/` and below `snapshots/`, and that two objects have one
//! etag and one length tells the hash of the second; the bytes are proved against it anyway.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::account::Account;
use super::bucket::{Bucket, Pin, bare};
use super::contents;
use super::listing::folder;
use super::online;
use crate::metrics::Metrics;
use crate::origin::http::Wanted;
use crate::origin::{ByteStream, Catalog, Discovered, Origin, OriginError, OriginErrorKind};
use crate::types::{
    Blob, BlobId, ByteRange, Commit, Identity, Prefix, RemoteFile, RepoId, RepoPath, Revision, Snapshot,
};

pub struct S3Mirror {
    bucket: Arc<Bucket>,
    /// With a slash at its end, or empty.
    folder: String,
    metrics: Arc<Metrics>,
    /// The objects that contents come from, as they were at the first request.
    found: moka::sync::Cache<Blob, (String, Pin)>,
    /// Contents that are not there.
    absent: moka::sync::Cache<(RepoId, Blob), ()>,
}

impl S3Mirror {
    const REMEMBERED: u64 = 50_000;
    /// How long it is not asked again for what it did not have.
    const ABSENCE: Duration = Duration::from_secs(60);
    /// Of an object that holds a commit's name.
    const LONGEST_REF: u64 = 64;

    pub fn new(account: Arc<Account>, place: &Prefix, metrics: Arc<Metrics>) -> Self {
        let absent = moka::sync::Cache::builder().max_capacity(Self::REMEMBERED).time_to_live(Self::ABSENCE).build();
        Self {
            bucket: Arc::new(Bucket::new(account, place.bucket.clone(), metrics.clone())),
            folder: folder(&place.prefix),
            metrics,
            found: moka::sync::Cache::new(Self::REMEMBERED),
            absent,
        }
    }

    /// Where the repository may lie: below the prefix, or below `hub/` where all of an HF_HOME was copied.
    fn homes(&self, repo: &RepoId) -> Vec<String> {
        let Some(name) = repo.folder() else { return Vec::new() };
        ["", "hub/"].iter().map(|below| format!("{}{below}{name}/", self.folder)).collect()
    }

    fn candidates(&self, file: &RemoteFile) -> Vec<String> {
        let homes = self.homes(&file.repo);
        let blobs = homes.iter().map(|home| format!("{home}blobs/{}", file.blob.id.etag()));
        let snapshots = homes.iter().map(|home| format!("{home}snapshots/{}/{}", file.commit, file.path));
        blobs.chain(snapshots).collect()
    }

    async fn get(&self, key: &str, pin: Option<&Pin>, wanted: Wanted) -> Result<(ByteStream, Pin), OriginError> {
        let answer = self.bucket.get(key, pin, wanted.range).await?;
        let etag = answer.e_tag().map(bare).unwrap_or_default().to_owned();
        let now = Pin { etag, version: None };
        if pin.is_some_and(|pin| *pin != now) {
            return Err(self.refuse(key, OriginErrorKind::NoFile, "the object was changed meanwhile"));
        }
        let length = answer.content_range().and_then(|range| range.rsplit('/').next()?.parse::<u64>().ok());
        if length.is_some_and(|length| length != wanted.size) {
            return Err(self.refuse(key, OriginErrorKind::NoFile, "it has another length"));
        }
        Ok((contents::stream(&self.bucket, key, answer, wanted, self.metrics.clone())?, now))
    }

    fn refuse(&self, key: &str, kind: OriginErrorKind, why: impl Into<String>) -> OriginError {
        OriginError::new(kind, self.bucket.url(key), why)
    }

    /// The commit that a ref names, and where the repository lies.
    async fn commit(&self, repo: &RepoId, revision: &Revision) -> Result<(String, Commit), OriginError> {
        for home in self.homes(repo) {
            let key = format!("{home}refs/{revision}");
            let whole = ByteRange::new(0, Self::LONGEST_REF);
            let answer = match self.bucket.get(&key, None, whole).await {
                Ok(answer) => answer,
                Err(error) if error.kind == OriginErrorKind::NoFile => continue,
                Err(error) => return Err(error),
            };
            let stall = self.bucket.account().timeouts().stall;
            let bytes = tokio::time::timeout(stall, answer.body.collect()).await;
            let Ok(Ok(bytes)) = bytes else {
                return Err(self.refuse(&key, OriginErrorKind::Transient, "the body was cut short or stalled"));
            };
            let text = String::from_utf8_lossy(&bytes.into_bytes()).trim().to_owned();
            let commit = text.parse().map_err(|_| {
                self.refuse(&key, OriginErrorKind::Permanent, format!("{:.64} is not a commit", text.escape_debug()))
            })?;
            return Ok((home, commit));
        }
        Err(self.refuse(&self.folder, OriginErrorKind::NoRevision, format!("{repo} has no ref {revision} there")))
    }

    /// The files of a commit whose hashes can be told.
    async fn files(&self, repo: &RepoId, home: &str, commit: Commit) -> Result<Option<Snapshot>, OriginError> {
        let below = format!("{home}snapshots/{commit}/");
        let files = self.bucket.objects(&below).await?;
        if files.is_empty() {
            return Ok(None);
        }
        let blobs = format!("{home}blobs/");
        let named = self.bucket.objects(&blobs).await?.into_iter().filter_map(|object| {
            let id = BlobId::from_etag(object.key.strip_prefix(&blobs)?).ok().filter(BlobId::proves_bytes)?;
            Some(((object.etag?, object.size), id))
        });
        let named: HashMap<_, _> = named.collect();
        let youngest = files.iter().map(|object| object.modified.max(0) as u64).max().unwrap_or(0);
        let listed = files.into_iter().filter_map(|object| {
            let path = RepoPath::new(object.key.strip_prefix(&below)?).ok()?;
            let id = object.etag.and_then(|etag| named.get(&(etag, object.size)));
            if id.is_none() {
                tracing::debug!(%repo, %path, "nothing in the mirror tells its hash; it is left out");
            }
            Some((path, Blob { id: *id?, size: object.size }))
        });
        let (mut snapshot, _) = Snapshot::new(repo.clone(), commit, listed);
        // Whoever copied it may have taken only some of the commit's files.
        snapshot.partial = true;
        snapshot.created_at = youngest;
        Ok(Some(snapshot))
    }

    async fn of_commit(&self, repo: &RepoId, commit: Commit) -> Result<Snapshot, OriginError> {
        for home in self.homes(repo) {
            if let Some(snapshot) = self.files(repo, &home, commit).await? {
                return Ok(snapshot);
            }
        }
        Err(self.refuse(&self.folder, OriginErrorKind::NoRevision, format!("{repo} has no files of {commit} there")))
    }
}

#[async_trait]
impl Origin for S3Mirror {
    fn name(&self) -> &'static str {
        "s3"
    }

    async fn open(&self, identity: &Identity, file: &RemoteFile, range: ByteRange) -> Result<ByteStream, OriginError> {
        online(identity, || self.bucket.url(&self.folder))?;
        let wanted = Wanted { range, size: file.blob.size };
        if let Some((key, pin)) = self.found.get(&file.blob) {
            match self.get(&key, Some(&pin), wanted).await {
                Ok((stream, _)) => return Ok(stream),
                Err(error) if error.kind == OriginErrorKind::NoFile => self.found.invalidate(&file.blob),
                Err(error) => return Err(error),
            }
        }
        let absent = (file.repo.clone(), file.blob);
        if !self.absent.contains_key(&absent) {
            for key in self.candidates(file) {
                match self.get(&key, None, wanted).await {
                    Ok((stream, pin)) => {
                        self.found.insert(file.blob, (key, pin));
                        return Ok(stream);
                    }
                    Err(error) if error.kind == OriginErrorKind::NoFile => {}
                    Err(error) => return Err(error),
                }
            }
            self.absent.insert(absent, ());
        }
        Err(self.refuse(&self.folder, OriginErrorKind::NoFile, format!("{} has no such content there", file.repo)))
    }

    /// Not this object again: the next request looks at all of them.
    fn disproved(&self, blob: &Blob) {
        self.found.invalidate(blob);
    }
}

#[async_trait]
impl Catalog for S3Mirror {
    async fn resolve(&self, identity: &Identity, repo: &RepoId, revision: &Revision) -> Result<Commit, OriginError> {
        online(identity, || self.bucket.url(&self.folder))?;
        match revision.as_commit() {
            Some(commit) => Ok(self.of_commit(repo, commit).await?.commit),
            None => Ok(self.commit(repo, revision).await?.1),
        }
    }

    async fn discover(
        &self,
        identity: &Identity,
        repo: &RepoId,
        revision: &Revision,
    ) -> Result<Discovered, OriginError> {
        let commit = self.resolve(identity, repo, revision).await?;
        Ok(Discovered { commit, snapshot: Some(self.of_commit(repo, commit).await?) })
    }

    async fn snapshot(&self, identity: &Identity, repo: &RepoId, commit: Commit) -> Result<Snapshot, OriginError> {
        online(identity, || self.bucket.url(&self.folder))?;
        self.of_commit(repo, commit).await
    }

    fn whereabouts(&self, _: &Identity, _: &RepoId) -> String {
        self.bucket.url(self.folder.trim_end_matches('/'))
    }

    async fn authorize(&self, _: &Identity, _: &RemoteFile) -> Result<(), OriginError> {
        Ok(())
    }
}
