//! The relay's shell: worker threads that give the packet relay core its sockets, its clock and its commands.
//!
//! Each worker owns one [`relay::Relay`] outright and is pinned to a core; both legs of a call live on one worker, so
//! that a packet meets no lock and no other thread. The loop of a worker is: flush what the relay wants sent, receive
//! and pass on, timers, commands.
//!
//! ```no_run
//! use netio::{Config, RelayThreads};
//!
//! # fn start(relay: relay::Config) -> std::io::Result<()> {
//! let threads = RelayThreads::start(Config::new(relay), |news| println!("{news:?}"))?;
//! let call = model::CallId::from(7);
//! let query = model::Request { id: model::RequestId(1), command: model::Command::Query { call } };
//! threads.send(model::ToRelay::Command(query));
//! threads.stop();
//! # Ok(())
//! # }
//! ```
//!
//! - [`Config`]: what the threads are told once
//! - [`RelayThreads`]: starting, sending, stopping
//! - [`Counters`]: what they count
//! - [`raise_open_files`]: room for many sockets
//! - `worker`: the loop; `sockets`: a worker's sockets; `handshakes`: the DTLS engine on a thread beside the worker
//! - `pace`: how long packets gather; `random`: the kernel's random bytes, some at a time
//! - `kernel`: the system calls, and the only `unsafe`

mod config;
mod counters;
mod handshakes;
#[allow(unsafe_code, reason = "system calls that std, mio and socket2 lack")]
mod kernel;
mod pace;
mod random;
mod sockets;
mod threads;
mod worker;

pub use config::Config;
pub use counters::{Counters, IoCounters};
pub use kernel::raise_open_files;
pub use threads::RelayThreads;
