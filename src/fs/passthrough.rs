//! Complete files, which the kernel reads past this process.
//!
//! A file has a cold node, whose content the daemon serves, and one hot node for each sealing, whose opens the kernel
//! passes through to the file in the cache. The kernel refuses (EIO) to mix the two on one node, so which of them an open is
//! follows from the node's number alone. A name leads to the hot node while the content is sealed and nobody has the
//! cold one open. docs/design/0009-passthrough.md has the whole of it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::io::Errno;

use super::backing::{BackingId, Backings};
use super::error::FsError;
use super::handles::OpenFile;
use super::model_fs::ModelFs;
use super::survival::{KeptMount, StateFile};
use crate::cache::Lease;
use crate::tree::Node;
use crate::tree::layout::{Place, blob_path, split};
use crate::types::{Blob, ByteRange};

/// What one mount knows of its open contents.
pub(super) struct Passthrough {
    backings: OnceLock<Backings>,
    /// Where a later daemon finds what is registered.
    kept: OnceLock<Arc<KeptMount>>,
    /// Why every file is served by the daemon; `None` while complete ones are passed through.
    off: Mutex<Option<String>>,
    opens: Mutex<Opens>,
}

#[derive(Default)]
struct Opens {
    cold: HashMap<Node, ColdFile>,
    hot: HashMap<Node, HotFile>,
    /// Cold nodes that the kernel comes back for after the refusal of their hot ones, and until when. It does so once
    /// only: a second refusal would be the program's.
    refused: HashMap<Node, Instant>,
}

struct ColdFile {
    opens: u32,
    /// What is open or mapped is not evicted.
    lease: Lease,
}

/// All opens of a hot node share one id for as long as the node's sealing holds: the kernel refuses another one for a file
/// that is open, and a daemon that took a mount over does not know what is.
struct HotFile {
    id: BackingId,
    blob: Blob,
    /// Those that this daemon answered.
    opens: u32,
    /// Its sealing is over: with the last of them it goes.
    is_over: bool,
    /// What is read behind our back is not evicted either.
    lease: Option<Lease>,
}

/// What the end of a handle leaves.
enum Released {
    StillOpen,
    LastCold(Lease),
    LastHot(Lease),
    /// Nobody here knew of it.
    Unknown,
}

impl Passthrough {
    /// How long the kernel may take from a refused open to the next one. Also how long a file stays cold after it was
    /// found changed.
    const COMING_BACK: Duration = Duration::from_millis(250);
    const STARTING: &str = "the mount is starting";
    const BY_SETTING: &str = "turned off by mount.passthrough";
    const ALL_CHECKED: &str = "every read is checked, as cache.check_reads says";
    pub(super) const NO_KERNEL: &str = "this kernel has no FUSE passthrough; Linux 6.9 and newer have it";

    pub(super) fn new(wanted: bool, all_checked: bool) -> Self {
        let why = match (wanted, all_checked) {
            (false, _) => Self::BY_SETTING,
            (true, true) => Self::ALL_CHECKED,
            (true, false) => Self::STARTING,
        };
        Self {
            backings: OnceLock::new(),
            kept: OnceLock::new(),
            off: Mutex::new(Some(why.to_owned())),
            opens: Mutex::default(),
        }
    }

    /// Whether it is worth negotiating with the kernel.
    pub(super) fn is_wanted(&self) -> bool {
        self.off.lock().as_deref() == Some(Self::STARTING)
    }

    pub(super) fn is_on(&self) -> bool {
        self.off.lock().is_none()
    }

    /// `on`, or `off` and why.
    pub(super) fn describe(&self) -> String {
        self.off.lock().as_ref().map_or_else(|| "on".to_owned(), |why| format!("off: {why}"))
    }

    pub(super) fn turn_off(&self, why: impl Into<String>) {
        *self.off.lock() = Some(why.into());
    }

    /// Turns it on if the kernel takes a file that lies where the contents lie. Before the first request.
    pub(super) fn try_out(&self, device: io::Result<Backings>, sample: io::Result<File>) {
        if !self.is_wanted() {
            return;
        }
        let tried = device.and_then(|backings| {
            backings.close(backings.open(&sample?)?);
            Ok(backings)
        });
        match tried {
            Ok(backings) => {
                let _ = self.backings.set(backings);
                *self.off.lock() = None;
            }
            Err(error) => self.turn_off(reason(&error)),
        }
    }

    /// Whether somebody has the cold node open, or is about to.
    fn is_wanted_cold(&self, node: Node) -> bool {
        let opens = self.opens.lock();
        opens.cold.contains_key(&node) || opens.refused.get(&node).is_some_and(|until| Instant::now() < *until)
    }

    pub(super) fn opened_cold(&self, node: Node, lease: &Lease) {
        let first = || ColdFile { opens: 0, lease: lease.clone() };
        self.opens.lock().cold.entry(node).or_insert_with(first).opens += 1;
    }

    fn refused_hot(&self, node: Node) {
        let mut opens = self.opens.lock();
        let now = Instant::now();
        opens.refused.retain(|_, until| now < *until);
        opens.refused.insert(node.cold(), now + Self::COMING_BACK);
    }

    /// The id under which the kernel has the file of a hot node. It counts as open until it is released.
    fn open_hot(&self, node: Node, file: &File, lease: &Lease) -> io::Result<BackingId> {
        let mut opens = self.opens.lock();
        if let Some(known) = opens.hot.get_mut(&node) {
            known.opens += 1;
            known.lease.get_or_insert_with(|| lease.clone());
            return Ok(known.id);
        }
        let backings = self.backings.get().ok_or(Errno::OPNOTSUPP)?;
        let id = backings.open(file)?;
        if let Some(Err(error)) = self.state().map(|state| state.add(node, id)) {
            backings.close(id);
            return Err(error);
        }
        opens
            .hot
            .insert(node, HotFile { id, blob: lease.blob(), opens: 1, is_over: false, lease: Some(lease.clone()) });
        Ok(id)
    }

    /// What an earlier daemon registered. Who has it open is not known, nor whether anybody has.
    fn inherit(&self, node: Node, id: BackingId, blob: Blob) {
        self.opens.lock().hot.insert(node, HotFile { id, blob, opens: 0, is_over: false, lease: None });
    }

    /// Ends what was registered for a content under other sealings than `current`. Nobody opens it any more; who has it open
    /// keeps it, and its space on the disk is free after that.
    fn retire(&self, blob: &Blob, current: Option<u64>) {
        let mut opens = self.opens.lock();
        let mut unused = Vec::new();
        for (node, hot) in &mut opens.hot {
            if hot.blob == *blob && node.epoch() != current {
                hot.is_over = true;
                if hot.opens == 0 {
                    unused.push(*node);
                }
            }
        }
        for node in unused {
            self.remove_hot(&mut opens, node);
        }
    }

    fn remove_hot(&self, opens: &mut Opens, node: Node) -> Option<HotFile> {
        let hot = opens.hot.remove(&node)?;
        self.close(node, hot.id);
        Some(hot)
    }

    fn close(&self, node: Node, id: BackingId) {
        // In this order: a number that is on record is one that the kernel knows.
        if let Some(Err(error)) = self.state().map(|state| state.remove(node)) {
            tracing::warn!(%error, ?node, "a file stays registered with the kernel until the mount ends");
            return;
        }
        if let Some(backings) = self.backings.get() {
            backings.close(id);
        }
    }

    fn state(&self) -> Option<&StateFile> {
        self.kept.get().map(|kept| &kept.state)
    }

    /// Where the next daemon finds what this one registers. Before the first request.
    pub(super) fn keep_in(&self, kept: Arc<KeptMount>) {
        let _ = self.kept.set(kept);
    }

    /// Takes note of a handle that was closed, and answers what remains.
    fn released(&self, node: Node) -> Released {
        let mut opens = self.opens.lock();
        if let Some(open) = opens.hot.get_mut(&node) {
            open.opens = open.opens.saturating_sub(1);
            if open.opens > 0 {
                return Released::StillOpen;
            }
            let lease = open.lease.take();
            if open.is_over {
                self.remove_hot(&mut opens, node);
            }
            return lease.map_or(Released::Unknown, Released::LastHot);
        }
        let Some(open) = opens.cold.get_mut(&node) else { return Released::Unknown };
        open.opens -= 1;
        if open.opens > 0 {
            return Released::StillOpen;
        }
        opens.cold.remove(&node).map_or(Released::Unknown, |closed| Released::LastCold(closed.lease))
    }
}

/// What a refusal means and what would help.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM) => "the daemon lacks CAP_SYS_ADMIN".to_owned(),
        Some(Errno::LOOP) => {
            "the cache directory lies on a stacked file system (overlayfs); put it on a volume of its own".to_owned()
        }
        _ => format!("the kernel does not take the cache's files: {error}"),
    }
}

/// A name whose node may have changed.
pub(super) struct MovedName {
    pub(super) folder: Node,
    pub(super) name: String,
    /// A node of which the kernel may keep wrong bytes.
    pub(super) wrong: Option<Node>,
}

impl ModelFs {
    /// `on`, or `off` and why complete files are not passed through.
    pub fn passthrough(&self) -> String {
        self.passthrough.describe()
    }

    /// The node that the name of a content leads to now.
    pub(super) fn content_node(&self, cold: Node, blob: &Blob) -> Result<Node, FsError> {
        // A copy in progress must not see its file become another one.
        if !self.passthrough.is_on() || self.behind.is_huge(blob.size) || self.passthrough.is_wanted_cold(cold) {
            return Ok(cold);
        }
        let seal = self.cache.seal(blob)?;
        Ok(seal.and_then(|seal| cold.hot(seal.epoch)).unwrap_or(cold))
    }

    /// Opens a hot node. What cannot be passed through any more is stale: the kernel then looks its name up again.
    pub(super) fn open_hot(&self, node: Node, epoch: u64, open: &OpenFile) -> Result<BackingId, FsError> {
        if !self.passthrough.is_on() {
            return Err(FsError::Stale);
        }
        let Some(file) = self.cache.sealed_file(&open.lease, epoch) else {
            self.passthrough.refused_hot(node);
            let (changes, blob) = (self.seal_changes.clone(), open.lease.blob());
            tokio::spawn(async move {
                tokio::time::sleep(Passthrough::COMING_BACK).await;
                changes.add(blob);
            });
            return Err(FsError::Stale);
        };
        match self.passthrough.open_hot(node, file, &open.lease) {
            Ok(id) => {
                self.metrics.passthrough_opens.add(1);
                Ok(id)
            }
            Err(error) => {
                let why = reason(&error);
                tracing::warn!(directory = %self.view.directory.display(), why, "complete files are served by the daemon from now on");
                self.passthrough.turn_off(why);
                Err(FsError::Stale)
            }
        }
    }

    pub(super) fn content_released(&self, node: Node) {
        let released = self.passthrough.released(node);
        if matches!(released, Released::StillOpen) {
            return;
        }
        self.handles.close_file(node);
        if let Released::LastCold(lease) | Released::LastHot(lease) = &released {
            self.cache.touch(&lease.blob());
        }
        // If it was sealed while it was open, its name has stayed where it was.
        if let Released::LastCold(lease) = &released
            && matches!(self.cache.seal(&lease.blob()), Ok(Some(_)))
        {
            self.seal_changes.add(lease.blob());
        }
    }

    /// Waits until names may have moved between their cold and hot nodes, and tells which.
    pub(super) async fn moved_names(&self) -> Vec<MovedName> {
        let blob = self.seal_changes.next().await;
        self.forget_proved(&blob);
        self.retire(&blob);
        if !self.passthrough.is_on() && !self.cache.was_mismatched(&blob) {
            // A name that is hot all the same is answered with ESTALE when it is opened.
            return Vec::new();
        }
        self.names_of(&blob).unwrap_or_else(|error| {
            tracing::warn!(%error, blob = %blob.id, "its names stay where they are until the next mount");
            Vec::new()
        })
    }

    fn retire(&self, blob: &Blob) {
        match self.cache.seal(blob) {
            Ok(seal) => self.passthrough.retire(blob, seal.map(|seal| seal.epoch)),
            // It stays registered; its space is free when the mount ends.
            Err(error) => tracing::warn!(%error, blob = %blob.id, "cannot tell whether its file may go"),
        }
    }

    /// Takes over what an earlier daemon of this mount registered, and has the kernel look again at every name whose move
    /// it may not have been told of.
    pub(super) fn take_over(&self, backings: HashMap<Node, BackingId>) -> Result<(), FsError> {
        for (node, id) in backings {
            match self.remote_file(node) {
                Ok(file) => self.passthrough.inherit(node, id, file.blob),
                Err(error) => {
                    tracing::debug!(%error, ?node, "a registered file is not known any more");
                    self.passthrough.close(node, id);
                }
            }
        }
        for path in self.nodes.paths()? {
            if let Place::Blob(repo, id) = Place::of(&path)
                && let Some((file, _)) = self.tree.file_with(&self.view.identity, &repo, &id)?
            {
                self.seal_changes.add(file.blob);
            }
        }
        Ok(())
    }

    /// To prove a huge file brought all of it into memory.
    fn forget_proved(&self, blob: &Blob) {
        if self.behind.is_huge(blob.size)
            && let Ok(lease) = self.cache.lease(*blob)
        {
            lease.pages().drop_range(ByteRange::new(0, blob.size));
        }
    }

    /// Where the kernel may know this content and should ask again.
    fn names_of(&self, blob: &Blob) -> Result<Vec<MovedName>, FsError> {
        let sealed = self.cache.seal(blob)?.is_some();
        let was_wrong = self.cache.was_mismatched(blob);
        let mut names = Vec::new();
        for repo in self.tree.repos_with(&self.view.identity, blob)? {
            let path = blob_path(&repo, &blob.id);
            let Some(node) = self.nodes.find(&path)? else { continue };
            // The last handle's release brings us here again.
            if !was_wrong && sealed && self.passthrough.is_wanted_cold(node) {
                continue;
            }
            let (folder, name) = split(&path);
            let mut places = self.plain_names(&repo, blob)?;
            places.push((folder.to_owned(), name.to_owned()));
            for (folder, name) in places {
                let Some(folder) = self.nodes.find(&folder)? else { continue };
                names.push(MovedName { folder, name, wrong: was_wrong.then_some(node) });
            }
        }
        Ok(names)
    }

    /// The size of the content at a place tells its blob from another that claims the same hash.
    pub(super) fn node_at(&self, cold: Node, place: &Place, size: u64) -> Result<Node, FsError> {
        match place {
            Place::Blob(_, id) => self.content_node(cold, &Blob { id: *id, size }),
            _ => Ok(cold),
        }
    }
}
