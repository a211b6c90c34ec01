//! Tells who looks at one tensor of a file from who goes through several.
//!
//! What arrives here is not what programs read but what the kernel makes of it: a page fault reads half a megabyte on
//! both sides, a read in a row up to two beyond its end. So bytes of a second tensor prove nothing, and with tensors of a
//! few kilobytes between large ones nearly every read has some. The test is the other way round: is there one tensor
//! that explains every read so far, with the kernel's share around it? If none does, somebody reads several.

use super::layout::Layout;
use crate::types::{BLOCK_SIZE, ByteRange};

/// What the readers of a file are at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Header,
    /// One tensor explains all reads.
    Tensor(ByteRange),
    /// They load the file.
    Several,
}

#[derive(Debug, Default)]
pub(super) struct Looks {
    /// From the first to the last byte read so far, without what a look at the header may have read.
    seen: Option<ByteRange>,
}

/// Half a window of 1 MiB around a page fault, counted from the start of the faulting page: tensors start within pages.
const BEFORE: u64 = BLOCK_SIZE / 2 + 4096;

/// What the kernel may read beyond `len` bytes that were read in a row: its windows grow with that to 1 MiB, and it
/// asks for the next one when the reader enters one.
fn beyond(len: u64) -> u64 {
    if len <= BLOCK_SIZE { BLOCK_SIZE } else { 2 * BLOCK_SIZE }
}

impl Looks {
    pub(super) fn on_read(&mut self, read: ByteRange, layout: &Layout) -> Look {
        let header = layout.header_end + beyond(layout.header_end);
        if read.end > header {
            let read = ByteRange::new(read.start.max(header), read.end);
            let seen = self.seen.unwrap_or(read);
            self.seen = Some(ByteRange::new(seen.start.min(read.start), seen.end.max(read.end)));
        }
        let Some(seen) = self.seen else { return Look::Header };
        let tensor = layout.tensor_at(seen.start.saturating_add(BEFORE));
        if seen.end > tensor.end.saturating_add(beyond(tensor.len())) {
            return Look::Several;
        }
        if read.end <= header { Look::Header } else { Look::Tensor(tensor) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = BLOCK_SIZE;
    const KIB: u64 = 1 << 10;
    /// Tensors begin where the header ends, which is at no page's start.
    const HEADER: u64 = 100 * KIB + 2928;

    /// A file of layers as they are: a matrix of 32 MiB between two norms of 4 KiB.
    fn layers(count: usize) -> (Layout, Vec<ByteRange>) {
        of([4 * KIB, 32 * MIB, 4 * KIB].repeat(count))
    }

    fn of(lengths: Vec<u64>) -> (Layout, Vec<ByteRange>) {
        let mut at = HEADER;
        let mut tensors = Vec::new();
        for length in lengths {
            tensors.push(ByteRange::at(at, length));
            at += length;
        }
        (Layout::new(HEADER, tensors.clone(), at).unwrap(), tensors)
    }

    /// What the kernel reads for a page fault.
    fn fault(at: u64) -> ByteRange {
        ByteRange::at((at & !0xfff).saturating_sub(MIB / 2), MIB)
    }

    /// A program reads `range` in a row; the kernel's windows run ahead of it.
    fn scan(looks: &mut Looks, layout: &Layout, range: ByteRange) -> Look {
        let end = range.end + beyond(range.len());
        let mut last = Look::Header;
        for at in (range.start..end).step_by((128 * KIB) as usize) {
            last = looks.on_read(ByteRange::new(at, end.min(at + 128 * KIB)), layout);
        }
        last
    }

    #[test]
    fn the_header_and_what_the_kernel_reads_after_it_is_no_tensor() {
        let (layout, _) = layers(4);
        assert_eq!(scan(&mut Looks::default(), &layout, ByteRange::new(0, HEADER)), Look::Header);
        assert_eq!(Looks::default().on_read(fault(0), &layout), Look::Header);
    }

    #[test]
    fn spill_over_into_the_neighbours_of_a_tensor_is_no_second_one() {
        let (layout, tensors) = layers(4);
        for tensor in &tensors[1..] {
            let mut looks = Looks::default();
            looks.on_read(fault(0), &layout);
            for at in [tensor.start, tensor.start + tensor.len() / 2, tensor.end - 1] {
                assert_ne!(looks.on_read(fault(at), &layout), Look::Several, "{tensor:?} at {at}");
            }
            assert_ne!(scan(&mut looks, &layout, *tensor), Look::Several, "{tensor:?}");
        }
    }

    #[test]
    fn two_tensors_are_several() {
        let (layout, tensors) = layers(4);
        for pair in [[1, 4], [4, 1], [1, 5], [2, 11], [11, 2]] {
            let mut looks = Looks::default();
            let [first, second] = pair.map(|index| tensors[index]);
            assert_ne!(looks.on_read(fault(first.start + first.len() / 2), &layout), Look::Several);
            assert_eq!(looks.on_read(fault(second.end - 1), &layout), Look::Several, "{pair:?}");
        }
    }

    #[test]
    fn neighbours_read_one_after_the_other_are_several_once_the_second_has_progress() {
        let (layout, tensors) = layers(4);
        let mut looks = Looks::default();
        assert!(matches!(scan(&mut looks, &layout, tensors[4]), Look::Tensor(_)));
        assert_eq!(scan(&mut looks, &layout, ByteRange::at(tensors[7].start, MIB)), Look::Several);
    }

    #[test]
    fn small_tensors_are_told_apart_by_their_distance() {
        let (layout, tensors) = of(vec![64 * KIB; 400]);
        let mut looks = Looks::default();
        assert_ne!(looks.on_read(fault(tensors[200].start), &layout), Look::Several);
        assert_ne!(looks.on_read(fault(tensors[204].start), &layout), Look::Several);
        assert_eq!(looks.on_read(fault(tensors[300].start), &layout), Look::Several);
    }

    #[test]
    fn a_look_at_the_first_megabytes_of_a_large_tensor_stays_with_it() {
        let (layout, tensors) = of(vec![500 * MIB, 100 * MIB]);
        assert_eq!(scan(&mut Looks::default(), &layout, ByteRange::new(0, 20 * MIB)), Look::Tensor(tensors[0]));
    }
}
