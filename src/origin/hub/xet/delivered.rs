//! What came by chunks already. Who asks for it again got wrong bytes or has lost them, and gets them the other way: the
//! cache proves contents and drops what does not match, without telling whom it had it from.

use std::sync::Arc;

use moka::sync::Cache;
use parking_lot::Mutex;

use crate::origin::xet::XetHash;
use crate::types::ByteRange;

/// Files that are remembered, and separate stretches of one: of more, the first are forgotten.
const FILES: u64 = 10_000;
const STRETCHES: usize = 1024;

pub(super) struct Delivered(Cache<XetHash, Arc<Mutex<Vec<ByteRange>>>>);

impl Delivered {
    pub(super) fn new() -> Self {
        Self(Cache::new(FILES))
    }

    pub(super) fn note(&self, hash: XetHash, range: ByteRange) {
        add(&mut self.0.get_with(hash, Arc::default).lock(), range);
    }

    pub(super) fn holds_any_of(&self, hash: XetHash, range: ByteRange) -> bool {
        let overlaps = |known: &ByteRange| known.start < range.end && range.start < known.end;
        self.0.get(&hash).is_some_and(|known| known.lock().iter().any(overlaps))
    }
}

/// In no order, none touching another.
fn add(known: &mut Vec<ByteRange>, mut range: ByteRange) {
    known.retain(|other| {
        let apart = other.end < range.start || range.end < other.start;
        if !apart {
            range = ByteRange::new(range.start.min(other.start), range.end.max(other.end));
        }
        apart
    });
    if known.len() == STRETCHES {
        known.remove(0);
    }
    known.push(range);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_delivered_is_known_and_nothing_else() {
        let (delivered, hash) = (Delivered::new(), XetHash::from_hex(&"a".repeat(64)).unwrap());
        let holds = |start, end| delivered.holds_any_of(hash, ByteRange::new(start, end));
        for range in [(10, 20), (30, 40), (20, 30), (60, 70)] {
            delivered.note(hash, ByteRange::new(range.0, range.1));
        }
        assert!(holds(10, 11) && holds(0, 100) && holds(39, 50));
        assert!(!holds(0, 10) && !holds(40, 60) && !holds(70, 80));
        assert_eq!(delivered.0.get(&hash).unwrap().lock().len(), 2, "what touches is one stretch");
        let other = XetHash::from_hex(&"b".repeat(64)).unwrap();
        assert!(!delivered.holds_any_of(other, ByteRange::new(0, 100)));
    }
}
