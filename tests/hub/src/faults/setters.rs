//! `Fault::on(Target::Cdn).path("model").times(1).cut_after(100)`: one setter a field.

use super::{Fault, RateLimit, Target};

impl Fault {
    /// Strikes every request until it is narrowed down.
    pub fn new() -> Self {
        Self::default()
    }

    pub fn on(target: Target) -> Self {
        Fault { target: Some(target), ..Self::default() }
    }

    pub fn named(self, name: impl Into<String>) -> Self {
        let name = Some(name.into());
        Fault { name, ..self }
    }

    pub fn path(self, part: impl Into<String>) -> Self {
        let path = Some(part.into());
        Fault { path, ..self }
    }

    pub fn method(self, method: impl Into<String>) -> Self {
        let method = Some(method.into());
        Fault { method, ..self }
    }

    pub fn skip(self, skip: u64) -> Self {
        Fault { skip, ..self }
    }

    pub fn times(self, count: u64) -> Self {
        let count = Some(count);
        Fault { count, ..self }
    }

    pub fn latency_ms(self, milliseconds: u64) -> Self {
        let latency_ms = Some(milliseconds);
        Fault { latency_ms, ..self }
    }

    pub fn disconnect(self) -> Self {
        let disconnect = true;
        Fault { disconnect, ..self }
    }

    pub fn status(self, status: u16) -> Self {
        let status = Some(status);
        Fault { status, ..self }
    }

    pub fn retry_after(self, seconds: u64) -> Self {
        let retry_after = Some(seconds);
        Fault { retry_after, ..self }
    }

    pub fn rate_limit(self, bucket: impl Into<String>, reset: u64) -> Self {
        let bucket = bucket.into();
        let rate_limit = Some(RateLimit { bucket, reset });
        Fault { rate_limit, ..self }
    }

    pub fn bandwidth(self, bytes_per_second: u64) -> Self {
        let bandwidth = Some(bytes_per_second);
        Fault { bandwidth, ..self }
    }

    pub fn stall_after(self, bytes: u64) -> Self {
        let stall_after = Some(bytes);
        Fault { stall_after, ..self }
    }

    pub fn cut_after(self, bytes: u64) -> Self {
        let cut_after = Some(bytes);
        Fault { cut_after, ..self }
    }

    pub fn corrupt_at(self, offset: u64) -> Self {
        let corrupt_at = Some(offset);
        Fault { corrupt_at, ..self }
    }

    pub fn corrupt_all(self) -> Self {
        let corrupt_all = true;
        Fault { corrupt_all, ..self }
    }

    pub fn ignore_range(self) -> Self {
        let ignore_range = true;
        Fault { ignore_range, ..self }
    }

    pub fn shorten_range(self, bytes: u64) -> Self {
        let shorten_range = Some(bytes);
        Fault { shorten_range, ..self }
    }

    pub fn content_range(self, text: impl Into<String>) -> Self {
        let content_range = Some(text.into());
        Fault { content_range, ..self }
    }

    pub fn content_length(self, bytes: u64) -> Self {
        let content_length = Some(bytes);
        Fault { content_length, ..self }
    }
}
