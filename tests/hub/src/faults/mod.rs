//! Faults on request, as tests and the admin surface write them down. Plain data; `setters` builds it, `strike` decides
//! which requests it hits.

mod setters;
mod strike;

use serde::{Deserialize, Serialize};

pub use strike::{FaultRules, Struck};

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

/// One rule. All that match a request strike it together; of two equal effects the earlier rule's counts. A rule matches,
/// and is used up, only where its effect can show: body effects never on HEAD, range effects only with a Range header,
/// `corrupt_at` only where that byte is asked for. Offsets and counts of `cut_after` and `stall_after` are bytes of the
/// answer's body; a body that is shorter is sent whole.
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
