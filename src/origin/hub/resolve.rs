//! From a file to its bytes: the resolve URL, the redirect it answers with, the ranged GET there.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, Response};
use url::Url;

use super::answer::{self, About};
use super::ask::{Line, Party, Question, Redirect, Reply};
use super::places::{Host, Place, Places};
use super::urls;
use crate::metrics::Metrics;
use crate::origin::http::{self, Wanted};
use crate::origin::xet::XetHash;
use crate::origin::{ByteStream, OriginError, OriginErrorKind};
use crate::types::{BlobId, ByteRange, Identity, RemoteFile};

pub(super) struct Contents {
    line: Arc<Line>,
    places: Places,
    stall: Duration,
    metrics: Arc<Metrics>,
}

impl Contents {
    pub(super) fn new(line: Arc<Line>, stall: Duration, metrics: Arc<Metrics>) -> Self {
        Self { line, places: Places::new(), stall, metrics }
    }

    pub(super) async fn open(
        &self,
        identity: &Identity,
        file: &RemoteFile,
        range: ByteRange,
    ) -> Result<ByteStream, OriginError> {
        if let Some(place) = self.places.known(identity, file).await {
            match self.get(identity, file, range, &place).await {
                // A remembered URL that is refused may have expired before its time: that costs the caller no retry.
                Err(error) if place.host == Host::Storage && error.kind == OriginErrorKind::Permanent => {
                    tracing::debug!(%error, "a signed URL was refused and is renewed");
                    self.places.forget(identity, file, &place).await;
                }
                opened => return opened,
            }
        }
        let place = self.find(identity, file).await?;
        self.get(identity, file, range, &place).await
    }

    /// The file's name in the Hub's Xet store, if it has one. Costs what the first plain range would cost too.
    pub(super) async fn xet_hash(
        &self,
        identity: &Identity,
        file: &RemoteFile,
    ) -> Result<Option<XetHash>, OriginError> {
        match self.places.known(identity, file).await {
            Some(place) => Ok(place.xet),
            None => Ok(self.find(identity, file).await?.xet),
        }
    }

    /// Asks the Hub itself, whatever is remembered.
    pub(super) async fn authorize(&self, identity: &Identity, file: &RemoteFile) -> Result<(), OriginError> {
        let asked = self.ask_place(identity, file).await;
        match &asked {
            Ok(place) => self.places.remember(identity, file, place).await,
            // A grant that was taken back ends the URLs that it gave.
            Err(error) if !error.is_transient() => self.places.forget_any(identity, file).await,
            Err(_) => {}
        }
        asked.map(drop)
    }

    /// Git files are small and lie on the Hub: to ask where would cost a round trip more than to ask for the bytes.
    async fn find(&self, identity: &Identity, file: &RemoteFile) -> Result<Place, OriginError> {
        match file.blob.id {
            BlobId::GitSha1(_) => Ok(Place::hub(urls::resolve(identity, file)?, &HeaderMap::new())),
            _ => self.places.known_or(identity, file, self.ask_place(identity, file)).await,
        }
    }

    async fn ask_place(&self, identity: &Identity, file: &RemoteFile) -> Result<Place, OriginError> {
        let url = urls::resolve(identity, file)?;
        let (method, about) = (Method::HEAD, About::Contents);
        let question = Question { identity, method, url: url.clone(), range: None, about, to: Party::Hub };
        match self.line.ask(question).await? {
            Reply::Elsewhere(redirect) => signed(file, redirect),
            Reply::Here(response) => {
                check(&response, file)?;
                Ok(Place::hub(url, response.headers()))
            }
        }
    }

    async fn get(
        &self,
        identity: &Identity,
        file: &RemoteFile,
        range: ByteRange,
        place: &Place,
    ) -> Result<ByteStream, OriginError> {
        let to = match (place.host, file.blob.id) {
            (Host::Storage, _) => Party::Storage,
            // The connection that the listing came over is still warm.
            (Host::Hub, BlobId::GitSha1(_)) => Party::Hub,
            (Host::Hub, _) => Party::HubData,
        };
        let response = match self.ask_range(identity, place.url.clone(), range, to).await? {
            Reply::Here(response) => {
                if place.host == Host::Hub {
                    check(&response, file)?;
                }
                response
            }
            Reply::Elsewhere(redirect) => {
                let place = signed(file, redirect)?;
                self.places.remember(identity, file, &place).await;
                match self.ask_range(identity, place.url, range, Party::Storage).await? {
                    Reply::Here(response) => response,
                    Reply::Elsewhere(redirect) => return Err(unexpected(&redirect.asked)),
                }
            }
        };
        let wanted = Wanted { range, size: file.blob.size };
        http::stream(response, wanted, self.stall, self.metrics.clone())
    }

    async fn ask_range(
        &self,
        identity: &Identity,
        url: Url,
        range: ByteRange,
        to: Party,
    ) -> Result<Reply, OriginError> {
        let (method, range, about) = (Method::GET, Some(range), About::Contents);
        self.line.ask(Question { identity, method, url, range, about, to }).await
    }
}

/// The place that a redirect names, if the Hub means the same content as we do.
fn signed(file: &RemoteFile, redirect: Redirect) -> Result<Place, OriginError> {
    answer::check(&redirect.asked, redirect.status, &redirect.headers, file)?;
    Ok(Place::signed(redirect.location, &redirect.headers))
}

fn check(response: &Response, file: &RemoteFile) -> Result<(), OriginError> {
    answer::check(response.url(), response.status(), response.headers(), file)
}

fn unexpected(asked: &Url) -> OriginError {
    OriginError::new(OriginErrorKind::Permanent, asked.as_str(), "redirects where contents were expected")
}
