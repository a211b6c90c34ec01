//! The parsers of weight files, for tests/bench/micro.

use super::format::Format;
use super::layout::Header;

/// Whether the header of a content of `size` bytes is understood, read from its first bytes.
pub fn reads_safetensors(bytes: &[u8], size: u64) -> bool {
    matches!(Format::Safetensors.read(bytes, size), Header::Known(_))
}

pub fn reads_gguf(bytes: &[u8], size: u64) -> bool {
    matches!(Format::Gguf.read(bytes, size), Header::Known(_))
}
