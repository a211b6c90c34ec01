//! The daemon and its holder: what an earlier daemon left, the order to hand over, and a new holder when the first has died.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use mount_helper::client::{Holder, Kept, Order, Watch};
use mount_helper::{HOLDER_VARIABLE, STANDBY_VARIABLE};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::api::socket::{self, SocketError};
use crate::config::{ADOPT_VARIABLE, Config, READY_VARIABLE, Surroundings};
use crate::fs::survival::{self, HeldMount, HolderStore, Keeper, ServiceManager};

/// How long a new holder may take to listen.
const LISTEN: Duration = Duration::from_secs(10);
/// Of the names of holders' sockets.
const PREFIX: &str = "h-";
/// What runs here, even if its file was replaced or removed.
const THIS_IMAGE: &str = "/proc/self/exe";
const PAUSE: Duration = Duration::from_millis(10);
/// How long a holder that somebody else starts is waited for.
const STANDING: Duration = Duration::from_secs(10);
/// How long the daemon before this one may take to end there.
const PREDECESSOR: Duration = Duration::from_secs(120);
/// Between two looks for the next such holder. Nobody waits for it.
const STANDING_PAUSE: Duration = Duration::from_millis(500);

/// Which of a mount's daemons this process is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A holder has started it, to serve at once.
    Now(PathBuf),
    /// A holder has started it, to serve when the one that does has ended.
    Next(PathBuf),
    /// A service manager runs it.
    Service,
    /// Somebody runs it, and somebody else the holder behind this socket: pods of Kubernetes.
    Standing(PathBuf),
    /// It is only to find out whether it could serve.
    Check,
}

/// A daemon's keeper, and what it gave.
pub struct Holding {
    pub keeper: Arc<Keeper>,
    /// The mounts that an earlier daemon served.
    pub held: Vec<HeldMount>,
    pub orders: Orders,
}

/// Where the word comes from to hand over.
pub enum Orders {
    Holder(Watch, PathBuf),
    /// From nobody, but its holder may die.
    Standing(Watch, PathBuf),
    Own(mpsc::Receiver<()>),
}

impl Call {
    /// `None` for a daemon that nobody keeps the mounts of, and for what is no daemon. A service manager's own process is in
    /// the foreground; what its unit starts besides is not.
    pub fn of(config: &Config, foreground: bool) -> Option<Self> {
        let surroundings = &config.surroundings;
        let standby = surroundings.variable(STANDBY_VARIABLE);
        let socket = surroundings.variable(HOLDER_VARIABLE).map(PathBuf::from);
        match (socket, standby) {
            (Some(socket), None) => Some(Self::Now(socket)),
            (Some(socket), Some(_)) => Some(Self::Next(socket)),
            (None, Some(_)) => Some(Self::Check),
            (None, None) if foreground => {
                let standing = config.settings.daemon_holder.clone().map(Self::Standing);
                standing.or_else(|| surroundings.variable("NOTIFY_SOCKET").map(|_| Self::Service))
            }
            (None, None) => None,
        }
    }

    /// Whether this process is one of a holder's, and so in the background.
    pub fn is_holders(&self) -> bool {
        matches!(self, Self::Now(_) | Self::Next(_))
    }

    /// Returns when it is this daemon's turn; nothing that only one daemon may have is touched before. `check` finds out
    /// whether it could serve. `None`: that was all.
    pub fn answer(
        self,
        check: impl FnOnce() -> anyhow::Result<()>,
        surroundings: &Surroundings,
    ) -> anyhow::Result<Option<Holding>> {
        let (socket, (holder, kept)) = match self {
            Self::Check => return check().map(|()| None),
            Self::Service => return service(surroundings).map(Some),
            Self::Standing(socket) => return standing(socket).map(Some),
            Self::Next(socket) => {
                if let Err(error) = check() {
                    // Whether or not it hears it, this process ends.
                    let _ = Holder::fail(&socket, &format!("{error:#}"));
                    return Err(error);
                }
                let stood_by = Holder::stand_by(&socket)?;
                (socket, stood_by)
            }
            Self::Now(socket) => {
                let holder = Holder::connect(&socket)?;
                let kept = holder.serve()?;
                (socket, (holder, kept))
            }
        };
        let orders = Orders::Holder(Watch::connect(&socket)?, socket.clone());
        let keeper = Arc::new(Keeper::new(HolderStore { holder, starts: Some(socket) }));
        Ok(Some(Holding { keeper, held: held(kept), orders }))
    }
}

/// What a service manager passes on, and keeps.
fn service(surroundings: &Surroundings) -> anyhow::Result<Holding> {
    let most = surroundings.variable("FDSTORE").and_then(|most| most.parse().ok()).unwrap_or(0);
    let (order, orders) = mpsc::channel(1);
    let check = || {
        let mut command = Command::new(program());
        command.args(std::env::args_os().skip(1));
        command
    };
    let keeper = Keeper::new(ServiceManager { stores: most > 0, orders: order, check });
    Ok(Holding { keeper: Arc::new(keeper), held: survival::passed()?, orders: Orders::Own(orders) })
}

/// What a holder has that somebody else runs. It is waited for, and so is the end of a daemon that has everything still.
fn standing(socket: PathBuf) -> anyhow::Result<Holding> {
    let deadline = Instant::now() + STANDING;
    let (holder, kept) = loop {
        match Holder::follow(&socket, PREDECESSOR) {
            Ok(following) => break following,
            Err(cause) if is_absent(&cause) && Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(cause) => {
                let advice = if is_absent(&cause) {
                    "no holder listens there (daemon.holder): start `weightfs holder --socket PATH`, or leave the setting out"
                } else {
                    "its holder gave nothing: does another daemon still serve there?"
                };
                return Err(cause).with_context(|| format!("{}: {advice}", socket.display()));
            }
        }
    };
    let orders = Orders::Standing(Watch::connect(&socket)?, socket);
    Ok(Holding { keeper: Arc::new(Keeper::new(HolderStore { holder, starts: None })), held: held(kept), orders })
}

fn is_absent(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn held(kept: Vec<Kept>) -> Vec<HeldMount> {
    let read = |kept: Kept| {
        let name = kept.name.clone();
        match HeldMount::read(kept)? {
            Ok(held) => Some(held),
            Err(cause) => {
                error!(name, %cause, "a mount that an earlier daemon left cannot be taken over");
                None
            }
        }
    };
    kept.into_iter().filter_map(read).collect()
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

impl Orders {
    /// Each one is to hand over. When a holder dies another one is started, which `describe` is told of.
    pub fn listen(
        self,
        keeper: Arc<Keeper>,
        give_up: Duration,
        describe: impl Fn(Option<&Path>) + Send + 'static,
    ) -> io::Result<mpsc::Receiver<()>> {
        let (order, orders) = mpsc::channel(1);
        let (mut watch, mut socket) = match self {
            Self::Own(orders) => return Ok(orders),
            Self::Standing(watch, socket) => {
                let stay = move || stay_held(watch, &socket, &keeper, &order);
                std::thread::Builder::new().name("holder-watch".to_owned()).spawn(stay)?;
                return Ok(orders);
            }
            Self::Holder(watch, socket) => (watch, socket),
        };
        let listen = move || {
            loop {
                match watch.next() {
                    // The one who waits may be at its end already.
                    Order::HandOver => drop(order.blocking_send(())),
                    Order::Gone => match replace(&keeper, &socket, give_up) {
                        Ok(next) => {
                            (watch, socket) = next;
                            warn!("the holder died; another one keeps the mounts from now on");
                            describe(Some(&socket));
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

    /// The socket of the holder, for others to see that it lives.
    pub fn socket(&self) -> Option<&Path> {
        match self {
            Self::Holder(_, socket) | Self::Standing(_, socket) => Some(socket),
            Self::Own(_) => None,
        }
    }
}

/// Gives everything to the next holder at the same place whenever one has died, until this daemon ends (`orders`, which
/// nobody uses).
fn stay_held(mut watch: Watch, socket: &Path, keeper: &Keeper, orders: &mpsc::Sender<()>) {
    while !orders.is_closed() {
        while watch.next() != Order::Gone {}
        warn!(socket = %socket.display(), "the holder is gone: until there is another, the mounts end with this daemon");
        watch = loop {
            std::thread::sleep(STANDING_PAUSE);
            match move_to(socket, keeper) {
                Ok(watch) => break watch,
                Err(cause) if is_absent(&cause) => {}
                Err(cause) => warn!(%cause, "the next holder does not keep the mounts; tried again"),
            }
        };
        info!("another holder keeps the mounts from now on");
    }
}

fn move_to(socket: &Path, keeper: &Keeper) -> io::Result<Watch> {
    let (holder, kept) = Holder::follow(socket, PREDECESSOR)?;
    for Kept { name, .. } in kept {
        // It had this daemon cut off meanwhile.
        if !keeper.is_known(&name) {
            holder.forget(&name)?;
        }
    }
    keeper.change_to(HolderStore { holder, starts: None })?;
    keeper.ready()?;
    Watch::connect(socket)
}

/// Starts another holder for this process, which runs already.
fn replace(keeper: &Keeper, old: &Path, give_up: Duration) -> io::Result<(Watch, PathBuf)> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let pid = std::process::id();
    let socket = old.with_file_name(format!("{PREFIX}{:08x}", rand::random::<u32>()));
    let recipe = Recipe { socket: socket.clone(), give_up, arguments };
    // Not what lies at its path by now: that may be about to be found unable to serve.
    let mut command = Command::new(THIS_IMAGE);
    command.arg0("weightfs").args(recipe.words()).env_remove(HOLDER_VARIABLE).env_remove(STANDBY_VARIABLE);
    // Whoever waited for this daemon has long had its word.
    command.env_remove(READY_VARIABLE);
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
    let _ = std::fs::remove_file(old);
    keeper.change_to(HolderStore { holder, starts: Some(socket.clone()) })?;
    keeper.ready()?;
    Ok((Watch::connect(&socket)?, socket))
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

/// This program, by its path: an upgrade puts the next version at the same place. One that was removed can still be started
/// by its open file.
pub fn program() -> PathBuf {
    let there = std::env::current_exe().ok().map(place).filter(|path| path.exists());
    there.unwrap_or_else(|| THIS_IMAGE.into())
}

/// Of a program that another file has replaced since it was started the kernel tells the path with a mark behind it.
fn place(program: PathBuf) -> PathBuf {
    const MARK: &[u8] = b" (deleted)";
    match program.as_os_str().as_bytes().strip_suffix(MARK) {
        Some(path) if !program.exists() => OsStr::from_bytes(path).into(),
        _ => program,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_replaced_is_found_where_it_lay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weightfs");
        assert_eq!(place(path.clone()), path);
        let marked = folder.path().join("weightfs (deleted)");
        assert_eq!(place(marked.clone()), path);
        std::fs::write(&marked, "of that name").unwrap();
        assert_eq!(place(marked.clone()), marked);
    }
}
