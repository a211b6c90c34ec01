//! What the benchmarks work on: a blob and headers of the size that real models have.

use weightfs::db::LandedBlock;
use weightfs::types::{BLOCK_SIZE, Blob, BlobId, BlockIndex};

/// Of a shard of 5 GiB.
pub const BLOCKS: u32 = 5 << 10;
/// Of a large shard.
pub const TENSORS: u64 = 1000;
const TENSOR_BYTES: u64 = 4 << 20;

/// One blob for each number.
pub fn blob(number: u8) -> Blob {
    Blob { id: BlobId::Sha256([number; 32]), size: u64::from(BLOCKS) * BLOCK_SIZE }
}

pub fn landed(blocks: std::ops::Range<u32>) -> Vec<LandedBlock> {
    blocks.map(|block| LandedBlock { block: BlockIndex(block), sum: u128::from(block) << 64 | 1 }).collect()
}

/// A file's first bytes, and how large it is.
pub struct Head {
    pub bytes: Vec<u8>,
    pub size: u64,
}

pub fn safetensors() -> Head {
    let tensors = (0..TENSORS).map(|number| {
        let (start, end) = (number * TENSOR_BYTES, (number + 1) * TENSOR_BYTES);
        let name = format!("model.layers.{}.self_attn.q_proj.{number}.weight", number / 10);
        format!(r#""{name}":{{"dtype":"BF16","shape":[1024,2048],"data_offsets":[{start},{end}]}}"#)
    });
    let json = format!("{{{}}}", tensors.collect::<Vec<_>>().join(","));
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    let size = bytes.len() as u64 + TENSORS * TENSOR_BYTES;
    Head { bytes, size }
}

/// A vocabulary of 50 000 words before the tensors, as language models have it.
pub fn gguf() -> Head {
    const WORDS: u64 = 50_000;
    const STRING: u32 = 8;
    const ARRAY: u32 = 9;
    const F16: u32 = 1;
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    };
    let mut bytes = b"GGUF".to_vec();
    bytes.extend_from_slice(&3u32.to_le_bytes());
    bytes.extend_from_slice(&TENSORS.to_le_bytes());
    bytes.extend_from_slice(&1u64.to_le_bytes());
    text(&mut bytes, "tokenizer.ggml.tokens");
    bytes.extend_from_slice(&ARRAY.to_le_bytes());
    bytes.extend_from_slice(&STRING.to_le_bytes());
    bytes.extend_from_slice(&WORDS.to_le_bytes());
    (0..WORDS).for_each(|word| text(&mut bytes, &format!("token{word}")));
    for number in 0..TENSORS {
        text(&mut bytes, &format!("blk.{number}.attn_q.weight"));
        bytes.extend_from_slice(&2u32.to_le_bytes());
        bytes.extend_from_slice(&1024u64.to_le_bytes());
        bytes.extend_from_slice(&2048u64.to_le_bytes());
        bytes.extend_from_slice(&F16.to_le_bytes());
        bytes.extend_from_slice(&(number * TENSOR_BYTES).to_le_bytes());
    }
    let size = bytes.len() as u64 + 32 + TENSORS * TENSOR_BYTES;
    Head { bytes, size }
}
