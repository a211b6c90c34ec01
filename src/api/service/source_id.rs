//! The id of a source: what offers the same has the same one, whoever computes it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::api::wire::p2p::SourceIdentity;

/// 16 hex digits of the SHA-256 of the identity as JSON: keys in order, texts in lower case, optional ones only if they are
/// given.
pub fn source_id(identity: &SourceIdentity) -> String {
    let mut digits = hex::encode(Sha256::digest(canonical(identity)));
    digits.truncate(16);
    digits
}

fn canonical(identity: &SourceIdentity) -> String {
    // Of keys that differ in case only, the first in order counts.
    let mut extra = Map::new();
    for (key, value) in identity.extra_parameters.iter().collect::<BTreeMap<_, _>>() {
        extra.entry(key.to_lowercase()).or_insert_with(|| Value::from(value.to_lowercase()));
    }
    let mut fields: BTreeMap<&str, Value> = BTreeMap::from([
        ("mx_version", text(&identity.mx_version)),
        ("mx_source_type", json!(identity.mx_source_type)),
        ("model_name", text(&identity.model_name)),
        ("backend_framework", json!(identity.backend_framework)),
        ("tensor_parallel_size", json!(identity.tensor_parallel_size)),
        ("pipeline_parallel_size", json!(identity.pipeline_parallel_size)),
        ("expert_parallel_size", json!(identity.expert_parallel_size)),
        ("dtype", text(&identity.dtype)),
        ("quantization", text(&identity.quantization)),
        ("extra_parameters", json!(extra.into_iter().collect::<BTreeMap<_, _>>())),
        ("revision", text(&identity.revision)),
    ]);
    let optional = [
        ("backend_framework_version", &identity.backend_framework_version),
        ("torch_version", &identity.torch_version),
        ("cuda_version", &identity.cuda_version),
        ("triton_version", &identity.triton_version),
        ("gpu_arch", &identity.gpu_arch),
        ("compile_config_digest", &identity.compile_config_digest),
    ];
    fields.extend(optional.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name, text(value))));
    json!(fields).to_string()
}

fn text(value: &str) -> Value {
    Value::from(value.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> SourceIdentity {
        SourceIdentity {
            mx_version: "0.7.0".to_owned(),
            model_name: "Acme/Tiny".to_owned(),
            backend_framework: 1,
            tensor_parallel_size: 8,
            pipeline_parallel_size: 1,
            dtype: "BFloat16".to_owned(),
            extra_parameters: [("Zeta", "One"), ("alpha", "TWO"), ("Alpha", "Three")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            revision: "ABC".to_owned(),
            ..SourceIdentity::default()
        }
    }

    /// The ids are those that modelexpress 0.7.0 computes.
    #[test]
    fn an_id_is_the_one_that_clients_compute() {
        assert_eq!(source_id(&SourceIdentity::default()), "125556319d66d2f8");
        assert_eq!(source_id(&identity()), "60ea93e9d670efe9");
        let with_versions = SourceIdentity {
            mx_source_type: 4,
            torch_version: "2.6.0+CU124".to_owned(),
            gpu_arch: "SM90".to_owned(),
            ..identity()
        };
        assert_eq!(source_id(&with_versions), "5f02de7bdd9dca8d");
    }

    #[test]
    fn case_and_order_make_no_other_source() {
        let lower = SourceIdentity { model_name: "acme/tiny".to_owned(), dtype: "bfloat16".to_owned(), ..identity() };
        assert_eq!(source_id(&lower), source_id(&identity()));
        let other = SourceIdentity { tensor_parallel_size: 4, ..identity() };
        assert_ne!(source_id(&other), source_id(&identity()));
    }
}
