//! How far a blob has come to being proved, and what takes that back.
//!
//! `seal` proves and records; here is what it changes in the entry, and how a loss on the way is noticed.

use std::io;

use parking_lot::MutexGuard;

use super::lease::Entry;
use crate::db::{FileStamp, LandedBlock, Seal, StoredChunk};
use crate::types::{BlockIndex, BlockRange};

/// What a content has come to when no proof of it is under way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Sealed,
    Open,
}

/// How far a blob has come to being proved.
pub(super) struct Sealing {
    state: SealState,
    /// What is here is what it is called, whether or not that could be recorded.
    proved: bool,
    /// Counts what was lost: a proof of what was there before proves nothing.
    losses: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum SealState {
    Open,
    Proving,
    Sealed(Seal),
}

impl SealState {
    fn seal(self) -> Option<Seal> {
        match self {
            SealState::Sealed(seal) => Some(seal),
            SealState::Open | SealState::Proving => None,
        }
    }
}

impl Sealing {
    /// Of a blob as the record has it.
    pub(super) fn of(seal: Option<Seal>) -> Self {
        let state = seal.map_or(SealState::Open, SealState::Sealed);
        Self { state, proved: seal.is_some(), losses: 0 }
    }

    fn lost(&mut self) {
        *self = Self { state: SealState::Open, proved: false, losses: self.losses + 1 };
    }
}

/// The right, and the duty, to seal a blob or to give that up.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct SealingTurn(u64);

/// The sole right to say how the file of a sealed blob looks.
pub(super) struct SealedTurn<'e>(MutexGuard<'e, Sealing>);

impl SealedTurn<'_> {
    /// `None` if it is not sealed.
    pub(super) fn stamp(&self) -> Option<FileStamp> {
        self.0.state.seal().map(|seal| seal.file)
    }

    pub(super) fn restamp(&mut self, stamp: FileStamp) {
        if let SealState::Sealed(seal) = &mut self.0.state {
            seal.file = stamp;
        }
    }
}

impl Entry {
    /// These blocks are not here any more, whatever the file holds.
    pub(super) fn lost(&self, blocks: BlockRange) -> BlockRange {
        let mut sealing = self.sealing.lock();
        self.map.forget(blocks);
        sealing.lost();
        self.proofs.notify_waiters();
        blocks
    }

    /// Everything is lost but what is on record and has not come anew since.
    pub(super) fn lost_but(&self, recorded: &[StoredChunk], anew: &[LandedBlock]) {
        let mut sealing = self.sealing.lock();
        let is_safe = |block: BlockIndex| {
            let on_record = |chunk: &StoredChunk| chunk.has(block, self.map.sum(block));
            recorded.iter().any(on_record) && !anew.iter().any(|landed| landed.block == block)
        };
        for block in self.map.all().iter().filter(|block| self.map.has(*block) && !is_safe(*block)) {
            self.map.forget(BlockRange::new(block.0..block.0 + 1));
        }
        sealing.lost();
        self.proofs.notify_waiters();
    }

    /// Nothing is proved any more, though it may all be there. Answers whether it was sealed until now.
    pub(super) fn distrust(&self) -> bool {
        let mut sealing = self.sealing.lock();
        let sealed = sealing.state.seal().is_some();
        self.map.distrust(self.map.all());
        sealing.proved = false;
        if sealed {
            sealing.lost();
        }
        sealed
    }

    pub(super) fn seal(&self) -> Option<Seal> {
        self.sealing.lock().state.seal()
    }

    /// The seal and what the file looks like, at one moment.
    pub(super) fn seal_and_stamp(&self) -> (Option<Seal>, io::Result<FileStamp>) {
        let sealing = self.sealing.lock();
        (sealing.state.seal(), self.file.stamp())
    }

    /// Keeps the seal as it is while the file is given another look.
    pub(super) fn sealed_turn(&self) -> SealedTurn<'_> {
        SealedTurn(self.sealing.lock())
    }

    /// Waits for the end of a proof that is under way.
    pub(super) async fn settled(&self) -> Settled {
        loop {
            let ended = self.proofs.notified();
            match self.sealing.lock().state {
                SealState::Sealed(_) => return Settled::Sealed,
                SealState::Open => return Settled::Open,
                SealState::Proving => {}
            }
            ended.await;
        }
    }

    /// The turn of the one to seal; it must end with `sealed` or `unsealed`.
    pub(super) fn begin_sealing(&self) -> Option<SealingTurn> {
        let mut sealing = self.sealing.lock();
        if sealing.state != SealState::Open || !self.is_complete() {
            return None;
        }
        sealing.state = SealState::Proving;
        Some(SealingTurn(sealing.losses))
    }

    /// What a proof that begins now must find unchanged at its end.
    pub(super) fn begin_proof(&self) -> SealingTurn {
        SealingTurn(self.sealing.lock().losses)
    }

    /// All of it hashed to its name. Holds until something of it is lost.
    pub(super) fn proved(&self, turn: SealingTurn) {
        let mut sealing = self.sealing.lock();
        sealing.proved |= sealing.losses == turn.0;
    }

    pub(super) fn is_proved(&self) -> bool {
        self.sealing.lock().proved
    }

    /// Whether what was proved is still there.
    pub(super) fn is_unchanged(&self, turn: SealingTurn) -> bool {
        self.sealing.lock().losses == turn.0
    }

    /// Answers whether the blob is sealed by this.
    pub(super) fn sealed(&self, turn: SealingTurn, seal: Seal) -> bool {
        let counts = self.end_sealing(turn, SealState::Sealed(seal));
        if counts {
            self.forgive();
        }
        counts
    }

    pub(super) fn unsealed(&self, turn: SealingTurn) {
        self.end_sealing(turn, SealState::Open);
    }

    fn end_sealing(&self, turn: SealingTurn, state: SealState) -> bool {
        let mut sealing = self.sealing.lock();
        let counts = sealing.losses == turn.0;
        if counts {
            sealing.state = state;
        }
        self.proofs.notify_waiters();
        counts
    }
}
