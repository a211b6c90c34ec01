//! A stand-in for the Hugging Face Hub and its CDN, with faults on request, for tests.
//!
//! ```no_run
//! use test_hub::{Fault, Files, Hub, Target};
//!
//! let hub = Hub::start()?;
//! let files = Files::new().text("config.json", "{}").bytes("model.safetensors", vec![0; 1000]);
//! let commit = hub.commit("acme/tiny", files)?;
//! hub.set_faults(Fault::on(Target::Cdn).path("model.safetensors").times(1).cut_after(100));
//! // HF_ENDPOINT is hub.endpoint()
//! assert!(hub.log().is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A request goes `server` > `exchange` (log, faults) > `route` > `api` or `resolve`, or `cdn` > `shape`. `hub` is the
//! handle tests hold, `admin` the same over HTTP, `folder` reads repositories from disk. It follows the protocol that
//! clients rely on, down to headers, and never asks anybody else.

mod admin;
mod api;
mod cdn;
mod clock;
mod commit;
mod content;
mod download;
mod exchange;
mod faults;
mod files;
pub mod folder;
mod git;
mod hash_cache;
mod hub;
mod lfs;
mod link;
mod log;
mod options;
mod port;
mod query;
mod range;
mod refusal;
mod repo;
mod resolve;
mod route;
mod server;
mod shape;
mod sign;
mod store;
mod wire;

pub use commit::CommitError;
pub use faults::{Fault, Faults, RateLimit, Target};
pub use files::Files;
pub use hub::{Hub, HubBuilder};
pub use lfs::LfsRule;
pub use log::{Host, RequestRecord};
pub use options::Options;
pub use port::free_port;
pub use repo::{RepoId, RepoKind, RepoSettings};
pub use store::StoreError;
