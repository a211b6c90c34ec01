//! The cache's own `block_map`, `flights` and `holds`, compiled over primitives whose scheduler tries the orders in which
//! threads may run. Each file is the one that the daemon is built from; only what `super::sync` names is another.
//!
//! Atomics are sequentially consistent here: what a weaker ordering would allow is not tried. `watch` is a stand-in that
//! does what tokio's promises and no more. Networks, files and the database are not part of it.

#[path = "../../../src/types/mod.rs"]
#[allow(dead_code, unused_imports)]
mod types;

/// As far as the block map knows the database.
mod db {
    pub const CHUNK_BLOCKS: u32 = 64;

    pub struct StoredChunk {
        pub chunk: u32,
        pub present: u64,
        pub sums: Vec<u128>,
    }
}

pub mod cache {
    #[path = "../../../../src/cache/block_map.rs"]
    #[allow(dead_code)]
    mod block_map;
    #[path = "../../../../src/cache/flights.rs"]
    #[allow(dead_code)]
    mod flights;
    #[path = "../../../../src/cache/holds.rs"]
    mod holds;
    mod sync;
    #[path = "../../../../src/cache/unkept.rs"]
    #[allow(dead_code)]
    mod unkept;

    #[derive(Debug, Clone)]
    pub enum CacheError {
        Stopping,
    }

    pub mod checks;
}
