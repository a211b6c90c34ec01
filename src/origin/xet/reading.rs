//! One range on its way, under deadlines.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use xet_client::cas_client::Client;
use xet_client::cas_types::FileRange;
use xet_data::file_reconstruction::{DownloadStream, FileReconstructionError, FileReconstructor};
use xet_data::progress_tracking::{GroupProgress, ItemProgress};
use xet_runtime::utils::UniqueId;

use super::client::RangeClient;
use super::{Store, XetError, XetHash};
use crate::origin::http::Wanted;

/// Pieces in order, exactly as many bytes as were asked for. Dropping it ends everything that was started for it.
pub struct Reading {
    stream: DownloadStream,
    left: u64,
    progress: Arc<ItemProgress>,
    stall: Duration,
    _ended: DropGuard,
}

impl Store {
    /// Begins to read; asks nobody before the first piece is asked for.
    pub fn read(&self, hash: XetHash, wanted: Wanted) -> Reading {
        let ended = CancellationToken::new();
        let client: Arc<dyn Client> = Arc::new(RangeClient { store: self.client.clone(), ended: ended.clone() });
        let updater = Arc::new(GroupProgress::new()).new_item(UniqueId::new(), "");
        let progress = updater.item().clone();
        let Wanted { range, size } = wanted;
        let stream = FileReconstructor::new(&self.context, &client, hash.0)
            .with_file_size(size)
            .with_byte_range(FileRange::new(range.start, range.end))
            .with_progress_updater(updater)
            .with_cancellation_token(ended.child_token())
            .reconstruct_to_stream();
        Reading { stream, left: range.len(), progress, stall: self.timeouts.stall, _ended: ended.drop_guard() }
    }
}

impl Reading {
    /// The crate hands on whole terms, which may hold all of a range: a slow network shows by its bytes, not by pieces.
    /// Nothing from the network for `stall` is the end, and so is no piece for twice as long.
    pub async fn next(&mut self) -> Result<Option<Bytes>, XetError> {
        let piece = patiently(self.stream.next(), &self.progress, self.stall).await?;
        self.take(piece)
    }

    fn take(&mut self, piece: Option<Bytes>) -> Result<Option<Bytes>, XetError> {
        match piece {
            None if self.left > 0 => Err(XetError::Short(self.left)),
            None => Ok(None),
            Some(piece) if piece.len() as u64 > self.left => Err(XetError::Long),
            Some(piece) => {
                self.left -= piece.len() as u64;
                Ok(Some(piece))
            }
        }
    }

    /// Bytes that came over the network so far: compressed, and of whole chunks.
    pub fn transferred(&self) -> u64 {
        transferred(&self.progress)
    }
}

fn transferred(progress: &ItemProgress) -> u64 {
    progress.transfer_bytes_completed.load(Ordering::Acquire)
}

/// Waits for `next`, which is not begun anew in between: a piece could be lost.
async fn patiently(
    next: impl Future<Output = Result<Option<Bytes>, FileReconstructionError>>,
    progress: &ItemProgress,
    stall: Duration,
) -> Result<Option<Bytes>, XetError> {
    let begun = Instant::now();
    let mut next = pin!(next);
    loop {
        let moved = transferred(progress);
        match tokio::time::timeout(stall, next.as_mut()).await {
            Ok(piece) => return Ok(piece?),
            Err(_) if transferred(progress) == moved => return Err(XetError::Stalled(stall)),
            Err(_) if begun.elapsed() >= 2 * stall => return Err(XetError::Slow(2 * stall)),
            Err(_) => {}
        }
    }
}
