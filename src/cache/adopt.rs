//! A content that lies elsewhere on this machine becomes ours: copied, sharing its blocks where the file system can, or as a
//! second name of the same file. Nothing of it is served or recorded before the whole is proved.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Weak};

use rustix::fs::{FallocateFlags, Mode, OFlags, copy_file_range, fallocate};
use xxhash_rust::xxh3::xxh3_128;

use super::fetch::Landing;
use super::flights::{Claim, Priority};
use super::lease::{Entry, Lease, Settled};
use super::seal::Proof;
use super::space::Load;
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

/// Blocks of an entry that are being written and not proved: if it comes to nothing they leave no trace.
struct Unproved {
    entry: Arc<Entry>,
    /// Nobody else brings these meanwhile.
    landings: Vec<Landing>,
    blocks: Vec<BlockRange>,
    /// The file is the source itself: there is nothing to write, and nothing to take back.
    linked: bool,
}

/// How far it is.
struct Adoption {
    source: File,
    unproved: Unproved,
    proof: Proof,
    sums: Vec<LandedBlock>,
    next: BlockIndex,
    buffer: Vec<u8>,
}

impl Unproved {
    fn writes(&self, block: BlockIndex) -> bool {
        self.blocks.iter().any(|blocks| blocks.contains(block))
    }

    fn end(&mut self, proved: bool) {
        for landing in std::mem::take(&mut self.landings) {
            landing.end(if proved { Ok(()) } else { Err(CacheError::GivenUp) });
        }
        self.blocks.clear();
    }
}

impl Drop for Unproved {
    fn drop(&mut self) {
        let size = self.entry.blob.size;
        for blocks in self.blocks.iter().filter(|_| !self.linked) {
            let range = blocks.bytes(size);
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // Best effort: what is left takes up space until it comes anew, and is never served.
            let _ = fallocate(&self.entry.file.file, flags, range.start, range.len());
        }
        self.end(false);
    }
}

impl Adoption {
    /// Blocks between two looks at whether anybody still wants it.
    const STEP: u32 = 8;

    /// Copies and hashes on.
    fn step(&mut self) -> Result<(), CacheError> {
        let entry = self.unproved.entry.clone();
        let end = BlockIndex(entry.map.all().end.0.min(self.next.0.saturating_add(Self::STEP)));
        for block in (BlockRange { first: self.next, end }).iter() {
            let range = block.bytes(entry.blob.size);
            self.buffer.resize(range.len() as usize, 0);
            let ours = self.unproved.writes(block);
            // What is hashed is what is kept: the source may change meanwhile.
            let from = if ours { &entry.file.file } else { &self.source };
            if ours && !self.unproved.linked {
                copy(&self.source, &entry.file.file, range.start, range.len())
                    .map_err(|cause| entry.file.error(cause))?;
            }
            from.read_exact_at(&mut self.buffer, range.start).map_err(|cause| entry.file.error(cause))?;
            self.proof.update(&self.buffer);
            if ours {
                self.sums.push(LandedBlock { block, sum: xxh3_128(&self.buffer) });
            }
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
        let linked = sharing == Sharing::Link && self.link(blob, path);
        let lease = self.lease(blob)?;
        if lease.0.settled().await == Settled::Sealed {
            return Ok(Adopted::Present);
        }
        let unproved = self.lead_unproved(&lease, linked).await?;
        let load = Load::new(owner.0, owner.1);
        let bytes = unproved.blocks.iter().map(|blocks| lease.0.map.unwritten_bytes(*blocks)).sum();
        let mut room = self.reserve(&lease.0, bytes, Some(&load)).await.ok_or(CacheError::NoRoom)?;
        let first = BlockIndex(0);
        let proof = Proof::new(blob);
        let mut adoption = Adoption { source, unproved, proof, sums: Vec::new(), next: first, buffer: Vec::new() };
        let all = lease.0.map.all();
        while adoption.next < all.end {
            if self.stopping.is_cancelled() {
                return Err(CacheError::Stopping);
            }
            let step = tokio::task::spawn_blocking(move || (adoption.step(), adoption)).await;
            let stepped;
            (stepped, adoption) = step.map_err(|_| CacheError::Stopping)?;
            stepped?;
            done(BlockRange { first, end: adoption.next }.bytes(blob.size).len());
        }
        let Adoption { mut unproved, proof, sums, .. } = adoption;
        let Some(sha256) = proof.finish() else {
            drop(unproved);
            if linked {
                drop(lease);
                self.evict_unproved(blob);
            }
            return Ok(Adopted::Different);
        };
        let whole = sums.len() == all.len();
        for landed in sums {
            let bytes = lease.0.map.unwritten_bytes(BlockRange::new(landed.block.0..landed.block.0 + 1));
            lease.0.map.land(landed.block, landed.sum);
            room.spend(blob, bytes, &load);
            self.recorder.landed(&lease.0, landed).await;
        }
        unproved.end(true);
        // What was here before was not looked at.
        if whole {
            self.seal_proved(&lease.0, sha256)
        } else {
            self.seal_if_complete(&lease.0)
        }
        match lease.0.settled().await {
            Settled::Sealed => Ok(Adopted::Kept),
            Settled::Open => Err(CacheError::NotKept(blob.id)),
        }
    }

    /// Sees to it that nobody else brings what is missing.
    async fn lead_unproved(&self, lease: &Lease, linked: bool) -> Result<Unproved, CacheError> {
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
            let mut unproved = Unproved { entry: entry.clone(), landings: Vec::new(), blocks: Vec::new(), linked };
            let mut waits = Vec::new();
            for claim in claims {
                match claim {
                    Claim::Wait(wait) => waits.push(wait),
                    Claim::Lead(flight) => {
                        unproved.blocks.push(flight.blocks);
                        unproved.landings.push(Landing::new(entry.clone(), flight));
                    }
                }
            }
            if waits.is_empty() || round >= Self::ADOPT_ROUNDS {
                return Ok(unproved);
            }
            unproved.end(false);
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

    /// A linked file that is not what it is called leaves its name here.
    fn evict_unproved(&self, blob: Blob) {
        self.recent.remove(&blob);
        let entries = self.entries.lock();
        if entries.get(&blob).and_then(Weak::upgrade).is_none() {
            self.store.unlink(&blob);
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
