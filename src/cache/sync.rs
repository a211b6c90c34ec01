//! What `block_map`, `flights` and `holds` share between threads. `tests/models` compiles those files over a `sync` of its
//! own, whose scheduler tries the orders in which threads may run.

pub(super) use std::sync::Arc;
pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub(super) use parking_lot::Mutex;
pub(super) use tokio::sync::watch;
