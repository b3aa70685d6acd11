//! SIP for stox: SDP to and from the neutral description, addresses, and the user agent.
//!
//! - [`message`]: what the translator and the user agent say to each other

pub mod message;
