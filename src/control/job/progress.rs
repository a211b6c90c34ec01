//! How far a job is: its position, of which the latest counts, and remarks, of which each does.

use tokio::sync::{mpsc, watch};

/// How far a job is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// What it does now, as a verb: `looking up`, `downloading`.
    pub step: &'static str,
    pub bytes: u64,
    pub total_bytes: u64,
    pub files: u64,
    pub total_files: u64,
}

/// The job's end. A job goes on whether or not anybody follows it.
#[derive(Clone)]
pub struct Progress {
    position: watch::Sender<Position>,
    remarks: mpsc::Sender<String>,
}

/// The end of whoever asked for the job.
pub struct Follower {
    pub position: watch::Receiver<Position>,
    pub remarks: mpsc::Receiver<String>,
}

impl Progress {
    /// Remarks that wait to be read; a job with more of them waits too.
    const REMARKS: usize = 64;

    pub fn new() -> (Self, Follower) {
        let (position, follow_position) = watch::channel(Position::default());
        let (remarks, follow_remarks) = mpsc::channel(Self::REMARKS);
        (Self { position, remarks }, Follower { position: follow_position, remarks: follow_remarks })
    }

    /// Never waits.
    pub fn update(&self, change: impl FnOnce(&mut Position)) {
        self.position.send_modify(change);
    }

    /// What a person should read though the job goes on.
    pub async fn remark(&self, text: String) {
        let _ = self.remarks.send(text).await;
    }

    /// The same from a thread that may wait.
    pub fn remark_blocking(&self, text: String) {
        let _ = self.remarks.blocking_send(text);
    }

    /// Whether whoever asked is gone. For work on threads, which nobody can drop.
    pub fn is_unheard(&self) -> bool {
        self.position.is_closed()
    }
}
