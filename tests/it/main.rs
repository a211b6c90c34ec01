//! Promises shown through a real mount, with the Hub's stand-in behind it.
//!
//! Each module holds the promises of one kind; `harness` starts and ends what they need. They need root and /dev/fuse.

mod ahead;
mod behind;
mod changes;
mod config;
mod directories;
mod failures;
mod fio;
mod harness;
mod helper;
mod image;
mod integrity;
mod kills;
mod layout;
mod machine;
mod metadata;
mod offline;
mod originals;
mod passthrough;
mod path_tree;
mod processes;
mod reading;
mod reference;
mod s3;
mod serve;
mod space;
mod standing;
mod storm;
mod systemd;
mod transfer;
mod verbs;
mod writing;
mod xet;
