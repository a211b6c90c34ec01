//! `weightfs serve`: what other machines ask of it, by gRPC and HTTP, and how it begins and ends.

mod ending;
pub mod figures;
mod models;
pub mod server;
mod services;
mod tls;
