//! From one daemon to the next.
//!
//! A daemon is *started*, connects and *serves*, and is *ready* once its mounts can be read. When it dies it is followed by
//! another one, which gets what is kept; when it says bye the holder ends with it. An upgrade starts the next one beside it
//! as a *standby*: only once that one has said that it can serve is the old one told to hand over. No two daemons ever have
//! the connections at once: the next one gets them when every thread of the one before has ended.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::peers::Peers;
use super::{First, Task};
use crate::Program;
use crate::process::Process;
use crate::store::Store;

/// A daemon that lived so long after it was ready could run.
const HEALTHY: Duration = Duration::from_secs(5);
/// How long the next daemon may take to say that it can serve.
const STANDBY: Duration = Duration::from_secs(60);
/// How long the old one may take to record what it has.
const HAND_OVER: Duration = Duration::from_secs(20);
/// How long a daemon may take from its start to its mounts, if it is not the first one, whom others watch.
const START: Duration = Duration::from_secs(60);
/// How long a daemon that was told to end may take to unmount.
const END: Duration = Duration::from_secs(20);
/// How long a daemon that runs already may take to come.
const ADOPT: Duration = Duration::from_secs(10);

pub struct Lifecycle {
    pub store: Store,
    socket: PathBuf,
    program: Program,
    give_up: Duration,
    serving: Option<Serving>,
    standby: Option<Standby>,
    /// An upgrade that waits until a daemon is ready, and who asked for it.
    wanted: Option<Wanted>,
    /// The program of the last daemon that could serve, while another one is tried.
    former: Option<OwnedFd>,
    /// Daemons that were started since then.
    tries: u32,
    /// Whether any daemon was ever ready: before that, its end is the holder's.
    was_ready: bool,
    /// Since when no healthy daemon has served.
    without: Option<Instant>,
    failures: u32,
    start_at: Option<Instant>,
    /// It was told to end.
    ending: bool,
    outcome: Option<u8>,
}

struct Wanted {
    asker: Option<u64>,
}

struct Serving {
    process: Process,
    ready: Option<Instant>,
    bye: bool,
    /// When it is killed if it has not done by then what it is to do.
    deadline: Option<Instant>,
}

impl Serving {
    fn new(process: Process, patience: Option<Duration>) -> Self {
        let deadline = patience.map(|patience| Instant::now() + patience);
        Self { process, ready: None, bye: false, deadline }
    }
}

struct Standby {
    process: Process,
    /// Who asked for the upgrade and waits for the answer.
    asker: Option<u64>,
    /// Its connection, once it has said that it can serve.
    waits: Option<u64>,
    why_not: Option<String>,
    deadline: Instant,
}

impl Lifecycle {
    pub fn begin(task: Task) -> io::Result<Self> {
        let Task { socket, program, give_up, first, kept } = task;
        let mut this = Self {
            store: Store::new(kept, program.run_as.map(|(uid, _)| uid)),
            socket,
            program,
            give_up,
            serving: None,
            standby: None,
            wanted: None,
            former: None,
            tries: 0,
            was_ready: false,
            without: None,
            failures: 0,
            start_at: None,
            ending: false,
            outcome: None,
        };
        match first {
            First::Start { starter } => {
                let process = this.program.start_for(&this.socket, starter.as_ref())?;
                // From here on only the daemon has it: its end is to be seen.
                drop(starter);
                this.serving = Some(Serving::new(process, None));
            }
            First::Adopt(pid) => {
                let pid = Pid::from_raw(pid as i32).ok_or(io::ErrorKind::InvalidInput)?;
                this.serving = Some(Serving::new(Process::of(pid)?, Some(ADOPT)));
                this.was_ready = true;
            }
        }
        Ok(this)
    }

    pub fn outcome(&self) -> Option<u8> {
        self.outcome
    }

    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        let serving = self.serving.iter().map(|serving| &serving.process);
        serving.chain(self.standby.iter().map(|standby| &standby.process))
    }

    /// When something is to be done although nothing happens.
    pub fn due(&self) -> Option<Instant> {
        let serving = self.serving.as_ref().and_then(|serving| serving.deadline);
        let standby = self.standby.as_ref().map(|standby| standby.deadline);
        [self.start_at, serving, standby, self.given_up_at()].into_iter().flatten().min()
    }

    fn given_up_at(&self) -> Option<Instant> {
        let serves = self.serving.as_ref().is_some_and(|serving| serving.ready.is_some());
        self.without.filter(|_| !serves).map(|since| since + self.give_up)
    }

    // What daemons say.

    pub fn serve(&mut self, pid: Pid, peers: &mut Peers, peer: u64) -> io::Result<()> {
        let serving = self.serving.as_ref().filter(|serving| serving.process.pid == pid);
        if serving.is_none() {
            let text = format!("process {pid} was not started by this holder, and another daemon serves");
            return peers.tell(peer, "refused", &text);
        }
        peers.socket(peer).map_or(Ok(()), |socket| self.store.send_all(socket))
    }

    pub fn ready(&mut self, pid: Pid, peers: &mut Peers) {
        let Some(serving) = self.serving.as_mut().filter(|serving| serving.process.pid == pid) else { return };
        serving.ready = Some(Instant::now());
        serving.deadline = None;
        self.was_ready = true;
        self.former = None;
        if let Some(Wanted { asker }) = self.wanted.take() {
            self.upgrade(asker, peers);
        }
    }

    pub fn bye(&mut self, pid: Pid) {
        if let Some(serving) = self.serving.as_mut().filter(|serving| serving.process.pid == pid) {
            serving.bye = true;
        }
    }

    pub fn failed(&mut self, pid: Pid, why: String) {
        if let Some(standby) = self.standby.as_mut().filter(|standby| standby.process.pid == pid) {
            standby.why_not = Some(why);
        }
    }

    /// A standby can serve: the old one is told to record what it has and to end.
    pub fn stands_by(&mut self, pid: Pid, peers: &mut Peers, peer: u64) -> io::Result<()> {
        let Some(standby) = self.standby.as_mut().filter(|standby| standby.process.pid == pid) else {
            return peers.tell(peer, "refused", "no upgrade is under way");
        };
        standby.waits = Some(peer);
        standby.deadline = Instant::now() + HAND_OVER + STANDBY;
        if let Some(asker) = standby.asker.take() {
            // Whether it still waits makes no difference now.
            let _ = peers.tell(asker, "done", &pid.to_string());
        }
        match &mut self.serving {
            None => self.hand_to_standby(peers),
            Some(serving) => {
                serving.deadline = Some(Instant::now() + HAND_OVER);
                if !peers.order(serving.process.pid, "hand-over") {
                    // Nothing that it has answered is lost.
                    serving.process.signal(Signal::KILL);
                }
            }
        }
        Ok(())
    }

    /// Starts the next daemon beside the one that serves, once that one is ready.
    pub fn upgrade(&mut self, asker: Option<u64>, peers: &mut Peers) {
        let begun = if self.ending {
            Err("the mounts are about to be unmounted".to_owned())
        } else if self.standby.is_some() || self.wanted.is_some() {
            Err("another upgrade is under way".to_owned())
        } else if self.serving.as_ref().is_none_or(|serving| serving.ready.is_none()) {
            self.wanted = Some(Wanted { asker });
            return;
        } else {
            self.program
                .start_standby(&self.socket)
                .map_err(|error| format!("{}: the new program cannot be started: {error}", self.program.path.display()))
        };
        match begun {
            Ok(process) => {
                let deadline = Instant::now() + STANDBY;
                self.standby = Some(Standby { process, asker, waits: None, why_not: None, deadline });
            }
            Err(text) => refuse(asker, &text, peers),
        }
    }

    /// Told to end: the daemon unmounts what it can.
    pub fn end(&mut self) {
        if std::mem::replace(&mut self.ending, true) {
            return;
        }
        self.start_at = None;
        if let Some(standby) = &self.standby {
            standby.process.signal(Signal::KILL);
        }
        match &mut self.serving {
            Some(serving) => {
                serving.process.signal(Signal::TERM);
                serving.deadline = Some(Instant::now() + END);
            }
            None => self.finish(0),
        }
    }

    // What happens to them.

    pub fn ended(&mut self, pid: Pid, peers: &mut Peers) {
        if let Some(standby) = self.standby.take_if(|standby| standby.process.pid == pid) {
            self.standby_ended(&standby, peers);
        } else if let Some(serving) = self.serving.take_if(|serving| serving.process.pid == pid) {
            self.serving_ended(&serving, peers);
        }
    }

    fn standby_ended(&mut self, standby: &Standby, peers: &mut Peers) {
        let end = standby.process.end();
        let why = standby.why_not.clone().unwrap_or_else(|| {
            format!("the new program ended ({end}) before it could take over; the daemon's log may say why")
        });
        refuse(standby.asker, &why, peers);
    }

    fn serving_ended(&mut self, serving: &Serving, peers: &mut Peers) {
        let end = serving.process.end();
        if serving.bye || self.ending {
            return self.finish(0);
        }
        if !self.was_ready || self.store.is_empty() {
            return self.finish(end.code().max(1));
        }
        if serving.ready.is_some() {
            (self.former, self.tries) = (serving.process.image(), 0);
        }
        let now = Instant::now();
        let lived = serving.ready.map(|ready| now.duration_since(ready));
        let is_healthy = lived.is_some_and(|lived| lived >= HEALTHY || end.is_kill());
        if self.standby.as_ref().is_some_and(|standby| standby.waits.is_some()) {
            self.without = Some(now);
            return self.hand_to_standby(peers);
        }
        let pid = serving.process.pid;
        if is_healthy {
            (self.failures, self.without) = (0, Some(now));
        } else {
            self.failures += 1;
            self.without.get_or_insert(now);
        }
        let pause = self.pause();
        eprintln!("weightfs holder: the daemon (process {pid}) ended ({end}); the next one is started in {pause:?}");
        self.start_at = Some(now + pause);
    }

    /// None after a kill and after the first failures, then longer from failure to failure.
    fn pause(&self) -> Duration {
        const FREE: u32 = 2;
        const SHORTEST: Duration = Duration::from_millis(20);
        const LONGEST: Duration = Duration::from_secs(5);
        match self.failures.saturating_sub(FREE) {
            0 => Duration::ZERO,
            failures => (SHORTEST * 2u32.saturating_pow(failures - 1)).min(LONGEST),
        }
    }

    fn hand_to_standby(&mut self, peers: &mut Peers) {
        let Some(Standby { process, waits: Some(peer), .. }) = self.standby.take() else { return };
        let told = peers.socket(peer).map(|socket| self.store.send_all(socket));
        if !matches!(told, Some(Ok(()))) {
            // Its end is noticed, and the one after it is of the former program.
            process.signal(Signal::KILL);
        }
        self.tries += 1;
        self.serving = Some(Serving::new(process, Some(START)));
    }

    /// What is due by now.
    pub fn attend(&mut self, now: Instant) {
        if self.given_up_at().is_some_and(|at| now >= at) {
            return self.give_up();
        }
        if self.start_at.take_if(|at| now >= *at).is_some() {
            self.start_next(now);
        }
        if let Some(serving) = &mut self.serving
            && serving.deadline.take_if(|at| now >= *at).is_some()
        {
            eprintln!("weightfs holder: the daemon (process {}) takes too long and is killed", serving.process.pid);
            serving.process.signal(Signal::KILL);
        }
        if let Some(standby) = &mut self.standby
            && now >= standby.deadline
        {
            standby.why_not = Some(format!("the new program could not serve within {} s", STANDBY.as_secs()));
            standby.deadline = now + STANDBY;
            standby.process.signal(Signal::KILL);
        }
    }

    fn start_next(&mut self, now: Instant) {
        // What lies at the path now, and in turn the program that could serve before: an upgrade may have broken it.
        let former = self.former.as_ref().filter(|_| self.tries % 2 == 1).and_then(|image| image.try_clone().ok());
        self.tries += 1;
        if former.is_some() {
            let path = self.program.path.display();
            eprintln!("weightfs holder: {path} could not serve; the program that did before is started again");
        }
        match self.program.start_next(&self.socket, former) {
            Ok(process) => self.serving = Some(Serving::new(process, Some(START))),
            Err(error) => {
                self.failures += 1;
                self.start_at = Some(now + self.pause());
                eprintln!("weightfs holder: {}: cannot start the daemon: {error}", self.program.path.display());
            }
        }
    }

    fn give_up(&mut self) {
        eprintln!(
            "weightfs holder: no daemon could serve for {} s: everything is unmounted, and whoever reads gets errors; what \
             was fetched stays. The lines above say what failed: mend that and mount again",
            self.give_up.as_secs()
        );
        self.finish(1);
    }

    fn finish(&mut self, code: u8) {
        for process in self.processes() {
            process.signal(Signal::KILL);
        }
        self.store.end_all();
        self.outcome = Some(code);
    }
}

fn refuse(asker: Option<u64>, text: &str, peers: &Peers) {
    eprintln!("weightfs holder: no upgrade: {text}");
    if let Some(asker) = asker {
        // Whether it still waits makes no difference.
        let _ = peers.tell(asker, "refused", text);
    }
}
