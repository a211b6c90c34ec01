//! The daemon and its holder: what an earlier daemon left, the order to hand over, and a new holder when the first has died.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mount_helper::client::{Holder, Kept, Order, Watch};
use mount_helper::{HOLDER_VARIABLE, STANDBY_VARIABLE};
use tokio::sync::mpsc;
use tracing::{error, warn};

use crate::api::socket::{self, SocketError};
use crate::config::{ADOPT_VARIABLE, READY_VARIABLE, Surroundings};
use crate::fs::survival::{HeldMount, Keeper};

/// How long a new holder may take to listen.
const LISTEN: Duration = Duration::from_secs(10);
/// Of the names of holders' sockets.
const PREFIX: &str = "h-";
const PAUSE: Duration = Duration::from_millis(10);

/// Which of a holder's daemons this one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// At once.
    Now,
    /// When the one that serves has ended.
    Next,
}

/// How this process came to its holder.
#[derive(Debug)]
pub struct Call {
    socket: PathBuf,
    turn: Turn,
}

impl Call {
    /// `None` for a daemon without a holder.
    pub fn from_environment(surroundings: &Surroundings) -> Option<Self> {
        let socket = surroundings.variable(HOLDER_VARIABLE)?.into();
        let turn = if surroundings.variable(STANDBY_VARIABLE).is_some() { Turn::Next } else { Turn::Now };
        Some(Self { socket, turn })
    }

    /// Returns when it is this daemon's turn; nothing that only one daemon may have is touched before. `check` finds out
    /// beforehand whether it could serve.
    pub fn answer(self, check: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Holding> {
        let Self { socket, turn } = self;
        if turn == Turn::Next
            && let Err(error) = check()
        {
            // Whether or not it hears it, this process ends.
            let _ = Holder::fail(&socket, &format!("{error:#}"));
            return Err(error);
        }
        let (holder, kept) = match turn {
            Turn::Next => Holder::stand_by(&socket)?,
            Turn::Now => {
                let holder = Holder::connect(&socket)?;
                let kept = holder.serve()?;
                (holder, kept)
            }
        };
        let watch = Watch::connect(&socket)?;
        Ok(Holding { keeper: Arc::new(Keeper::new(holder, socket)), held: held(kept), watch })
    }
}

fn held(kept: Vec<Kept>) -> Vec<HeldMount> {
    let read = |kept| match HeldMount::read(kept)? {
        Ok(held) => Some(held),
        Err((name, cause)) => {
            error!(%name, %cause, "a mount that an earlier daemon left cannot be taken over");
            None
        }
    };
    kept.into_iter().filter_map(read).collect()
}

/// A daemon's holder, and what it gave.
pub struct Holding {
    pub keeper: Arc<Keeper>,
    /// The mounts that an earlier daemon served.
    pub held: Vec<HeldMount>,
    pub watch: Watch,
}

/// How to start a holder, and what it starts.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub socket: PathBuf,
    pub give_up: Duration,
    /// Of the daemon.
    pub arguments: Vec<OsString>,
}

impl Recipe {
    /// For `weightfs holder`.
    pub fn words(&self) -> Vec<OsString> {
        let give_up = self.give_up.as_secs().to_string();
        let mut words: Vec<OsString> =
            vec!["holder".into(), "--socket".into(), self.socket.clone().into(), "--give-up".into(), give_up.into()];
        words.push("--".into());
        words.extend(self.arguments.iter().cloned());
        words
    }
}

/// The orders of a holder. When it dies another one is started, which `describe` is told of.
pub fn orders(
    mut watch: Watch,
    keeper: Arc<Keeper>,
    give_up: Duration,
    describe: impl Fn(Option<&Path>) + Send + 'static,
) -> io::Result<mpsc::Receiver<()>> {
    let (order, orders) = mpsc::channel(1);
    let listen = move || {
        loop {
            match watch.next() {
                // The one who waits may be at its end already.
                Order::HandOver => drop(order.blocking_send(())),
                Order::Gone => match replace(&keeper, give_up) {
                    Ok(next) => {
                        warn!("the holder died; another one keeps the mounts from now on");
                        describe(Some(&keeper.socket()));
                        watch = next;
                    }
                    Err(cause) => {
                        error!(%cause, "the holder died and there is no other: the mounts end with this daemon");
                        describe(None);
                        return;
                    }
                },
            }
        }
    };
    std::thread::Builder::new().name("holder-watch".to_owned()).spawn(listen)?;
    Ok(orders)
}

/// Starts another holder for this process, which runs already.
fn replace(keeper: &Keeper, give_up: Duration) -> io::Result<Watch> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let pid = std::process::id();
    let socket = keeper.socket().with_file_name(format!("{PREFIX}{:08x}", rand::random::<u32>()));
    let recipe = Recipe { socket: socket.clone(), give_up, arguments };
    let mut command = Command::new(program());
    command.arg0("weightfs").args(recipe.words());
    // What this daemon was told, once.
    for name in [HOLDER_VARIABLE, STANDBY_VARIABLE, READY_VARIABLE] {
        command.env_remove(name);
    }
    command.env(ADOPT_VARIABLE, pid.to_string()).stdin(Stdio::null());
    let mut child = command.spawn()?;
    let deadline = Instant::now() + LISTEN;
    let holder = loop {
        match Holder::connect(&socket) {
            Ok(holder) => break holder,
            Err(_) if Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) => std::thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    };
    // Nobody else waits for it.
    let _ = std::thread::Builder::new().name("holder-end".to_owned()).spawn(move || child.wait());
    holder.serve()?;
    // Nobody is behind the old one any more.
    let _ = std::fs::remove_file(keeper.socket());
    keeper.change_to(holder, socket.clone())?;
    keeper.ready()?;
    Watch::connect(&socket)
}

/// A name for a holder's socket beside the control socket, shorter than that one's. Those of holders that died are removed.
pub fn new_socket(runtime: &Path, control: &Path) -> Result<PathBuf, SocketError> {
    socket::prepare(runtime, control)?;
    let folder = control.parent().unwrap_or(runtime);
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_holder = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if is_holder && Holder::connect(&entry.path()).is_err() {
            // Best effort: it only is in the way of who looks.
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(folder.join(format!("{PREFIX}{:08x}", rand::random::<u32>())))
}

/// This program, by its path where it still is there: an upgrade puts the next version at the same place. One that was
/// removed can still be started by its open file.
pub fn program() -> PathBuf {
    std::env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(|| "/proc/self/exe".into())
}
