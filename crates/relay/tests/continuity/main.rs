//! What a receiver sees while everything happens to a call: the whole relay between two endpoints whose packets
//! carry where they come from, with `webrtc-srtp` for their SRTP, over hours of virtual time.

mod endpoint;
mod hours;
mod impaired;
#[path = "../simulated/network.rs"]
mod network;
mod source;
mod watcher;
mod world;
