//! systemd's store of descriptors: the service manager starts the next daemon, and passes it what this one left.
//!
//! Each mount's two descriptors have names of their own there. The unit says how many it may have
//! (`FileDescriptorStoreMax=`), and that the daemon is started again when it ends as one that hands over.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mount_helper::STANDBY_VARIABLE;
use sd_notify::NotifyState;
use tokio::sync::mpsc;

use super::store::Store;
use super::{HeldMount, KeptMount, MountName};

/// How long the next version may take to find out whether it could serve.
const CHECK: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);
/// EX_TEMPFAIL: the unit has it in RestartForceExitStatus.
const HAND_OVER: i32 = 75;
const PREFIX: &str = "weightfs-";
const DEVICE: &str = "-device";
const STATE: &str = "-state";

#[derive(Debug)]
pub struct ServiceManager {
    /// Whether it keeps descriptors.
    pub stores: bool,
    /// Where this daemon is told to hand over.
    pub orders: mpsc::Sender<()>,
    /// This program as it was called, to see whether its next version would serve.
    pub check: fn() -> Command,
}

impl Store for ServiceManager {
    fn keeps(&self) -> bool {
        self.stores
    }

    fn keep(&self, mount: &KeptMount) -> io::Result<()> {
        if !self.stores {
            return Err(io::Error::other("the unit has no FileDescriptorStoreMax"));
        }
        store(&mount.name, DEVICE, mount.device.as_fd())?;
        store(&mount.name, STATE, mount.state.as_fd())
    }

    fn forget(&self, name: &MountName) -> io::Result<()> {
        for kind in [DEVICE, STATE] {
            let name = stored_name(name, kind);
            sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name)])?;
        }
        Ok(())
    }

    fn ready(&self) -> io::Result<()> {
        sd_notify::notify(&[NotifyState::Ready])
    }

    fn bye(&self) -> io::Result<()> {
        sd_notify::notify(&[NotifyState::Stopping])
    }

    fn upgrade(&self) -> io::Result<Option<u32>> {
        if !self.stores {
            return Err(io::Error::other(
                "the service manager keeps no descriptors for it: set FileDescriptorStoreMax= in its unit",
            ));
        }
        run_check((self.check)())?;
        self.orders.blocking_send(()).map_err(|_| io::Error::other("the daemon is ending"))?;
        Ok(None)
    }

    fn hand_over_status(&self) -> i32 {
        HAND_OVER
    }
}

fn stored_name(name: &MountName, kind: &str) -> String {
    format!("{PREFIX}{}{kind}", name.number())
}

fn store(name: &MountName, kind: &str, descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let name = stored_name(name, kind);
    sd_notify::notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(&name)], &[descriptor])
}

/// Runs the next version until it says, by its exit status, whether it could serve.
fn run_check(mut command: Command) -> io::Result<()> {
    command.env(STANDBY_VARIABLE, "check").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    for name in ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
        command.env_remove(name);
    }
    let mut child = command.spawn()?;
    let deadline = Instant::now() + CHECK;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() < deadline => std::thread::sleep(PAUSE),
            None => {
                // It is our child and has not been waited for.
                let _ = child.kill();
                let _ = child.wait();
                return Err(io::Error::other(format!("the new program could not serve within {} s", CHECK.as_secs())));
            }
        }
    };
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    if let Some(stderr) = &mut child.stderr {
        let _ = stderr.take(4096).read_to_string(&mut said);
    }
    Err(io::Error::other(format!("the new program cannot serve ({status}): {}", said.trim())))
}

/// What the service manager passed to this process: the mounts of the daemon before it. Called once, before there are
/// threads.
pub fn passed() -> io::Result<Vec<HeldMount>> {
    let mut devices = HashMap::new();
    let mut states = HashMap::new();
    for (number, name) in sd_notify::listen_fds_with_names()? {
        // SAFETY: the service manager opened it for this process alone, as LISTEN_PID says, and nobody else here takes it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        let Some(name) = name.strip_prefix(PREFIX) else { continue };
        if let Some(connection) = name.strip_suffix(DEVICE) {
            devices.insert(connection.to_owned(), descriptor);
        } else if let Some(connection) = name.strip_suffix(STATE) {
            states.insert(connection.to_owned(), descriptor);
        }
    }
    let mut held = Vec::new();
    for (connection, device) in devices {
        // The daemon died before it had stored both: nobody was told of the mount yet.
        let Some(state) = states.remove(&connection) else { continue };
        match HeldMount::of(&connection, device, state) {
            Ok(mount) => held.push(mount),
            Err(error) => {
                tracing::error!(%error, connection, "a mount that an earlier daemon left cannot be taken over")
            }
        }
    }
    Ok(held)
}
