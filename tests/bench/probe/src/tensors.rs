//! safetensors files as their own loader reads them: mapped, the header parsed, every tensor copied out in file order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::Outcome;
use crate::page_cache::Map;
use crate::read::open;

const LENGTH_BYTES: usize = 8;

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Tensor { data_offsets: (usize, usize) },
    Metadata {},
}

pub fn copy_all(files: &[PathBuf], passes: u32) -> Result<Outcome> {
    let mut target = Vec::new();
    let started = Instant::now();
    let mut bytes = 0;
    for _ in 0..passes {
        for path in files {
            bytes += copy_file(path, &mut target).with_context(|| path.display().to_string())?;
        }
    }
    Ok(Outcome { seconds: started.elapsed().as_secs_f64(), bytes, ..Outcome::default() })
}

fn copy_file(path: &Path, target: &mut Vec<u8>) -> Result<u64> {
    let map = Map::of(&open(path)?)?;
    let bytes = map.bytes();
    let length = bytes.get(..LENGTH_BYTES).context("too short")?;
    let data = LENGTH_BYTES + u64::from_le_bytes(length.try_into()?) as usize;
    let header = bytes.get(LENGTH_BYTES..data).context("the header is cut")?;
    let header: BTreeMap<String, Entry> = serde_json::from_slice(header)?;
    let tensors = header.into_values().filter_map(|entry| match entry {
        Entry::Tensor { data_offsets: (begin, end) } => Some(data + begin..data + end),
        Entry::Metadata {} => None,
    });
    let mut tensors: Vec<_> = tensors.collect();
    ensure!(!tensors.is_empty(), "it has no tensors");
    tensors.sort_by_key(|tensor| tensor.start);
    for tensor in tensors {
        target.clear();
        target.extend_from_slice(bytes.get(tensor).context("a tensor ends behind the file")?);
    }
    Ok(bytes.len() as u64)
}
