//! The driver as a kubelet has it: the program, the real daemon behind it, and the Hub's stand-in behind that.
//!
//! They need root and /dev/fuse, and the program `weightfs` beside the driver: `cargo build -p weightfs --bin weightfs` where it
//! is not there yet.

mod home;
mod ill;
mod model;
mod node;
mod registration;
mod sanity;
mod tokens;
