//! Which files a repository keeps in LFS. A commit asks once for each file; the answer decides ETag and redirect.

use serde::{Deserialize, Serialize};

/// The Hub refuses larger files outside LFS.
const DEFAULT_THRESHOLD: u64 = 10 * 1024 * 1024;

/// What a new repository's `.gitattributes` on the Hub lists, as far as models use it.
const DEFAULT_PATTERNS: [&str; 30] = [
    "*.7z",
    "*.arrow",
    "*.bin",
    "*.bz2",
    "*.ckpt",
    "*.ftz",
    "*.gguf",
    "*.gz",
    "*.h5",
    "*.joblib",
    "*.mlmodel",
    "*.model",
    "*.msgpack",
    "*.npy",
    "*.npz",
    "*.onnx",
    "*.ot",
    "*.parquet",
    "*.pb",
    "*.pickle",
    "*.pkl",
    "*.pt",
    "*.pth",
    "*.safetensors",
    "*.tar",
    "*.tflite",
    "*.tgz",
    "*.xz",
    "*.zip",
    "*.zst",
];

/// A file is in LFS when it is larger than `threshold` bytes or its name matches a pattern (one `*` at most).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LfsRule {
    pub threshold: u64,
    pub patterns: Vec<String>,
}

impl Default for LfsRule {
    fn default() -> Self {
        LfsRule { threshold: DEFAULT_THRESHOLD, patterns: DEFAULT_PATTERNS.map(str::to_owned).to_vec() }
    }
}

impl LfsRule {
    /// Everything is a git file, whatever its name and size.
    pub fn never() -> Self {
        LfsRule { threshold: u64::MAX, patterns: Vec::new() }
    }

    pub fn applies(&self, path: &str, size: u64) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        size > self.threshold || self.patterns.iter().any(|pattern| matches(pattern, name))
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_and_large_files_are_lfs() {
        let rule = LfsRule::default();
        assert!(rule.applies("unet/model.safetensors", 3));
        assert!(rule.applies("tokenizer.json", DEFAULT_THRESHOLD + 1));
        assert!(!rule.applies("tokenizer.json", DEFAULT_THRESHOLD));
        assert!(!LfsRule::never().applies("model.safetensors", u64::MAX));
    }
}
