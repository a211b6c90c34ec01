//! What a service manager and a terminal send to end a program.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a service manager and a terminal send to end a program.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// A terminal that goes away does not end it.
    stays: bool,
}

impl Signals {
    pub(super) fn listen(stays: bool) -> std::io::Result<Self> {
        Ok(Self {
            stays,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv(), if !self.stays => "SIGHUP",
        }
    }
}
