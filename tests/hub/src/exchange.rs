//! One request from arrival to answer: logged, struck by faults, answered by the Hub or the CDN, shaped.
//!
//! Called by `server` for every request but those to the admin surface.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use parking_lot::RwLock;

use crate::download::text;
use crate::faults::{Fault, FaultRules, Struck, Target};
use crate::link::Link;
use crate::log::{Arrival, Entry, Host, Log};
use crate::options::Options;
use crate::query::Query;
use crate::range::Asked;
use crate::refusal::Refusal;
use crate::route::{Route, Surface};
use crate::shape::{self, Shaping};
use crate::sign::Signer;
use crate::store::Store;
use crate::wire::Flushes;
use crate::{api, cdn, resolve};

/// Of a question; answers may be any size.
const LARGEST_BODY: usize = 16 * 1024 * 1024;

/// What both listeners and the handle share; outlives a stop and restart.
pub struct World {
    pub store: Store,
    pub log: Log,
    pub faults: FaultRules,
    pub options: RwLock<Options>,
    pub signer: Signer,
    pub link: Arc<Link>,
    /// As redirects and page links name them.
    pub endpoints: Endpoints,
    /// Folders that are read again on demand.
    pub root: Option<std::path::PathBuf>,
}

#[derive(Clone, Debug)]
pub struct Endpoints {
    pub hub: String,
    pub cdn: String,
}

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("disconnected by a fault")]
pub struct Disconnected;

/// What a handler gets to see of a request.
pub struct Asking {
    pub parts: Parts,
    pub body: Bytes,
    pub entry: Arc<Entry>,
}

impl Asking {
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    pub fn path_and_query(&self) -> &str {
        path_and_query(&self.parts.uri)
    }

    pub fn query(&self) -> Query {
        Query::parse(self.parts.uri.query().unwrap_or_default().as_bytes())
    }
}

pub async fn exchange(
    world: Arc<World>,
    host: Host,
    request: Request,
    flushes: Flushes,
) -> Result<Response, Disconnected> {
    let method = request.method().clone();
    let target = target(host, request.uri().path());
    let (entry, fault) = arrive(&world, host, target, &request);
    if let Some(milliseconds) = fault.latency_ms {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
    if fault.disconnect {
        return Err(Disconnected);
    }
    let response = match shape::refuse(&fault) {
        Some(refusal) => refusal,
        None => answer(&world, host, request, &fault, Arc::clone(&entry)).await,
    };
    let link_bandwidth = world.options.read().link_bandwidth;
    let link = Arc::clone(&world.link);
    let shaping = Shaping { fault, entry, flushes, link, link_bandwidth };
    Ok(shaping.apply(response, &method))
}

fn target(host: Host, path: &str) -> Target {
    match (host, Route::parse(path).surface()) {
        (Host::Cdn, _) => Target::Cdn,
        (Host::Hub, Surface::Api) => Target::Api,
        (Host::Hub, Surface::Resolve | Surface::ResolveCache) => Target::Resolve,
    }
}

fn arrive(world: &World, host: Host, target: Target, request: &Request) -> (Arc<Entry>, Fault) {
    let (method, headers, uri) = (request.method(), request.headers(), request.uri());
    let path = path_and_query(uri);
    let caller = world.store.caller(authorization(headers));
    let entry = world.log.open(&Arrival { host, target, method, path, headers, caller: &caller });
    let blow = world.faults.strike(&Struck { target, method, path, range: text(headers, header::RANGE) });
    entry.update(|record| record.faults = blow.names);
    (entry, blow.effect)
}

async fn answer(world: &World, host: Host, request: Request, fault: &Fault, entry: Arc<Entry>) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    bend_range(&mut parts.headers, fault);
    let body = match to_bytes(body, LARGEST_BODY).await {
        Ok(body) => body,
        Err(error) => return Refusal::BadRequest(error.to_string()).into_response(),
    };
    let asking = Asking { parts, body, entry };
    match host {
        Host::Cdn => cdn::answer(world, &asking).await,
        Host::Hub => hub(world, &asking).await,
    }
}

async fn hub(world: &World, asking: &Asking) -> Response {
    let caller = world.store.caller(authorization(asking.headers()));
    let outcome = match Route::parse(asking.parts.uri.path()) {
        Route::Repo(route) if route.surface != Surface::Api => {
            let outcome = resolve::answer(world, route, caller, asking).await;
            outcome.map_err(Refusal::into_text)
        }
        route => api::answer(world, route, caller, asking).map_err(Refusal::into_response),
    };
    outcome.unwrap_or_else(|refusal| refusal)
}

/// Faults that act on what the client is taken to have asked for.
fn bend_range(headers: &mut HeaderMap, fault: &Fault) {
    if fault.ignore_range {
        headers.remove(header::RANGE);
    }
    let asked = text(headers, header::RANGE).and_then(Asked::parse);
    if let (Some(most), Some(Asked::From { first, last })) = (fault.shorten_range, asked) {
        let shorter = first.saturating_add(most.max(1) - 1);
        let last = last.map_or(shorter, |last| last.min(shorter));
        if let Ok(value) = HeaderValue::from_str(&format!("bytes={first}-{last}")) {
            headers.insert(header::RANGE, value);
        }
    }
}

fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or(uri.path(), |both| both.as_str())
}

/// A header that is not even text is one that names no token.
fn authorization(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?;
    Some(value.to_str().unwrap_or_default())
}
