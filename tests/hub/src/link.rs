//! The one line that all bodies share when `link_bandwidth` is set, so that more connections do not get more bytes.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

#[derive(Default)]
pub struct Link {
    /// When what has been let through so far will have gone over the line.
    free_at: Mutex<Option<Instant>>,
}

impl Link {
    /// Waits for the turn of so many bytes, in order of asking.
    pub async fn pass(&self, bytes: u64, bytes_per_second: u64) {
        let takes = Duration::from_secs_f64(bytes as f64 / bytes_per_second.max(1) as f64);
        let done = {
            let mut free_at = self.free_at.lock();
            let now = Instant::now();
            let start = free_at.map_or(now, |free| free.max(now));
            *free_at.insert(start + takes)
        };
        tokio::time::sleep_until(done).await;
    }
}
