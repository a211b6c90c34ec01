//! Models that are brought here ahead of being read, for as long as their volume is published.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use crate::daemon::{Asker, Daemon, Shown};

pub struct Warming {
    daemon: Daemon,
    under_way: Mutex<HashMap<PathBuf, AbortOnDropHandle<()>>>,
}

impl Warming {
    pub fn new(daemon: Daemon) -> Self {
        Self { daemon, under_way: Mutex::default() }
    }

    /// Nobody waits for it: what it does not bring in time is fetched when it is read.
    pub fn start(&self, target: &Path, asker: Asker, shown: Vec<Shown>) {
        let daemon = self.daemon.clone();
        let work = async move {
            for Shown { model, commit } in shown {
                match bring(&daemon, &asker, &Shown { model: model.clone(), commit }).await {
                    Ok(()) => tracing::info!(model = model.repo, "warm"),
                    Err(status) => tracing::warn!(model = model.repo, cause = status.message(), "not warm"),
                }
            }
        };
        self.under_way.lock().insert(target.to_owned(), AbortOnDropHandle::new(tokio::spawn(work)));
    }

    pub fn stop(&self, target: &Path) {
        self.under_way.lock().remove(target);
    }
}

async fn bring(daemon: &Daemon, asker: &Asker, shown: &Shown) -> Result<(), Status> {
    let mut events = daemon.download(asker, &shown.model, shown.commit.as_deref()).await?;
    // The last event is the outcome; the daemon has deadlines of its own.
    while events.message().await?.is_some() {}
    Ok(())
}
