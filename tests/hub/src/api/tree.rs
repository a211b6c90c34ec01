//! `GET /api/{kind}/{id}/tree/{rev}[/{path}]`: files and directories, page by page. Also writes the entries that
//! `paths-info` answers with.

use axum::response::Response;
use serde_json::{Value, json};

use super::page;
use crate::clock;
use crate::commit::{Commit, FileEntry};
use crate::exchange::Asking;
use crate::options::Options;
use crate::refusal::Refusal;

pub fn answer(
    commit: &Commit,
    directory: &str,
    options: &Options,
    asking: &Asking,
    endpoint: &str,
) -> Result<Response, Refusal> {
    let query = asking.query();
    let directory = directory.trim_end_matches('/');
    if !directory.is_empty() && !commit.directories.contains_key(directory) {
        return Err(Refusal::NoEntry { commit: commit.id.clone() });
    }
    let expand = query.flag("expand");
    let entries = entries(commit, directory, query.flag("recursive"), expand);
    let default = if expand { options.expanded_page_size } else { options.page_size };
    page::answer(entries, &query, default, asking, endpoint)
}

/// In order of their paths, each directory before what is in it; raw entries come last, at the root.
fn entries(commit: &Commit, directory: &str, recursive: bool, expand: bool) -> Vec<Value> {
    let prefix = match directory {
        "" => String::new(),
        directory => format!("{directory}/"),
    };
    let is_listed = |path: &str| {
        let below = path.strip_prefix(&prefix);
        below.is_some_and(|rest| recursive || !rest.contains('/'))
    };
    let paths = commit.directories.keys().chain(commit.files.keys());
    let mut paths: Vec<&String> = paths.filter(|path| is_listed(path)).collect();
    paths.sort();
    let found = paths.into_iter().filter_map(|path| entry(commit, path, expand));
    let mut entries: Vec<Value> = found.collect();
    if directory.is_empty() {
        entries.extend(commit.raw.iter().cloned());
    }
    entries
}

/// The entry of a file or a directory, None where the commit has neither.
pub fn entry(commit: &Commit, path: &str, expand: bool) -> Option<Value> {
    let mut entry = match commit.files.get(path) {
        Some(file) => file_entry(path, file),
        None => {
            let oid = commit.directories.get(path)?;
            json!({ "type": "directory", "oid": oid, "size": 0, "path": path })
        }
    };
    if expand {
        let date = clock::iso(commit.time);
        entry["lastCommit"] = json!({ "id": commit.id, "title": "commit", "date": date });
    }
    Some(entry)
}

fn file_entry(path: &str, file: &FileEntry) -> Value {
    let size = file.size;
    let mut entry = json!({ "type": "file", "oid": file.oid, "size": size, "path": path });
    if let Some(lfs) = &file.lfs {
        let pointer = lfs.pointer_size;
        entry["lfs"] = json!({ "oid": lfs.sha256, "size": size, "pointerSize": pointer });
    }
    entry
}
