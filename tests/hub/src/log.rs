//! What was asked and what was sent: one record a request, made when it arrives and filled in while it is answered.
//!
//! A record never holds a token, only the name under which it is registered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, Method, header};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::download::text;
use crate::faults::Target;
use crate::store::Caller;

/// The listener that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Host {
    Hub,
    Cdn,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// Counts from 0 at the start; clearing the log does not start it again.
    pub seq: u64,
    /// Arrival, in seconds since 1970.
    pub time: f64,
    pub host: Host,
    pub target: Target,
    pub method: String,
    /// Path and query as they arrived.
    pub path: String,
    pub range: Option<String>,
    /// None until the headers are sent, and for a connection dropped before that.
    pub status: Option<u16>,
    /// Bytes of body handed to the connection so far; up to a chunk of 256 KiB more than a client that left has seen.
    pub bytes: u64,
    /// The body announced, None where it has no length.
    pub length: Option<u64>,
    /// Whether an Authorization header came along.
    pub authorization: bool,
    /// The name of its token; None when it is not a registered one.
    pub token: Option<String>,
    pub user_agent: Option<String>,
    /// The ETag of the file this is about (sha256 or git sha1), where one was found.
    pub blob: Option<String>,
    /// The faults that struck, by name.
    pub faults: Vec<String>,
}

impl RequestRecord {
    pub fn is_complete(&self) -> bool {
        self.status.is_some() && self.length.is_none_or(|length| self.bytes >= length)
    }

    /// Whether the body was file content, from the CDN or a git file; not what redirects and errors say.
    pub fn is_data(&self) -> bool {
        self.blob.is_some() && matches!(self.status, Some(200 | 206))
    }
}

/// The record of a request that is still being answered.
pub struct Entry {
    record: Mutex<RequestRecord>,
    bytes: AtomicU64,
}

impl Entry {
    pub fn sent(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::SeqCst);
    }

    pub fn update(&self, change: impl FnOnce(&mut RequestRecord)) {
        change(&mut self.record.lock());
    }

    fn snapshot(&self) -> RequestRecord {
        let mut record = self.record.lock().clone();
        record.bytes = self.bytes.load(Ordering::SeqCst);
        record
    }
}

/// Of more requests than this the oldest are forgotten.
const LONGEST_LOG: usize = 1_000_000;

#[derive(Default)]
pub struct Log {
    entries: Mutex<VecDeque<Arc<Entry>>>,
    next: AtomicU64,
}

/// The parts of a request that a record is made of.
pub struct Arrival<'a> {
    pub host: Host,
    pub target: Target,
    pub method: &'a Method,
    pub path: &'a str,
    pub headers: &'a HeaderMap,
    pub caller: &'a Caller,
}

impl Log {
    pub fn open(&self, arrival: &Arrival) -> Arc<Entry> {
        let owned = |name| text(arrival.headers, name).map(str::to_owned);
        let mut entries = self.entries.lock();
        let record = RequestRecord {
            seq: self.next.fetch_add(1, Ordering::SeqCst),
            time: clock::since_epoch().as_secs_f64(),
            host: arrival.host,
            target: arrival.target,
            method: arrival.method.to_string(),
            path: arrival.path.to_owned(),
            range: owned(header::RANGE),
            status: None,
            bytes: 0,
            length: None,
            authorization: arrival.headers.contains_key(header::AUTHORIZATION),
            token: match arrival.caller {
                Caller::Named(name) => Some(name.clone()),
                _ => None,
            },
            user_agent: owned(header::USER_AGENT),
            blob: None,
            faults: Vec::new(),
        };
        let entry = Arc::new(Entry { record: Mutex::new(record), bytes: AtomicU64::new(0) });
        if entries.len() == LONGEST_LOG {
            entries.pop_front();
        }
        entries.push_back(Arc::clone(&entry));
        entry
    }

    pub fn records(&self) -> Vec<RequestRecord> {
        self.entries.lock().iter().map(|entry| entry.snapshot()).collect()
    }

    pub fn clear(&self) {
        self.entries.lock().clear();
    }
}
