//! `GET /api/{kind}/{id}/refs`: branches, tags, conversions and, when asked, pull requests.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::exchange::Asking;
use crate::repo::Repo;

pub fn answer(repo: &Repo, asking: &Asking) -> Response {
    let query = asking.query();
    let mut body = Map::new();
    body.insert("branches".to_owned(), below(repo, "refs/heads/"));
    body.insert("converts".to_owned(), below(repo, "refs/convert/"));
    body.insert("tags".to_owned(), below(repo, "refs/tags/"));
    if query.flag("include_prs") || query.flag("include_pull_requests") {
        body.insert("pullRequests".to_owned(), below(repo, "refs/pr/"));
    }
    Json(Value::Object(body)).into_response()
}

fn below(repo: &Repo, prefix: &str) -> Value {
    let named = repo.refs.iter().filter_map(|(full, commit)| {
        let name = full.strip_prefix(prefix)?;
        Some(json!({ "name": name, "ref": full, "targetCommit": commit }))
    });
    named.collect()
}
