//! The packet relay core: calls of two legs, ICE and DTLS termination, and the one spine that forwards media.
//!
//! Pure: sockets, clock and randomness come in as arguments, and everything it wants done comes out as values. After
//! any `handle_*`, drain the `poll_*` before the next one.
//!
//! ```
//! use model::{CallId, Command, LegId, LegPolicy, Reply};
//! # use relay::{Address, CertificatePolicy, Config, OpenError, PortShare, Relay, SocketId, Sockets, Traffic};
//! # use std::{net::SocketAddr, sync::Arc, time::Instant};
//! # struct Kernel;
//! # impl Sockets for Kernel {
//! #     fn open(&mut self, _: SocketId, _: SocketAddr, _: Traffic) -> Result<(), OpenError> { Ok(()) }
//! #     fn close(&mut self, _: SocketId) {}
//! # }
//! # let address = Address { name: None, bind: "192.0.2.1".parse()?, advertise: None };
//! # let ports = PortShare { range: 30_000..=39_999, number: 0, of: 1 };
//! # let certificate = CertificatePolicy::PerProcess(Arc::new(dtls::Certificate::generate()?));
//! # let config = Config::new(vec![address], ports, certificate);
//! # #[allow(clippy::disallowed_methods, reason = "an example has a clock")]
//! # let now = Instant::now();
//! # let random = Box::new(|bytes: &mut [u8]| bytes.fill(4));
//! let mut relay = Relay::new(config, random);
//! let call = CallId::from(1);
//! let legs = vec![LegPolicy::jingle(LegId(0)), LegPolicy::plain_sip(LegId(1))];
//! let reply = relay.handle_command(Command::CreateCall { call, legs }, now, &mut Kernel);
//! assert_eq!(reply, Ok(Reply::Done));
//! while let Some(transmit) = relay.poll_transmit() { /* send it */ }
//! while let Some(event) = relay.poll_event() { /* tell it */ }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`config`]: what the relay is told once
//! - [`datagram`]: what goes in and out of its sockets
//! - [`drops`]: why a datagram went no further, and how often
//! - `relay`, `calls`, `call`, `leg`, `stream`, `transport`, `component`: who owns what, from the whole to the parts
//! - `negotiation`: what an offer and its answer come to
//! - `forward`: the life of a media packet; `batch`: of those that arrive together
//! - `latch`, `scope`: who is believed without ICE, and where nothing may be sent
//! - `strangers`: how much is looked into of what comes from nobody in particular
//! - `keypress`, `report`: what the relay sends of its own; `quality`: how good what passes is
//! - `resources`, `ports`: what all calls share
//! - `shared`: the one port that ICE legs may share

pub mod config;
pub mod datagram;
pub mod drops;

mod batch;
mod call;
mod calls;
mod component;
mod forward;
mod keypress;
mod latch;
mod leg;
mod negotiation;
mod ports;
mod quality;
mod relay;
mod report;
mod resources;
mod scope;
mod shared;
mod strangers;
mod stream;
mod transport;

pub use config::{Address, CertificatePolicy, Config, PortShare};
pub use datagram::{Datagram, Forward, OpenError, SocketId, Sockets, Traffic, Transmit};
pub use drops::{Counters, Dropped};
pub use lanes::Lanes;
pub use relay::{Random, Relay};
