//! What may happen next. Every step means something in every state, so that any part of a sequence is one too.

use proptest::prelude::*;
use proptest::sample::Index;

use super::contents::REPOS;

/// Which file, handle or place is meant is a share of those there are.
#[derive(Debug, Clone)]
pub enum Step {
    Read {
        name: Index,
        place: Place,
    },
    ReadWhole {
        name: Index,
    },
    Open {
        slot: usize,
        name: Index,
        how: How,
    },
    ReadOpen {
        slot: usize,
        place: Place,
    },
    Close {
        slot: usize,
    },
    DropPages {
        name: Index,
    },
    Evict {
        name: Index,
    },
    Keep {
        commit: Index,
    },
    Release {
        commit: Index,
    },
    Verify {
        name: Index,
    },
    /// Everything that has landed is recorded.
    Flush,
    MoveBranch {
        repo: usize,
        commit: Index,
    },
    LookAtBranch {
        repo: usize,
    },
    Trouble(Trouble),
    Restart(Node),
    /// A restart, and something falls upon the disk in between.
    Damage {
        name: Index,
        at: Index,
    },
}

#[derive(Debug, Clone)]
pub struct Place {
    pub at: Index,
    pub len: usize,
}

#[derive(Debug, Clone, Copy)]
pub enum How {
    Read,
    Mapped,
}

/// On the way from the Hub, once or a few times, and none of the reader's business.
#[derive(Debug, Clone)]
pub enum Trouble {
    BrokenBody {
        after: u64,
    },
    ServerError {
        times: u64,
    },
    Disconnect,
    IgnoredRange,
    ShortRange,
    ExpiredUrls,
    /// In a content that is proved before it is served: the small ones, or with `before_read` any.
    WrongByte {
        at: Index,
    },
}

/// What the next daemon is told.
#[derive(Debug, Clone)]
pub struct Node {
    pub limit_mib: Option<u64>,
    pub passthrough: bool,
    pub check_every_read: bool,
    pub offline: bool,
}

/// What happens from beginning to end.
#[derive(Debug, Clone)]
pub struct Case {
    pub first: Node,
    /// Large contents too are proved before they are read; then there is no limit, for what finds no room cannot be.
    pub before_read: bool,
    pub steps: Vec<Step>,
}

impl Case {
    pub fn any(longest: usize) -> impl Strategy<Value = Self> {
        let steps = prop::collection::vec(Step::any(), 1..longest);
        (Node::online(), prop::bool::weighted(0.2), steps).prop_map(|(first, before_read, steps)| Self {
            first,
            before_read,
            steps,
        })
    }
}

pub const SLOTS: usize = 3;

impl Step {
    pub fn any() -> impl Strategy<Value = Self> {
        let (slot, repo) = (0..SLOTS, 0..REPOS.len());
        let name = any::<Index>;
        prop_oneof![
            8 => (name(), Place::any()).prop_map(|(name, place)| Self::Read { name, place }),
            4 => name().prop_map(|name| Self::ReadWhole { name }),
            4 => (slot.clone(), name(), How::any()).prop_map(|(slot, name, how)| Self::Open { slot, name, how }),
            6 => (slot.clone(), Place::any()).prop_map(|(slot, place)| Self::ReadOpen { slot, place }),
            2 => slot.prop_map(|slot| Self::Close { slot }),
            3 => name().prop_map(|name| Self::DropPages { name }),
            4 => name().prop_map(|name| Self::Evict { name }),
            1 => name().prop_map(|commit| Self::Keep { commit }),
            1 => name().prop_map(|commit| Self::Release { commit }),
            1 => name().prop_map(|name| Self::Verify { name }),
            1 => Just(Self::Flush),
            1 => (repo.clone(), name()).prop_map(|(repo, commit)| Self::MoveBranch { repo, commit }),
            1 => repo.prop_map(|repo| Self::LookAtBranch { repo }),
            2 => Trouble::any().prop_map(Self::Trouble),
            2 => Node::any().prop_map(Self::Restart),
            1 => (name(), name()).prop_map(|(name, at)| Self::Damage { name, at }),
        ]
    }
}

impl Place {
    fn any() -> impl Strategy<Value = Self> {
        let len = prop_oneof![1..5000usize, 1..3_000_000usize];
        (any::<Index>(), len).prop_map(|(at, len)| Self { at, len })
    }
}

impl How {
    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![Just(Self::Read), Just(Self::Mapped)]
    }
}

impl Trouble {
    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            (0..3_000_000u64).prop_map(|after| Self::BrokenBody { after }),
            (1..4u64).prop_map(|times| Self::ServerError { times }),
            Just(Self::Disconnect),
            Just(Self::IgnoredRange),
            Just(Self::ShortRange),
            Just(Self::ExpiredUrls),
            any::<Index>().prop_map(|at| Self::WrongByte { at }),
        ]
    }
}

impl Default for Node {
    /// As a user has it who sets nothing.
    fn default() -> Self {
        Self { limit_mib: None, passthrough: true, check_every_read: false, offline: false }
    }
}

impl Node {
    fn any() -> impl Strategy<Value = Self> {
        (Self::online(), prop::bool::weighted(0.2)).prop_map(|(node, offline)| Self { offline, ..node })
    }

    /// One that may get to know the models.
    fn online() -> impl Strategy<Value = Self> {
        let limit = prop_oneof![2 => Just(None), 3 => (4..32u64).prop_map(Some)];
        let mostly = prop::bool::weighted;
        (limit, mostly(0.7), mostly(0.2)).prop_map(|(limit_mib, passthrough, check_every_read)| Self {
            limit_mib,
            passthrough,
            check_every_read,
            offline: false,
        })
    }
}
