//! One mount: checked, made, and served before this program ends. On any failure nothing stays mounted.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use crate::client::Holder;
use crate::fuse::{self, FILESYSTEM_TYPE};
use crate::privileges::as_user;
use nix::unistd::{geteuid, getuid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::account::Account;
use super::call::Request;
use super::failure::Failure;
use super::hold::{self, Orders};
use super::options::Options;
use super::place;
use super::program::{self, Caller, Daemon, Plan};

/// A daemon that is not ready by then is given up, as `weightfs mount` does.
const PATIENCE: Duration = Duration::from_secs(75);
/// How much of its log an error shows.
const LOG_LINES: usize = 12;
const LOG_BYTES: u64 = 8 << 10;

pub fn mount(request: &Request) -> Result<(), Failure> {
    if !getuid().is_root() || !geteuid().is_root() {
        return Err(no_root());
    }
    if let Some(namespace) = &request.namespace {
        enter(namespace)?;
    }
    let options = &request.options;
    let account = Account::find(options.run_as.as_deref())?;
    let path = program::find(options.program.as_deref())?;
    let directory = place::prepare(&request.directory)?;
    let words = words(options, &account);
    if request.verbose {
        eprintln!("mount.weightfs: {} for the user {} at {}", path.display(), account.name, directory.display());
    }
    if request.fake {
        return Ok(());
    }
    account.make_directories(options.cache_directory.as_deref())?;
    let caller = Caller { path: &path, account: &account, directory: &directory, words: &words };
    let plan = caller.plan()?;
    let mount = Mount::new(request, &directory, &account)?;
    match plan.daemon {
        Daemon::None => serve(&caller, &plan, &mount)?,
        Daemon::Held(ref holder) => join(&caller, holder, &mount)?,
        Daemon::Unheld => return Err(unheld(&account)),
    }
    mount.stays();
    Ok(())
}

fn no_root() -> Failure {
    Failure::usage(
        "only root mounts this way; an ordinary user does without: weightfs mount DIR (by fusermount3)\n\
         a setuid bit on mount.weightfs changes nothing: take it off",
    )
}

fn unheld(account: &Account) -> Failure {
    Failure::mount(format!(
        "a daemon of {} that has no holder serves this cache directory; end its mounts (weightfs umount DIR) and mount again, \
         or choose another cache_dir",
        account.name
    ))
}

fn enter(namespace: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::usage(format!("-N {}: {error}", namespace.display()));
    let file = File::open(namespace).map_err(failed)?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Mount)).map_err(|errno| failed(errno.into()))
}

/// A mount that root made for another user is for everybody, unless it is said otherwise.
fn words(options: &Options, account: &Account) -> Vec<OsString> {
    let mut words = options.words.clone();
    if options.allow_other.is_none() && !account.is_root() {
        words.push("--allow-other".into());
    }
    words
}

/// A connection on a directory, which is taken away again unless it is to stay.
struct Mount {
    device: OwnedFd,
    directory: PathBuf,
    number: u32,
    stays: bool,
}

impl Mount {
    fn new(request: &Request, directory: &Path, account: &Account) -> Result<Self, Failure> {
        let device = fuse::open_device().map_err(|error| {
            let remedy =
                "load the kernel module (modprobe fuse), or give the container the device (--device /dev/fuse)";
            Failure::system(format!("/dev/fuse: {error}; {remedy}"))
        })?;
        let options = &request.options;
        let shared = options.allow_other.unwrap_or(!account.is_root());
        let data = data(&device, account, shared, &options.contexts);
        let failed = |errno: nix::Error| {
            Failure::mount(format!("{}: the kernel refused the mount: {errno}", directory.display()))
        };
        let (source, kind) = (Some(request.source.as_str()), Some(FILESYSTEM_TYPE));
        nix::mount::mount(source, directory, kind, options.flags, Some(data.as_os_str())).map_err(failed)?;
        let mut mount = Self { device, directory: directory.to_owned(), number: 0, stays: false };
        let lost = || Failure::mount(format!("{}: somebody took the mount away at once", directory.display()));
        mount.number = place::number(directory).ok_or_else(lost)?;
        Ok(mount)
    }

    fn stays(mut self) {
        self.stays = true;
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        // Lazily: somebody may be waiting in it already. The daemon may have taken it away itself.
        if let Err(error) = fuse::unmount(&self.directory, true)
            && error.raw_os_error() != Some(nix::libc::EINVAL)
        {
            eprintln!("mount.weightfs: {}: cannot take the mount away again: {error}", self.directory.display());
        }
    }
}

/// The daemon's user may unmount what is its own with fusermount3.
fn data(device: &OwnedFd, account: &Account, shared: bool, contexts: &[OsString]) -> OsString {
    let mut data = OsString::from(format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions",
        device.as_raw_fd(),
        account.uid,
        account.gid
    ));
    if shared {
        data.push(",allow_other");
    }
    for context in contexts {
        data.push(",");
        data.push(context);
    }
    data
}

fn orders(caller: &Caller<'_>, plan: &Plan, number: u32) -> Orders {
    Orders {
        socket: plan.socket.clone(),
        ids: caller.account.ids(),
        give_up: plan.give_up,
        directory: caller.directory.to_owned(),
        number,
        program: caller.path.to_owned(),
        words: caller.words.to_vec(),
    }
}

/// By a daemon of its own, with a holder behind it.
fn serve(caller: &Caller<'_>, plan: &Plan, mount: &Mount) -> Result<(), Failure> {
    let account = caller.account;
    let failed = |what: &str, error: io::Error| Failure::system(format!("{what}: {error}"));
    let log = open_log(&plan.log, account).map_err(|error| failed(&plan.log.display().to_string(), error))?;
    let orders = orders(caller, plan, mount.number);
    let said_before = log.metadata().map_or(0, |metadata| metadata.len());
    let see = || see(&plan.log, account, said_before);
    let started = hold::start(&orders, &mount.device, account.environment(), log);
    let (holder, word) = started.map_err(|error| failed("cannot start the holder of the mount", error))?;
    match hear(word, PATIENCE).map_err(|error| failed("cannot hear of the daemon", error))? {
        Heard::Word(text) => match text.split_once('\n') {
            Some(("ready", _)) => Ok(()),
            // Another daemon was faster.
            Some(("held", _)) => match caller.plan()?.daemon {
                Daemon::Held(socket) => join(caller, &socket, mount),
                _ => Err(unheld(account)),
            },
            Some(("failed", why)) => Err(Failure::mount(why.trim_end())),
            _ => Err(Failure::mount(format!("the daemon ended before the mount could be read; {}", see()))),
        },
        Heard::Nothing => {
            end(holder);
            let waited = PATIENCE.as_secs();
            Err(Failure::mount(format!("the daemon did not get ready within {waited} s and was ended; {}", see())))
        }
    }
}

/// The last lines of what was logged since.
fn see(path: &Path, account: &Account, since: u64) -> String {
    let read = || {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(since.max(length.saturating_sub(LOG_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(LOG_BYTES).read_to_end(&mut bytes)?;
        io::Result::Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = as_user(account.ids(), read).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    match &lines[lines.len().saturating_sub(LOG_LINES)..] {
        [] => format!("its log {} says nothing", path.display()),
        lines => format!("the end of its log {}:\n{}", path.display(), lines.join("\n")),
    }
}

/// By the daemon that has the cache directory: its holder gets the connection, and the daemon is asked to serve it.
fn join(caller: &Caller<'_>, holder: &Path, mount: &Mount) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        Failure::mount(format!("{}: the holder of the running daemon does not answer: {error}", holder.display()))
    };
    let name = hold::name(mount.number, &mount.directory);
    let holder = Holder::connect(holder).map_err(failed)?;
    holder.keep(&name, &[mount.device.as_fd()]).map_err(failed)?;
    let mounted = caller.mount();
    if mounted.is_err() {
        // What it could not use is of no use to anybody.
        let _ = holder.forget(&name);
    }
    mounted
}

/// As the user whose file it is: it lies where that user may put links.
fn open_log(path: &Path, account: &Account) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Nor a pipe that nobody reads.
    options.append(true).create(true).mode(0o600).custom_flags(nix::libc::O_NONBLOCK);
    as_user(account.ids(), || options.open(path))
}

enum Heard {
    /// All that was said until the pipe was closed.
    Word(String),
    Nothing,
}

fn hear(mut pipe: PipeReader, patience: Duration) -> io::Result<Heard> {
    let deadline = Instant::now() + patience;
    let mut said = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Ok(Heard::Nothing),
            Ok(_) => match pipe.read(&mut bytes)? {
                0 => return Ok(Heard::Word(String::from_utf8_lossy(&said).into_owned())),
                read => said.extend(&bytes[..read]),
            },
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// It ends its daemon and itself.
fn end(holder: Child) {
    let pid = nix::unistd::Pid::from_raw(holder.id() as i32);
    // It is our child and nobody waited for it, so the number is still its own.
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_another_user_serves_is_for_everybody_unless_it_is_said_otherwise() {
        let root = Account::find(Some("0")).unwrap();
        let nobody = Account::find(Some("65534")).unwrap();
        let options = Options::default();
        assert_eq!(words(&options, &nobody), ["--allow-other"]);
        assert_eq!(words(&options, &root), [] as [&str; 0]);
        let closed = Options { allow_other: Some(false), ..Options::default() };
        assert_eq!(words(&closed, &nobody), [] as [&str; 0]);
    }

    #[test]
    fn a_word_ends_with_its_pipe_and_silence_with_patience() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"failed\nit is so\n").unwrap();
        drop(writer);
        let Heard::Word(text) = hear(reader, PATIENCE).unwrap() else { panic!("it was said") };
        assert_eq!(text, "failed\nit is so\n");
        let (reader, _writer) = io::pipe().unwrap();
        assert!(matches!(hear(reader, Duration::ZERO).unwrap(), Heard::Nothing));
    }
}
