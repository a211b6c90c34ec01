//! The virtual tree as a mounted filesystem.
//!
//! - `model_fs` and the files it is divided into answer what programs ask, in this project's own types.
//! - `fuse` translates between them and the kernel, `errno` holds the only map to error numbers.
//! - `mount` puts a FUSE connection onto a directory and takes it off again, `session` runs one.
//! - `survival` lets another daemon go on with what this one has mounted, `connection` agrees with the kernel on how.
//! - `scratch` keeps what clients write.
//!
//! Only `fuse`, `connection` and `session` know the FUSE crate.

mod attr;
mod backing;
mod behind;
mod connection;
mod delivery;
mod discard;
mod errno;
mod error;
mod fuse;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod handles;
mod list;
mod loads;
mod lookup;
mod model_fs;
pub mod mount;
pub mod notices;
mod orphans;
mod passthrough;
pub mod pod;
mod read;
mod rename;
pub mod scratch;
pub mod session;
mod shelves;
pub mod survival;
#[cfg(test)]
mod tests;
mod view;
mod write;
mod xattr;

pub use error::FsError;
pub use model_fs::ModelFs;
pub use view::View;
