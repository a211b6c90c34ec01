//! Tables for people, and the models in them.

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Value, json};

use crate::api::proto::RepoStatus;

use super::figures::{percent, size};

/// Without the blanks that fill the last column.
pub fn push(text: &mut String, table: Table) {
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// Which columns of models are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    Short,
    Status,
    Detailed,
}

pub fn models(repos: &[RepoStatus], columns: Columns, terminal: bool) -> Table {
    const FIGURES: [&str; 3] = ["FILES", "SIZE", "CACHED"];
    let header: &[&str] = match columns {
        Columns::Short => &["MODEL", "REVISION", "SIZE", "CACHED", "PINNED"],
        Columns::Status => &["MODEL", "REVISION", "COMMIT", "FILES", "SIZE", "CACHED", "PINNED"],
        Columns::Detailed => &["MODEL", "REVISION", "COMMIT", "FILES", "SIZE", "CACHED", "PINNED", "HUB"],
    };
    let mut table = table(header, terminal);
    for repo in repos {
        table.add_row(header.iter().map(|column| cell(repo, column, columns)));
    }
    for (column, name) in table.column_iter_mut().zip(header) {
        if FIGURES.contains(name) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn cell(repo: &RepoStatus, column: &str, columns: Columns) -> Cell {
    Cell::new(match column {
        "MODEL" => repo.repo.clone(),
        "REVISION" if repo.revision.is_empty() => "-".to_owned(),
        "REVISION" => repo.revision.replace(',', ", "),
        "COMMIT" if columns == Columns::Detailed => repo.commit.clone(),
        "COMMIT" => repo.commit.get(..12).unwrap_or(&repo.commit).to_owned(),
        "FILES" => format!("{}/{}", repo.complete_files, repo.files),
        "SIZE" => size(repo.bytes),
        "CACHED" if is_complete(repo) && repo.partial => "as imported".to_owned(),
        "CACHED" if is_complete(repo) => "complete".to_owned(),
        "CACHED" => percent(repo.cached_bytes, repo.bytes),
        "PINNED" if repo.pinned => "yes".to_owned(),
        "HUB" => repo.endpoint.clone(),
        _ => String::new(),
    })
}

/// Whether all that is known of it loads with no network.
pub fn is_complete(repo: &RepoStatus) -> bool {
    repo.complete_files == repo.files
}

/// Fields are added only.
pub fn model_json(repo: &RepoStatus) -> Value {
    json!({
        "repo": repo.repo,
        "revision": Some(&repo.revision).filter(|revision| !revision.is_empty()),
        "commit": repo.commit,
        "files": repo.files,
        "complete_files": repo.complete_files,
        "bytes": repo.bytes,
        "cached_bytes": repo.cached_bytes,
        "complete": is_complete(repo),
        "pinned": repo.pinned,
        "partial": repo.partial,
        "endpoint": repo.endpoint,
    })
}

pub fn table(header: &[&str], terminal: bool) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if !terminal {
        table.force_no_tty();
    }
    table.set_header(header.iter().map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
    table
}
