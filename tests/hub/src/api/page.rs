//! One page of a long list, and the `Link` to the next.

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use url::form_urlencoded::Serializer;

use crate::download::text;
use crate::exchange::Asking;
use crate::query::Query;
use crate::refusal::{Refusal, set};

pub fn answer(
    entries: Vec<Value>,
    query: &Query,
    default_size: usize,
    asking: &Asking,
    endpoint: &str,
) -> Result<Response, Refusal> {
    let limit = query.get("limit").and_then(|text| text.parse().ok());
    let size = limit.unwrap_or(default_size).min(default_size).max(1);
    let start = match query.get("cursor") {
        Some(cursor) => position(cursor).ok_or_else(bad_cursor)?,
        None => 0,
    };
    let end = start.saturating_add(size);
    let is_last = end >= entries.len();
    let page: Vec<Value> = entries.into_iter().skip(start).take(size).collect();
    let mut response = Json(page).into_response();
    if !is_last {
        let link = format!("<{}>; rel=\"next\"", next_url(asking, endpoint, end));
        set(response.headers_mut(), header::LINK, &link);
    }
    Ok(response)
}

/// Absolute, under the name by which the client reached us.
fn next_url(asking: &Asking, endpoint: &str, position: usize) -> String {
    let base = match text(asking.headers(), header::HOST) {
        Some(host) => format!("http://{host}"),
        None => endpoint.to_owned(),
    };
    let uri = &asking.parts.uri;
    let asked = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let mut query = Serializer::new(String::new());
    query.extend_pairs(asked.filter(|(name, _)| name != "cursor"));
    query.append_pair("cursor", &URL_SAFE_NO_PAD.encode(position.to_string()));
    format!("{base}{}?{}", uri.path(), query.finish())
}

fn position(cursor: &str) -> Option<usize> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    std::str::from_utf8(&bytes).ok()?.parse().ok()
}

fn bad_cursor() -> Refusal {
    Refusal::BadRequest("Invalid cursor".to_owned())
}
