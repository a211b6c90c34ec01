//! What a mount would be: `weightfs mount-plan DIR`, which mount.weightfs asks before it mounts anything.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;

use crate::config::Config;
use crate::daemon::directories::Directories;
use crate::daemon::lock::{self, LockState};
use crate::daemon::{background, holding, logging};

use super::flags::MountFlags;

/// How long a daemon may take to say where it and its holder are.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// Check the settings of a mount and say who would serve it; asked by mount.weightfs
#[derive(Debug, Args)]
#[command(hide = true)]
pub struct PlanCommand {
    /// Where it is to be
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    #[command(flatten)]
    pub settings: MountFlags,
}

impl PlanCommand {
    /// Prints lines of a word and a value. Words are never taken back: the helper may be older than this program.
    pub fn run(&self, config: &Config) -> anyhow::Result<()> {
        logging::init(config)?;
        // What is wrong with the mount is said before there is one.
        super::mount::order(&self.directory, config)?;
        let directories = Directories::prepare(config)?;
        background::prepare_log(&directories.log)?;
        let socket = holding::new_socket(&directories.runtime, &directories.socket)?;
        let give_up = config.settings.daemon_give_up_seconds.duration().as_secs();
        let (log, socket, daemon) = (directories.log.display(), socket.display(), daemon(&directories.cache)?);
        super::print(&format!("log {log}\nsocket {socket}\ngive-up {give_up}\ndaemon {daemon}\n"))
    }
}

/// `none`, `held` and the socket of its holder, or `unheld`.
fn daemon(cache: &Path) -> anyhow::Result<String> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match lock::probe(cache)? {
            LockState::Free => return Ok("none".to_owned()),
            LockState::Held(Some(owner)) => {
                return Ok(owner.holder.map_or("unheld".to_owned(), |holder| format!("held {}", holder.display())));
            }
            LockState::Held(None) => std::thread::sleep(PAUSE),
        }
    }
    bail!(
        "{}: a daemon has this cache directory, but does not say where it listens; its log may say why",
        cache.display()
    )
}
