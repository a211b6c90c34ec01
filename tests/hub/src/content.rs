//! The bytes of a file, in memory or on disk: hashed once, then streamed by range. Never loaded whole from disk.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use sha1::Digest;
use sha2::Sha256;

use crate::git;

/// Read, hashed and handed to the connection in pieces of this size.
const CHUNK: usize = 256 * 1024;

#[derive(Clone, Debug)]
pub enum Content {
    Memory(Bytes),
    Disk(PathBuf),
}

impl Content {
    pub fn size(&self) -> io::Result<u64> {
        match self {
            Content::Memory(bytes) => Ok(bytes.len() as u64),
            Content::Disk(path) => Ok(std::fs::metadata(path)?.len()),
        }
    }

    pub fn git_sha1(&self) -> io::Result<String> {
        let mut hasher = git::blob_hasher(self.size()?);
        self.for_each_chunk(|chunk| hasher.update(chunk))?;
        Ok(hex::encode(hasher.finalize()))
    }

    pub fn sha256(&self) -> io::Result<String> {
        let mut hasher = Sha256::new();
        self.for_each_chunk(|chunk| hasher.update(chunk))?;
        Ok(hex::encode(hasher.finalize()))
    }

    fn for_each_chunk(&self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        match self {
            Content::Memory(bytes) => take(bytes),
            Content::Disk(path) => {
                let mut file = File::open(path)?;
                let mut buffer = vec![0; CHUNK];
                loop {
                    match file.read(&mut buffer)? {
                        0 => break,
                        read => take(&buffer[..read]),
                    }
                }
            }
        }
        Ok(())
    }

    /// A body of exactly these bytes; a file that has shrunk meanwhile ends the body with an error.
    pub async fn stream(&self, range: Range<u64>) -> io::Result<Body> {
        match self {
            Content::Memory(bytes) => Ok(Body::from_stream(memory_stream(bytes.clone(), range))),
            Content::Disk(path) => {
                let file = Arc::new(tokio::fs::File::open(path).await?.into_std().await);
                Ok(Body::from_stream(disk_stream(file, range)))
            }
        }
    }
}

type Chunks = io::Result<Bytes>;

fn memory_stream(bytes: Bytes, range: Range<u64>) -> impl stream::Stream<Item = Chunks> {
    let rest = bytes.slice(range.start as usize..range.end as usize);
    stream::unfold(rest, |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        let chunk = rest.split_to(rest.len().min(CHUNK));
        Some((Ok(chunk), rest))
    })
}

fn disk_stream(file: Arc<File>, range: Range<u64>) -> impl stream::Stream<Item = Chunks> {
    stream::unfold(range, move |range| {
        let file = Arc::clone(&file);
        async move {
            if range.is_empty() {
                return None;
            }
            let length = (range.end - range.start).min(CHUNK as u64);
            let next = range.start + length..range.end;
            let read = tokio::task::spawn_blocking(move || {
                let mut buffer = vec![0; length as usize];
                file.read_exact_at(&mut buffer, range.start)?;
                Ok(Bytes::from(buffer))
            });
            let chunk = read.await.unwrap_or_else(|gone| Err(io::Error::other(gone)));
            Some((chunk, next))
        }
    })
}
