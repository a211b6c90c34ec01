//! The bytes of a file, in memory or on disk: hashed once, then streamed by range. Never loaded whole from disk.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

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
    Disk(DiskFile),
}

/// A file as it was when it was committed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DiskFile {
    path: PathBuf,
    size: u64,
    modified: SystemTime,
}

impl DiskFile {
    pub fn look_at(path: PathBuf) -> io::Result<Self> {
        let metadata = std::fs::metadata(&path)?;
        Ok(DiskFile { path, size: metadata.len(), modified: metadata.modified()? })
    }

    /// Other bytes under an old ETag would be a fault nobody asked for.
    fn check_unchanged(&self, now: &Metadata) -> io::Result<()> {
        if now.len() == self.size && now.modified()? == self.modified {
            return Ok(());
        }
        let message = format!("{} has changed since it was committed", self.path.display());
        Err(io::Error::other(message))
    }
}

impl Content {
    pub fn size(&self) -> u64 {
        match self {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::Disk(file) => file.size,
        }
    }

    pub fn git_sha1(&self) -> io::Result<String> {
        let mut hasher = git::blob_hasher(self.size());
        self.for_each_chunk(|chunk| hasher.update(chunk))?;
        Ok(hex::encode(hasher.finalize()))
    }

    pub fn sha256(&self) -> io::Result<String> {
        let mut hasher = Sha256::new();
        self.for_each_chunk(|chunk| hasher.update(chunk))?;
        Ok(hex::encode(hasher.finalize()))
    }

    fn for_each_chunk(&self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let on_disk = match self {
            Content::Memory(bytes) => {
                take(bytes);
                return Ok(());
            }
            Content::Disk(file) => file,
        };
        let mut file = File::open(&on_disk.path)?;
        let mut buffer = vec![0; CHUNK];
        loop {
            match file.read(&mut buffer)? {
                0 => return on_disk.check_unchanged(&file.metadata()?),
                read => take(&buffer[..read]),
            }
        }
    }

    /// A body of exactly these bytes.
    pub async fn stream(&self, range: Range<u64>) -> io::Result<Body> {
        match self {
            Content::Memory(bytes) => Ok(Body::from_stream(memory_stream(bytes.clone(), range))),
            Content::Disk(on_disk) => {
                let file = tokio::fs::File::open(&on_disk.path).await?.into_std().await;
                on_disk.check_unchanged(&file.metadata()?)?;
                Ok(Body::from_stream(disk_stream(Arc::new(file), range)))
            }
        }
    }
}

type Chunk = io::Result<Bytes>;

fn memory_stream(bytes: Bytes, range: Range<u64>) -> impl stream::Stream<Item = Chunk> {
    let rest = bytes.slice(range.start as usize..range.end as usize);
    stream::unfold(rest, |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        let chunk = rest.split_to(rest.len().min(CHUNK));
        Some((Ok(chunk), rest))
    })
}

fn disk_stream(file: Arc<File>, range: Range<u64>) -> impl stream::Stream<Item = Chunk> {
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
