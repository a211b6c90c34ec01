//! `weightfs serve`: what other machines ask of it, by gRPC, and how it begins and ends.

mod ending;
mod models;
pub mod server;
mod services;
mod tls;
