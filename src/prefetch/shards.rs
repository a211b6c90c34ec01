//! Which files of a model come after one that is being loaded.
//!
//! Pure functions over names: a snapshot's, or those in the text of an index file.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

/// Shards that are brought before anybody asks for them.
pub const AHEAD: usize = 2;
/// An index that is larger is not read; those of the largest models are of some MB.
pub const MAX_INDEX: u64 = 16 << 20;

const SEPARATOR: &str = "-of-";

/// Whether `name` may be the index of `file`: `model.safetensors.index.json` and its like, in the same folder.
pub fn may_index(name: &str, file: &str) -> bool {
    let (folder, base) = split(name);
    folder == split(file).0 && base.ends_with(".json") && base.contains(".index.")
}

/// The shards after `file`, by the text of the index called `index`; `None` if that does not know `file`.
///
/// An index names a file for each tensor, in no useful order. Loaders go through the files by name, and so does this.
pub fn indexed(file: &str, index: &str, text: &[u8]) -> Option<Vec<String>> {
    let (folder, base) = split(file);
    if folder != split(index).0 {
        return None;
    }
    let names = serde_json::from_slice::<Index>(text).ok()?.weight_map.0;
    let path = |name: &String| if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
    names.contains(base).then(|| names.iter().filter(|name| name.as_str() > base).map(path).collect())
}

/// The shards after `file` by the numbers in their names (`model-00001-of-00030.safetensors`), as far as `exists`
/// knows them.
pub fn numbered<'f>(file: &'f str, exists: impl Fn(&str) -> bool + 'f) -> impl Iterator<Item = String> + 'f {
    let number = Number::of(file);
    let later = number.into_iter().flat_map(|number| (number.shard + 1..=number.count).map(move |n| number.name(n)));
    later.take_while(move |name| exists(name))
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// A name cut at its number.
#[derive(Clone, Copy)]
struct Number<'f> {
    before: &'f str,
    shard: u32,
    digits: usize,
    count: u32,
    after: &'f str,
}

impl<'f> Number<'f> {
    const MAX_DIGITS: usize = 6;

    fn of(file: &'f str) -> Option<Self> {
        let at = file.rfind(SEPARATOR)?;
        let (head, tail) = (&file[..at], &file[at + SEPARATOR.len()..]);
        let before = head.trim_end_matches(|c: char| c.is_ascii_digit());
        let shard = &head[before.len()..];
        let count = &tail[..tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len())];
        let plausible = before.ends_with(['-', '_', '.', '/'])
            && [shard, count].iter().all(|digits| (1..=Self::MAX_DIGITS).contains(&digits.len()));
        let number = |digits: &str| digits.parse().ok();
        let parsed =
            Self { before, shard: number(shard)?, digits: shard.len(), count: number(count)?, after: &file[at..] };
        plausible.then_some(parsed)
    }

    fn name(&self, shard: u32) -> String {
        format!("{}{shard:0width$}{}", self.before, self.after, width = self.digits)
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: Files,
}

/// The values of a map, each once.
struct Files(BTreeSet<String>);

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FilesVisitor;

        impl<'de> Visitor<'de> for FilesVisitor {
            type Value = Files;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("files by tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Files, A::Error> {
                let mut files = BTreeSet::new();
                while let Some((_, file)) = map.next_entry::<String, String>()? {
                    files.insert(file);
                }
                Ok(Files(files))
            }
        }

        deserializer.deserialize_map(FilesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(file: &str, names: &[&str]) -> Vec<String> {
        numbered(file, |name| names.contains(&name)).collect()
    }

    #[test]
    fn numbered_shards_follow_each_other() {
        let names =
            ["m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf", "n-00002-of-00003.gguf"];
        assert_eq!(after(names[0], &names), names[1..3]);
        assert_eq!(after(names[1], &names), names[2..3]);
        assert!(after(names[2], &names).is_empty());
        let names = ["x/pytorch_model_00009-of-00010.bin", "x/pytorch_model_00010-of-00010.bin"];
        assert_eq!(after(names[0], &names), names[1..]);
        let names = ["unet/d-00001-of-00002.fp16.safetensors", "unet/d-00002-of-00002.fp16.safetensors"];
        assert_eq!(after(names[0], &names), names[1..]);
    }

    #[test]
    fn a_missing_shard_ends_the_row() {
        let names = ["m-00001-of-00004.bin", "m-00002-of-00004.bin", "m-00004-of-00004.bin"];
        assert_eq!(after(names[0], &names), names[1..2]);
    }

    #[test]
    fn a_name_without_a_number_has_no_next() {
        for name in ["model.safetensors", "out-of-order.bin", "-of-.bin", "a-1-of-99999999999.bin", "m1-of-2.bin", ""] {
            assert_eq!(numbered(name, |_| true).count(), 0, "{name}");
        }
        assert_eq!(numbered("a-1-of-999999.bin", |_| false).count(), 0);
    }

    #[test]
    fn an_index_orders_the_files_it_names() {
        let text = br#"{"metadata":{"total_size":9},"weight_map":{"z":"a.safetensors","b":"c.safetensors","a":"b.safetensors","y":"a.safetensors"}}"#;
        let next = |file, index| indexed(file, index, text);
        assert_eq!(next("a.safetensors", "model.safetensors.index.json").unwrap(), ["b.safetensors", "c.safetensors"]);
        assert_eq!(next("x/b.safetensors", "x/model.safetensors.index.json").unwrap(), ["x/c.safetensors"]);
        assert_eq!(next("c.safetensors", "model.safetensors.index.json").unwrap(), [""; 0]);
        assert_eq!(next("d.safetensors", "model.safetensors.index.json"), None);
        assert_eq!(next("x/a.safetensors", "model.safetensors.index.json"), None);
    }

    #[test]
    fn a_damaged_index_is_no_index() {
        for text in ["", "{", "[]", "{}", r#"{"weight_map":[]}"#, r#"{"weight_map":{"a":1}}"#] {
            assert_eq!(indexed("a.bin", "a.bin.index.json", text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn an_index_lies_beside_its_shards() {
        assert!(may_index("model.safetensors.index.json", "model-00001-of-00002.safetensors"));
        assert!(may_index("x/model.safetensors.index.fp16.json", "x/a.safetensors"));
        assert!(!may_index("model.safetensors.index.json", "x/a.safetensors"));
        assert!(!may_index("config.json", "a.safetensors"));
    }
}
