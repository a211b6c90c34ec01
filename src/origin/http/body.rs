//! One ranged body: exactly the bytes that were asked for, or an error.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::stream::{self, StreamExt, TryStreamExt};
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use reqwest::{Response, StatusCode};

use super::{headers, transport_error};
use crate::metrics::Metrics;
use crate::origin::{ByteStream, OriginError, OriginErrorKind};
use crate::types::ByteRange;

/// The bytes asked for and the size of the content they are part of.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub range: ByteRange,
    pub size: u64,
}

/// Turns a successful answer to a ranged GET into the bytes asked for.
///
/// A server may ignore `Range` and send the whole with 200: the bytes before the range are then skipped and
/// the connection is given up after its end.
pub fn stream(
    response: Response,
    wanted: Wanted,
    stall: Duration,
    metrics: Arc<Metrics>,
) -> Result<ByteStream, OriginError> {
    let shape = Shape::of(response.status(), response.headers(), wanted).map_err(|cause| {
        metrics.fetch_failures.add(1);
        OriginError::new(OriginErrorKind::Nonsense, response.url().as_str(), cause)
    })?;
    let skip = if shape == Shape::Whole { wanted.range.start } else { 0 };
    let body = Body { response, shape, skip, left: wanted.range.len(), stall, metrics: metrics.clone() };
    let pieces = stream::try_unfold(body, Body::next);
    Ok(pieces.inspect_err(move |_| metrics.fetch_failures.add(1)).boxed())
}

/// What a body holds in relation to the range, and whether its end is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// The range, its length vouched for by `Content-Length`.
    Range,
    /// The range, said to be; the body ends when it ends.
    OpenRange,
    /// The whole content.
    Whole,
}

impl Shape {
    pub(super) fn of(status: StatusCode, headers: &HeaderMap, wanted: Wanted) -> Result<Self, String> {
        if let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
            return Err(format!("the body is encoded as {encoding:?}, though only identity was asked for"));
        }
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let Wanted { range, size } = wanted;
        match status {
            StatusCode::PARTIAL_CONTENT => {
                let (got, got_size) = headers::content_range(headers).ok_or("206 without a Content-Range")?;
                if got != range {
                    let (asked, got) = (range.start..range.end, got.start..got.end);
                    return Err(format!("asked for bytes {asked:?}, the answer holds {got:?}"));
                }
                if let Some(got_size) = got_size.filter(|got| *got != size) {
                    return Err(format!("the content should have {size} bytes, the answer says {got_size}"));
                }
                match length {
                    Some(length) if length != range.len() => {
                        Err(format!("the body should have {} bytes, the answer says {length}", range.len()))
                    }
                    Some(_) => Ok(Shape::Range),
                    None => Ok(Shape::OpenRange),
                }
            }
            StatusCode::OK => match length {
                Some(length) if length != size => {
                    Err(format!("the content should have {size} bytes, the answer says {length}"))
                }
                _ => Ok(Shape::Whole),
            },
            status => Err(format!("{status} is no answer to a range")),
        }
    }
}

struct Body {
    response: Response,
    shape: Shape,
    /// Bytes still to come before the range.
    skip: u64,
    /// Bytes of the range still to come.
    left: u64,
    stall: Duration,
    metrics: Arc<Metrics>,
}

impl Body {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, OriginError> {
        while self.left > 0 {
            let Some(mut piece) = piece(&mut self.response, self.stall).await? else {
                let cause = format!("the body was cut short, {} bytes before its end", self.skip + self.left);
                return Err(self.error(OriginErrorKind::Transient, cause));
            };
            self.metrics.fetched_bytes.add(piece.len() as u64);
            let skipped = self.skip.min(piece.len() as u64);
            self.skip -= skipped;
            piece.advance(skipped as usize);
            if piece.len() as u64 > self.left {
                if self.shape != Shape::Whole {
                    return Err(self.error(OriginErrorKind::Nonsense, "the body is longer than asked for"));
                }
                piece.truncate(self.left as usize);
            }
            if !piece.is_empty() {
                self.left -= piece.len() as u64;
                return Ok(Some((piece, self)));
            }
        }
        self.end().await?;
        Ok(None)
    }

    /// All bytes are delivered. Where only the end itself tells that there are no more, it is looked for,
    /// which also hands the connection back; a whole content's rest is not read.
    async fn end(&mut self) -> Result<(), OriginError> {
        if self.shape == Shape::OpenRange
            && let Ok(Some(_)) = piece(&mut self.response, self.stall).await
        {
            return Err(self.error(OriginErrorKind::Nonsense, "the body is longer than asked for"));
        }
        Ok(())
    }

    fn error(&self, kind: OriginErrorKind, cause: impl Into<String>) -> OriginError {
        OriginError::new(kind, self.response.url().as_str(), cause)
    }
}

/// The next piece of a body, or an error if none comes for `stall`.
pub(super) async fn piece(response: &mut Response, stall: Duration) -> Result<Option<Bytes>, OriginError> {
    match tokio::time::timeout(stall, response.chunk()).await {
        Ok(Ok(piece)) => Ok(piece),
        Ok(Err(error)) => Err(transport_error(response.url(), error)),
        Err(_) => {
            let cause = format!("the body stalled for {stall:?}");
            Err(OriginError::new(OriginErrorKind::Transient, response.url().as_str(), cause))
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{CONTENT_RANGE, HeaderValue};

    use super::*;

    const WANTED: Wanted = Wanted { range: ByteRange { start: 10, end: 20 }, size: 100 };

    fn partial(range: &'static str, length: Option<u64>) -> Result<Shape, String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_RANGE, HeaderValue::from_static(range));
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        Shape::of(StatusCode::PARTIAL_CONTENT, &headers, WANTED)
    }

    #[test]
    fn only_exactly_the_range_that_was_asked_for_is_taken() {
        assert_eq!(partial("bytes 10-19/100", Some(10)), Ok(Shape::Range));
        assert_eq!(partial("bytes 10-19/*", None), Ok(Shape::OpenRange));
        assert!(partial("bytes 10-18/100", Some(9)).is_err());
        assert!(partial("bytes 0-19/100", Some(20)).is_err());
        assert!(partial("bytes 10-19/101", Some(10)).is_err(), "another size is another content");
        assert!(partial("bytes 10-19/100", Some(11)).is_err());
        assert!(Shape::of(StatusCode::PARTIAL_CONTENT, &HeaderMap::new(), WANTED).is_err());
    }

    #[test]
    fn a_whole_content_must_have_the_right_size() {
        let mut headers = HeaderMap::new();
        assert_eq!(Shape::of(StatusCode::OK, &headers, WANTED), Ok(Shape::Whole));
        headers.insert(CONTENT_LENGTH, 100.into());
        assert_eq!(Shape::of(StatusCode::OK, &headers, WANTED), Ok(Shape::Whole));
        headers.insert(CONTENT_LENGTH, 99.into());
        assert!(Shape::of(StatusCode::OK, &headers, WANTED).is_err());
        assert!(Shape::of(StatusCode::NO_CONTENT, &HeaderMap::new(), WANTED).is_err());
    }

    #[test]
    fn an_encoded_body_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(Shape::of(StatusCode::OK, &headers, WANTED).is_err());
    }
}
