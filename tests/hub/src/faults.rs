//! Faults on request: which requests are struck, how often, and with what. Plain data and matching, no IO.
//!
//! Every rule that matches a request and has uses left takes part; where two give the same effect, the earlier one
//! counts. A rule only matches where its effect can show: body effects never on HEAD, range effects only where a Range
//! was asked for, `corrupt_at` only where that byte was. Uses are counted under one lock, so `count` is exact however
//! many requests come at once.

use axum::http::Method;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::range::Asked;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// `/api/...` and whatever is no resolve.
    Api,
    /// `/ORG/NAME/resolve/...`, bytes of git files included.
    Resolve,
    Cdn,
}

/// All rules in force, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    pub rules: Vec<Fault>,
}

impl From<Fault> for Faults {
    fn from(rule: Fault) -> Self {
        Faults { rules: vec![rule] }
    }
}

impl From<Vec<Fault>> for Faults {
    fn from(rules: Vec<Fault>) -> Self {
        Faults { rules }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// Shown in the log of the requests it struck; `fault` where it has none.
    pub name: Option<String>,

    // Which requests.
    pub target: Option<Target>,
    /// A part of the raw path and query. A CDN URL names the file in its query.
    pub path: Option<String>,
    pub method: Option<String>,
    /// Let this many matching requests pass first.
    pub skip: u64,
    /// Uses left; None is without end.
    pub count: Option<u64>,

    // With what.
    /// Wait before the headers.
    pub latency_ms: Option<u64>,
    /// Close the connection without an answer.
    pub disconnect: bool,
    /// Answer with this status and a short body.
    pub status: Option<u16>,
    /// Seconds, sent with `status`.
    pub retry_after: Option<u64>,
    /// Sent with `status`.
    pub rate_limit: Option<RateLimit>,
    /// Bytes per second of each body.
    pub bandwidth: Option<u64>,
    /// Send this many bytes of the body and never go on.
    pub stall_after: Option<u64>,
    /// Send this many bytes of the body, then close the connection.
    pub cut_after: Option<u64>,
    /// Invert the byte at this offset of the file.
    pub corrupt_at: Option<u64>,
    /// Invert every byte.
    pub corrupt_all: bool,
    /// Answer 200 with the whole file.
    pub ignore_range: bool,
    /// Answer a range with fewer bytes than asked, all headers in order.
    pub shorten_range: Option<u64>,
    /// Say this in place of the true Content-Range.
    pub content_range: Option<String>,
    /// Say this in place of the true Content-Length.
    pub content_length: Option<u64>,
}

/// `RateLimit: "resolvers";r=0;t=2`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// `api`, `resolvers` or `pages`.
    pub bucket: String,
    /// Seconds until there is quota again.
    pub reset: u64,
}

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

    fn matches(&self, asked: &Struck) -> bool {
        let method = self.method.as_deref();
        self.target.is_none_or(|target| target == asked.target)
            && self.path.as_deref().is_none_or(|part| asked.path.contains(part))
            && method.is_none_or(|method| method.eq_ignore_ascii_case(asked.method.as_str()))
            && self.can_show(asked)
    }

    fn can_show(&self, asked: &Struck) -> bool {
        let range = asked.range.and_then(Asked::parse);
        let is_head = asked.method == Method::HEAD;
        let needs_body = self.bandwidth.is_some()
            || self.stall_after.is_some()
            || self.cut_after.is_some()
            || self.corrupt_at.is_some()
            || self.corrupt_all;
        let needs_range = self.ignore_range || self.content_range.is_some() || self.shorten_range.is_some();
        let hits = |offset| range.is_none_or(|range| range.covers(offset));
        !(needs_body && is_head) && !(needs_range && range.is_none()) && self.corrupt_at.is_none_or(hits)
    }

    /// Counts one matching request; whether this one is struck.
    fn take(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        match &mut self.count {
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        }
    }
}

/// The request that may be struck.
pub struct Struck<'a> {
    pub target: Target,
    pub method: &'a Method,
    pub path: &'a str,
    pub range: Option<&'a str>,
}

/// Everything that strikes one request.
#[derive(Default)]
pub struct Blow {
    /// The effects, merged; the rest of the rule means nothing here.
    pub effect: Fault,
    pub names: Vec<String>,
}

impl Blow {
    fn add(&mut self, rule: &Fault) {
        let name = rule.name.as_deref().unwrap_or("fault");
        self.names.push(name.to_owned());
        let all = &mut self.effect;
        all.latency_ms = all.latency_ms.or(rule.latency_ms);
        all.disconnect |= rule.disconnect;
        if all.status.is_none() {
            all.status = rule.status;
            all.retry_after = rule.retry_after;
            all.rate_limit = rule.rate_limit.clone();
        }
        all.bandwidth = all.bandwidth.or(rule.bandwidth);
        all.stall_after = all.stall_after.or(rule.stall_after);
        all.cut_after = all.cut_after.or(rule.cut_after);
        all.corrupt_at = all.corrupt_at.or(rule.corrupt_at);
        all.corrupt_all |= rule.corrupt_all;
        all.ignore_range |= rule.ignore_range;
        all.shorten_range = all.shorten_range.or(rule.shorten_range);
        all.content_length = all.content_length.or(rule.content_length);
        if all.content_range.is_none() {
            all.content_range = rule.content_range.clone();
        }
    }
}

/// The rules in force, with the uses each has left.
#[derive(Default)]
pub struct FaultRules {
    rules: Mutex<Faults>,
}

impl FaultRules {
    pub fn set(&self, faults: Faults) {
        *self.rules.lock() = faults;
    }

    pub fn add(&self, rule: Fault) {
        self.rules.lock().rules.push(rule);
    }

    pub fn get(&self) -> Faults {
        self.rules.lock().clone()
    }

    pub fn strike(&self, asked: &Struck) -> Blow {
        let mut blow = Blow::default();
        for rule in &mut self.rules.lock().rules {
            if rule.matches(asked) && rule.take() {
                blow.add(rule);
            }
        }
        blow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &'static str, range: Option<&'static str>) -> Struck<'static> {
        Struck { target: Target::Cdn, method: &Method::GET, path, range }
    }

    #[test]
    fn a_rule_strikes_as_often_as_it_says() {
        let rules = FaultRules::default();
        rules.set(Fault::on(Target::Cdn).path("x").skip(1).times(2).status(503).into());
        let mut struck = (0..5).map(|_| rules.strike(&get("/x", None)).effect.status);
        let expected = [None, Some(503), Some(503), None, None];
        assert!(struck.by_ref().eq(expected));
        assert_eq!(rules.get().rules[0].count, Some(0));
        assert!(rules.strike(&get("/y", None)).names.is_empty());
    }

    #[test]
    fn a_rule_is_not_used_up_where_it_cannot_show() {
        let rules = FaultRules::default();
        rules.add(Fault::new().times(1).corrupt_at(100));
        let head = Struck { method: &Method::HEAD, ..get("/x", None) };
        assert!(rules.strike(&head).names.is_empty());
        assert!(rules.strike(&get("/x", Some("bytes=0-99"))).names.is_empty());
        let blow = rules.strike(&get("/x", Some("bytes=100-")));
        assert_eq!(blow.effect.corrupt_at, Some(100));
    }

    #[test]
    fn of_two_equal_effects_the_earlier_counts() {
        let rules = FaultRules::default();
        rules.add(Fault::new().named("slow").latency_ms(5));
        rules.add(Fault::new().latency_ms(9).bandwidth(10));
        let blow = rules.strike(&get("/x", None));
        assert_eq!(blow.effect.latency_ms, Some(5));
        assert_eq!(blow.effect.bandwidth, Some(10));
        assert_eq!(blow.names, ["slow", "fault"]);
    }
}
