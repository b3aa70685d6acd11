//! Calls between real peers: a browser's Jingle client, Prosody, baresip and SIPp around the real `stox` binary.
//!
//! Each test starts its own set of peers on free ports of the loopback interface and stops them when it ends. They need
//! the programs that `./tests/run` installs, so they are ignored unless asked for: `cargo test --test peers -- --ignored`.

#![expect(dead_code, reason = "the calls through the gateway are the users of the rest")]

mod baresip;
mod browser;
mod log;
mod page_server;
mod peers_alone;
mod ports;
mod process;
mod prosody;
mod temp_dir;
mod tone;
