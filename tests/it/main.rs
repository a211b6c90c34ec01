//! Promises shown through a real mount, with the Hub's stand-in behind it.
//!
//! Each module holds the promises of one kind; `harness` starts and ends what they need. They need root and /dev/fuse.

mod ahead;
mod behind;
mod failures;
mod fio;
mod harness;
mod kills;
mod layout;
#[allow(dead_code, reason = "the command line's own tests use all of it")]
mod machine;
mod metadata;
mod passthrough;
mod processes;
mod reading;
mod space;
mod writing;
