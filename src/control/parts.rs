//! The data plane, as far as control asks of it.

use std::sync::Arc;

use async_trait::async_trait;

use crate::fs::mount::{MountError, UnmountError};
use crate::tree::RepoSummary;

use super::node::MountOrder;

/// What a node runs on. A test has one without a kernel.
#[async_trait]
pub trait Plane: Send + Sync + 'static {
    /// Returns once the mount can be read.
    async fn mount(&self, order: &MountOrder) -> Result<Arc<dyn Mounted>, MountError>;
    fn repos(&self) -> Vec<RepoSummary>;
    fn cached_bytes(&self) -> u64;
    /// By the names of docs/METRICS.md.
    fn counters(&self) -> Vec<(&'static str, u64)>;
}

/// A live mount.
#[async_trait]
pub trait Mounted: Send + Sync + 'static {
    /// Resolves when the kernel has let go of it, whoever unmounted it.
    async fn finished(&self);
    /// Takes it from its directory; with `lazy` even while it is in use.
    async fn unmount(&self, lazy: bool) -> Result<(), UnmountError>;
}
