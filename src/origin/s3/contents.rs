//! The bytes of objects, each request pinned to the one version that was listed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use reqwest::ResponseBuilderExt;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE};

use super::bucket::{Bucket, Pin, bare};
use super::listing::Listing;
use super::object;
use crate::metrics::Metrics;
use crate::origin::http::{self, Wanted};
use crate::origin::{ByteStream, OriginError, OriginErrorKind};
use crate::types::{Blob, BlobId, ByteRange};

/// Where each content was last seen.
type Pins = moka::sync::Cache<(String, BlobId), Pin>;

pub(super) struct Contents {
    bucket: Arc<Bucket>,
    metrics: Arc<Metrics>,
    pins: Pins,
    /// An object that was listed is not there any more, and nobody has listed what is.
    outdated: AtomicBool,
}

impl Contents {
    /// More than any number of files that are in use. Another one costs a question more.
    const MAX_PINS: u64 = 50_000;

    pub(super) fn new(bucket: Arc<Bucket>, metrics: Arc<Metrics>) -> Self {
        Self { bucket, metrics, pins: Pins::new(Self::MAX_PINS), outdated: AtomicBool::new(false) }
    }

    pub(super) fn learn(&self, listing: &Listing) {
        self.outdated.store(false, Ordering::Relaxed);
        for entry in &listing.entries {
            self.pins.insert((entry.object.key.clone(), entry.blob.id), entry.pin.clone());
        }
    }

    pub(super) fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Relaxed)
    }

    pub(super) async fn open(&self, key: &str, blob: &Blob, range: ByteRange) -> Result<ByteStream, OriginError> {
        let name = (key.to_owned(), blob.id);
        if let Some(pin) = self.pins.get(&name) {
            match self.get(key, &pin, Wanted { range, size: blob.size }).await {
                // It was deleted or overwritten, and may be there still as an older version.
                Err(error) if error.kind == OriginErrorKind::NoFile => self.pins.invalidate(&name),
                opened => return opened,
            }
        }
        let pin = self.find(key, blob).await?;
        let opened = self.get(key, &pin, Wanted { range, size: blob.size }).await.map_err(|error| match error.kind {
            OriginErrorKind::NoFile => self.changed(key),
            _ => error,
        });
        if opened.is_ok() {
            self.pins.insert(name, pin);
        }
        opened
    }

    /// How a content that some earlier listing named is asked for now.
    async fn find(&self, key: &str, blob: &Blob) -> Result<Pin, OriginError> {
        let store = self.bucket.store().await?;
        match self.bucket.look(&store, key).await {
            Ok(found) if found.id == blob.id && found.size == blob.size => return Ok(found.pin),
            Ok(_) => {}
            Err(error) if error.kind == OriginErrorKind::NoFile => {}
            Err(error) => return Err(error),
        }
        match self.older_version(&store, key, blob).await {
            Ok(Some(pin)) => Ok(pin),
            Err(error) if error.is_transient() => Err(error),
            // Not every store keeps versions, nor lets everybody list them.
            Ok(None) | Err(_) => Err(self.changed(key)),
        }
    }

    async fn older_version(&self, store: &str, key: &str, blob: &Blob) -> Result<Option<Pin>, OriginError> {
        let BlobId::S3 { version: wanted, .. } = blob.id else { return Ok(None) };
        let versions = self.bucket.versions(key).await?;
        let pins = versions.versions().iter().filter(|version| version.key() == Some(key)).filter_map(|version| {
            let id = version.version_id().filter(|id| *id != "null")?;
            Some(Pin { etag: bare(version.e_tag()?).to_owned(), version: Some(id.to_owned()) })
        });
        let is_it = |pin: &Pin| object::version_name(store, self.bucket.name(), key, pin) == wanted;
        Ok(pins.into_iter().find(is_it))
    }

    async fn get(&self, key: &str, pin: &Pin, wanted: Wanted) -> Result<ByteStream, OriginError> {
        let answer = self.bucket.get(key, Some(pin), wanted.range).await?;
        // A store that does not know If-Match answers with what it has.
        if answer.e_tag().map(bare).is_some_and(|etag| etag != pin.etag) {
            return Err(self.changed(key));
        }
        stream(&self.bucket, key, answer, wanted, self.metrics.clone())
    }

    fn changed(&self, key: &str) -> OriginError {
        self.outdated.store(true, Ordering::Relaxed);
        let cause = "the object was changed or deleted since it was listed; its folder is listed anew";
        OriginError::new(OriginErrorKind::NoFile, self.bucket.url(key), cause)
    }
}

/// The body of an answer, checked as that of any other origin.
pub(super) fn stream(
    bucket: &Bucket,
    key: &str,
    answer: GetObjectOutput,
    wanted: Wanted,
    metrics: Arc<Metrics>,
) -> Result<ByteStream, OriginError> {
    let nonsense = |cause: String| OriginError::new(OriginErrorKind::Nonsense, bucket.url(key), cause);
    let url = url::Url::parse(&bucket.url(key)).map_err(|error| nonsense(error.to_string()))?;
    // What an object says of its own encoding is no encoding of the answer: its bytes are taken as they are stored.
    let mut response = match answer.content_range() {
        Some(range) => ::http::Response::builder().status(206).header(CONTENT_RANGE, range),
        None => ::http::Response::builder().status(200),
    };
    if let Some(length) = answer.content_length() {
        response = response.header(CONTENT_LENGTH, length);
    }
    let body = reqwest::Body::wrap(answer.body.into_inner());
    let response = response.url(url).body(body).map_err(|error| nonsense(error.to_string()))?;
    http::stream(response.into(), wanted, bucket.account().timeouts().stall, metrics)
}
