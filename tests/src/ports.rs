//! Free TCP ports on 127.0.0.1 below the ephemeral range.
//!
//! A port from the ephemeral range would not do: a client that polls a port which is not open yet may be
//! given that same port as its own and so connect to itself.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 23_000;
const LAST: u16 = 31_700; // Apache Kafka's controller listens 1,001 ports above its broker

/// A port nobody listens on. Two calls in one process never give the same one; two processes start at
/// different places, and a broker that loses the remaining race fails with "address in use".
pub fn free() -> u16 {
    together(1)
}

/// The first of so many ports that lie together, as [`free`].
pub fn together(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % u32::from(LAST - FIRST)) as u16;
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    for _ in FIRST..=LAST {
        let step = NEXT.fetch_add(count, Ordering::Relaxed);
        let port = FIRST + (start.wrapping_mul(7).wrapping_add(step)) % (LAST - FIRST + 1);
        if port <= LAST + 1 - count && (port..port + count).all(is_free) {
            return port;
        }
    }
    panic!("no {count} free ports together between {FIRST} and {LAST}");
}

/// The bootstrap address of a port.
pub fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}
