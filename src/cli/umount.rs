//! `weightfs umount DIR`

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;

use crate::api::client::ClientError;
use crate::api::proto::UnmountRequest;
use crate::config::Config;
use crate::daemon;
use crate::daemon::lock::{self, LockState};
use crate::fs::mount;

use super::asking::{self, Daemon};

/// A daemon records what has landed before it ends.
const END: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

const EXAMPLES: &str = "\
Examples:
  weightfs umount ~/hf         Unmount; if it is in use, say by whom
  weightfs umount --lazy ~/hf  Take it away at once; whoever has files open may finish";

/// Unmount a directory
///
/// With a daemon's last mount the daemon ends too, and the command returns once it has: what was fetched is recorded
/// then, and the directory can be mounted again. `fusermount3 -u DIR` and `umount DIR` unmount as well, without waiting
/// for that.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct UmountCommand {
    /// Where weightfs is mounted
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Unmount even while the mount is in use; those who use it may finish
    #[arg(long)]
    lazy: bool,
}

impl UmountCommand {
    pub fn run(&self, config: &Config) -> anyhow::Result<()> {
        daemon::logging::init(config)?;
        let directory = mount::resolve(&self.directory);
        // Called from inside the mount this command would be in its own way.
        std::env::set_current_dir("/")?;
        super::block_on(self.unmount(&directory, config))
    }

    async fn unmount(&self, directory: &Path, config: &Config) -> anyhow::Result<()> {
        let (daemons, problems) = asking::daemons(&config.settings.runtime_directory).await;
        if let Some(daemon) = daemons.into_iter().find(|daemon| serves(daemon, directory)) {
            return self.ask(daemon, directory).await;
        }
        for problem in problems {
            tracing::warn!("{problem}");
        }
        // A crash left it behind, or its daemon has another runtime directory and ends by itself.
        if mount::clean_stale(directory)? == 0 {
            mount::unmount(directory, self.lazy)?;
        }
        Ok(())
    }

    async fn ask(&self, mut daemon: Daemon, directory: &Path) -> anyhow::Result<()> {
        let request = UnmountRequest { directory: directory.display().to_string(), lazy: self.lazy };
        match daemon.client.unmount(request).await {
            Ok(reply) if reply.detached => {
                eprintln!(
                    "{}: out of its directory; its daemon serves the files that are still open",
                    directory.display()
                );
            }
            Ok(reply) if reply.daemon_ends => wait_for_end(&daemon).await?,
            Ok(_) => {}
            // Somebody else was faster.
            Err(ClientError::Away { .. } | ClientError::NotFound(_)) if mount::find(directory).is_none() => {
                wait_for_end(&daemon).await?;
            }
            Err(error) => bail!(error),
        }
        Ok(())
    }
}

fn serves(daemon: &Daemon, directory: &Path) -> bool {
    daemon.status.mounts.iter().any(|mount| !mount.detached && Path::new(&mount.directory) == directory)
}

/// Until the cache directory's lock is free, or another daemon has it.
async fn wait_for_end(daemon: &Daemon) -> anyhow::Result<()> {
    let deadline = Instant::now() + END;
    let cache = Path::new(&daemon.status.cache_directory);
    while Instant::now() < deadline {
        match lock::probe(cache)? {
            LockState::Held(Some(owner)) if owner.pid != daemon.status.pid => return Ok(()),
            LockState::Held(_) => tokio::time::sleep(PAUSE).await,
            LockState::Free => return Ok(()),
        }
    }
    bail!(
        "unmounted, but the daemon (pid {}) has not ended within {} s; its log in {} may say why",
        daemon.status.pid,
        END.as_secs(),
        cache.display()
    )
}
