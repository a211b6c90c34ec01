//! Files that clients write and nobody reads: accepted, then dropped.
//!
//! Only their sizes are remembered, for the client that writes one and looks at it. A restart forgets them, and a
//! client that still writes is answered as before.

use std::time::Duration;

use crate::tree::Node;

pub(super) struct Discarded {
    sizes: moka::sync::Cache<Node, u64>,
}

impl Discarded {
    const REMEMBERED: u64 = 1024;
    const IDLE: Duration = Duration::from_secs(600);

    pub(super) fn new() -> Self {
        let sizes = moka::sync::Cache::builder().max_capacity(Self::REMEMBERED).time_to_idle(Self::IDLE).build();
        Self { sizes }
    }

    pub(super) fn size(&self, node: Node) -> u64 {
        self.sizes.get(&node).unwrap_or(0)
    }

    pub(super) fn set_size(&self, node: Node, size: u64) {
        self.sizes.insert(node, size);
    }

    pub(super) fn wrote(&self, node: Node, end: u64) {
        self.set_size(node, self.size(node).max(end));
    }
}
