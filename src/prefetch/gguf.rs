//! The header of a GGUF file: what is known of the model, then the name and place of every tensor.
//!
//! Nothing says how long it is: a tokenizer's words are part of it. It is walked, and nothing of it is kept but places.

use super::layout::{Header, Layout};
use crate::types::ByteRange;

/// The largest seen, with a tokenizer of 256 thousand words, is of 15 MB.
pub(super) const MAX_HEADER: u64 = 32 << 20;
const MAX_DIMENSIONS: u32 = 8;
/// The format allows arrays of arrays; nobody writes them.
const MAX_DEPTH: u32 = 4;
const DEFAULT_ALIGNMENT: u64 = 32;
const ALIGNMENT: &[u8] = b"general.alignment";
/// The least that a string, an entry of metadata and a tensor's description take.
const STRING: u64 = 8;
const ENTRY: u64 = STRING + 4 + 1;
const TENSOR: u64 = STRING + 4 + 4 + 8;

const U32: u32 = 4;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// `bytes` are the first of a content of `size` bytes. Memory is bounded by `bytes`, whatever they say.
pub(super) fn read(bytes: &[u8], size: u64) -> Header {
    let mut walk = Walk { bytes, at: 0 };
    match walk.header(size) {
        Ok(layout) => Header::Known(layout),
        Err(Stop::Short(least)) if least <= size.min(MAX_HEADER) => Header::More(least),
        Err(_) => Header::Unreadable,
    }
}

enum Stop {
    /// The header is at least this long.
    Short(u64),
    Nonsense,
}

struct Walk<'b> {
    bytes: &'b [u8],
    at: u64,
}

impl<'b> Walk<'b> {
    fn header(&mut self, size: u64) -> Result<Layout, Stop> {
        if self.take(4)? != b"GGUF" || !matches!(self.u32()?, 2 | 3) {
            return Err(Stop::Nonsense);
        }
        let (tensors, entries) = (self.u64()?, self.u64()?);
        if tensors > Layout::MAX_TENSORS as u64 {
            return Err(Stop::Nonsense);
        }
        // What is still to come tells a reader how far ahead it may go, before all of it is here.
        let described = tensors * TENSOR;
        let mut alignment = DEFAULT_ALIGNMENT;
        for entry in 0..entries {
            let after = (entries - entry - 1).saturating_mul(ENTRY).saturating_add(described);
            let stated = self.entry().map_err(|stop| stop.and(after))?;
            alignment = stated.unwrap_or(alignment);
        }
        let mut starts = Vec::new();
        for tensor in 0..tensors {
            let after = (tensors - tensor - 1) * TENSOR;
            starts.push(self.tensor().map_err(|stop| stop.and(after))?);
        }
        let data = self.at.checked_next_multiple_of(alignment).ok_or(Stop::Nonsense)?;
        self.layout(data, starts, size).ok_or(Stop::Nonsense)
    }

    /// A tensor ends where the next one begins: that saves knowing how large each of the quantized types is.
    fn layout(&self, data: u64, mut starts: Vec<u64>, size: u64) -> Option<Layout> {
        starts.sort_unstable();
        starts.dedup();
        let starts: Option<Vec<u64>> = starts.into_iter().map(|start| data.checked_add(start)).collect();
        let starts = starts?;
        let ends = starts.iter().skip(1).copied().chain([size]);
        let tensors = starts.iter().zip(ends).map(|(start, end)| ByteRange { start: *start, end });
        let tensors: Vec<_> = tensors.collect();
        tensors.iter().all(|tensor| tensor.start < tensor.end).then(|| Layout::new(self.at, tensors, size))?
    }

    /// One entry of the metadata; answers the alignment if it states that.
    fn entry(&mut self) -> Result<Option<u64>, Stop> {
        let key = self.string()?;
        let kind = self.u32()?;
        if key == ALIGNMENT && kind == U32 {
            let alignment = u64::from(self.u32()?);
            return if alignment == 0 { Err(Stop::Nonsense) } else { Ok(Some(alignment)) };
        }
        self.skip(kind, 0)?;
        Ok(None)
    }

    /// The place of one tensor, counted from where the data begins.
    fn tensor(&mut self) -> Result<u64, Stop> {
        self.string()?;
        let dimensions = self.u32()?;
        if dimensions > MAX_DIMENSIONS {
            return Err(Stop::Nonsense);
        }
        self.take(u64::from(dimensions) * 8)?;
        self.u32()?;
        self.u64()
    }

    fn skip(&mut self, kind: u32, depth: u32) -> Result<(), Stop> {
        if let Some(width) = width(kind) {
            return self.take(width).map(drop);
        }
        match kind {
            TEXT => self.string().map(drop),
            ARRAY if depth < MAX_DEPTH => self.skip_array(depth),
            _ => Err(Stop::Nonsense),
        }
    }

    fn skip_array(&mut self, depth: u32) -> Result<(), Stop> {
        let (kind, len) = (self.u32()?, self.u64()?);
        if let Some(width) = width(kind) {
            return self.take(len.checked_mul(width).ok_or(Stop::Nonsense)?).map(drop);
        }
        // Each element takes at least as much as a string does, so the bytes given bound the loop.
        for element in 0..len {
            let after = (len - element - 1).saturating_mul(STRING);
            self.skip(kind, depth + 1).map_err(|stop| stop.and(after))?;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<&'b [u8], Stop> {
        let len = self.u64()?;
        self.take(len)
    }

    fn u32(&mut self) -> Result<u32, Stop> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().map_err(|_| Stop::Nonsense)?))
    }

    fn u64(&mut self) -> Result<u64, Stop> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().map_err(|_| Stop::Nonsense)?))
    }

    fn take(&mut self, len: u64) -> Result<&'b [u8], Stop> {
        let end = self.at.checked_add(len).ok_or(Stop::Nonsense)?;
        if end > self.bytes.len() as u64 {
            return Err(Stop::Short(end));
        }
        let taken = &self.bytes[self.at as usize..end as usize];
        self.at = end;
        Ok(taken)
    }
}

impl Stop {
    /// The same with `bytes` more that must follow.
    fn and(self, bytes: u64) -> Self {
        match self {
            Stop::Short(least) => Stop::Short(least.saturating_add(bytes)),
            Stop::Nonsense => Stop::Nonsense,
        }
    }
}

/// The bytes of a value whose kind alone tells them.
fn width(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::prefetch::layout::tests_support::Dice;

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
    }

    fn entry(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
        [&text(key), &kind.to_le_bytes()[..], value].concat()
    }

    fn words(count: u64) -> Vec<u8> {
        let words: Vec<u8> = (0..count).flat_map(|word| text(&format!("word{word}"))).collect();
        [&TEXT.to_le_bytes(), &count.to_le_bytes()[..], &words].concat()
    }

    /// A header with a tokenizer of so many words, and where its data begins.
    pub(in crate::prefetch) fn header(count: u64, lengths: &[u64]) -> (Vec<u8>, u64) {
        let entries = [
            entry("general.architecture", TEXT, &text("llama")),
            entry("general.alignment", U32, &64_u32.to_le_bytes()),
            entry("llama.rope.freq_base", 6, &1.0_f32.to_le_bytes()),
            entry("tokenizer.ggml.tokens", ARRAY, &words(count)),
            entry("tokenizer.ggml.scores", ARRAY, &[&6_u32.to_le_bytes(), &5_u64.to_le_bytes()[..], &[0; 20]].concat()),
        ];
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend((lengths.len() as u64).to_le_bytes());
        bytes.extend((entries.len() as u64).to_le_bytes());
        bytes.extend(entries.concat());
        let mut start = 0_u64;
        for (n, length) in lengths.iter().enumerate() {
            bytes.extend(text(&format!("blk.{n}.weight")));
            bytes.extend(2_u32.to_le_bytes());
            bytes.extend([1_u64.to_le_bytes(), length.to_le_bytes()].concat());
            bytes.extend(12_u32.to_le_bytes());
            bytes.extend(start.to_le_bytes());
            start = (start + length).next_multiple_of(64);
        }
        let data = (bytes.len() as u64).next_multiple_of(64);
        (bytes, data)
    }

    #[test]
    fn every_tensor_is_found_behind_the_header() {
        let (bytes, data) = header(10, &[640, 128, 256]);
        let Header::Known(layout) = read(&bytes, data + 1024) else { panic!("it is a good header") };
        assert_eq!(layout.header_end, bytes.len() as u64);
        assert_eq!(layout.tensor_at(data), ByteRange::at(data, 640));
        assert_eq!(layout.tensor_at(data + 640), ByteRange::at(data + 640, 128));
        assert_eq!(layout.tensor_at(data + 768), ByteRange::at(data + 768, 256));
    }

    #[test]
    fn a_part_of_a_header_asks_for_more_and_never_for_more_than_there_is() {
        let (bytes, data) = header(300, &[640, 128, 256]);
        let size = data + 1024;
        for part in 0..bytes.len() {
            let Header::More(least) = read(&bytes[..part], size) else { panic!("{part} bytes are a part") };
            assert!(least > part as u64 && least <= bytes.len() as u64, "{part} {least}");
        }
    }

    #[test]
    fn a_long_header_is_read_in_few_steps() {
        let (bytes, data) = header(400_000, &[640]);
        let (mut have, mut steps) = (1000, 0);
        while let Header::More(least) = read(&bytes[..have], data + 640) {
            have = least as usize;
            steps += 1;
        }
        assert!(steps < 30, "{steps}");
    }

    #[test]
    fn a_hostile_header_is_no_header() {
        let start = |version: u32, tensors: u64, entries: u64| {
            [&b"GGUF"[..], &version.to_le_bytes(), &tensors.to_le_bytes(), &entries.to_le_bytes()].concat()
        };
        let nested: Vec<u8> =
            (0..1000).flat_map(|_| [&ARRAY.to_le_bytes()[..], &1_u64.to_le_bytes()].concat()).collect();
        let endless = [&0_u32.to_le_bytes()[..], &u64::MAX.to_le_bytes()].concat();
        let cases = [
            b"GGML\x03\0\0\0".to_vec(),
            start(1, 1, 1),
            start(u32::from_be_bytes(3_u32.to_le_bytes()), 1, 1),
            start(3, u64::MAX, 0),
            start(3, 1, u64::MAX),
            start(3, 0, 0),
            [start(3, 1, 1), entry("a", ARRAY, &nested)].concat(),
            [start(3, 1, 1), entry("a", ARRAY, &endless)].concat(),
            [start(3, 1, 1), entry("a", 99, &[0; 64])].concat(),
            [start(3, 1, 1), entry("general.alignment", U32, &[0; 64])].concat(),
            [start(3, 1, 1), u64::MAX.to_le_bytes().to_vec()].concat(),
        ];
        for case in cases {
            assert_eq!(read(&case, 1 << 40), Header::Unreadable, "{:?}", &case[..case.len().min(60)]);
        }
    }

    #[test]
    fn no_damage_to_a_header_is_a_panic() {
        let (good, data) = header(20, &[640, 128, 256]);
        let mut dice = Dice::new(2);
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..=dice.below(4) {
                let at = dice.below(bytes.len() as u64) as usize;
                bytes[at] = dice.below(256) as u8;
            }
            bytes.truncate(dice.below(bytes.len() as u64 + 1) as usize);
            if let Header::More(least) = read(&bytes, data + 1024) {
                assert!(least > bytes.len() as u64 && least <= data + 1024);
            }
        }
    }
}
