//! What outlives a daemon: each mount's connection and state, kept by another process.
//!
//! `session` keeps a mount here when it begins and forgets it when it ends; a later daemon gets everything back as
//! [`HeldMount`]s. docs/design/0015-survival.md says what becomes of what.

mod agreement;
mod keeper;
mod service_manager;
mod state;
mod store;

pub use agreement::Agreement;
pub use keeper::{HeldMount, Keeper, KeptMount, MountName};
pub use service_manager::{ServiceManager, passed};
pub use state::{Header, StateFile};
pub use store::{HolderStore, Store};
