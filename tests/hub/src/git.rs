//! Git's own names for content: blob and tree ids, and the pointer file that stands for an LFS object.
//!
//! Pure functions; the ids are the ones `git` would compute, so clients that verify them are satisfied.

use std::collections::BTreeMap;

use sha1::{Digest, Sha1};

const FILE_MODE: &str = "100644";
const DIRECTORY_MODE: &str = "40000";

/// A hasher that has already taken the header of a blob of that size.
pub fn blob_hasher(size: u64) -> Sha1 {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {size}\0"));
    hasher
}

pub fn blob_oid(data: &[u8]) -> String {
    let mut hasher = blob_hasher(data.len() as u64);
    hasher.update(data);
    hex::encode(hasher.finalize())
}

/// The text that git stores in place of an LFS object.
pub fn lfs_pointer(sha256: &str, size: u64) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n")
}

/// Tree ids of every directory; the root's key is the empty string.
pub fn tree_oids(files: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut listings: BTreeMap<String, Vec<Item>> = BTreeMap::new();
    listings.entry(String::new()).or_default();
    for (path, oid) in files {
        let (parent, name) = split(path);
        register(&mut listings, parent);
        let listing = listings.entry(parent.to_owned()).or_default();
        listing.push(Item::file(name, oid));
    }
    // Children sort after their parent, so backwards every child is known before its parent needs it.
    let mut oids = BTreeMap::new();
    let directories: Vec<String> = listings.keys().rev().cloned().collect();
    for directory in directories {
        let items = listings.remove(&directory).unwrap_or_default();
        let oid = tree_oid(items);
        if !directory.is_empty() {
            let (parent, name) = split(&directory);
            let listing = listings.entry(parent.to_owned()).or_default();
            listing.push(Item::directory(name, &oid));
        }
        oids.insert(directory, oid);
    }
    oids
}

fn register(listings: &mut BTreeMap<String, Vec<Item>>, directory: &str) {
    let mut rest = directory;
    while !rest.is_empty() {
        listings.entry(rest.to_owned()).or_default();
        rest = split(rest).0;
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

struct Item {
    mode: &'static str,
    name: String,
    oid: String,
}

impl Item {
    fn file(name: &str, oid: &str) -> Self {
        Item { mode: FILE_MODE, name: name.to_owned(), oid: oid.to_owned() }
    }

    fn directory(name: &str, oid: &str) -> Self {
        Item { mode: DIRECTORY_MODE, name: name.to_owned(), oid: oid.to_owned() }
    }

    /// Git sorts a directory as if its name ended in a slash.
    fn sort_key(&self) -> String {
        let slash = if self.mode == DIRECTORY_MODE { "/" } else { "" };
        format!("{}{slash}", self.name)
    }
}

fn tree_oid(mut items: Vec<Item>) -> String {
    items.sort_by_key(Item::sort_key);
    let mut body = Vec::new();
    for item in &items {
        body.extend_from_slice(format!("{} {}\0", item.mode, item.name).as_bytes());
        body.extend_from_slice(&hex::decode(&item.oid).unwrap_or_default());
    }
    let mut hasher = Sha1::new();
    hasher.update(format!("tree {}\0", body.len()));
    hasher.update(&body);
    hex::encode(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_git() {
        assert_eq!(blob_oid(b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
        let none = tree_oids(&BTreeMap::new());
        assert_eq!(none[""], "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
        let files = ["a.b/x", "a/y", "z"].map(|p| (p.to_owned(), blob_oid(b"hello\n")));
        let oids = tree_oids(&files.into());
        assert_eq!(oids.len(), 3);
        // `git mktree` over the same three files.
        assert_eq!(oids[""], "a57a73abd5eae77aa41932cfa783d29b62619fc0");
    }
}
