//! Huge files that are not to stay in memory: what of them has been read leaves the page cache a window later.
//!
//! The daemon answers every read of such a file, so it knows what was read; a file that is passed through would be read
//! behind its back. `session` carries out what this says, on a thread of its own: the kernel waits for readers of the same
//! pages.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::cache::{Lease, Pages};
use crate::tree::Node;
use crate::types::ByteRange;

/// The parts of huge files that may be in the page cache because of this mount.
pub(super) struct Behind {
    /// Files from this size on are huge; `None`: none is.
    least: Option<u64>,
    /// What was read, longest ago first.
    spans: Mutex<VecDeque<Span>>,
    overflow: Notify,
}

/// A part of a file, of [`Behind::SPAN`] bytes or less at its end.
pub(super) struct Span {
    pub(super) node: Node,
    pub(super) range: ByteRange,
    /// To have been read is no use: it keeps nothing from being evicted.
    pub(super) pages: Pages,
}

impl Behind {
    const SPAN: u64 = 4 << 20;
    /// Spans that stay: 128 MiB, so that several readers, and the kernel's read-ahead, keep what they are about to use.
    const WINDOW: usize = 32;
    /// Spans that wait to be dropped, with those that stay. What is more the kernel drops when it wants the memory.
    const MOST: usize = 1024;

    pub(super) fn new(least: Option<u64>) -> Self {
        Self { least, spans: Mutex::default(), overflow: Notify::new() }
    }

    pub(super) fn is_huge(&self, size: u64) -> bool {
        self.least.is_some_and(|least| size >= least)
    }

    /// Takes note of a read. Never waits.
    pub(super) fn read(&self, node: Node, lease: &Lease, range: ByteRange) {
        if !self.is_huge(lease.blob().size) || range.is_empty() {
            return;
        }
        let mut spans = self.spans.lock();
        for number in range.start / Self::SPAN..range.end.div_ceil(Self::SPAN) {
            let span = ByteRange::at(number * Self::SPAN, Self::SPAN).clamp(lease.blob().size);
            let is_it = |known: &Span| known.node == node && known.range == span;
            // Near the end first: that is where readers in a row are.
            if !spans.iter().rev().any(is_it) {
                spans.push_back(Span { node, range: span, pages: lease.pages() });
            }
        }
        while spans.len() > Self::MOST {
            spans.pop_front();
        }
        if spans.len() > Self::WINDOW {
            self.overflow.notify_one();
        }
    }

    /// The next span to drop, as soon as there is one. For one caller.
    pub(super) async fn next(&self) -> Span {
        loop {
            if let Some(span) = self.oldest_beyond_window() {
                return span;
            }
            self.overflow.notified().await;
        }
    }

    fn oldest_beyond_window(&self) -> Option<Span> {
        let mut spans = self.spans.lock();
        if spans.len() > Self::WINDOW { spans.pop_front() } else { None }
    }
}
