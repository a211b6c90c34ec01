//! The network into the daemon: the control socket and its client, and what other machines may ask: `service`, and the
//! `figures` over HTTP.
//!
//! Handlers only translate: what is asked is answered by [`crate::control`], and `code` is the one map of its errors.

pub mod client;
mod code;
pub mod figures;
mod grpc;
mod jobs;
pub mod listen;
pub mod position;
pub mod remote;
pub mod service;
pub mod socket;
mod status;
pub mod wire;

pub use grpc::serve;

/// The messages of `proto/control.proto`.
#[allow(clippy::all, missing_docs)]
pub mod proto {
    tonic::include_proto!("weightfs.control.v1");
}
