//! What a file is, by its name.

use super::layout::Header;
use super::{gguf, safetensors};
use crate::types::{RemoteFile, RepoType};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Safetensors,
    Gguf,
    /// Weights whose inner order is not understood here.
    Opaque,
    /// Configurations, tokenizers, data sets: whatever is not loaded whole as a rule.
    Other,
}

impl Format {
    /// No header that is understood here is longer.
    pub(super) const MAX_HEADER: u64 = gguf::MAX_HEADER;
    const OPAQUE: [&str; 13] =
        ["bin", "pt", "pth", "ckpt", "onnx", "onnx_data", "data", "h5", "msgpack", "npz", "ot", "nemo", "tflite"];

    pub(super) fn of(file: &RemoteFile) -> Self {
        let name = file.path.as_str();
        match name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).as_deref() {
            Some("safetensors") => Format::Safetensors,
            Some("gguf") => Format::Gguf,
            // A data set's `.bin` is read at random for days.
            Some(known) if file.repo.kind() != RepoType::Dataset && Self::OPAQUE.contains(&known) => Format::Opaque,
            _ => Format::Other,
        }
    }

    pub(super) fn has_header(self) -> bool {
        matches!(self, Format::Safetensors | Format::Gguf)
    }

    /// Reads the header of a content of `size` bytes from its first bytes.
    pub(super) fn read(self, bytes: &[u8], size: u64) -> Header {
        match self {
            Format::Safetensors => safetensors::read(bytes, size),
            Format::Gguf => gguf::read(bytes, size),
            Format::Opaque | Format::Other => Header::Unreadable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Blob, BlobId, Commit, RepoId, RepoPath};

    fn format(kind: RepoType, path: &str) -> Format {
        Format::of(&RemoteFile {
            repo: RepoId::new(kind, "acme/tiny").unwrap(),
            commit: Commit::from_bytes([1; 20]),
            path: RepoPath::new(path).unwrap(),
            blob: Blob { id: BlobId::Sha256([1; 32]), size: 1 },
        })
    }

    #[test]
    fn a_name_tells_weights_from_the_rest() {
        assert_eq!(format(RepoType::Model, "unet/model.fp16.safetensors"), Format::Safetensors);
        assert_eq!(format(RepoType::Model, "Q4_K_M/m-00001-of-00002.GGUF"), Format::Gguf);
        assert_eq!(format(RepoType::Model, "pytorch_model-00001-of-00002.bin"), Format::Opaque);
        assert_eq!(format(RepoType::Dataset, "tokens.bin"), Format::Other);
        for other in ["config.json", "README.md", "tokenizer.model", "model.safetensors.index.json", "LICENSE"] {
            assert_eq!(format(RepoType::Model, other), Format::Other, "{other}");
        }
    }
}
