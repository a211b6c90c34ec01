//! Work on files that may never come back: a file server that is away keeps whoever asks it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::origin::{OriginError, OriginErrorKind};

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
    /// How long one step may take: a listing of many files the longest.
    const DEADLINE: Duration = Duration::from_secs(15);

    /// `place` is what an error names. A step that is given up goes on on its thread, and keeps its turn until it ends.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        place: &Path,
        step: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, OriginError> {
        let failed = |kind, cause: String| OriginError::new(kind, place.display().to_string(), cause);
        let work = async {
            let turn = self.0.clone().acquire_owned().await.map_err(io::Error::other)?;
            let worked = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                step()
            });
            worked.await.map_err(io::Error::other)?
        };
        match tokio::time::timeout(Self::DEADLINE, work).await {
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
