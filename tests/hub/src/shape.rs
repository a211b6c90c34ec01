//! The last step of every answer: its bytes are counted, and faults that strike a body or its headers are applied.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::time::Instant;

use crate::download::{BodyOffset, text};
use crate::faults::Fault;
use crate::link::Link;
use crate::log::Entry;
use crate::refusal::set;
use crate::wire::Flushes;

/// A slow body is sent in about this many steps a second.
const STEPS_PER_SECOND: u64 = 20;
const SMALLEST_STEP: u64 = 256;

/// The answer of a fault that sets the status, with the headers of a rate limit where it has them.
pub fn refuse(fault: &Fault) -> Option<Response> {
    let status = StatusCode::from_u16(fault.status?).ok()?;
    let reason = status.canonical_reason().unwrap_or("fault");
    let mut response = (status, reason).into_response();
    let headers = response.headers_mut();
    if let Some(seconds) = fault.retry_after {
        set(headers, header::RETRY_AFTER, &seconds.to_string());
    }
    if let Some(limit) = &fault.rate_limit {
        let quota = match limit.bucket.as_str() {
            "resolvers" => 3000,
            "pages" => 100,
            _ => 500,
        };
        let bucket = &limit.bucket;
        let left = format!("\"{bucket}\";r=0;t={}", limit.reset);
        let policy = format!("\"fixed window\";\"{bucket}\";q={quota};w=300");
        set(headers, RATE_LIMIT, &left);
        set(headers, RATE_LIMIT_POLICY, &policy);
    }
    Some(response)
}

const RATE_LIMIT: header::HeaderName = header::HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: header::HeaderName = header::HeaderName::from_static("ratelimit-policy");

/// What applies to one answer.
pub struct Shaping {
    pub fault: Fault,
    pub entry: Arc<Entry>,
    pub flushes: Flushes,
    pub link: Arc<Link>,
    /// Bytes per second of the link, None where it has no limit.
    pub link_bandwidth: Option<u64>,
}

impl Shaping {
    pub fn apply(self, mut response: Response, method: &Method) -> Response {
        let exact = response.body().size_hint().exact();
        let stated = text(response.headers(), header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let length: Option<u64> = stated.or(exact);
        let is_head = method == Method::HEAD;
        self.entry.update(|record| {
            record.status = Some(response.status().as_u16());
            record.length = if is_head { Some(0) } else { length };
        });
        self.declare(&mut response, length);
        if is_head {
            return response.map(|_| Body::empty());
        }
        let offset = response.extensions().get::<BodyOffset>().copied();
        response.map(|body| {
            let shaped = ShapedBody {
                body: body.into_data_stream(),
                waiting: Bytes::new(),
                sent: 0,
                offset: offset.unwrap_or_default().0,
                started: Instant::now(),
                shaping: self,
            };
            Body::from_stream(shaped.into_stream())
        })
    }

    /// The headers that say what the body is, true or not.
    fn declare(&self, response: &mut Response, length: Option<u64>) {
        let status = response.status();
        let headers = response.headers_mut();
        let length = self.fault.content_length.or(length);
        if let Some(length) = length.filter(|_| status != StatusCode::NOT_MODIFIED) {
            set(headers, header::CONTENT_LENGTH, &length.to_string());
        }
        if let (Some(lie), StatusCode::PARTIAL_CONTENT) = (&self.fault.content_range, status) {
            set(headers, header::CONTENT_RANGE, lie);
        }
    }
}

struct ShapedBody {
    body: BodyDataStream,
    /// What is left of the last chunk.
    waiting: Bytes,
    sent: u64,
    /// Where in the file the body begins.
    offset: u64,
    started: Instant,
    shaping: Shaping,
}

impl ShapedBody {
    fn into_stream(self) -> impl stream::Stream<Item = io::Result<Bytes>> {
        stream::unfold(self, |mut body| async move {
            let chunk = body.next().await?;
            Some((chunk, body))
        })
    }

    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.waiting.is_empty() {
            match self.body.next().await {
                Some(Ok(chunk)) => self.waiting = chunk,
                Some(Err(error)) => return Some(Err(io::Error::other(error))),
                None => return self.end().await,
            }
        }
        let fault = &self.shaping.fault;
        if fault.stall_after == Some(self.sent) {
            std::future::pending::<()>().await;
        }
        if fault.cut_after == Some(self.sent) {
            return Some(Err(self.cut().await));
        }
        let step = self.longest_step().min(self.waiting.len() as u64);
        let chunk = self.waiting.split_to(step as usize);
        self.keep_pace(step).await;
        let chunk = self.corrupt(chunk);
        self.sent += step;
        self.shaping.entry.sent(chunk.len());
        Some(Ok(chunk))
    }

    /// More was promised than there is: then the connection has to close, as it would if the server had died.
    async fn end(&mut self) -> Option<io::Result<Bytes>> {
        let promised = self.shaping.fault.content_length?;
        if promised <= self.sent {
            return None;
        }
        Some(Err(self.cut().await))
    }

    /// Closes the connection once all that was sent is out.
    async fn cut(&mut self) -> io::Error {
        self.shaping.flushes.next().await;
        io::Error::other("cut by a fault")
    }

    /// At most up to the next place where something happens.
    fn longest_step(&self) -> u64 {
        let fault = &self.shaping.fault;
        let ends = [fault.stall_after, fault.cut_after];
        let until = ends.into_iter().flatten().filter(|end| *end > self.sent);
        let event = until.map(|end| end - self.sent).min();
        let rates = [fault.bandwidth, self.shaping.link_bandwidth].into_iter().flatten();
        let pace = rates.map(|rate| (rate / STEPS_PER_SECOND).max(SMALLEST_STEP));
        event.into_iter().chain(pace).min().unwrap_or(u64::MAX)
    }

    /// Waits until the bytes sent and the next `step` fit the bandwidth.
    async fn keep_pace(&mut self, step: u64) {
        if let Some(rate) = self.shaping.fault.bandwidth {
            let due = (self.sent + step) as f64 / rate.max(1) as f64;
            tokio::time::sleep_until(self.started + Duration::from_secs_f64(due)).await;
        }
        if let Some(rate) = self.shaping.link_bandwidth {
            self.shaping.link.pass(step, rate).await;
        }
    }

    fn corrupt(&self, chunk: Bytes) -> Bytes {
        if self.shaping.fault.corrupt_all {
            return chunk.iter().map(|byte| !byte).collect();
        }
        let start = self.offset + self.sent;
        let within = self.shaping.fault.corrupt_at.and_then(|at| at.checked_sub(start));
        match within {
            Some(index) if index < chunk.len() as u64 => {
                let mut wrong = chunk.to_vec();
                wrong[index as usize] = !wrong[index as usize];
                Bytes::from(wrong)
            }
            _ => chunk,
        }
    }
}
