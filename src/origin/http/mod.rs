//! HTTP as every origin uses it: two clients, one request under a deadline, one ranged body.
//!
//! Nothing here follows a redirect or knows a token: where a request may go and what it may carry is the caller's to decide.

mod body;
mod clients;
pub mod dates;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod headers;

use std::error::Error;
use std::time::Duration;

use bytes::BytesMut;
use reqwest::{RequestBuilder, Response};
use url::Url;

pub use body::{Wanted, stream};
pub use clients::{ClientError, Clients};

use super::{OriginError, OriginErrorKind};

/// How long to wait for whom.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For the next piece of an answer.
    pub stall: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), stall: Duration::from_secs(15) }
    }
}

/// Sends one request and waits for the head of the answer, whatever its status is.
pub async fn send(request: RequestBuilder, url: &Url, timeouts: Timeouts) -> Result<Response, OriginError> {
    match tokio::time::timeout(timeouts.connect + timeouts.stall, request.send()).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(transport_error(url, error)),
        Err(_) => Err(OriginError::new(OriginErrorKind::Transient, url.as_str(), "no answer in time")),
    }
}

/// The whole body of a small answer, which is not expected to be longer than `limit` bytes.
pub async fn whole_body(mut response: Response, limit: usize, stall: Duration) -> Result<BytesMut, OriginError> {
    let mut body = BytesMut::new();
    while let Some(piece) = body::piece(&mut response, stall).await? {
        if body.len() + piece.len() > limit {
            let cause = format!("the answer is longer than {limit} bytes");
            return Err(OriginError::new(OriginErrorKind::Permanent, response.url().as_str(), cause));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// What went wrong below HTTP, without the URL that reqwest would print: its query may be a signature.
fn transport_error(url: &Url, error: reqwest::Error) -> OriginError {
    let error = error.without_url();
    let kind = if error.is_builder() { OriginErrorKind::Permanent } else { OriginErrorKind::Transient };
    let cause = match innermost(&error) {
        cause if error.is_connect() => format!("cannot connect: {cause}"),
        _ if error.is_timeout() => "no answer in time".to_owned(),
        cause => cause,
    };
    OriginError::new(kind, url.as_str(), cause)
}

/// The error at the root: the outer ones only say that there was one.
fn innermost(error: &dyn Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}
