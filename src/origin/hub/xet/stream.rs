//! A range on its way: by chunks for as long as that goes well, then plainly from where it stopped.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, TryStreamExt};
use tokio::sync::watch;
use tokio::time::Instant;

use super::pace::{WORTH_IT, Way};
use super::{Asked, HubState, Ways};
use crate::origin::xet::{Blame, Reading, XetError, XetHash};
use crate::origin::{ByteStream, OriginError};
use crate::types::ByteRange;

/// By chunks. The first piece that is asked for opens the store.
pub(super) fn by_chunks(ways: Arc<Ways>, hub: Arc<HubState>, hash: XetHash, wanted: Asked) -> ByteStream {
    let troubles = hub.breaker.troubles();
    let begun = Instant::now();
    let left = wanted.range;
    let chunks = Chunks { ways, hub, hash, wanted, left, begun, troubles, reading: None, regranted: false, counted: 0 };
    stream::try_unfold(Stage::Chunks(Box::new(chunks)), next).boxed()
}

/// A plain range whose pace is measured since it was asked for, to be compared with that of chunks.
pub(super) fn timed(plain: ByteStream, hub: Arc<HubState>, range: ByteRange, begun: Instant) -> ByteStream {
    let mut left = range.len();
    let pieces = plain.inspect_ok(move |piece| {
        left = left.saturating_sub(piece.len() as u64);
        if left == 0 {
            hub.measured(Way::Plain, range, begun);
        }
    });
    pieces.boxed()
}

impl HubState {
    fn measured(&self, way: Way, range: ByteRange, begun: Instant) {
        if range.len() >= WORTH_IT {
            self.pace.lock().measured(way, range.len(), begun.elapsed());
        }
    }
}

enum Stage {
    Chunks(Box<Chunks>),
    Plain(ByteStream),
}

async fn next(stage: Stage) -> Result<Option<(Bytes, Stage)>, OriginError> {
    let mut plain = match stage {
        Stage::Plain(plain) => plain,
        Stage::Chunks(mut chunks) => match chunks.next().await {
            Ok(Some(piece)) => return Ok(Some((piece, Stage::Chunks(chunks)))),
            Ok(None) => return Ok(None),
            Err(error) => chunks.change_over(error).await?,
        },
    };
    let piece = plain.try_next().await?;
    Ok(piece.map(|piece| (piece, Stage::Plain(plain))))
}

struct Chunks {
    ways: Arc<Ways>,
    hub: Arc<HubState>,
    hash: XetHash,
    wanted: Asked,
    /// Of the range, what was not handed on yet.
    left: ByteRange,
    begun: Instant,
    troubles: watch::Receiver<u64>,
    reading: Option<Reading>,
    regranted: bool,
    /// Of the bytes from the network, what was counted.
    counted: u64,
}

impl Chunks {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let is_first = self.left.start == self.wanted.range.start;
        let mut troubles = self.troubles.clone();
        let piece = tokio::select! {
            piece = self.advance() => piece,
            // Others found the store in trouble: nobody waits for the same deadline after them.
            Ok(()) = troubles.changed(), if is_first => return Err(Failure::OfOthers),
        };
        self.count_transferred();
        let piece = piece.map_err(Failure::Own)?;
        self.deliver(&piece);
        Ok(Some(piece))
    }

    /// A grant that the store takes no more costs a fresh one and no trouble.
    async fn advance(&mut self) -> Result<Bytes, XetError> {
        match self.piece().await {
            Err(error) if error.blame() == Blame::Grant && self.reading.is_some() && !self.regranted => {
                self.regranted = true;
                self.reading = None;
                self.ways.granted.forget(&self.wanted.identity, &self.wanted.file).await;
                self.piece().await
            }
            piece => piece,
        }
    }

    async fn piece(&mut self) -> Result<Bytes, XetError> {
        let reading = match &mut self.reading {
            Some(reading) => reading,
            none => none.insert(self.ways.begin(self.hash, &self.wanted, self.left).await?),
        };
        reading.next().await?.ok_or(XetError::Short(self.left.len()))
    }

    fn deliver(&mut self, piece: &Bytes) {
        let (ways, len) = (&self.ways, piece.len() as u64);
        ways.metrics.fetched_bytes.add(len);
        ways.metrics.xet_bytes.add(len);
        self.left.start += len;
        if self.left.is_empty() {
            self.hub.breaker.well();
            self.hub.measured(Way::Xet, self.wanted.range, self.begun);
        }
    }

    fn count_transferred(&mut self) {
        let transferred = self.reading.as_ref().map_or(0, Reading::transferred);
        self.ways.metrics.xet_transferred_bytes.add(transferred - self.counted);
        self.counted = transferred;
    }

    /// The plain way for the rest.
    async fn change_over(mut self: Box<Self>, failure: Failure) -> Result<ByteStream, OriginError> {
        self.count_transferred();
        let Self { ways, hub, hash, wanted, left, reading, .. } = *self;
        drop(reading);
        match failure {
            Failure::Own(error) => ways.trouble(&hub, hash, &wanted, &error).await,
            Failure::OfOthers => ways.metrics.xet_fallbacks.add(1),
        }
        ways.plainly(&wanted, left).await
    }
}

enum Failure {
    Own(XetError),
    OfOthers,
}
