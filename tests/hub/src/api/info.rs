//! `GET /api/{kind}/{id}[/revision/{rev}]`: a repository at a revision, and the list of those of a kind.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::clock;
use crate::commit::{Commit, FileEntry};
use crate::exchange::{Asking, World};
use crate::refusal::Refusal;
use crate::repo::{Repo, RepoId, RepoKind};
use crate::store::{Caller, may_see};

pub fn answer(id: &RepoId, repo: &Repo, revision: Option<&str>, asking: &Asking) -> Result<Response, Refusal> {
    let query = asking.query();
    let commit = repo.resolve(revision.unwrap_or("main"));
    let body = match (commit, revision) {
        (Some(commit), _) => at_commit(id, repo, &commit, query.flag("blobs")),
        // A repository nobody has pushed to.
        (None, None) => outline(id, repo),
        (None, Some(revision)) => return Err(Refusal::NoRevision(revision.to_owned())),
    };
    Ok(Json(Value::Object(body)).into_response())
}

pub fn list(world: &World, kind: RepoKind, caller: &Caller, asking: &Asking) -> Response {
    let query = asking.query();
    let (search, author) = (query.get("search"), query.get("author"));
    let limit = query.get("limit").and_then(|text| text.parse().ok());
    let repos = world.store.repos().into_iter().filter(|(id, repo)| {
        id.kind == kind
            && may_see(repo, caller)
            && search.is_none_or(|part| id.name.contains(part))
            && author.is_none_or(|name| id.author() == Some(name))
    });
    let entries = repos.map(|(id, repo)| Value::Object(outline(&id, &repo)));
    let entries: Vec<Value> = entries.take(limit.unwrap_or(usize::MAX)).collect();
    Json(entries).into_response()
}

/// What can be said without a commit.
fn outline(id: &RepoId, repo: &Repo) -> Map<String, Value> {
    let settings = &repo.settings;
    let gated = if settings.gated { json!("auto") } else { json!(false) };
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    put("_id", json!(format!("id-{id}")));
    put("id", json!(id.name));
    if id.kind == RepoKind::Model {
        put("modelId", json!(id.name));
    }
    put("author", json!(id.author()));
    put("private", json!(settings.private));
    put("gated", gated);
    put("disabled", json!(settings.disabled));
    put("downloads", json!(0));
    put("likes", json!(0));
    put("tags", json!([]));
    put("siblings", json!([]));
    body
}

fn at_commit(id: &RepoId, repo: &Repo, commit: &Commit, with_blobs: bool) -> Map<String, Value> {
    let mut body = outline(id, repo);
    let files = commit.files.iter();
    let mut siblings: Vec<Value> = files.map(|(path, file)| sibling(path, file, with_blobs)).collect();
    let raw = commit.raw.iter().filter_map(|entry| entry.get("path"));
    siblings.extend(raw.map(|path| json!({ "rfilename": path })));
    let time = clock::iso(commit.time);
    body.insert("sha".to_owned(), json!(commit.id));
    body.insert("lastModified".to_owned(), json!(time));
    body.insert("createdAt".to_owned(), json!(time));
    body.insert("siblings".to_owned(), Value::Array(siblings));
    body
}

fn sibling(path: &str, file: &FileEntry, with_blobs: bool) -> Value {
    if !with_blobs {
        return json!({ "rfilename": path });
    }
    let mut entry = json!({ "rfilename": path, "size": file.size, "blobId": file.oid });
    if let Some(lfs) = &file.lfs {
        let pointer = lfs.pointer_size;
        entry["lfs"] = json!({ "sha256": lfs.sha256, "size": file.size, "pointerSize": pointer });
    }
    entry
}
