//! The virtual tree as a mounted filesystem.
//!
//! `mount` puts a FUSE connection onto a directory and takes it off again. `scratch` keeps what clients write.

pub mod mount;
pub mod scratch;
