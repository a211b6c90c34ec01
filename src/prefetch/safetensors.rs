//! The header of a safetensors file: its length in 8 bytes, then JSON that names every tensor's place behind it.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::layout::{Header, Layout};
use crate::types::ByteRange;

const LENGTH: u64 = 8;
/// The format allows 100 MB; the largest headers seen are of a few MB.
const MAX_HEADER: u64 = 16 << 20;
/// Not a tensor: free text about the file.
const METADATA: &str = "__metadata__";

/// `bytes` are the first of a content of `size` bytes. Memory is bounded by `bytes`, whatever they say.
pub(super) fn read(bytes: &[u8], size: u64) -> Header {
    let Some(length) = bytes.first_chunk().map(|length| u64::from_le_bytes(*length)) else {
        return if size > LENGTH { Header::More(LENGTH) } else { Header::Unreadable };
    };
    if length > MAX_HEADER || length > size - LENGTH.min(size) {
        return Header::Unreadable;
    }
    let end = LENGTH + length;
    let Some(json) = bytes.get(LENGTH as usize..end as usize) else { return Header::More(end) };
    let layout = serde_json::from_slice::<Places>(json).ok().and_then(|places| places.behind(end, size));
    layout.map_or(Header::Unreadable, Header::Known)
}

/// `[start, end)` of every tensor, counted from the end of the header.
struct Places(Vec<(u64, u64)>);

impl Places {
    fn behind(self, header_end: u64, size: u64) -> Option<Layout> {
        let place = |(start, end): (u64, u64)| {
            let (start, end) = (header_end.checked_add(start)?, header_end.checked_add(end)?);
            (start <= end).then_some(ByteRange { start, end })
        };
        let tensors: Option<Vec<_>> = self.0.into_iter().map(place).collect();
        Layout::new(header_end, tensors?, size)
    }
}

impl<'de> Deserialize<'de> for Places {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PlacesVisitor)
    }
}

struct PlacesVisitor;

impl<'de> Visitor<'de> for PlacesVisitor {
    type Value = Places;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Places, A::Error> {
        #[derive(Deserialize)]
        struct Tensor {
            data_offsets: (u64, u64),
        }

        let mut places = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                map.next_value::<IgnoredAny>()?;
            } else {
                places.push(map.next_value::<Tensor>()?.data_offsets);
            }
        }
        Ok(Places(places))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::prefetch::layout::tests_support::Dice;

    /// The header of a file with tensors of these lengths, one after the other.
    pub(in crate::prefetch) fn header(lengths: &[u64]) -> Vec<u8> {
        let mut start = 0;
        let mut json = r#"{"__metadata__":{"format":"pt"}"#.to_owned();
        for (n, length) in lengths.iter().enumerate() {
            let end = start + length;
            json += &format!(r#","t{n}":{{"dtype":"U8","shape":[{length}],"data_offsets":[{start},{end}]}}"#);
            start = end;
        }
        json += "}";
        [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat()
    }

    fn with_json(json: &str) -> Vec<u8> {
        [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat()
    }

    #[test]
    fn every_tensor_is_found_behind_the_header() {
        let bytes = header(&[100, 200]);
        let end = bytes.len() as u64;
        let Header::Known(layout) = read(&bytes, end + 300) else { panic!("it is a good header") };
        assert_eq!(layout.header_end, end);
        assert_eq!(layout.tensor_at(end + 99), ByteRange::at(end, 100));
        assert_eq!(layout.tensor_at(end + 100), ByteRange::at(end + 100, 200));
    }

    #[test]
    fn a_part_of_a_header_says_how_long_it_is() {
        let bytes = header(&[100, 200]);
        let size = bytes.len() as u64 + 300;
        assert_eq!(read(&bytes[..5], size), Header::More(8));
        for part in 8..bytes.len() {
            assert_eq!(read(&bytes[..part], size), Header::More(bytes.len() as u64));
        }
    }

    #[test]
    fn a_hostile_header_is_no_header() {
        let huge = u64::MAX.to_le_bytes();
        let deep = with_json(&format!(r#"{{"__metadata__":{}"#, "[".repeat(100_000)));
        let wide = with_json(&format!("{{{}}}", r#""t":{"data_offsets":[0,0]},"#.repeat(70_000)));
        let cases: [&[u8]; 10] = [
            b"",
            &huge,
            &deep,
            &wide,
            &with_json("[]"),
            &with_json("{}"),
            &with_json(r#"{"t":{"data_offsets":[0,-1]}}"#),
            &with_json(r#"{"t":{"data_offsets":[9,3]}}"#),
            &with_json(r#"{"t":{"data_offsets":[0,18446744073709551615]}}"#),
            &with_json(r#"{"t":{"data_offsets":[0,8]},"u":{"data_offsets":[4,12]}}"#),
        ];
        for case in cases {
            assert_eq!(read(case, case.len() as u64), Header::Unreadable, "{:?}", &case[..case.len().min(80)]);
        }
        for size in 0..20 {
            assert!(!matches!(read(&huge, size), Header::Known(_)));
        }
    }

    #[test]
    fn no_damage_to_a_header_is_a_panic() {
        let good = header(&[1000, 50, 1, 4096]);
        let size = good.len() as u64 + 5147;
        let mut dice = Dice::new(1);
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..=dice.below(4) {
                let at = dice.below(bytes.len() as u64) as usize;
                bytes[at] = dice.below(256) as u8;
            }
            bytes.truncate(dice.below(bytes.len() as u64 + 1) as usize);
            if let Header::More(least) = read(&bytes, size) {
                assert!(least > bytes.len() as u64 && least <= size);
            }
        }
    }
}
