//! Ports for programs that are told where to listen.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// A port that nobody has, nor gets by chance before it is listened at: below those that connections are given.
pub fn free_port() -> u16 {
    const FIRST: u16 = 15_000;
    const PORTS: u32 = 15_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let own = std::process::id().wrapping_mul(97);
    let mut ports = std::iter::repeat_with(|| {
        let number = own.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % PORTS;
        FIRST + number as u16
    });
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}
