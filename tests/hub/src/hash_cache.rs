//! Hashes of files on disk, computed once for each (path, size, mtime), so that a rescan of large weights is quick.

use std::collections::HashMap;
use std::io;

use parking_lot::Mutex;

use crate::content::{Content, DiskFile};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashKind {
    GitSha1,
    Sha256,
}

#[derive(Default)]
pub struct HashCache {
    known: Mutex<HashMap<(DiskFile, HashKind), String>>,
}

impl HashCache {
    pub fn hash(&self, content: &Content, kind: HashKind) -> io::Result<String> {
        let Content::Disk(file) = content else {
            return compute(content, kind);
        };
        let key = (file.clone(), kind);
        if let Some(hash) = self.known.lock().get(&key) {
            return Ok(hash.clone());
        }
        let hash = compute(content, kind)?;
        self.known.lock().insert(key, hash.clone());
        Ok(hash)
    }
}

fn compute(content: &Content, kind: HashKind) -> io::Result<String> {
    match kind {
        HashKind::GitSha1 => content.git_sha1(),
        HashKind::Sha256 => content.sha256(),
    }
}
