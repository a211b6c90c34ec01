//! The promises of the stand-in, one module a part, through a real HTTP client.

mod access;
mod admin;
mod asking;
mod cdn;
mod faults;
mod folders;
mod lifecycle;
mod log;
mod program;
mod resolve;
mod revisions;
mod tree;
