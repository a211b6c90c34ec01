//! The objects below a prefix, each with what the store says of it, as the files of one commit.

use std::collections::HashMap;

use aws_sdk_s3::types::EncodingType;
use futures::stream::{self, StreamExt, TryStreamExt};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};

use super::bucket::{Bucket, Pin, bare};
use super::object::{self, Details, Object, Stated};
use crate::origin::{OriginError, OriginErrorKind};
use crate::types::{Blob, BlobId, Checksum, Commit, PartLength, RepoPath};

/// Questions about single objects at the same time.
const AT_ONCE: usize = 16;

/// One object that is shown as a file.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) path: RepoPath,
    pub(super) blob: Blob,
    pub(super) object: Object,
    pub(super) pin: Pin,
}

/// All of them, as they were at one time.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    pub(super) commit: Commit,
    pub(super) entries: Vec<Entry>,
    /// Seconds since 1970 of the youngest.
    pub(super) youngest: u64,
}

/// What was told of single objects, so that only new ones are asked about.
pub(super) type KnownDetails = HashMap<Object, (BlobId, Pin)>;

impl Listing {
    /// The entries by path, and a name for exactly these.
    pub(super) fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        let mut hash = Sha256::new();
        for Entry { path, blob, .. } in &entries {
            hash.update(format!("{path}\0{}\0{}\n", blob.id, blob.size));
        }
        let mut name = [0; 20];
        name.copy_from_slice(&hash.finalize()[..20]);
        let youngest = entries.iter().map(|entry| entry.object.modified.max(0) as u64).max().unwrap_or(0);
        Self { commit: Commit::from_bytes(name), entries, youngest }
    }

    pub(super) fn details(&self) -> KnownDetails {
        self.entries.iter().map(|entry| (entry.object.clone(), (entry.blob.id, entry.pin.clone()))).collect()
    }
}

/// `prefix` as keys begin with it.
pub(super) fn folder(prefix: &str) -> String {
    if prefix.is_empty() { String::new() } else { format!("{prefix}/") }
}

impl Bucket {
    /// Everything whose key begins with `folder`, in the store's order; asked again and again until it comes.
    pub(super) async fn objects(&self, folder: &str) -> Result<Vec<Object>, OriginError> {
        let limit = self.account().settings().max_objects;
        let mut objects = Vec::new();
        let mut next = None;
        loop {
            let page = self.patience().retrying(|| self.list(folder, next.clone())).await?;
            let is_encoded = page.encoding_type() == Some(&EncodingType::Url);
            for found in page.contents() {
                let Some(key) = found.key() else { continue };
                let key = if is_encoded { decoded(key) } else { Some(key.to_owned()) };
                let Some(key) = key else {
                    tracing::warn!(bucket = self.name(), key = ?found.key(), "an object's name is not UTF-8; it is passed over");
                    continue;
                };
                let Some(size) = found.size().and_then(|size| u64::try_from(size).ok()) else {
                    tracing::warn!(
                        bucket = self.name(),
                        key,
                        "an object is listed without its size; it is passed over"
                    );
                    continue;
                };
                let etag = found.e_tag().map(bare).filter(|etag| !etag.is_empty()).map(str::to_owned);
                let modified = found.last_modified().map_or(0, |date| date.secs());
                objects.push(Object { key, size, etag, modified });
            }
            if objects.len() > limit {
                let cause = format!(
                    "there are more than {limit} objects; name a longer prefix, or raise origin.s3.max_objects"
                );
                return Err(OriginError::new(OriginErrorKind::Permanent, self.url(folder), cause));
            }
            let last = next;
            next = page.next_continuation_token().map(str::to_owned);
            if page.is_truncated() != Some(true) {
                return Ok(objects);
            }
            if next.is_none() || next == last {
                let cause = "the list goes on and nothing says where";
                return Err(OriginError::new(OriginErrorKind::Nonsense, self.url(folder), cause));
            }
        }
    }

    /// The files below `folder` as they are now.
    pub(super) async fn files(&self, folder: &str, known: &KnownDetails) -> Result<Listing, OriginError> {
        let mut files = Vec::new();
        for object in self.objects(folder).await? {
            // An object that stands for a folder is none to show.
            let shown = object.key.strip_prefix(folder).filter(|shown| !shown.is_empty() && !shown.ends_with('/'));
            let Some(shown) = shown else { continue };
            match RepoPath::new(shown) {
                Ok(path) => files.push((path, object)),
                Err(problem) => tracing::warn!(bucket = self.name(), key = object.key, %problem, "it is passed over"),
            }
        }
        let store = self.store().await?;
        let entries = stream::iter(files).map(|(path, object)| self.entry(&store, path, object, known));
        Ok(Listing::new(entries.buffer_unordered(AT_ONCE).try_collect().await?))
    }

    async fn entry(
        &self,
        store: &str,
        path: RepoPath,
        object: Object,
        known: &KnownDetails,
    ) -> Result<Entry, OriginError> {
        let wants_details = self.account().settings().object_details;
        let (id, pin) = match (&object.etag, known.get(&object)) {
            // What tells nothing of its content may be another one each time.
            (None, _) => self.identified(store, &object).await?,
            (Some(_), Some(known)) => known.clone(),
            (Some(_), None) if wants_details => self.identified(store, &object).await?,
            (Some(etag), None) => self.named_by_etag(store, &object.key, etag),
        };
        Ok(Entry { path, blob: Blob { id, size: object.size }, object, pin })
    }

    fn named_by_etag(&self, store: &str, key: &str, etag: &str) -> (BlobId, Pin) {
        let pin = Details::default().pin(etag);
        (BlobId::S3 { version: object::version_name(store, self.name(), key, &pin), checksum: None }, pin)
    }

    async fn identified(&self, store: &str, object: &Object) -> Result<(BlobId, Pin), OriginError> {
        let told = self.patience().retrying(|| self.look(store, &object.key)).await;
        let is_listed = |found: &Found| {
            found.size == object.size && object.etag.as_ref().is_none_or(|etag| *etag == found.pin.etag)
        };
        match (told, &object.etag) {
            (Ok(found), _) if is_listed(&found) => Ok((found.id, found.pin)),
            (Ok(_), _) => Err(self.restless(&object.key)),
            (Err(error), _) if error.kind == OriginErrorKind::NoFile => Err(self.restless(&object.key)),
            // Whoever may list and not read: the list is right, and a read says why it fails.
            (Err(error), Some(etag)) if error.kind == OriginErrorKind::Denied => {
                tracing::debug!(%error, "an object is known by its etag only");
                Ok(self.named_by_etag(store, &object.key, etag))
            }
            (Err(error), _) => Err(error),
        }
    }

    fn restless(&self, key: &str) -> OriginError {
        let cause = "the object changed while its folder was listed";
        OriginError::new(OriginErrorKind::Transient, self.url(key), cause)
    }

    /// An object as it is now.
    pub(super) async fn look(&self, store: &str, key: &str) -> Result<Found, OriginError> {
        let head = self.head(key).await?;
        let size = head.content_length().and_then(|size| u64::try_from(size).ok());
        let (Some(etag), Some(size)) = (object::etag_of(&head), size) else {
            let cause = "the answer has no etag or no length";
            return Err(OriginError::new(OriginErrorKind::Nonsense, self.url(key), cause));
        };
        let details = match self.account().settings().object_details {
            true => Details::of(&head),
            false => Details::default(),
        };
        let pin = details.pin(&etag);
        let version = object::version_name(store, self.name(), key, &pin);
        let checksum = match details.stated {
            // The name that every origin has for the content.
            Stated::Hash(hash) => return Ok(Found { id: BlobId::Sha256(hash), size, pin }),
            Stated::Nothing => None,
            Stated::Whole(sum) => Some(Checksum::of_whole(sum)),
            Stated::Parts(sum, parts) => {
                let part = self.part_length(key, &pin, size, parts).await?;
                part.map(|part| Checksum { sum, part: Some(part) })
            }
        };
        Ok(Found { id: BlobId::S3 { version, checksum }, size, pin })
    }

    /// The length of the parts that an object was uploaded in, if they have one.
    async fn part_length(
        &self,
        key: &str,
        pin: &Pin,
        size: u64,
        parts: u32,
    ) -> Result<Option<PartLength>, OriginError> {
        let Ok(last) = i32::try_from(parts) else { return Ok(None) };
        let length = async |part| {
            let head = self.head_part(key, pin, part).await?;
            Ok::<_, OriginError>(head.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0))
        };
        let (first_bytes, last_bytes) = match futures::try_join!(length(1), length(last)) {
            Ok(lengths) => lengths,
            Err(error) if error.is_transient() || error.kind == OriginErrorKind::NoFile => return Err(error),
            // A store that does not count parts.
            Err(_) => return Ok(None),
        };
        let is_even = object::are_even(size, parts, first_bytes, last_bytes);
        Ok(PartLength::new(first_bytes).filter(|_| is_even))
    }
}

/// An object as it was found.
pub(super) struct Found {
    pub(super) id: BlobId,
    pub(super) size: u64,
    pub(super) pin: Pin,
}

/// Keys are encoded as in forms.
fn decoded(key: &str) -> Option<String> {
    let spaced = key.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}
