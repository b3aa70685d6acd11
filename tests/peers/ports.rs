//! Free ports, each handed out once.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::log::pause;

/// Below the ports that the kernel hands out by itself (32768 on Linux).
const FIRST: u16 = 12_000;
const LAST: u16 = 32_000;

/// A block of `count` neighbouring ports that nobody listens on, over UDP or TCP; returns the first.
pub(crate) fn free(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 1_000).expect("below 1,000") * 16;
    for _ in 0..1_000 {
        let offset = start.wrapping_add(NEXT.fetch_add(count, Ordering::Relaxed)) % (LAST - FIRST);
        let block = FIRST + offset..FIRST + offset + count;
        if block.end <= LAST && block.clone().all(is_free) {
            return block.start;
        }
    }
    panic!("no {count} free ports between {FIRST} and {LAST}");
}

/// Waits until somebody listens on a port.
pub(crate) fn wait_taken(port: u16) {
    for _ in 0..100 {
        if !is_free(port) {
            return;
        }
        pause();
    }
    panic!("nobody listens on port {port}");
}

fn is_free(port: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, port);
    UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok()
}
