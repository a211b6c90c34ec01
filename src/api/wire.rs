//! The messages of the network service, one module a package, as `proto/` has them.

#[allow(clippy::all, missing_docs)]
pub mod health {
    tonic::include_proto!("model_express.health");
}

#[allow(clippy::all, missing_docs)]
pub mod api {
    tonic::include_proto!("model_express.api");
}

#[allow(clippy::all, missing_docs)]
pub mod model {
    tonic::include_proto!("model_express.model");
}

#[allow(clippy::all, missing_docs)]
pub mod p2p {
    tonic::include_proto!("model_express.p2p");
}

/// All of them as reflection tells them.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/service.bin"));
