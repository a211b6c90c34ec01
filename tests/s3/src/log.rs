//! Which requests came.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Request;
use parking_lot::Mutex;

/// One request.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// `/bucket/key`, as it was written.
    pub path: String,
    pub query: String,
    pub range: Option<String>,
    pub if_match: Option<String>,
    /// Whose key it was signed with; none for one that was not signed.
    pub key: Option<String>,
    /// For which region.
    pub region: Option<String>,
}

#[derive(Clone, Default)]
pub struct Log(Arc<Lines>);

#[derive(Default)]
struct Lines {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
}

impl Seen {
    pub fn is_listing(&self) -> bool {
        self.method == "GET" && self.query.contains("list-type=2")
    }
}

impl Log {
    pub fn all(&self) -> Vec<Seen> {
        self.0.seen.lock().clone()
    }

    pub fn count(&self, is_it: impl Fn(&Seen) -> bool) -> usize {
        self.0.seen.lock().iter().filter(|seen| is_it(seen)).count()
    }

    pub fn clear(&self) {
        self.0.seen.lock().clear();
    }

    /// How many connections there were in all.
    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn connected(&self) {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note<B>(&self, request: &Request<B>) -> Seen {
        let header = |name: &str| request.headers().get(name)?.to_str().ok().map(str::to_owned);
        // KEY/DATE/REGION/s3/aws4_request
        let scope = header("authorization").and_then(|text| Some(text.split_once("Credential=")?.1.to_owned()));
        let signed_with = |part: usize| scope.as_ref().and_then(|scope| scope.split('/').nth(part).map(str::to_owned));
        let seen = Seen {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            range: header("range"),
            if_match: header("if-match"),
            key: signed_with(0),
            region: signed_with(2),
        };
        self.0.seen.lock().push(seen.clone());
        seen
    }
}
