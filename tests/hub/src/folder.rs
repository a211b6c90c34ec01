//! Repositories from plain folders:
//!
//! ```text
//! ROOT/.hub/tokens.json                  {"alice": "hf_alice"}: names and secrets
//! ROOT/{models,datasets,spaces,kernels}/
//!     ORG/NAME/...                       the files of main
//!     _/NAME/...                         a repository without an organisation (gpt2)
//!     ORG/NAME/.hub/repo.json            settings, all optional
//!     ORG/NAME/.hub/revisions/REV/...    the files of another branch or ref, REV percent-encoded (refs%2Fpr%2F1)
//! ```
//!
//! `repo.json` holds the fields of `RepoSettings` and `tags` (tag to revision), `renamed_from` (names), for example
//! `{"private": true, "readers": ["alice"], "tags": {"v1.0": "main"}}`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::files::Files;
use crate::repo::{RepoId, RepoKind, RepoSettings};
use crate::store::Store;

const META: &str = ".hub";
const NO_ORGANISATION: &str = "_";

#[derive(Default, Deserialize)]
struct RepoFile {
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    renamed_from: Vec<RepoId>,
    /// Taken as they are first: `RepoSettings` refuses unknown fields, which a flattened struct could not.
    #[serde(flatten)]
    settings: serde_json::Map<String, serde_json::Value>,
}

/// Reads every folder below `root` again; commits that are there already cost no hashing.
pub fn load(root: &Path, store: &Store) -> io::Result<()> {
    std::fs::read_dir(root).map_err(|error| at(root, error))?;
    let tokens: BTreeMap<String, String> = read_json(&root.join(META).join("tokens.json"))?;
    for (name, secret) in &tokens {
        store.add_token(name, secret);
    }
    for kind in RepoKind::ALL {
        for (organisation, folder) in folders(&root.join(kind.plural()))? {
            for (name, folder) in folders(&folder)? {
                let full = match organisation.as_str() {
                    NO_ORGANISATION => name,
                    organisation => format!("{organisation}/{name}"),
                };
                load_repo(&RepoId::new(kind, full), &folder, store)?;
            }
        }
    }
    Ok(())
}

/// One folder as one repository, with what its `.hub` says.
pub fn load_repo(id: &RepoId, folder: &Path, store: &Store) -> io::Result<()> {
    let meta = folder.join(META);
    let description = meta.join("repo.json");
    let described: RepoFile = read_json(&description)?;
    let settings: RepoSettings =
        serde_json::from_value(described.settings.into()).map_err(|error| at(&description, error.into()))?;
    store.put_repo(id, settings);
    load_revision(id, "main", folder, store)?;
    for (encoded, folder) in folders(&meta.join("revisions"))? {
        let revision = percent_decode_str(&encoded).decode_utf8_lossy();
        load_revision(id, &revision, &folder, store)?;
    }
    for (tag, revision) in &described.tags {
        store.set_tag(id, tag, revision).map_err(io::Error::other)?;
    }
    for old in &described.renamed_from {
        store.rename(old, id);
    }
    Ok(())
}

fn load_revision(id: &RepoId, revision: &str, folder: &Path, store: &Store) -> io::Result<()> {
    let files = Files::new().dir(folder)?;
    let commit = store.commit(id, files).map_err(io::Error::other)?;
    store.set_branch(id, revision, &commit).map_err(io::Error::other)
}

/// The folders in a folder, by name and in order; none where there is no such folder.
fn folders(parent: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match std::fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(parent, error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(name) = name.filter(|name| !name.starts_with('.') && path.is_dir()) {
            found.push((name.to_owned(), path.clone()));
        }
    }
    found.sort();
    Ok(found)
}

/// The default where there is no such file.
fn read_json<T: DeserializeOwned + Default>(path: &Path) -> io::Result<T> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
        Err(error) => return Err(at(path, error)),
    };
    serde_json::from_slice(&text).map_err(|error| at(path, error.into()))
}

fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
