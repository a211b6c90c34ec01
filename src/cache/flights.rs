//! Single flight: every missing block has one leader, and the others wait until their own blocks have landed.

use super::CacheError;
use super::sync::{Arc, AtomicU64, Mutex, Ordering, watch};
use super::unkept::UnkeptRun;
use crate::types::{BLOCK_SIZE, BlockIndex, BlockRange, IdentityDigest};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Priority {
    /// A reader waits.
    Demand,
    /// Nobody waits yet, but somebody soon will: worth bringing even if it cannot be kept.
    Window,
    /// Nobody waits yet.
    Prefetch,
}

/// A run of blocks that one leader brings, in order.
pub(super) struct Flight {
    pub(super) blocks: BlockRange,
    led_by: IdentityDigest,
    progress: watch::Sender<Progress>,
    wanted: watch::Sender<bool>,
    priority: Priority,
    /// What landed nowhere, for as long as somebody waits for it.
    unkept: Mutex<Vec<Arc<UnkeptRun>>>,
    /// The beginning of the first block, as far as a reader was told of it.
    beginning: Mutex<Option<Arc<UnkeptRun>>>,
    /// Where a reader's need of the first block ends, if somebody waits for less than the block.
    early: AtomicU64,
}

struct Progress {
    /// Every block of the flight before this one has landed.
    until: BlockIndex,
    /// What comes before this place in the file can be read, though its block has not landed.
    arrived: u64,
    failed: Option<CacheError>,
}

/// The flights of one blob.
#[derive(Default)]
pub(super) struct Flights {
    active: Mutex<Vec<Arc<Flight>>>,
}

/// The answer to wanting a block that is missing.
pub(super) enum Claim {
    /// Nobody brings it yet: the caller must.
    Lead(Arc<Flight>),
    /// Somebody does.
    Wait(Wait),
}

/// Some blocks of somebody's flight.
pub(super) struct Wait {
    flight: Arc<Flight>,
    /// Every block before this one must have landed.
    until: BlockIndex,
    /// Or everything before this place arrived.
    early: Option<u64>,
}

impl Flights {
    /// Divides the missing blocks of `blocks` among flights under way and new ones of at most `longest` blocks.
    pub(super) fn claim(
        &self,
        is_here: impl Fn(BlockIndex) -> bool,
        blocks: BlockRange,
        longest: usize,
        identity: IdentityDigest,
        priority: Priority,
    ) -> Vec<Claim> {
        // A block is here before its flight says that it has landed, and flights join the list under this lock alone. So a
        // block is asked for among the flights first: what none of them brings is here, or it is missing. The other way
        // round it could land between the two looks, and would be fetched twice.
        let mut active = self.active.lock();
        let mut claims = Vec::new();
        let mut block = blocks.first;
        while block < blocks.end {
            if let Some(flight) = active.iter().find(|flight| flight.brings(block)) {
                if priority == Priority::Demand {
                    flight.wanted.send_replace(true);
                }
                let until = flight.blocks.end.min(blocks.end);
                claims.push(Claim::Wait(Wait { flight: flight.clone(), until, early: None }));
                block = until;
            } else if is_here(block) {
                block.0 += 1;
            } else {
                let free = |block: &BlockIndex| !active.iter().any(|flight| flight.brings(*block)) && !is_here(*block);
                let rest = BlockRange { first: block, end: blocks.end };
                let run = rest.iter().take(longest).take_while(free).count() as u32;
                let flight = Arc::new(Flight::new(BlockRange::new(block.0..block.0 + run), identity, priority));
                block = flight.blocks.end;
                active.push(flight.clone());
                claims.push(Claim::Lead(flight));
            }
        }
        claims
    }

    /// For a content that arrives whole or not at all: what is present of it comes again with what is missing.
    pub(super) fn claim_whole(
        &self,
        all: BlockRange,
        is_here: impl Fn(BlockIndex) -> bool,
        identity: IdentityDigest,
        priority: Priority,
    ) -> Option<Claim> {
        let mut active = self.active.lock();
        // In this order, as above.
        if let Some(flight) = active.iter().find(|flight| flight.brings(all.first)) {
            if priority == Priority::Demand {
                flight.wanted.send_replace(true);
            }
            return Some(Claim::Wait(flight.wait()));
        }
        if all.iter().all(is_here) {
            return None;
        }
        let flight = Arc::new(Flight::new(all, identity, priority));
        active.push(flight.clone());
        Some(Claim::Lead(flight))
    }

    /// The end of some flight that is under way.
    pub(super) fn any(&self) -> Option<Wait> {
        self.active.lock().first().map(Flight::wait)
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.active.lock().is_empty()
    }

    /// The flight has landed or failed. What it did not bring is missing again.
    pub(super) fn remove(&self, flight: &Arc<Flight>) {
        self.active.lock().retain(|active| !Arc::ptr_eq(active, flight));
    }
}

impl Flight {
    const NO_NEED: u64 = u64::MAX;

    fn new(blocks: BlockRange, led_by: IdentityDigest, priority: Priority) -> Self {
        Self {
            blocks,
            led_by,
            progress: watch::Sender::new(Progress { until: blocks.first, arrived: 0, failed: None }),
            wanted: watch::Sender::new(priority == Priority::Demand),
            priority,
            unkept: Mutex::default(),
            beginning: Mutex::default(),
            early: AtomicU64::new(Self::NO_NEED),
        }
    }

    /// Whether this block is still to come. One that has landed and is not here any more does not come again.
    fn brings(&self, block: BlockIndex) -> bool {
        self.blocks.contains(block) && self.progress.borrow().until <= block
    }

    pub(super) fn is_wanted(&self) -> bool {
        *self.wanted.borrow()
    }

    /// Whether it is worth going on although nothing of it can be kept.
    pub(super) fn may_be_unkept(&self) -> bool {
        self.priority != Priority::Prefetch || self.is_wanted()
    }

    /// Nobody who waits for this flight finds it gone before he has read it.
    pub(super) fn hold(&self, run: &Arc<UnkeptRun>) {
        if self.is_wanted() {
            self.unkept.lock().push(run.clone());
        }
    }

    /// Whether a reader waits for less of the first block than has arrived: up to `place`.
    pub(super) fn is_enough(&self, place: u64) -> bool {
        self.early.load(Ordering::Acquire) <= place
    }

    /// The first block can be read as far as `beginning` goes. It takes the place of a shorter one: many small readers of
    /// one block do not each cost a block of memory.
    pub(super) fn arrived(&self, beginning: &Arc<UnkeptRun>) {
        let place = beginning.end();
        *self.beginning.lock() = Some(beginning.clone());
        // One who came in between with a greater need waits for the block.
        self.early.store(Self::NO_NEED, Ordering::Release);
        self.progress.send_modify(|progress| progress.arrived = place);
    }

    /// Returns once a reader waits for this flight.
    pub(super) async fn wanted(&self) {
        let _ = self.wanted.subscribe().wait_for(|wanted| *wanted).await;
    }

    /// Every block before `end` is in the map.
    pub(super) fn landed(&self, end: BlockIndex) {
        self.progress.send_modify(|progress| progress.until = end);
    }

    pub(super) fn failed(&self, error: CacheError) {
        self.progress.send_modify(|progress| progress.failed = Some(error));
    }

    /// Waits for the whole flight.
    pub(super) fn wait(self: &Arc<Self>) -> Wait {
        Wait { flight: self.clone(), until: self.blocks.end, early: None }
    }
}

impl Wait {
    pub(super) fn led_by(&self) -> IdentityDigest {
        self.flight.led_by
    }

    /// Only what comes before `end` is needed. If that is a part of the flight's first block, it is told as soon as it
    /// has arrived: a reader of a header need not wait for a block.
    pub(super) fn only_until(&mut self, end: u64) {
        let first = self.flight.blocks.first;
        if u64::from(first.0 + 1) * BLOCK_SIZE > end {
            self.early = Some(end);
            self.flight.early.fetch_min(end, Ordering::AcqRel);
        }
    }

    /// Returns when the blocks have landed or their flight has failed. The leader's deadline bounds it.
    pub(super) async fn landed(&self) -> Result<(), CacheError> {
        let mut progress = self.flight.progress.subscribe();
        let is_here = |progress: &Progress| {
            progress.until >= self.until || self.early.is_some_and(|early| progress.arrived >= early)
        };
        let settled = progress.wait_for(|progress| is_here(progress) || progress.failed.is_some());
        // The flight itself holds the sender: it cannot go away while we wait.
        let progress = settled.await.map_err(|_| CacheError::Stopping)?;
        match &progress.failed {
            Some(error) if !is_here(&progress) => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::block_map::BlockMap;
    use super::*;
    use crate::types::{BLOCK_SIZE, Identity};

    fn digest() -> IdentityDigest {
        Identity::new("http://hub", None, false).digest()
    }

    fn shape(claims: &[Claim]) -> Vec<(char, u32, u32)> {
        let one = |claim: &Claim| match claim {
            Claim::Lead(flight) => ('L', flight.blocks.first.0, flight.blocks.end.0),
            Claim::Wait(wait) => ('W', wait.flight.blocks.first.0, wait.until.0),
        };
        claims.iter().map(one).collect()
    }

    #[test]
    fn each_missing_block_has_exactly_one_leader() {
        let map = BlockMap::new(20 * BLOCK_SIZE, Vec::new());
        map.land(BlockIndex(3), 0);
        let flights = Flights::default();
        let claim = |from, to, longest| {
            shape(&flights.claim(
                |block| map.has(block),
                BlockRange::new(from..to),
                longest,
                digest(),
                Priority::Demand,
            ))
        };
        assert_eq!(claim(0, 6, usize::MAX), [('L', 0, 3), ('L', 4, 6)]);
        assert_eq!(claim(1, 10, 2), [('W', 0, 3), ('W', 4, 6), ('L', 6, 8), ('L', 8, 10)]);
        assert_eq!(claim(3, 4, 8), []);
    }

    #[tokio::test]
    async fn a_waiter_wakes_when_its_own_blocks_have_landed() {
        let map = BlockMap::new(20 * BLOCK_SIZE, Vec::new());
        let flights = Flights::default();
        let mut claims = flights.claim(|block| map.has(block), BlockRange::new(0..8), 8, digest(), Priority::Prefetch);
        let Claim::Lead(flight) = claims.remove(0) else { panic!("the first must lead") };
        let mut claims = flights.claim(|block| map.has(block), BlockRange::new(1..3), 8, digest(), Priority::Demand);
        let Claim::Wait(wait) = claims.remove(0) else { panic!("the second must wait") };
        flight.wanted().await;
        flight.landed(BlockIndex(2));
        assert!(futures::FutureExt::now_or_never(wait.landed()).is_none());
        flight.landed(BlockIndex(3));
        wait.landed().await.unwrap();
    }

    #[tokio::test]
    async fn a_failure_is_not_that_of_those_whose_blocks_have_landed() {
        let map = BlockMap::new(20 * BLOCK_SIZE, Vec::new());
        let flights = Flights::default();
        let claim = |from, to| {
            flights.claim(|block| map.has(block), BlockRange::new(from..to), 8, digest(), Priority::Demand).remove(0)
        };
        let Claim::Lead(flight) = claim(0, 8) else { panic!("the first must lead") };
        let Claim::Wait(early) = claim(0, 3) else { panic!("the second must wait") };
        flight.landed(BlockIndex(3));
        flight.failed(CacheError::Stopping);
        early.landed().await.unwrap();
        assert!(flight.wait().landed().await.is_err());
    }

    #[tokio::test]
    async fn after_a_failure_the_next_claim_leads_again() {
        let map = BlockMap::new(4 * BLOCK_SIZE, Vec::new());
        let flights = Flights::default();
        let claim =
            || flights.claim(|block| map.has(block), BlockRange::new(0..4), 4, digest(), Priority::Demand).remove(0);
        let Claim::Lead(flight) = claim() else { panic!("the first must lead") };
        let Claim::Wait(wait) = claim() else { panic!("the second must wait") };
        flight.failed(CacheError::Stopping);
        flights.remove(&flight);
        assert!(wait.landed().await.is_err());
        assert!(matches!(claim(), Claim::Lead(_)));
    }
}
