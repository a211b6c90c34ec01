//! Files as a stream of chunks, out of the cache while the origin still sends: one file after the other, each from its
//! first byte to its last.
//!
//! What clients rely on: the commit in the first chunk, offsets without gaps, `is_last_chunk` exactly at a file's end and
//! `is_last_file` in the very last chunk, an empty file as one empty chunk. A stream that cannot go on ends with a status,
//! never quietly.

use std::pin::Pin;

use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::Status;

use super::Ground;
use super::guarded::Guarded;
use crate::api::code::refuse_by_name;
use crate::api::wire::model::FileChunk;
use crate::control::job::ModelName;
use crate::control::{JobSeat, Piecewise};
use crate::types::{BLOCK_SIZE, ByteRange, RemoteFile};

pub type Chunks = Pin<Box<dyn Stream<Item = Result<FileChunk, Status>> + Send>>;

/// Clients refuse messages of more than 4 MiB. The rest is for the path and the other fields.
const LARGEST: u64 = (4 << 20) - (64 << 10);
/// One block: read in one piece, and few enough bytes to be sent while the next ones are read.
const USUAL: u64 = BLOCK_SIZE;
/// Chunks that wait to be sent.
const WAITING: usize = 2;
/// How far ahead of what is sent the origin is asked for more.
const AHEAD: u64 = 64 << 20;
/// How often.
const STEP: u64 = 8 << 20;

pub fn chunk_size(asked: u32) -> u64 {
    if asked == 0 { USUAL } else { u64::from(asked).min(LARGEST) }
}

/// `guards` live as long as somebody listens.
pub fn chunks(
    ground: Ground,
    model: ModelName,
    files: Vec<RemoteFile>,
    chunk_size: u64,
    guards: (JobSeat, TaskTrackerToken),
) -> Chunks {
    let (send, sent) = mpsc::channel(WAITING);
    let work = AbortOnDropHandle::new(tokio::spawn(async move {
        let all = send_all(&ground, &model, files, chunk_size, &send);
        let failed = tokio::select! {
            ended = all => ended.err(),
            () = ground.cut.cancelled() => Some(Status::unavailable("the server is ending; ask again for what is missing")),
        };
        if let Some(status) = failed {
            let _ = send.send(Err(status)).await;
        }
    }));
    Box::pin(Guarded::new(ReceiverStream::new(sent), (work, guards)))
}

type Sender = mpsc::Sender<Result<FileChunk, Status>>;

async fn send_all(
    ground: &Ground,
    model: &ModelName,
    files: Vec<RemoteFile>,
    chunk_size: u64,
    send: &Sender,
) -> Result<(), Status> {
    let open = |file: &RemoteFile| ground.shelf.open(model, file.clone()).map_err(refuse_by_name);
    let mut commit = files.first().map(|file| file.commit.to_string());
    let mut next = files.first().map(open).transpose()?;
    for (number, _) in files.iter().enumerate() {
        let Some(file) = next.take() else { break };
        next = files.get(number + 1).map(open).transpose()?;
        let sending = Sending { file, next: next.as_ref(), chunk_size, is_last: number + 1 == files.len() };
        if !sending.run(commit.take(), send).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// One file on its way.
struct Sending<'a> {
    file: Piecewise,
    next: Option<&'a Piecewise>,
    chunk_size: u64,
    /// Of all.
    is_last: bool,
}

impl Sending<'_> {
    /// Answers whether anybody still listens.
    async fn run(self, mut commit: Option<String>, send: &Sender) -> Result<bool, Status> {
        let (path, size) = (self.file.file.path.to_string(), self.file.file.blob.size);
        let (mut offset, mut asked) = (0, 0);
        loop {
            if offset >= asked {
                self.ask_ahead(offset);
                asked = offset + STEP;
            }
            let range = ByteRange::at(offset, self.chunk_size).clamp(size);
            let data = self.file.piece(range).await.map_err(refuse_by_name)?;
            let is_end = range.end >= size;
            let chunk = FileChunk {
                relative_path: path.clone(),
                data,
                offset,
                total_size: size,
                is_last_chunk: is_end,
                is_last_file: is_end && self.is_last,
                commit_hash: commit.take(),
            };
            if send.send(Ok(chunk)).await.is_err() {
                return Ok(false);
            }
            if is_end {
                return Ok(true);
            }
            offset = range.end;
        }
    }

    /// The next file begins to come before this one ends.
    fn ask_ahead(&self, offset: u64) {
        let end = offset + AHEAD;
        self.file.ahead(ByteRange::new(offset, end));
        let left = end.saturating_sub(self.file.file.blob.size);
        if let Some(next) = self.next.filter(|_| left > 0) {
            next.ahead(ByteRange::new(0, left));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_always_fits_the_clients_messages() {
        assert_eq!(chunk_size(0), 1 << 20);
        assert_eq!(chunk_size(32 << 10), 32 << 10);
        assert_eq!(chunk_size(1), 1);
        assert!(chunk_size(u32::MAX) + 2 * 4096 < 4 << 20);
    }
}
