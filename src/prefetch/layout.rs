//! Where the tensors of a file lie.

use crate::types::ByteRange;

/// What the first bytes of a file say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Header {
    Known(Layout),
    /// So far it makes sense; it is at least this long, which is more than was given.
    More(u64),
    /// It is damaged, hostile or larger than any real one: the file is treated as if it had none.
    Unreadable,
}

/// The header's end and every tensor behind it, in file order. There is at least one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) header_end: u64,
    tensors: Vec<ByteRange>,
}

impl Layout {
    /// A file with more tensors is treated as one without a header. The largest real shards have some ten thousand.
    pub(super) const MAX_TENSORS: usize = 1 << 16;

    /// `None` if tensors overlap, lie outside a content of `size` bytes, or there are none.
    pub(super) fn new(header_end: u64, mut tensors: Vec<ByteRange>, size: u64) -> Option<Self> {
        tensors.retain(|tensor| !tensor.is_empty());
        tensors.sort_by_key(|tensor| tensor.start);
        tensors.shrink_to_fit();
        let overlap = tensors.windows(2).any(|pair| pair[0].end > pair[1].start);
        let inside = tensors.first()?.start >= header_end && tensors.last()?.end <= size;
        (inside && !overlap && tensors.len() <= Self::MAX_TENSORS).then_some(Self { header_end, tensors })
    }

    /// The last tensor that begins at or before `offset`, or the first of all.
    pub(super) fn tensor_at(&self, offset: u64) -> ByteRange {
        let after = self.tensors.partition_point(|tensor| tensor.start <= offset);
        self.tensors[after.saturating_sub(1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_that_overlap_or_leave_the_file_are_no_layout() {
        let layout = |tensors: &[(u64, u64)], size| {
            Layout::new(10, tensors.iter().map(|(start, end)| ByteRange::new(*start, *end)).collect(), size)
        };
        assert!(layout(&[(20, 30), (10, 20)], 30).is_some());
        assert!(layout(&[(10, 21), (20, 30)], 30).is_none());
        assert!(layout(&[(10, 20), (20, 31)], 30).is_none());
        assert!(layout(&[(9, 20)], 30).is_none());
        assert!(layout(&[], 30).is_none());
    }

    #[test]
    fn an_offset_belongs_to_the_tensor_before_it() {
        let tensors = vec![ByteRange::new(10, 20), ByteRange::new(24, 30)];
        let layout = Layout::new(10, tensors.clone(), 30).unwrap();
        for (offset, tensor) in [(0, 0), (10, 0), (19, 0), (22, 0), (24, 1), (99, 1)] {
            assert_eq!(layout.tensor_at(offset), tensors[tensor], "{offset}");
        }
    }
}

#[cfg(test)]
pub(super) mod tests_support {
    /// Chance that is the same every time.
    pub(in crate::prefetch) struct Dice(u64);

    impl Dice {
        pub(in crate::prefetch) fn new(seed: u64) -> Self {
            Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
        }

        pub(in crate::prefetch) fn below(&mut self, end: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % end
        }
    }
}
