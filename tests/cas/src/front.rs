//! What clients talk to: passes everything on to the simulated server, and counts, paces and spoils what comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use parking_lot::Mutex;

use crate::faults::{Fault, On};

/// One request, as it arrived and as far as it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub on: On,
    pub path: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
    pub status: Option<u16>,
    pub bytes: u64,
}

struct Entry {
    request: Mutex<Request>,
    bytes: AtomicU64,
}

pub(crate) struct Front {
    behind: String,
    client: reqwest::Client,
    log: Mutex<Vec<Arc<Entry>>>,
    pub(crate) fault: Mutex<Option<(On, Fault)>>,
    pub(crate) bandwidth: Mutex<Option<u64>>,
    pub(crate) revoked: Mutex<u64>,
    /// When the line is free again.
    free_at: Mutex<Instant>,
}

/// Bytes that are sent at once over a line with a bandwidth.
const PIECE: usize = 64 << 10;

impl Front {
    pub(crate) fn new(behind: String) -> Self {
        Self {
            behind,
            client: reqwest::Client::new(),
            log: Mutex::default(),
            fault: Mutex::default(),
            bandwidth: Mutex::default(),
            revoked: Mutex::default(),
            free_at: Mutex::new(Instant::now()),
        }
    }

    pub(crate) fn log(&self) -> Vec<Request> {
        let records = self.log.lock();
        let record = |entry: &Arc<Entry>| {
            let request = entry.request.lock().clone();
            Request { bytes: entry.bytes.load(Ordering::SeqCst), ..request }
        };
        records.iter().map(record).collect()
    }

    pub(crate) fn clear_log(&self) {
        self.log.lock().clear();
    }

    fn arrive(&self, request: &HttpRequest) -> Arc<Entry> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let on = if path.contains("/reconstructions/") { On::Plans } else { On::Chunks };
        let text = |name| Some(request.headers().get(name)?.to_str().ok()?.to_owned());
        let (range, authorization) = (text(header::RANGE), text(header::AUTHORIZATION));
        let request = Request { on, path, range, authorization, status: None, bytes: 0 };
        let entry = Arc::new(Entry { request: Mutex::new(request), bytes: AtomicU64::new(0) });
        self.log.lock().push(entry.clone());
        entry
    }

    /// Plans are for those with a token of the Hub's stand-in, `xet_EXPIRY_NUMBER`; chunks have URLs of their own.
    fn refuses(&self, entry: &Entry) -> bool {
        let request = entry.request.lock();
        let token = request.authorization.as_deref().and_then(|value| value.strip_prefix("Bearer xet_"));
        let parts = token.and_then(|token| token.split_once('_'));
        let numbers = parts.and_then(|(expiry, number)| Some((expiry.parse().ok()?, number.parse().ok()?)));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let is_good = numbers.is_some_and(|(expiry, number): (u64, u64)| expiry > now && number > *self.revoked.lock());
        request.on == On::Plans && !is_good
    }

    async fn pass_on(&self, headers: &HeaderMap, path: &str) -> Result<reqwest::Response, reqwest::Error> {
        let mut request = self.client.get(format!("{}{path}", self.behind));
        // The host is what the plan's URLs are made of.
        for name in [header::HOST, header::RANGE] {
            if let Some(value) = headers.get(&name) {
                request = request.header(name, value);
            }
        }
        request.send().await
    }

    /// Waits until the line has carried so many bytes more.
    async fn carry(&self, bytes: usize) {
        let Some(bandwidth) = *self.bandwidth.lock() else { return };
        let free_at = {
            let mut free_at = self.free_at.lock();
            *free_at = (*free_at).max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / bandwidth as f64);
            *free_at
        };
        tokio::time::sleep_until(free_at.into()).await;
    }
}

pub(crate) async fn serve(front: Arc<Front>, listener: tokio::net::TcpListener) {
    let router = Router::new().fallback(answer).with_state(front);
    let _ = axum::serve(listener, router).await;
}

async fn answer(State(front): State<Arc<Front>>, request: HttpRequest) -> Response {
    let entry = front.arrive(&request);
    let response = answer_for(&front, &entry, request.headers()).await;
    entry.request.lock().status = Some(response.status().as_u16());
    response
}

async fn answer_for(front: &Arc<Front>, entry: &Arc<Entry>, headers: &HeaderMap) -> Response {
    let Request { on, path, .. } = entry.request.lock().clone();
    let fault = front.fault.lock().filter(|(target, _)| *target == on).map(|(_, fault)| fault);
    match fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Status(status)) => return StatusCode::from_u16(status).unwrap_or_default().into_response(),
        Some(Fault::Garbage) => return "this is not what was asked for".into_response(),
        _ => {}
    }
    if front.refuses(entry) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let answer = match front.pass_on(headers, &path).await {
        Ok(answer) => answer,
        Err(error) => return (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    };
    let (status, headers) = (answer.status(), answer.headers().clone());
    let Ok(body) = answer.bytes().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let mut response = (status, send(front.clone(), entry.clone(), body, fault)).into_response();
    for name in [header::CONTENT_TYPE, header::CONTENT_RANGE, header::CONTENT_LENGTH] {
        if let Some(value) = headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

fn send(front: Arc<Front>, entry: Arc<Entry>, body: Bytes, fault: Option<Fault>) -> Body {
    let mut bytes = body.to_vec();
    let (sent, after) = match fault {
        Some(Fault::StallAfter(most)) => (most.min(bytes.len()), fault),
        Some(Fault::CutAfter(most)) => (most.min(bytes.len()), fault),
        _ => (bytes.len(), None),
    };
    if let Some(Fault::Flip(at)) = fault
        && let Some(byte) = bytes.get_mut(at)
    {
        *byte ^= 0x40;
    }
    bytes.truncate(sent);
    let body = Bytes::from(bytes);
    let pieces: Vec<Bytes> = (0..sent).step_by(PIECE).map(|at| body.slice(at..sent.min(at + PIECE))).collect();
    let pieces = stream::iter(pieces).then(move |piece| {
        let (front, entry) = (front.clone(), entry.clone());
        async move {
            front.carry(piece.len()).await;
            entry.bytes.fetch_add(piece.len() as u64, Ordering::SeqCst);
            Ok::<_, std::io::Error>(piece)
        }
    });
    match after {
        Some(Fault::StallAfter(_)) => Body::from_stream(pieces.chain(stream::pending())),
        Some(Fault::CutAfter(_)) => {
            let cut = stream::once(async { Err(std::io::ErrorKind::ConnectionReset.into()) });
            Body::from_stream(pieces.chain(cut))
        }
        _ => Body::from_stream(pieces),
    }
}
