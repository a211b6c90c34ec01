//! weightfs: models as files that are fetched lazily.
//!
//! The modules below are listed from the top down, and each uses only those after it (`tests/layers.rs` checks it).

#[cfg(any(test, fuzzing))]
pub mod fuzzing;

pub mod cli;

pub mod daemon;

pub mod config;

pub mod api;

pub mod control;

pub mod fs;

pub mod tree;

pub mod cache;

pub mod db;
pub mod origin;

pub mod metrics;
pub mod prefetch;

pub mod types;
