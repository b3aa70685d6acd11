//! Calls between real peers: a browser's Jingle client, Prosody, baresip and SIPp around the real `stox` binary; and
//! the load generator before rtpengine.
//!
//! Each test starts its own set of peers on free ports of the loopback interface and stops them when it ends. They need
//! the programs that `./tests/run` installs, so they are ignored unless asked for: `cargo test --test peers -- --ignored`.

mod baresip;
mod browser;
mod calls;
#[path = "../gateway/carry.rs"]
mod carry;
mod endings;
mod errors;
mod gateway;
mod kamailio;
mod lifecycle;
mod log;
mod odd_sip;
mod page_server;
mod peers_alone;
mod ports;
mod process;
mod prosody;
mod rtpengine;
mod secure;
mod sipp;
mod temp_dir;
mod tone;
mod video;
