//! What the kernel is told of one mount: names that moved, pages that are wrong or not wanted any more.
//!
//! The kernel may hold what a notice is about and wait for us. So a notice never leaves from inside a request, and never
//! from a thread of the daemon: see `mount_helper::notices`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use mount_helper::notices::{Line, Messenger, Notice};

use super::survival::MountName;
use crate::tree::Node;

/// Whose threads wait for the kernel.
#[derive(Debug, Clone)]
pub enum Courier {
    /// Another process's.
    Process(Arc<Messenger>),
    /// This process's own, which then cannot be killed while they wait. For tests.
    Here,
}

/// The notices of one task of one mount, in order.
pub(super) struct Notices {
    device: Arc<OwnedFd>,
    courier: Courier,
    /// The mount, if nobody goes on with it when this daemon dies.
    alone: Option<MountName>,
    line: Option<Line>,
}

impl Notices {
    pub(super) fn new(device: Arc<OwnedFd>, courier: Courier, alone: Option<MountName>) -> Self {
        Self { device, courier, alone, line: None }
    }

    /// Waits for the kernel: not for a thread of the runtime.
    pub(super) fn tell(&mut self, notice: &Notice) {
        if let Err(error) = self.try_tell(notice) {
            // What the kernel does not know it need not forget.
            tracing::debug!(%error, ?notice, "the kernel keeps what it has");
        }
    }

    fn try_tell(&mut self, notice: &Notice) -> io::Result<()> {
        let messenger = match &self.courier {
            Courier::Here => return notice.write(&*self.device),
            Courier::Process(messenger) => messenger,
        };
        if let Some(line) = &self.line {
            match line.write(self.device.as_fd(), notice) {
                Err(error) if is_broken(&error) => {}
                told => return told,
            }
        }
        let line = messenger.line(self.alone.as_ref().map_or("", MountName::as_str))?;
        let told = line.write(self.device.as_fd(), notice);
        self.line = Some(line);
        told
    }
}

/// Whether the kernel still has a node: somebody may have it open.
pub(super) fn is_known(device: &OwnedFd, node: Node) -> io::Result<bool> {
    match (Notice::Attributes { node: node.0 }).write(device) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        told => told.map(|()| true),
    }
}

/// The process is gone: another one is started.
fn is_broken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
