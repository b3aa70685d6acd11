//! Whole agents: against each other over a simulated network, and against another implementation over a real one.

mod network;
mod sessions;
mod webrtc;
