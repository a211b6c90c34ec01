//! `/_hub/...` on the endpoint: everything the handle offers, for those who drive the stand-in over HTTP. Never logged,
//! never struck by a fault.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET ready` | | `{"endpoint", "cdn"}` |
//! | `GET log`, `DELETE log` | | the records, an array |
//! | `GET`, `PUT`, `DELETE faults` | `{"rules": [..]}` | the rules with uses left |
//! | `POST faults` | one more rule | the same |
//! | `GET options`, `PUT` | any fields of `Options` | the options |
//! | `GET repos` | | each with its settings, refs and commits |
//! | `POST repo`, `DELETE repo` | `{"repo", ..RepoSettings}` | |
//! | `POST commit` | `{"repo", "branch": "main", "files": {PATH: FILE}, "from_dir"}` | `{"commit"}` |
//! | `POST branch`, `POST tag` | `{"repo", "branch" or "tag", "commit"}`, a null commit deletes | |
//! | `POST rename` | `{"from", "to"}` | |
//! | `POST token` | `{"name", "secret"}` | |
//! | `POST raw-entry` | `{"repo", "commit", "entry"}` | |
//! | `POST expire-urls`, `POST rescan` | | |
//!
//! A FILE is `"text"`, `{"text"}`, `{"base64"}` or `{"file": local path}`; a null branch leaves the commit without a name.
//! Errors are `{"error"}` with status 400 or 404.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::exchange::World;
use crate::faults::{Fault, Faults};
use crate::files::Files;
use crate::folder;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::repo::{RepoId, RepoSettings};

pub const PREFIX: &str = "/_hub/";

const LARGEST_BODY: usize = 512 * 1024 * 1024;

pub async fn answer(world: Arc<World>, request: Request) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let body = match to_bytes(request.into_body(), LARGEST_BODY).await {
        Ok(body) => body,
        Err(error) => return Refusal::BadRequest(error.to_string()).into_response(),
    };
    // Commits and rescans hash, so nothing here runs on the threads that serve.
    let work = move || {
        let name = path.trim_start_matches(PREFIX);
        act(&world, &method, name, &body)
    };
    let outcome = match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(gone) => Err(Refusal::Broken(gone.to_string())),
    };
    match outcome {
        Ok(value) => Json(value).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

type Answer = Result<Value, Refusal>;

fn act(world: &World, method: &Method, name: &str, body: &[u8]) -> Answer {
    match (method.as_str(), name) {
        ("GET", "ready") => Ok(ready(world)),
        ("GET", "log") => to_value(world.log.records()),
        ("DELETE", "log") => done(|| world.log.clear()),
        ("GET" | "PUT" | "POST" | "DELETE", "faults") => faults(world, method, body),
        ("GET", "options") => to_value(world.options.read().clone()),
        ("PUT", "options") => set_options(world, body),
        ("GET", "repos") => Ok(repos(world)),
        ("POST", "repo") => put_repo(world, body),
        ("DELETE", "repo") => remove_repo(world, body),
        ("POST", "commit") => commit(world, body),
        ("POST", "branch") => set_branch(world, body),
        ("POST", "tag") => set_tag(world, body),
        ("POST", "rename") => rename(world, body),
        ("POST", "token") => add_token(world, body),
        ("POST", "raw-entry") => add_raw_entry(world, body),
        ("POST", "expire-urls") => done(|| world.signer.expire_all()),
        ("POST", "rescan") => rescan(world),
        _ => Err(Refusal::NoSuchRoute),
    }
}

fn ready(world: &World) -> Value {
    json!({ "endpoint": world.endpoints.hub, "cdn": world.endpoints.cdn })
}

fn faults(world: &World, method: &Method, body: &[u8]) -> Answer {
    match method.as_str() {
        "PUT" => world.faults.set(parse::<Faults>(body)?),
        "POST" => world.faults.add(parse::<Fault>(body)?),
        "DELETE" => world.faults.set(Faults::default()),
        _ => {}
    }
    to_value(world.faults.get())
}

/// Fields left out keep their value.
fn set_options(world: &World, body: &[u8]) -> Answer {
    let changes: Map<String, Value> = parse(body)?;
    let mut options = world.options.write();
    let mut merged = to_value(options.clone())?;
    for (name, value) in changes {
        merged[name] = value;
    }
    *options = serde_json::from_value::<Options>(merged.clone()).map_err(bad)?;
    Ok(merged)
}

fn repos(world: &World) -> Value {
    let repos = world.store.repos().into_iter().map(|(id, repo)| {
        let commits: Vec<&String> = repo.commits.keys().collect();
        json!({ "repo": id, "settings": repo.settings, "refs": repo.refs, "commits": commits })
    });
    repos.collect()
}

fn put_repo(world: &World, body: &[u8]) -> Answer {
    let mut fields: Map<String, Value> = parse(body)?;
    let id = fields.remove("repo").unwrap_or_default();
    let id: RepoId = serde_json::from_value(id).map_err(bad)?;
    let settings: RepoSettings = serde_json::from_value(fields.into()).map_err(bad)?;
    done(|| world.store.put_repo(&id, settings))
}

fn remove_repo(world: &World, body: &[u8]) -> Answer {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        repo: RepoId,
    }
    let asked: Asked = parse(body)?;
    Ok(json!({ "removed": world.store.remove_repo(&asked.repo) }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCommit {
    repo: RepoId,
    /// Null moves no branch.
    #[serde(default = "main_branch")]
    branch: Option<String>,
    #[serde(default)]
    files: BTreeMap<String, NewFile>,
    /// A folder of the machine the stand-in runs on; `files` are added to it.
    from_dir: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NewFile {
    Plain(String),
    Coded(CodedFile),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum CodedFile {
    Text(String),
    Base64(String),
    File(PathBuf),
}

fn main_branch() -> Option<String> {
    Some("main".to_owned())
}

fn commit(world: &World, body: &[u8]) -> Answer {
    let new: NewCommit = parse(body)?;
    let mut files = Files::new();
    if let Some(folder) = &new.from_dir {
        files = files.dir(folder).map_err(bad)?;
    }
    for (path, file) in new.files {
        files = match file {
            NewFile::Plain(text) | NewFile::Coded(CodedFile::Text(text)) => files.text(path, text),
            NewFile::Coded(CodedFile::Base64(text)) => files.bytes(path, STANDARD.decode(text).map_err(bad)?),
            NewFile::Coded(CodedFile::File(on_disk)) => files.disk(path, on_disk),
        };
    }
    let commit = world.store.commit(&new.repo, files)?;
    if let Some(branch) = &new.branch {
        world.store.set_branch(&new.repo, branch, &commit)?;
    }
    Ok(json!({ "commit": commit }))
}

fn set_branch(world: &World, body: &[u8]) -> Answer {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        repo: RepoId,
        branch: String,
        commit: Option<String>,
    }
    let Asked { repo, branch, commit } = parse(body)?;
    match commit {
        Some(commit) => world.store.set_branch(&repo, &branch, &commit)?,
        None => drop(world.store.delete_ref(&repo, &branch)?),
    }
    done(|| {})
}

fn set_tag(world: &World, body: &[u8]) -> Answer {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        repo: RepoId,
        tag: String,
        commit: Option<String>,
    }
    let Asked { repo, tag, commit } = parse(body)?;
    match commit {
        Some(commit) => world.store.set_tag(&repo, &tag, &commit)?,
        None => drop(world.store.delete_ref(&repo, &format!("refs/tags/{tag}"))?),
    }
    done(|| {})
}

fn rename(world: &World, body: &[u8]) -> Answer {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        from: RepoId,
        to: RepoId,
    }
    let asked: Asked = parse(body)?;
    done(|| world.store.rename(&asked.from, &asked.to))
}

fn add_token(world: &World, body: &[u8]) -> Answer {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        name: String,
        secret: String,
    }
    let asked: Asked = parse(body)?;
    done(|| world.store.add_token(&asked.name, &asked.secret))
}

fn add_raw_entry(world: &World, body: &[u8]) -> Answer {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        repo: RepoId,
        commit: String,
        entry: Value,
    }
    let asked: Asked = parse(body)?;
    world.store.add_raw_entry(&asked.repo, &asked.commit, asked.entry)?;
    done(|| {})
}

fn rescan(world: &World) -> Answer {
    if let Some(root) = &world.root {
        folder::load(root, &world.store).map_err(bad)?;
    }
    Ok(repos(world))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(bad)
}

fn to_value(value: impl serde::Serialize) -> Answer {
    serde_json::to_value(value).map_err(|error| Refusal::Broken(error.to_string()))
}

fn done(act: impl FnOnce()) -> Answer {
    act();
    Ok(json!({ "ok": true }))
}

fn bad(error: impl std::fmt::Display) -> Refusal {
    Refusal::BadRequest(error.to_string())
}
