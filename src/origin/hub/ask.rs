//! One question to the Hub or to the storage that it names: pauses, token, redirects, failures.

use std::sync::Arc;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, LOCATION, RANGE};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::answer::{self, About};
use super::auth;
use super::pauses::{PauseKey, Pauses};
use crate::metrics::Metrics;
use crate::origin::http::{self, Clients, Timeouts};
use crate::origin::{OriginError, OriginErrorKind};
use crate::types::{ByteRange, Identity};

/// A renamed repository is one redirect, its spelling another.
const MAX_REDIRECTS: usize = 5;

pub(super) struct Question<'a> {
    pub(super) identity: &'a Identity,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) range: Option<ByteRange>,
    pub(super) about: About,
    pub(super) to: Party,
}

/// Who is asked, over which connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Party {
    /// The Hub, for answers that are small.
    Hub,
    /// The Hub, for contents that it serves itself.
    HubData,
    /// Whom the Hub redirected to. Never gets the token.
    Storage,
}

/// A success, or the Hub's word that someone else has it.
pub(super) enum Reply {
    Here(Response),
    Elsewhere(Redirect),
}

/// A redirect off the Hub: what the Hub says of the file, and where its bytes are.
pub(super) struct Redirect {
    pub(super) asked: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) location: Url,
}

pub(super) struct Line {
    clients: Clients,
    timeouts: Timeouts,
    metrics: Arc<Metrics>,
    pauses: Pauses,
}

impl Line {
    pub(super) fn new(clients: Clients, timeouts: Timeouts, metrics: Arc<Metrics>) -> Self {
        Self { clients, timeouts, metrics, pauses: Pauses::default() }
    }

    /// Asks, and follows redirects for as long as the Hub answers for itself; a storage's redirects all are its own.
    pub(super) async fn ask(&self, mut question: Question<'_>) -> Result<Reply, OriginError> {
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&question).await?;
            let Some(location) = redirect(&question.url, &response)? else { return Ok(Reply::Here(response)) };
            if question.to != Party::Storage && !auth::is_own_hub(question.identity, &location) {
                let (status, headers) = (response.status(), response.headers().clone());
                return Ok(Reply::Elsewhere(Redirect { asked: question.url, status, headers, location }));
            }
            question.url = location;
        }
        Err(OriginError::new(OriginErrorKind::Permanent, question.url.as_str(), "too many redirects"))
    }

    /// One request. What comes back is a success or a redirect.
    async fn send(&self, question: &Question<'_>) -> Result<Response, OriginError> {
        let Question { identity, url, about, .. } = question;
        let pause = PauseKey::new(url, *about, identity.digest());
        self.pauses.check(&pause, url)?;
        let (requests, failures) = match about {
            About::Contents => (&self.metrics.fetch_requests, &self.metrics.fetch_failures),
            About::Repo | About::Listing => (&self.metrics.catalog_requests, &self.metrics.catalog_failures),
        };
        requests.add(1);
        let answer = self.attempt(question).await;
        if let Err(error) = &answer {
            self.pauses.note(pause, error);
            // That something is not there is an answer, not a failure.
            if error.is_transient() || error.kind == OriginErrorKind::Permanent {
                failures.add(1);
            }
        }
        answer
    }

    async fn attempt(&self, question: &Question<'_>) -> Result<Response, OriginError> {
        let Question { identity, method, url, range, about, to } = question;
        let client = if *to == Party::Hub { self.clients.api() } else { self.clients.data() };
        let client =
            client.map_err(|error| OriginError::new(OriginErrorKind::Permanent, url.as_str(), error.to_string()))?;
        // The Hub logs it: it is what to name when asking there why a request failed.
        let trace = format!("{:032x}", rand::random::<u128>());
        let mut request = client.request(method.clone(), url.clone()).header("x-amzn-trace-id", &trace);
        if *about == About::Contents {
            // A compressed answer has no length to check and no range.
            request = request.header(ACCEPT_ENCODING, "identity");
        }
        if let Some(range) = range {
            request = request.header(RANGE, format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        }
        if *to != Party::Storage {
            request = auth::authorize(request, identity, url)?;
        }
        let answer = http::send(request, url, self.timeouts).await.and_then(|response| {
            let (status, headers) = (response.status(), response.headers());
            match to {
                _ if status.is_success() || (status.is_redirection() && headers.contains_key(LOCATION)) => Ok(response),
                Party::Storage => Err(answer::storage_failure(url, status, headers)),
                _ => Err(answer::failure(url, status, headers, *about, identity.token.is_some())),
            }
        });
        answer.inspect_err(|error| tracing::debug!(%error, %trace, "a request failed"))
    }
}

/// Where a redirect points to; `None` for a success.
fn redirect(asked: &Url, response: &Response) -> Result<Option<Url>, OriginError> {
    if response.status().is_success() {
        return Ok(None);
    }
    let wrong = |cause| OriginError::new(OriginErrorKind::Permanent, asked.as_str(), cause);
    let location = response.headers().get(LOCATION).and_then(|location| asked.join(location.to_str().ok()?).ok());
    let location = location.ok_or_else(|| wrong("redirects to what is not a URL"))?;
    match (asked.scheme(), location.scheme()) {
        ("https", "https") | ("http", "https" | "http") => Ok(Some(location)),
        _ => Err(wrong("redirects to a URL that is not https")),
    }
}
