//! Work on files that may never come back: a file server that is away keeps whoever asks it.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::origin::{OriginError, OriginErrorKind};

/// How far a step is: it counts for nobody but who waits.
#[derive(Default)]
pub(super) struct Progress(AtomicU64);

impl Progress {
    pub(super) fn step(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn steps(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Threads that one directory may keep waiting. The others belong to the rest of the daemon.
#[derive(Clone)]
pub(super) struct Workers(Arc<Semaphore>);

impl Default for Workers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(Self::MOST)))
    }
}

impl Workers {
    const MOST: usize = 16;
    /// How long a step may take without getting on.
    const DEADLINE: Duration = Duration::from_secs(15);

    /// `place` is what an error names. A step that is given up goes on on its thread, and keeps its turn until it ends.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        place: &Path,
        step: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, OriginError> {
        self.run_watched(place, |_| step()).await
    }

    /// One that may take long, and says how far it is.
    pub(super) async fn run_watched<T: Send + 'static>(
        &self,
        place: &Path,
        step: impl FnOnce(&Progress) -> io::Result<T> + Send + 'static,
    ) -> Result<T, OriginError> {
        let progress = Arc::new(Progress::default());
        let failed = |kind, cause: String| OriginError::new(kind, place.display().to_string(), cause);
        let seen = progress.clone();
        let work = async move {
            let turn = self.0.clone().acquire_owned().await.map_err(io::Error::other)?;
            let worked = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                step(&progress)
            });
            worked.await.map_err(io::Error::other)?
        };
        let mut work = pin!(work);
        let worked = loop {
            let before = seen.steps();
            match tokio::time::timeout(Self::DEADLINE, &mut work).await {
                Err(_) if seen.steps() > before => {}
                worked => break worked,
            }
        };
        match worked {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(cause)) if is_final(&cause) => Err(failed(OriginErrorKind::Permanent, cause.to_string())),
            Ok(Err(cause)) => Err(failed(OriginErrorKind::Transient, cause.to_string())),
            Err(_) => {
                let seconds = Self::DEADLINE.as_secs();
                Err(failed(OriginErrorKind::Transient, format!("no answer within {seconds} s")))
            }
        }
    }
}

/// What does not get better by asking again.
fn is_final(cause: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(cause.kind(), PermissionDenied | InvalidData | FileTooLarge | QuotaExceeded)
}
