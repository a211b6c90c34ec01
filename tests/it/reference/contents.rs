//! The plain files: two models of two commits each, made of contents that they partly share.

use std::sync::LazyLock;

use test_hub::{Files, Hub};

use crate::harness::noise;

const MIB: usize = 1 << 20;

pub const REPOS: [&str; 2] = ["acme/one", "acme/two"];

/// In the Hub's git; proved before they are served; proved at their end.
const LENS: [usize; 7] = [0, 700, 3 * MIB + 5, 8 * MIB, 9 * MIB + 17, 10 * MIB, 12 * MIB + 4097];

/// Paths, and what is in them.
type Listing = &'static [(&'static str, usize)];

/// Repository and files of each commit.
const COMMITS: [(usize, Listing); 4] = [
    (0, &[("empty.txt", 0), ("config.json", 1), ("small.safetensors", 2), ("model.safetensors", 4)]),
    (0, &[("config.json", 1), ("small.safetensors", 3), ("model.safetensors", 4), ("more.safetensors", 5)]),
    (1, &[("other.json", 1), ("small.safetensors", 2), ("renamed.safetensors", 4)]),
    (1, &[("small.safetensors", 3), ("model.safetensors", 6)]),
];

static CONTENTS: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| LENS.iter().map(|len| noise(*len as u64 + 3, *len)).collect());

pub struct Commit {
    pub repo: usize,
    pub hash: String,
}

/// A file by one of its names.
pub struct Name {
    pub commit: usize,
    pub path: &'static str,
    pub content: usize,
}

/// The files that are always proved before they are served, by a part of their names.
pub const SMALL: &str = "small.safetensors";
pub const SMALLEST_SMALL: usize = LENS[2];

pub fn bytes(content: usize) -> &'static [u8] {
    &CONTENTS[content]
}

/// Every file of every commit.
pub fn names() -> Vec<Name> {
    let of = |(commit, files): (usize, Listing)| {
        files.iter().map(move |(path, content)| Name { commit, path, content: *content })
    };
    COMMITS.iter().map(|(_, files)| *files).enumerate().flat_map(of).collect()
}

/// The first commits are where the branches are.
pub fn publish(hub: &Hub) -> Vec<Commit> {
    let publish = |(repo, files): &(usize, Listing)| {
        let files: Files = files.iter().map(|(path, content)| (*path, bytes(*content))).collect();
        Commit { repo: *repo, hash: hub.commit_detached(REPOS[*repo], files).unwrap() }
    };
    let commits: Vec<_> = COMMITS.iter().map(publish).collect();
    for (number, repo) in REPOS.iter().enumerate() {
        let first = commits.iter().find(|commit| commit.repo == number).unwrap();
        hub.set_branch(*repo, "main", &first.hash).unwrap();
    }
    commits
}
