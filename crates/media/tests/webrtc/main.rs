//! Our bytes against those of webrtc-rs, an independent implementation.
//!
//! Its crates panic on some malformed packets, so they are fed well-formed ones only.

mod rtcp;
mod rtp;
mod srtp;
