//! A file's bytes as an HTTP answer: conditions, ranges, lengths. The Hub's git files and the CDN's objects share it.

use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::content::Content;
use crate::range::{Part, part};
use crate::refusal::{Refusal, set};

/// Where in the file the body of a response begins, for faults that strike at an offset of the file.
#[derive(Clone, Copy, Debug, Default)]
pub struct BodyOffset(pub u64);

pub struct Download<'a> {
    pub content: &'a Content,
    pub size: u64,
    /// Without quotes.
    pub etag: &'a str,
    /// Sent along with every outcome.
    pub headers: HeaderMap,
}

impl Download<'_> {
    pub async fn answer(mut self, asked: &HeaderMap) -> Result<Response, Refusal> {
        let quoted = format!("\"{}\"", self.etag);
        set(&mut self.headers, header::ETAG, &quoted);
        set(&mut self.headers, header::ACCEPT_RANGES, "bytes");
        if text(asked, header::IF_NONE_MATCH).is_some_and(|list| names(list, &quoted)) {
            return Ok((StatusCode::NOT_MODIFIED, self.headers).into_response());
        }
        let unchanged = text(asked, header::IF_RANGE).is_none_or(|tag| tag == quoted);
        let range = text(asked, header::RANGE).filter(|_| unchanged);
        match part(range, self.size) {
            Part::Whole => {
                let whole = 0..self.size;
                self.send(StatusCode::OK, whole).await
            }
            Part::Range(range) => {
                let (first, last) = (range.start, range.end - 1);
                let content_range = format!("bytes {first}-{last}/{}", self.size);
                set(&mut self.headers, header::CONTENT_RANGE, &content_range);
                self.send(StatusCode::PARTIAL_CONTENT, range).await
            }
            Part::Unsatisfiable => {
                let content_range = format!("bytes */{}", self.size);
                set(&mut self.headers, header::CONTENT_RANGE, &content_range);
                Ok((StatusCode::RANGE_NOT_SATISFIABLE, self.headers).into_response())
            }
        }
    }

    async fn send(mut self, status: StatusCode, range: Range<u64>) -> Result<Response, Refusal> {
        let length = (range.end - range.start).to_string();
        set(&mut self.headers, header::CONTENT_LENGTH, &length);
        let offset = BodyOffset(range.start);
        let stream = self.content.stream(range).await;
        let body = stream.map_err(|error| self.unreadable(error))?;
        let mut response: Response<Body> = (status, self.headers, body).into_response();
        response.extensions_mut().insert(offset);
        Ok(response)
    }

    fn unreadable(&self, error: std::io::Error) -> Refusal {
        Refusal::Broken(format!("cannot read {:?}: {error}", self.content))
    }
}

/// Whether an If-None-Match list names the tag; `W/` does not matter here.
fn names(list: &str, quoted: &str) -> bool {
    let mut tags = list.split(',').map(str::trim);
    tags.any(|tag| tag == "*" || tag.trim_start_matches("W/") == quoted)
}

pub fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
