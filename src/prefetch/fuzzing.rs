//! The parsers of weight files, for `crate::fuzzing`.

use super::format::Format;
use super::layout::Header;
use super::shards;

pub fn safetensors_header(bytes: &[u8]) {
    header(Format::Safetensors, bytes);
}

pub fn gguf_header(bytes: &[u8]) {
    header(Format::Gguf, bytes);
}

/// The input is what is here of a file of some size.
fn header(format: Format, bytes: &[u8]) {
    let here = bytes.len() as u64;
    for size in [here, here.saturating_mul(1000), 1 << 44, u64::MAX] {
        match format.read(bytes, size) {
            Header::Known(layout) => {
                assert!(layout.header_end <= here, "what is known was read");
                let last = layout.tensor_at(u64::MAX);
                assert!(layout.header_end <= layout.tensor_at(0).start && last.start < last.end && last.end <= size);
            }
            Header::More(least) => {
                assert!(here < least && least <= size, "more is more than this and no more than all")
            }
            Header::Unreadable => {}
        }
    }
}

pub fn index(bytes: &[u8]) {
    for file in ["model-00001-of-00003.safetensors", "unet/model-00001-of-00003.safetensors"] {
        let index = file.replace("-00001-of-00003.safetensors", ".safetensors.index.json");
        for next in shards::indexed(file, &index, bytes).into_iter().flatten() {
            assert!(
                next.as_str() > file && next.starts_with(file.split_once("model").map_or("", |(folder, _)| folder))
            );
        }
    }
    let Ok(name) = std::str::from_utf8(bytes) else { return };
    for next in shards::numbered(name, |_| true).take(shards::AHEAD) {
        assert!(next != name);
    }
}
