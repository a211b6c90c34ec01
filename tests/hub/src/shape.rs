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

pub fn shape(mut response: Response, method: &Method, fault: Fault, entry: Arc<Entry>, flushes: Flushes) -> Response {
    let exact = response.body().size_hint().exact();
    let stated = text(response.headers(), header::CONTENT_LENGTH).and_then(|l| l.parse().ok());
    let length: Option<u64> = stated.or(exact);
    let is_head = method == Method::HEAD;
    let has_body = response.status() != StatusCode::NOT_MODIFIED;
    entry.update(|record| {
        record.status = Some(response.status().as_u16());
        record.length = if is_head { Some(0) } else { length };
    });
    let declared = fault.content_length.or(length);
    if let Some(length) = declared.filter(|_| has_body) {
        set(response.headers_mut(), header::CONTENT_LENGTH, &length.to_string());
    }
    if let Some(lie) = &fault.content_range {
        set(response.headers_mut(), header::CONTENT_RANGE, lie);
    }
    if is_head {
        *response.body_mut() = Body::empty();
        return response;
    }
    let offset = response.extensions().get::<BodyOffset>().copied();
    response.map(|body| {
        let shaped = ShapedBody {
            body: body.into_data_stream(),
            waiting: Bytes::new(),
            sent: 0,
            offset: offset.unwrap_or_default().0,
            started: Instant::now(),
            fault,
            entry,
            flushes,
        };
        Body::from_stream(shaped.into_stream())
    })
}

struct ShapedBody {
    body: BodyDataStream,
    /// What is left of the last chunk.
    waiting: Bytes,
    sent: u64,
    /// Where in the file the body begins.
    offset: u64,
    started: Instant,
    fault: Fault,
    entry: Arc<Entry>,
    flushes: Flushes,
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
            match self.body.next().await? {
                Ok(chunk) => self.waiting = chunk,
                Err(error) => return Some(Err(io::Error::other(error))),
            }
        }
        if self.fault.stall_after == Some(self.sent) {
            std::future::pending::<()>().await;
        }
        if self.fault.cut_after == Some(self.sent) {
            self.flushes.next().await;
            let cut = io::Error::other("cut by a fault");
            return Some(Err(cut));
        }
        let step = self.longest_step().min(self.waiting.len() as u64);
        let chunk = self.waiting.split_to(step as usize);
        self.keep_pace(step).await;
        let chunk = self.corrupt(chunk);
        self.sent += step;
        self.entry.sent(chunk.len());
        Some(Ok(chunk))
    }

    /// At most up to the next place where something happens.
    fn longest_step(&self) -> u64 {
        let ends = [self.fault.stall_after, self.fault.cut_after];
        let until = ends.into_iter().flatten().filter(|end| *end > self.sent);
        let event = until.map(|end| end - self.sent).min();
        let pace = self.fault.bandwidth;
        let pace = pace.map(|rate| (rate / STEPS_PER_SECOND).max(SMALLEST_STEP));
        event.into_iter().chain(pace).min().unwrap_or(u64::MAX)
    }

    /// Waits until the bytes sent and the next `step` fit the bandwidth.
    async fn keep_pace(&mut self, step: u64) {
        if let Some(rate) = self.fault.bandwidth {
            let due = (self.sent + step) as f64 / rate.max(1) as f64;
            tokio::time::sleep_until(self.started + Duration::from_secs_f64(due)).await;
        }
    }

    fn corrupt(&self, chunk: Bytes) -> Bytes {
        if self.fault.corrupt_all {
            return chunk.iter().map(|byte| !byte).collect();
        }
        let start = self.offset + self.sent;
        let within = self.fault.corrupt_at.and_then(|at| at.checked_sub(start));
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
