//! What must hold in every order. `MODELS_RUNS` says how many orders are tried.

use shuttle::future::block_on;
use shuttle::thread;

use super::CacheError;
use super::block_map::BlockMap;
use super::flights::{Claim, Flight, Flights, Priority};
use super::holds::Holds;
use super::sync::{Arc, AtomicU32, AtomicU64, Mutex, Ordering};
use crate::types::{BLOCK_SIZE, BlockIndex, BlockRange, Identity, IdentityDigest};

fn check(model: impl Fn() + Send + Sync + 'static) {
    let runs = std::env::var("MODELS_RUNS").map_or(500, |runs| runs.parse().expect("MODELS_RUNS is a number"));
    let model = std::sync::Arc::new(model);
    let also = model.clone();
    shuttle::check_random(move || model(), runs);
    // Few changes of thread at the worst moments: what chance seldom meets.
    shuttle::check_pct(move || also(), runs, 3);
}

const BLOCKS: u32 = 4;

fn nobody() -> IdentityDigest {
    Identity::new("http://hub", None, false).digest()
}

/// One content: its file, a word a block, with what leads and waits on it.
struct Content {
    map: BlockMap,
    flights: Flights,
    file: [AtomicU64; BLOCKS as usize],
    leaders: [AtomicU32; BLOCKS as usize],
    fetched: AtomicU32,
}

impl Content {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            map: BlockMap::new(u64::from(BLOCKS) * BLOCK_SIZE, Vec::new()),
            flights: Flights::default(),
            file: Default::default(),
            leaders: Default::default(),
            fetched: AtomicU32::new(0),
        })
    }

    fn claim(&self, from: u32, to: u32, whole: bool, priority: Priority) -> Vec<Claim> {
        let is_here = |block| self.map.has(block);
        if whole {
            return self.flights.claim_whole(self.map.all(), is_here, nobody(), priority).into_iter().collect();
        }
        self.flights.claim(is_here, BlockRange::new(from..to), 2, nobody(), priority)
    }

    /// As a leader does: write, mark, wake; off the list before anybody hears of the end. `breaks` before that block.
    fn lead(&self, flight: &Arc<Flight>, whole: bool, breaks: Option<u32>) {
        let mut outcome = Ok(());
        for block in flight.blocks.iter() {
            if breaks == Some(block.0) {
                outcome = Err(CacheError::Stopping);
                break;
            }
            let at = block.0 as usize;
            assert_eq!(self.leaders[at].fetch_add(1, Ordering::SeqCst), 0, "block {at} has two leaders");
            self.file[at].store(data(block), Ordering::SeqCst);
            self.map.land(block, data(block).into());
            self.fetched.fetch_add(1, Ordering::SeqCst);
            self.leaders[at].fetch_sub(1, Ordering::SeqCst);
            // What is proved as a whole is told of as a whole.
            if !whole {
                flight.landed(BlockIndex(block.0 + 1));
            }
        }
        self.flights.remove(flight);
        match outcome {
            Ok(()) => flight.landed(flight.blocks.end),
            Err(error) => flight.failed(error),
        }
    }

    /// As a reader does. A waiter that nobody wakes is a deadlock, and the scheduler tells.
    fn read(self: &Arc<Self>, from: u32, to: u32, whole: bool, breaks: Option<u32>) {
        let mut waits = Vec::new();
        for claim in self.claim(from, to, whole, Priority::Demand) {
            match claim {
                Claim::Wait(wait) => waits.push(wait),
                Claim::Lead(flight) => {
                    waits.push(flight.wait());
                    let content = self.clone();
                    thread::spawn(move || content.lead(&flight, whole, breaks));
                }
            }
        }
        let landed = waits.iter().all(|wait| block_on(wait.landed()).is_ok());
        if landed {
            (from..to).for_each(|block| self.must_have(BlockIndex(block)));
        }
    }

    fn must_have(&self, block: BlockIndex) {
        assert!(self.map.has(block), "what landed is here");
        self.is_data(block);
    }

    fn is_data(&self, block: BlockIndex) {
        let held = self.file[block.0 as usize].load(Ordering::SeqCst);
        assert_eq!((held, self.map.sum(block)), (data(block), data(block).into()), "a set bit means data");
    }
}

fn data(block: BlockIndex) -> u64 {
    100 + u64::from(block.0)
}

fn all_join(threads: Vec<thread::JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().expect("it holds"));
}

fn readers(content: &Arc<Content>, ranges: &[(u32, u32)], whole: bool, breaks: Option<u32>) {
    let read = |(from, to): &(u32, u32)| {
        let (content, from, to) = (content.clone(), *from, *to);
        thread::spawn(move || content.read(from, to, whole, breaks))
    };
    all_join(ranges.iter().map(read).collect());
}

pub fn a_block_has_one_leader_and_every_waiter_is_woken() {
    check(|| {
        let content = Content::new();
        readers(&content, &[(0, 4), (1, 3), (2, 4)], false, None);
        assert_eq!(content.fetched.load(Ordering::SeqCst), BLOCKS, "each block is fetched once");
    });
}

pub fn a_whole_content_has_one_leader_and_every_waiter_is_woken() {
    check(|| {
        let content = Content::new();
        readers(&content, &[(0, 4), (1, 2), (3, 4)], true, None);
        assert_eq!(content.fetched.load(Ordering::SeqCst), BLOCKS, "it is fetched once");
    });
}

pub fn after_a_leader_that_broke_down_nobody_waits_and_the_next_one_leads() {
    check(|| {
        let content = Content::new();
        readers(&content, &[(0, 4), (1, 4), (0, 2)], false, Some(1));
        assert!(!content.map.has(BlockIndex(1)));
        // Nothing is left on the list that would be waited for.
        content.read(0, 4, false, None);
        assert!(content.map.has_all(content.map.all()));
    });
}

pub fn a_waiter_for_some_blocks_needs_no_more_of_the_flight() {
    check(|| {
        let content = Content::new();
        let mut claims = content.claim(0, 2, false, Priority::Prefetch);
        let Some(Claim::Lead(flight)) = claims.pop() else { panic!("the first must lead") };
        let also = content.clone();
        let waiter = thread::spawn(move || {
            for claim in also.claim(0, 1, false, Priority::Demand) {
                let Claim::Wait(wait) = claim else { panic!("somebody leads it") };
                block_on(wait.landed()).expect("its own block has landed");
            }
            also.must_have(BlockIndex(0));
        });
        // It breaks off after the first block.
        content.lead(&flight, false, Some(1));
        waiter.join().expect("it holds");
    });
}

pub fn a_prefetch_that_a_reader_comes_to_wait_for_hears_of_it() {
    check(|| {
        let content = Content::new();
        let mut claims = content.claim(0, 2, false, Priority::Prefetch);
        let Some(Claim::Lead(flight)) = claims.pop() else { panic!("the first must lead") };
        let (also, led) = (content.clone(), flight.clone());
        let leader = thread::spawn(move || {
            block_on(led.wanted());
            also.lead(&led, false, None);
        });
        content.read(0, 2, false, None);
        leader.join().expect("it holds");
    });
}

pub fn a_set_bit_means_data_while_blocks_come_and_go() {
    check(|| {
        let content = Content::new();
        content.read(0, 2, false, None);
        let look = |content: Arc<Content>| {
            move || {
                for block in (0..2).map(BlockIndex).filter(|block| content.map.has(*block)) {
                    content.is_data(block);
                    content.map.set_checked(block);
                }
            }
        };
        let loser = content.clone();
        let looker = thread::spawn(look(content.clone()));
        let loser = thread::spawn(move || {
            loser.map.forget(BlockRange::new(0..1));
            assert!(!loser.map.is_checked(BlockIndex(0)), "a check of what was forgotten says nothing");
        });
        all_join(vec![looker, loser]);
        content.read(0, 2, false, None);
        assert!(content.map.has_all(BlockRange::new(0..2)));
    });
}

pub fn bits_of_one_word_that_are_set_at_once_are_all_set() {
    check(|| {
        let content = Content::new();
        let land = |block: u32| {
            let content = content.clone();
            thread::spawn(move || content.map.land(BlockIndex(block), data(BlockIndex(block)).into()))
        };
        all_join((0..3).map(land).collect());
        assert!(content.map.has_all(BlockRange::new(0..3)) && !content.map.has(BlockIndex(3)));
        (0..3).for_each(|block| assert!(content.map.is_checked(BlockIndex(block))));
    });
}

/// An entry as leases and evictions see it: whether its file is there.
#[derive(Default)]
struct Evictable {
    holds: Holds,
    gone: AtomicU32,
}

pub fn what_is_held_is_never_retired_and_what_is_retired_is_never_held() {
    check(|| {
        let entry = Arc::new(Evictable::default());
        let retirements = Arc::new(AtomicU32::new(0));
        let reader = |entry: Arc<Evictable>| {
            move || {
                if entry.holds.take() {
                    assert_eq!(entry.gone.load(Ordering::SeqCst), 0, "a retired entry was leased");
                    entry.holds.again();
                    entry.holds.release();
                    assert!(entry.holds.is_held());
                    assert_eq!(entry.gone.load(Ordering::SeqCst), 0, "it went while it was leased");
                    entry.holds.release();
                }
            }
        };
        let evict = |entry: Arc<Evictable>, retirements: Arc<AtomicU32>, agrees: bool| {
            move || {
                if entry.holds.retire(|| agrees) {
                    entry.gone.store(1, Ordering::SeqCst);
                    retirements.fetch_add(1, Ordering::SeqCst);
                }
            }
        };
        all_join(vec![
            thread::spawn(reader(entry.clone())),
            thread::spawn(reader(entry.clone())),
            thread::spawn(evict(entry.clone(), retirements.clone(), true)),
            thread::spawn(evict(entry.clone(), retirements.clone(), false)),
        ]);
        assert!(retirements.load(Ordering::SeqCst) <= 1);
        let gone = entry.gone.load(Ordering::SeqCst) == 1;
        assert_eq!(entry.holds.take(), !gone, "an eviction that gave up leaves the entry as it was");
    });
}

/// The way of `BlockCache::lease` and `BlockCache::remove`: a list under a lock, of which the entry that is retired is
/// taken by whoever comes first.
pub fn a_reader_who_meets_an_eviction_gets_a_new_entry_and_never_the_old_one() {
    check(|| {
        let list = Arc::new(Mutex::new(Arc::new(Evictable::default())));
        let lease = |list: Arc<Mutex<Arc<Evictable>>>| {
            move || {
                let mut current = list.lock();
                if !current.holds.take() {
                    *current = Arc::new(Evictable::default());
                    assert!(current.holds.take(), "nobody else knows it yet");
                }
                let entry = current.clone();
                drop(current);
                assert_eq!(entry.gone.load(Ordering::SeqCst), 0, "a retired entry was leased");
                entry.holds.release();
            }
        };
        let evict = {
            let list = list.clone();
            move || {
                let current = list.lock();
                let entry = current.clone();
                let retired = entry.holds.retire(|| true);
                drop(current);
                if retired {
                    entry.gone.store(1, Ordering::SeqCst);
                }
            }
        };
        all_join(vec![thread::spawn(lease(list.clone())), thread::spawn(lease(list.clone())), thread::spawn(evict)]);
    });
}
