//! A content that lies elsewhere on this machine becomes ours: copied, sharing its blocks where the file system can, or as a
//! second name of the same file. Nothing of it is served or recorded before the whole is proved.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use rustix::fs::{FallocateFlags, Mode, OFlags, copy_file_range, fallocate};
use xxhash_rust::xxh3::xxh3_128;

use super::fetch::Landing;
use super::flights::{Claim, Priority};
use super::lease::{Entry, Lease};
use super::proof::Proof;
use super::sealing::Settled;
use super::space::{Load, Reservation};
use super::{BlockCache, CacheError};
use crate::db::LandedBlock;
use crate::types::{Blob, BlockIndex, BlockRange, Commit, Identity, RepoId};

/// What became of the wish to adopt a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopted {
    /// It was here already.
    Present,
    /// It is here now, all of it, proved.
    Kept,
    /// The file is not the content that it was said to be. Nothing of it is kept.
    Different,
}

/// Whether our file is to be the other file itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// A copy, which shares blocks on disk where the file system can do that.
    Copy,
    /// A hard link, where that is possible: who writes to the other file damages ours.
    Link,
}

/// Blocks of an entry that nobody else brings, until they are proved. If it comes to nothing they leave no trace.
struct Unproved {
    entry: Arc<Entry>,
    flights: Vec<(BlockRange, Landing)>,
    /// The blocks are being written, and are to go if they are not proved.
    written: bool,
}

impl Unproved {
    fn blocks(&self) -> impl Iterator<Item = BlockRange> {
        self.flights.iter().map(|(blocks, _)| *blocks)
    }

    fn holds(&self, block: BlockIndex) -> bool {
        self.blocks().any(|blocks| blocks.contains(block))
    }

    /// Answers how many blocks it held.
    fn end(&mut self, outcome: Result<(), CacheError>) -> usize {
        let flights = std::mem::take(&mut self.flights);
        flights.into_iter().map(|(blocks, landing)| (landing.end(outcome.clone()), blocks.len()).1).sum()
    }
}

impl Drop for Unproved {
    fn drop(&mut self) {
        let size = self.entry.blob.size;
        for range in self.blocks().filter(|_| self.written).map(|blocks| blocks.bytes(size)) {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // Best effort: what is left takes up space until it comes anew, and is never served.
            let _ = fallocate(self.entry.file.descriptor(), flags, range.start, range.len());
        }
        self.end(Err(CacheError::GivenUp));
    }
}

/// A foreign file that is what it is called.
struct Proved {
    sha256: [u8; 32],
    sums: Vec<LandedBlock>,
    target: Option<Unproved>,
}

/// How far a look at a foreign file is.
struct Look {
    blob: Blob,
    path: PathBuf,
    source: File,
    /// Where to, for the blocks that it has. It lives here so that it outlives a copy that nobody waits for any more.
    target: Option<Unproved>,
    proof: Proof,
    sums: Vec<LandedBlock>,
    next: BlockIndex,
    buffer: Vec<u8>,
}

impl Look {
    /// Blocks between two looks at whether anybody still wants it.
    const STEP: u32 = 8;

    fn new(blob: Blob, path: &Path, source: File, mut target: Option<Unproved>) -> Self {
        if let Some(target) = &mut target {
            target.written = true;
        }
        let proof = Proof::new(blob);
        Self {
            blob,
            path: path.to_owned(),
            source,
            target,
            proof,
            sums: Vec::new(),
            next: BlockIndex(0),
            buffer: Vec::new(),
        }
    }

    /// Copies and hashes on.
    fn step(&mut self) -> Result<(), CacheError> {
        let end = BlockIndex(BlockRange::whole(self.blob.size).end.0.min(self.next.0.saturating_add(Self::STEP)));
        let unreadable = |cause| super::files::disk_error(&self.path, cause);
        for block in (BlockRange { first: self.next, end }).iter() {
            let range = block.bytes(self.blob.size);
            self.buffer.resize(range.len() as usize, 0);
            match self.target.as_ref().filter(|target| target.holds(block)) {
                // What is hashed is what is kept: the source may change meanwhile.
                Some(Unproved { entry, .. }) => {
                    let ours = entry.file.descriptor();
                    if let Err(cause) = copy(&self.source, ours, range.start, range.len()) {
                        // Which of both files failed is told by reading the other.
                        self.source.read_exact_at(&mut self.buffer, range.start).map_err(unreadable)?;
                        return Err(entry.file.error(cause));
                    }
                    let read = entry.file.read_exact_at(&mut self.buffer, range.start);
                    read.map_err(|cause| entry.file.error(cause))?;
                }
                None => {
                    self.source.read_exact_at(&mut self.buffer, range.start).map_err(unreadable)?;
                }
            }
            self.proof.update(&self.buffer);
            self.sums.push(LandedBlock { block, sum: xxh3_128(&self.buffer) });
        }
        self.next = end;
        Ok(())
    }
}

impl BlockCache {
    /// Times that a fetch under way is waited for.
    const ADOPT_ROUNDS: usize = 3;

    /// Takes over `path`, a regular file that is said to hold `blob`. `done` is told how many bytes have been gone through.
    /// It is dropped as any other work. Without network.
    pub async fn adopt(
        self: &Arc<Self>,
        blob: Blob,
        path: &Path,
        sharing: Sharing,
        owner: (&RepoId, Commit),
        done: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Adopted, CacheError> {
        let failed = |source| super::files::disk_error(path, source);
        // No link in its place: only what the caller looked at is taken over.
        let opened = rustix::fs::open(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        let source = File::from(opened.map_err(|errno| failed(errno.into()))?);
        if source.metadata().map_err(failed)?.len() != blob.size {
            return Ok(Adopted::Different);
        }
        if sharing == Sharing::Link {
            match self.adopt_linked(blob, path, &source, owner, done).await? {
                Some(adopted) => return Ok(adopted),
                None => tracing::debug!(path = %path.display(), "cannot be linked and is copied"),
            }
        }
        let lease = self.lease(blob)?;
        if lease.0.settled().await == Settled::Sealed {
            self.touch(&blob);
            return Ok(Adopted::Present);
        }
        let unproved = self.lead_unproved(&lease).await?;
        let load = Load::new(owner.0, owner.1);
        let room = self.room_for(&lease, &unproved, &load).await?;
        let look = self.go_through(Look::new(blob, path, source, Some(unproved)), done).await?;
        let Some(Proved { sha256, sums, target: Some(unproved) }) = look else { return Ok(Adopted::Different) };
        let whole = self.keep(&lease, unproved, sums, room, &load).await == lease.0.map.all().len();
        // What was here before was not looked at.
        if whole {
            self.seal_proved(&lease.0, sha256)
        } else {
            self.seal_if_complete(&lease.0)
        }
        Self::kept(&lease).await
    }

    /// `None` if it cannot be linked. It is proved first: while it is our file, who fetches what is missing writes to it.
    pub(super) async fn adopt_linked(
        self: &Arc<Self>,
        blob: Blob,
        path: &Path,
        source: &File,
        owner: (&RepoId, Commit),
        done: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Option<Adopted>, CacheError> {
        if self.space.ledger().bytes(&blob).is_some() {
            return Ok(None);
        }
        let source = source.try_clone().map_err(|cause| super::files::disk_error(path, cause))?;
        let Some(Proved { sha256, sums, .. }) = self.go_through(Look::new(blob, path, source, None), done).await?
        else {
            return Ok(Some(Adopted::Different));
        };
        if !self.link(blob, path) {
            return Ok(None);
        }
        let lease = self.lease(blob)?;
        let unproved = self.lead_unproved(&lease).await?;
        let load = Load::new(owner.0, owner.1);
        let room = self.room_for(&lease, &unproved, &load).await?;
        self.keep(&lease, unproved, sums, room, &load).await;
        self.seal_proved(&lease.0, sha256);
        Self::kept(&lease).await.map(Some)
    }

    async fn room_for(
        self: &Arc<Self>,
        lease: &Lease,
        unproved: &Unproved,
        load: &Load,
    ) -> Result<Reservation, CacheError> {
        let bytes = unproved.blocks().map(|blocks| lease.0.map.unwritten_bytes(blocks)).sum();
        self.reserve(&lease.0, bytes, Some(load)).await.ok_or(CacheError::NoRoom)
    }

    /// `None` if it is not what it is called.
    async fn go_through(
        &self,
        mut look: Look,
        done: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Option<Proved>, CacheError> {
        let (all, size) = (BlockRange::whole(look.blob.size), look.blob.size);
        while look.next < all.end {
            if self.stopping.is_cancelled() {
                return Err(CacheError::Stopping);
            }
            let step = tokio::task::spawn_blocking(move || (look.step(), look)).await;
            let stepped;
            (stepped, look) = step.map_err(|_| CacheError::Stopping)?;
            stepped?;
            done(BlockRange { first: all.first, end: look.next }.bytes(size).len());
        }
        let Look { proof, sums, target, .. } = look;
        Ok(proof.finish().map(|sha256| Proved { sha256, sums, target }))
    }

    /// The blocks are in the file and proved. Answers how many they are.
    async fn keep(
        &self,
        lease: &Lease,
        mut unproved: Unproved,
        sums: Vec<LandedBlock>,
        mut room: Reservation,
        load: &Load,
    ) -> usize {
        // From here on they are as good as any: given up halfway, they stay.
        unproved.written = false;
        for landed in sums.into_iter().filter(|landed| unproved.holds(landed.block)) {
            let bytes = lease.0.map.unwritten_bytes(BlockRange::new(landed.block.0..landed.block.0 + 1));
            lease.0.map.land(landed.block, landed.sum);
            room.spend(lease.0.blob, bytes, load);
            self.recorder.landed(&lease.0, landed).await;
        }
        unproved.end(Ok(()))
    }

    async fn kept(lease: &Lease) -> Result<Adopted, CacheError> {
        match lease.0.settled().await {
            Settled::Sealed => Ok(Adopted::Kept),
            Settled::Open => Err(CacheError::NotKept(lease.0.blob.id)),
        }
    }

    /// Sees to it that nobody else brings what is missing.
    async fn lead_unproved(&self, lease: &Lease) -> Result<Unproved, CacheError> {
        let entry = &lease.0;
        let nobody = Identity::new("", None, true).digest();
        for round in 1.. {
            let claims = entry.flights.claim(
                |block| entry.map.has(block),
                entry.map.all(),
                usize::MAX,
                nobody,
                Priority::Prefetch,
            );
            let mut unproved = Unproved { entry: entry.clone(), flights: Vec::new(), written: false };
            let mut waits = Vec::new();
            for claim in claims {
                match claim {
                    Claim::Wait(wait) => waits.push(wait),
                    Claim::Lead(flight) => {
                        unproved.flights.push((flight.blocks, Landing::new(entry.clone(), flight)));
                    }
                }
            }
            if waits.is_empty() || round >= Self::ADOPT_ROUNDS {
                return Ok(unproved);
            }
            unproved.end(Err(CacheError::GivenUp));
            for wait in waits {
                // Whether it came or not is seen in the next round.
                let _ = wait.landed().await;
            }
        }
        Err(CacheError::Stopping)
    }

    /// Whether our file of this blob is now the other one. Not if there is anything of it here.
    fn link(&self, blob: Blob, path: &Path) -> bool {
        self.recent.remove(&blob);
        let entries = self.entries.lock();
        let in_use = entries.get(&blob).and_then(Weak::upgrade).is_some();
        if in_use || self.space.ledger().bytes(&blob).is_some() {
            return false;
        }
        match self.store.link(&blob, path) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, path = %path.display(), "cannot be linked and is copied");
                false
            }
        }
    }
}

/// By the kernel where it can: then file systems that share blocks do.
pub(super) fn copy(from: &File, to: &File, start: u64, len: u64) -> io::Result<()> {
    let (mut read, mut written) = (start, start);
    while read < start + len {
        let left = (start + len - read) as usize;
        match copy_file_range(from, Some(&mut read), to, Some(&mut written), left) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => return Err(io::ErrorKind::StorageFull.into()),
            Err(_) => return copy_by_hand(from, to, read, start + len - read),
        }
    }
    Ok(())
}

fn copy_by_hand(from: &File, to: &File, start: u64, len: u64) -> io::Result<()> {
    let mut buffer = vec![0; len as usize];
    from.read_exact_at(&mut buffer, start)?;
    to.write_all_at(&buffer, start)
}
