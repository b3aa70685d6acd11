//! The packet relay core: calls of two legs, ICE and DTLS termination, and the one spine that forwards media.
//!
//! Pure: sockets, clock and randomness come in as arguments, and everything it wants done comes out as values. After
//! any `handle_*`, drain the `poll_*` before the next one.
//!
//! - [`config`]: what the relay is told once
//! - [`datagram`]: what goes in and out of its sockets
//! - [`drops`]: why a datagram went no further, and how often

pub mod config;
pub mod datagram;
pub mod drops;

mod call;
mod calls;
mod component;
mod forward;
mod keypress;
mod latch;
mod leg;
mod negotiation;
mod ports;
mod relay;
mod report;
mod resources;
mod scope;
mod stream;
mod transport;

pub use config::{Address, CertificatePolicy, Config, PortShare};
pub use datagram::{Datagram, Forward, SocketId, Sockets, Transmit};
pub use drops::{Counters, Dropped};
pub use relay::{Random, Relay};
