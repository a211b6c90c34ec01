//! How much is fetched at once: connections and memory, and that a reader who waits goes before read-ahead.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::flights::Flight;

/// What is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Runs of blocks that somebody leads.
    pub flights: usize,
    /// Those among them that have their turn.
    pub fetches: usize,
}

/// The daemon's one budget for bytes between socket and disk. Out of budget means wait in order, never allocate.
pub(super) struct Slots {
    all: Share,
    /// Read-ahead needs a part of this as well: the rest is always free for readers who wait.
    prefetch: Share,
}

struct Share {
    connections: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    /// In units of [`Slots::UNIT`].
    size: u32,
}

type Permits = [OwnedSemaphorePermit; 2];

/// Held while a fetch runs.
pub(super) struct Slot {
    _all: Permits,
    _prefetch: Option<Permits>,
}

impl Slots {
    const CONNECTIONS: usize = 16;
    const UNIT: u64 = 1 << 20;
    /// A fetch always holds something, and the smallest budget lets one run.
    const MIN_UNITS: u32 = 4;

    /// `memory` is in bytes. Three quarters of everything may go to read-ahead.
    pub(super) fn new(memory: u64) -> Self {
        let units = (memory / Self::UNIT).clamp(u64::from(Self::MIN_UNITS), u64::from(u32::MAX)) as u32;
        Self {
            all: Share::new(Self::CONNECTIONS, units),
            prefetch: Share::new(Self::CONNECTIONS * 3 / 4, units - units / 4),
        }
    }

    /// Waits for a turn to hold `bytes`. A prefetch that a reader comes to wait for goes on as demand.
    pub(super) async fn turn(&self, flight: &Flight, bytes: u64) -> Slot {
        let prefetch = tokio::select! {
            biased;
            () = flight.wanted() => None,
            permits = self.prefetch.take(bytes) => Some(permits),
        };
        Slot { _all: self.all.take(bytes).await, _prefetch: prefetch }
    }

    /// How many fetches have their turn.
    pub(super) fn taken(&self) -> usize {
        Self::CONNECTIONS - self.all.connections.available_permits()
    }

    /// Waits for a turn before there is anything to fetch, so that no block is held back for a fetch that has to wait.
    pub(super) async fn idle_turn(&self, bytes: u64) -> Slot {
        let prefetch = self.prefetch.take(bytes).await;
        Slot { _all: self.all.take(bytes).await, _prefetch: Some(prefetch) }
    }
}

impl Share {
    fn new(connections: usize, size: u32) -> Self {
        let memory = Arc::new(Semaphore::new(size as usize));
        Self { connections: Arc::new(Semaphore::new(connections)), memory, size }
    }

    /// What is larger than the whole share takes all of it.
    async fn take(&self, bytes: u64) -> Permits {
        const OPEN: &str = "the semaphore is never closed";
        let units = bytes.div_ceil(Slots::UNIT).min(u64::from(self.size)) as u32;
        let connection = self.connections.clone().acquire_owned().await.expect(OPEN);
        [connection, self.memory.clone().acquire_many_owned(units).await.expect(OPEN)]
    }
}
