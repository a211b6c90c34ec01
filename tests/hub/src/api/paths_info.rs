//! `POST /api/{kind}/{id}/paths-info/{rev}`: the entries of some paths, from a form or JSON; unknown ones are left out.

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;

use super::tree;
use crate::commit::Commit;
use crate::download::text;
use crate::exchange::Asking;
use crate::query::Query;
use crate::refusal::Refusal;

#[derive(Deserialize)]
struct Asked {
    paths: Paths,
    #[serde(default)]
    expand: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Paths {
    One(String),
    Many(Vec<String>),
}

pub fn answer(commit: &Commit, asking: &Asking) -> Result<Response, Refusal> {
    let asked = read(asking)?;
    let paths = match asked.paths {
        Paths::One(path) => vec![path],
        Paths::Many(paths) => paths,
    };
    let found = paths.iter().filter_map(|path| tree::entry(commit, path, asked.expand));
    let entries: Vec<Value> = found.collect();
    Ok(Json(entries).into_response())
}

fn read(asking: &Asking) -> Result<Asked, Refusal> {
    let content_type = text(asking.headers(), header::CONTENT_TYPE).unwrap_or_default();
    let is_json = content_type.starts_with("application/json");
    if is_json {
        let asked = serde_json::from_slice(&asking.body);
        return asked.map_err(|error| Refusal::BadRequest(error.to_string()));
    }
    let form = Query::parse(&asking.body);
    Ok(Asked { paths: Paths::Many(form.all("paths")), expand: form.flag("expand") })
}
