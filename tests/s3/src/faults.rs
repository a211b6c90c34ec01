//! What goes wrong, for which requests, and how often.

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, future, stream};
use http::header::{CONTENT_RANGE, HeaderValue};
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use parking_lot::Mutex;
use s3s::{Body, HttpResponse, StdError};

use crate::Seen;

#[derive(Debug, Clone)]
pub enum Fault {
    /// Another status than 200, with a code as S3 writes it, and headers.
    Refuse(u16, &'static str, Vec<(&'static str, &'static str)>),
    /// The head comes, and after so many bytes nothing more.
    Stall(usize),
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// The answer says that it is of another range.
    WrongRange,
    /// One bit of the body is another one.
    FlipBit,
    /// The answer is no XML at all.
    Babble,
}

/// A fault, and whom it meets.
pub struct Rule {
    pub fault: Fault,
    pub meets: Box<dyn Fn(&Seen) -> bool + Send>,
    /// How often.
    pub times: usize,
}

impl Rule {
    /// For requests of one kind whose path holds `part`.
    pub fn on(method: &'static str, part: &'static str, fault: Fault) -> Self {
        let meets = move |seen: &Seen| seen.method == method && seen.path.contains(part);
        Self { fault, meets: Box::new(meets), times: usize::MAX }
    }

    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }
}

#[derive(Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<Vec<Rule>>>);

impl Faults {
    pub(crate) fn add(&self, rule: Rule) {
        self.0.lock().push(rule);
    }

    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }

    pub(crate) fn meets(&self, seen: &Seen) -> Option<Fault> {
        let mut rules = self.0.lock();
        let rule = rules.iter_mut().find(|rule| rule.times > 0 && (rule.meets)(seen))?;
        rule.times -= 1;
        Some(rule.fault.clone())
    }
}

impl Fault {
    /// An answer that is made without asking the store.
    pub(crate) fn instead(&self) -> Option<HttpResponse> {
        let (status, body, headers) = match self {
            Fault::Refuse(status, code, headers) => {
                let body =
                    format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as asked</Message></Error>");
                (*status, body, headers.as_slice())
            }
            Fault::Babble => (200, "<html>Welcome!</html".to_owned(), [].as_slice()),
            _ => return None,
        };
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        Some(answer.body(Body::from(body)).unwrap())
    }

    pub(crate) fn spoil(&self, answer: HttpResponse) -> HttpResponse {
        let (mut head, body) = answer.into_parts();
        let bytes = body.into_data_stream();
        let body = match *self {
            Fault::WrongRange => {
                move_range(&mut head.headers);
                whole(bytes)
            }
            Fault::FlipBit => whole(bytes.enumerate().map(|(at, piece)| piece.map(|piece| flip(at, piece)))),
            Fault::Cut(after) => {
                let broken = stream::iter([Err(StdError::from("cut off, as asked"))]);
                whole(first(bytes, after).chain(broken))
            }
            Fault::Stall(after) => whole(first(bytes, after).chain(stream::pending())),
            Fault::Refuse(..) | Fault::Babble => unreachable!("answered without the store"),
        };
        Response::from_parts(head, body)
    }
}

fn whole(pieces: impl Stream<Item = Result<Bytes, StdError>> + Send + 'static) -> Body {
    Body::http_body_unsync(StreamBody::new(pieces.map(|piece| piece.map(Frame::data))))
}

/// The first `len` bytes.
fn first(
    pieces: impl Stream<Item = Result<Bytes, StdError>> + Send + 'static,
    len: usize,
) -> impl Stream<Item = Result<Bytes, StdError>> + Send + 'static {
    pieces.scan(len, |left, piece| {
        let kept = piece.ok().filter(|_| *left > 0).map(|mut piece| {
            piece.truncate(*left);
            *left -= piece.len();
            Ok(piece)
        });
        future::ready(kept)
    })
}

fn flip(at: usize, piece: Bytes) -> Bytes {
    let mut piece = Vec::from(piece);
    if let (0, Some(byte)) = (at, piece.first_mut()) {
        *byte ^= 1;
    }
    piece.into()
}

/// `bytes 5-9/10` becomes `bytes 6-10/10`.
fn move_range(headers: &mut HeaderMap) {
    let moved = headers.get(CONTENT_RANGE).and_then(|range| {
        let (range, size) = range.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (first.parse::<u64>().ok()? + 1, last.parse::<u64>().ok()? + 1);
        HeaderValue::from_str(&format!("bytes {first}-{last}/{size}")).ok()
    });
    if let Some(moved) = moved {
        headers.insert(CONTENT_RANGE, moved);
    }
}
