//! Which files are weights, as ModelExpress has it: clients ask for the rest first and then for exactly these, so the two
//! sides must agree to the letter.

pub const SUFFIXES: [&str; 7] = [".bin", ".safetensors", ".h5", ".msgpack", ".ckpt.index", ".iop", ".gas"];

pub fn is_weight(path: &str) -> bool {
    SUFFIXES.iter().any(|suffix| path.ends_with(suffix))
}

/// The same as patterns over whole paths.
pub fn patterns() -> Vec<String> {
    SUFFIXES.iter().map(|suffix| format!("*{suffix}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_told_by_the_end_of_their_names() {
        for path in ["model.safetensors", "sub/pytorch_model.bin", "tf_model.ckpt.index", "a.gas"] {
            assert!(is_weight(path), "{path}");
        }
        // The clients do not ask for these as weights, so they come with the rest.
        for path in ["config.json", "model.safetensors.index.json", "model.BIN", "model.gguf", "bin"] {
            assert!(!is_weight(path), "{path}");
        }
    }
}
