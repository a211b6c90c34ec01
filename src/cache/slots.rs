//! How many fetches run at once, and that a reader who waits goes before read-ahead.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::flights::Flight;

/// A fetch holds one block (or a small blob) of memory while it runs, so slots bound memory too.
pub(super) struct Slots {
    all: Arc<Semaphore>,
    /// Read-ahead needs one of these as well: the rest is always free for readers who wait.
    prefetch: Arc<Semaphore>,
}

/// Held while a fetch runs.
pub(super) struct Slot {
    _all: OwnedSemaphorePermit,
    _prefetch: Option<OwnedSemaphorePermit>,
}

impl Slots {
    const ALL: usize = 16;
    const PREFETCH: usize = 12;

    pub(super) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(Self::ALL)), prefetch: Arc::new(Semaphore::new(Self::PREFETCH)) }
    }

    /// Waits for a turn. A prefetch that a reader comes to wait for goes on as demand.
    pub(super) async fn turn(&self, flight: &Flight) -> Slot {
        let prefetch = tokio::select! {
            biased;
            () = flight.wanted() => None,
            permit = self.prefetch.clone().acquire_owned() => permit.ok(),
        };
        let all = self.all.clone().acquire_owned().await.expect("the semaphore is never closed");
        Slot { _all: all, _prefetch: prefetch }
    }
}
