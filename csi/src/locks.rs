//! One at a time for each name: calls about one target, or about one mount, follow each other.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

#[derive(Default)]
pub struct Locks {
    held: Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
}

impl Locks {
    pub async fn lock(&self, path: &Path) -> OwnedMutexGuard<()> {
        let lock = {
            let mut held = self.held.lock();
            // Those that nobody holds or waits for.
            held.retain(|_, lock| Arc::strong_count(lock) > 1);
            held.entry(path.to_owned()).or_default().clone()
        };
        lock.lock_owned().await
    }
}
