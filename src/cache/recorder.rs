//! Data, then sync, then record: what has landed goes into the database in batches.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::lease::Entry;
use crate::db::{Database, DbError, LandedBlock};
use crate::metrics::Metrics;
use crate::types::{Blob, BlockRange};

pub(super) struct Recorder {
    events: Mutex<Option<mpsc::Sender<Event>>>,
    tasks: TaskTracker,
}

enum Event {
    Landed(Arc<Entry>, LandedBlock),
    /// Struck off in its turn, so that no record of what landed before comes after it.
    Forgotten(Arc<Entry>, BlockRange),
    /// Nothing of it is to stay on record, whatever landed before. Answered once it is struck off.
    Evicted(Arc<Entry>, oneshot::Sender<Result<(), DbError>>),
    /// Answered once everything sent before is recorded, with what could not be.
    Flush(oneshot::Sender<HashSet<Blob>>),
}

/// Blocks of one blob that are synced or will be, and are not on record.
type Unrecorded = Vec<(Arc<Entry>, Vec<LandedBlock>)>;

impl Recorder {
    /// A crash loses at most what landed since the last batch.
    const INTERVAL: Duration = Duration::from_millis(250);
    const BATCH: usize = 256;
    const QUEUE: usize = 4096;
    /// Blocks that a database which cannot write may leave behind; they are tried again with each batch.
    const LEFT: usize = 16 * 1024;
    /// When they are tried again though nothing new has landed.
    const RETRY: Duration = Duration::from_secs(5);

    pub(super) fn start(db: Arc<Database>, metrics: Arc<Metrics>, tasks: TaskTracker) -> Self {
        let (events, queue) = mpsc::channel(Self::QUEUE);
        tasks.spawn(Self::run(db, metrics, queue));
        Self { events: Mutex::new(Some(events)), tasks }
    }

    async fn run(db: Arc<Database>, metrics: Arc<Metrics>, mut queue: mpsc::Receiver<Event>) {
        let mut batch = Vec::with_capacity(Self::BATCH);
        let mut left = Unrecorded::new();
        loop {
            let received = queue.recv_many(&mut batch, Self::BATCH);
            let ended = match left.is_empty() {
                true => received.await == 0,
                false => tokio::time::timeout(Self::RETRY, received).await.is_ok_and(|events| events == 0),
            };
            if ended {
                return;
            }
            let flushing = batch.iter().any(|event| matches!(event, Event::Flush(_)));
            if !flushing && (1..Self::BATCH).contains(&batch.len()) {
                Self::gather(&mut queue, &mut batch).await;
            }
            left = Self::record(&db, &metrics, std::mem::take(&mut batch), left).await;
        }
    }

    /// Waits a moment for more, since a sync costs the same for one block as for many.
    async fn gather(queue: &mut mpsc::Receiver<Event>, batch: &mut Vec<Event>) {
        let deadline = tokio::time::sleep(Self::INTERVAL);
        tokio::pin!(deadline);
        while batch.len() < Self::BATCH {
            tokio::select! {
                () = &mut deadline => return,
                event = queue.recv() => match event {
                    Some(event) => {
                        let flushing = matches!(event, Event::Flush(_));
                        batch.push(event);
                        if flushing {
                            return;
                        }
                    }
                    None => return,
                },
            }
        }
    }

    /// `left` could not be recorded before. Answers what is left now.
    async fn record(db: &Database, metrics: &Metrics, batch: Vec<Event>, left: Unrecorded) -> Unrecorded {
        let mut blobs = left;
        let mut forgotten = Vec::new();
        let mut evicted = Vec::new();
        let mut waiting = Vec::new();
        for event in batch {
            match event {
                Event::Flush(done) => waiting.push(done),
                Event::Evicted(entry, done) => {
                    blobs.retain(|(known, _)| !Arc::ptr_eq(known, &entry));
                    evicted.push((entry.blob, done));
                }
                Event::Landed(entry, landed) => match blobs.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &entry)) {
                    Some((_, blocks)) => blocks.push(landed),
                    None => blobs.push((entry, vec![landed])),
                },
                Event::Forgotten(entry, gone) => {
                    for (_, blocks) in blobs.iter_mut().filter(|(known, _)| Arc::ptr_eq(known, &entry)) {
                        blocks.retain(|landed| !gone.contains(landed.block));
                    }
                    forgotten.push((entry.blob, gone));
                }
            }
        }
        // What is left landed after it was forgotten, or never was.
        for (blob, blocks) in forgotten {
            if let Err(error) = db.forget_blocks(blob, blocks).await {
                tracing::error!(%error, blob = %blob.id, "a damaged block is still on record; its checksum will tell again");
            }
        }
        // After what was forgotten of them, and before a new entry of the same blob records anything.
        for (blob, done) in evicted {
            let _ = done.send(db.strike_off(blob).await);
        }
        let mut left = Unrecorded::new();
        for (entry, mut blocks) in blobs {
            // What was lost since it landed is not what the file holds. What came anew is told of once more.
            blocks.retain(|landed| entry.map.has(landed.block) && entry.map.sum(landed.block) == landed.sum);
            if blocks.is_empty() {
                continue;
            }
            if let Err(error) = Self::record_blob(db, &entry, &blocks).await {
                metrics.unrecorded_blocks.add(blocks.len() as u64);
                let path = entry.file.path().display();
                tracing::error!(%error, %path, "blocks could not be recorded; they can be read, and after a restart they are fetched again");
                left.push((entry, blocks));
            }
        }
        Self::shorten(&mut left);
        for done in waiting {
            let _ = done.send(left.iter().map(|(entry, _)| entry.blob).collect());
        }
        left
    }

    /// `Err` if the database did not take it, which may pass.
    ///
    /// A disk that cannot sync may have lost what it was given, and says so once: whatever the page cache still shows, what
    /// is not on record is fetched again.
    async fn record_blob(db: &Database, entry: &Arc<Entry>, blocks: &[LandedBlock]) -> Result<(), DbError> {
        let syncing = entry.clone();
        let synced = tokio::task::spawn_blocking(move || syncing.file.sync_data()).await;
        match synced.unwrap_or_else(|error| Err(error.into())) {
            Ok(()) => db.record(entry.blob, blocks.to_vec()).await,
            Err(error) => {
                let path = entry.file.path().display();
                tracing::error!(%error, %path, "the disk could not sync; what has landed since the last time is fetched again");
                let recorded = db.coverage(&entry.blob).unwrap_or_default();
                entry.lost_but(&recorded, blocks);
                Ok(())
            }
        }
    }

    /// What is dropped is fetched again after a restart.
    fn shorten(left: &mut Unrecorded) {
        let mut room = Self::LEFT;
        for (_, blocks) in left.iter_mut().rev() {
            blocks.truncate(room);
            room -= blocks.len();
        }
        left.retain(|(_, blocks)| !blocks.is_empty());
    }

    /// Waits while the queue is full, so that what is not yet recorded stays bounded.
    pub(super) async fn landed(&self, entry: &Arc<Entry>, landed: LandedBlock) {
        let events = self.events.lock().clone();
        if let Some(events) = events {
            let _ = events.send(Event::Landed(entry.clone(), landed)).await;
        }
    }

    /// The map has forgotten these blocks. Never waits.
    pub(super) fn forgotten(&self, entry: &Arc<Entry>, blocks: BlockRange) {
        let Some(events) = self.events.lock().clone() else { return };
        if let Err(TrySendError::Full(event)) = events.try_send(Event::Forgotten(entry.clone(), blocks)) {
            // If the block lands again before this is sent, its record is lost: one more fetch after a restart.
            self.tasks.spawn(async move {
                let _ = events.send(event).await;
            });
        }
    }

    /// Strikes the blob off, behind what has landed of it; `retire` is the last chance to refuse. `None` if it did, or if
    /// the queue is full. Never waits.
    pub(super) fn evicted(
        &self,
        entry: &Arc<Entry>,
        retire: impl FnOnce() -> bool,
    ) -> Option<oneshot::Receiver<Result<(), DbError>>> {
        let place = self.events.lock().clone()?.try_reserve_owned().ok()?;
        if !retire() {
            return None;
        }
        let (done, struck) = oneshot::channel();
        place.send(Event::Evicted(entry.clone(), done));
        Some(struck)
    }

    /// Answers the blobs of which something could not be recorded.
    pub(super) async fn flush(&self) -> HashSet<Blob> {
        let events = self.events.lock().clone();
        let Some(events) = events else { return HashSet::new() };
        let (done, flushed) = oneshot::channel();
        if events.send(Event::Flush(done)).await.is_err() {
            return HashSet::new();
        }
        flushed.await.unwrap_or_default()
    }

    /// Records what is in the queue and ends.
    pub(super) async fn stop(&self) {
        self.flush().await;
        self.events.lock().take();
    }
}
