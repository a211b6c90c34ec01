//! A copy of the Hub's contents that is asked beside it: never trusted further than a content's own hash, and left alone
//! for a while after it failed, so that a mirror that is away costs one wait and not one for each block.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use parking_lot::Mutex;

use super::{ByteStream, OriginError, Source};
use crate::types::{Blob, ByteRange, Identity, RemoteFile};

pub struct Mirror {
    source: Arc<dyn Source>,
    /// As the configuration has it.
    place: String,
    resting: Arc<Resting>,
    /// Contents of which it gave something else.
    wrong: moka::sync::Cache<Blob, ()>,
}

#[derive(Default)]
struct Resting(Mutex<Option<Instant>>);

impl Resting {
    /// How long it is left alone after a failure.
    const PAUSE: Duration = Duration::from_secs(30);

    fn is_over(&self) -> bool {
        self.0.lock().is_none_or(|until| until <= Instant::now())
    }

    fn begin(&self, place: &str, error: &OriginError) {
        let seconds = Self::PAUSE.as_secs();
        if self.0.lock().replace(Instant::now() + Self::PAUSE).is_none() {
            tracing::warn!(mirror = place, %error, seconds, "a mirror fails and is not asked for a while");
        }
    }

    fn end(&self, place: &str) {
        if self.0.lock().take().is_some() {
            tracing::info!(mirror = place, "the mirror answers again");
        }
    }
}

impl Mirror {
    const REMEMBERED: u64 = 4096;

    pub fn new(source: Arc<dyn Source>, place: String) -> Self {
        Self { source, place, resting: Arc::default(), wrong: moka::sync::Cache::new(Self::REMEMBERED) }
    }

    /// `None` if it does not have the content or is not asked.
    pub(super) async fn open(
        &self,
        identity: &Identity,
        file: &RemoteFile,
        range: ByteRange,
    ) -> Result<Option<ByteStream>, OriginError> {
        // What has no hash for a name could be anything here.
        if !file.blob.id.proves_bytes() || !self.resting.is_over() || self.wrong.contains_key(&file.blob) {
            return Ok(None);
        }
        match self.source.open(identity, file, range).await {
            Ok(stream) => {
                self.resting.end(&self.place);
                Ok(Some(self.watched(stream)))
            }
            Err(error) if error.is_transient() => {
                self.resting.begin(&self.place, &error);
                Err(error)
            }
            Err(error) => {
                tracing::trace!(mirror = self.place, %error, "it is not there");
                Ok(None)
            }
        }
    }

    pub(super) async fn local(&self, file: &RemoteFile) -> Option<PathBuf> {
        if !self.resting.is_over() || self.wrong.contains_key(&file.blob) {
            return None;
        }
        self.source.local(file).await
    }

    /// One that breaks off in the middle is left alone as well: the next attempt goes elsewhere.
    fn watched(&self, stream: ByteStream) -> ByteStream {
        let (resting, place) = (self.resting.clone(), self.place.clone());
        stream
            .inspect(move |piece| {
                if let Err(error) = piece {
                    resting.begin(&place, error)
                }
            })
            .boxed()
    }

    /// What it says of names, if it says anything.
    pub(super) async fn names<'a, T, F>(&'a self, ask: &impl Fn(&'a dyn Source) -> F) -> Option<T>
    where
        F: Future<Output = Result<T, OriginError>>,
    {
        if !self.resting.is_over() {
            return None;
        }
        match ask(self.source.as_ref()).await {
            Ok(told) => Some(told),
            Err(error) => {
                if error.is_transient() {
                    self.resting.begin(&self.place, &error);
                }
                None
            }
        }
    }

    pub(super) fn disproved(&self, blob: &Blob) {
        self.wrong.insert(*blob, ());
        self.source.disproved(blob);
    }
}
