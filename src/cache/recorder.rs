//! Data, then sync, then record: what has landed goes into the database in batches.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::lease::Entry;
use crate::db::{Database, LandedBlock};
use crate::types::BlockRange;

pub(super) struct Recorder {
    events: Mutex<Option<mpsc::Sender<Event>>>,
    tasks: TaskTracker,
}

enum Event {
    Landed(Arc<Entry>, LandedBlock),
    /// Struck off in its turn, so that no record of what landed before comes after it.
    Forgotten(Arc<Entry>, BlockRange),
    /// Answered once everything sent before is recorded.
    Flush(oneshot::Sender<()>),
}

impl Recorder {
    /// A crash loses at most what landed since the last batch.
    const INTERVAL: Duration = Duration::from_millis(250);
    const BATCH: usize = 256;
    const QUEUE: usize = 4096;

    pub(super) fn start(db: Arc<Database>, tasks: TaskTracker) -> Self {
        let (events, queue) = mpsc::channel(Self::QUEUE);
        tasks.spawn(Self::run(db, queue));
        Self { events: Mutex::new(Some(events)), tasks }
    }

    async fn run(db: Arc<Database>, mut queue: mpsc::Receiver<Event>) {
        let mut batch = Vec::with_capacity(Self::BATCH);
        while queue.recv_many(&mut batch, Self::BATCH).await > 0 {
            let flushing = batch.iter().any(|event| matches!(event, Event::Flush(_)));
            if !flushing && batch.len() < Self::BATCH {
                Self::gather(&mut queue, &mut batch).await;
            }
            Self::record(&db, std::mem::take(&mut batch)).await;
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

    async fn record(db: &Database, batch: Vec<Event>) {
        let mut blobs: Vec<(Arc<Entry>, Vec<LandedBlock>)> = Vec::new();
        let mut forgotten = Vec::new();
        let mut waiting = Vec::new();
        for event in batch {
            match event {
                Event::Flush(done) => waiting.push(done),
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
        for (entry, blocks) in blobs.into_iter().filter(|(_, blocks)| !blocks.is_empty()) {
            Self::record_blob(db, entry, blocks).await;
        }
        for done in waiting {
            let _ = done.send(());
        }
    }

    async fn record_blob(db: &Database, entry: Arc<Entry>, blocks: Vec<LandedBlock>) {
        let (blob, path) = (entry.blob, entry.file.path().to_owned());
        let synced = tokio::task::spawn_blocking(move || entry.file.file.sync_data()).await;
        let recorded = match synced {
            Ok(Ok(())) => db.record(blob, blocks).await.map_err(|error| error.to_string()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = recorded {
            tracing::error!(%error, path = %path.display(), "blocks could not be recorded; a restart will fetch them again");
        }
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

    pub(super) async fn flush(&self) {
        let events = self.events.lock().clone();
        let Some(events) = events else { return };
        let (done, flushed) = oneshot::channel();
        if events.send(Event::Flush(done)).await.is_ok() {
            let _ = flushed.await;
        }
    }

    /// Records what is in the queue and ends.
    pub(super) async fn stop(&self) {
        self.flush().await;
        self.events.lock().take();
    }
}
