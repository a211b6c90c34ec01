//! What keeps a mount alive while no daemon serves it.
//!
//! A holder is a small process with the descriptors of every mount of one daemon. It starts the daemon, starts the next one
//! when it dies, and hands the descriptors on; docs/design/0015-survival.md has the whole of it. It knows nothing of
//! models, never speaks FUSE, opens no network connection and reads no configuration.
//!
//! [`holder`] is the process, [`client`] the daemon's end, `wire` what goes between them, [`fuse`] what needs privilege,
//! [`notices`] what may have to wait where no signal reaches. [`helper`] is the program that mount(8) runs, which becomes a
//! holder with few rights.

pub mod client;
pub mod fuse;
pub mod helper;
pub mod holder;
mod mounts;
pub mod notices;
mod privileges;
mod process;
mod store;
mod wire;

pub use process::Program;

/// Where a daemon finds its holder: the path of a socket.
pub const HOLDER_VARIABLE: &str = "WEIGHTFS_HOLDER";
/// Set for a daemon that is to wait until the one before it has ended.
pub const STANDBY_VARIABLE: &str = "WEIGHTFS_STANDBY";
