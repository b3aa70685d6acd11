//! Endpoints that make calls and media, for the demonstration, for load and for tests.
//!
//! - [`component_server`]: a small XMPP server for one component and users inside this process (XEP-0114)
//! - [`endpoint`]: the media end of a call
//! - [`jingle`]: a Jingle client
//! - [`phone`]: a SIP phone

pub mod component_server;
pub mod endpoint;
pub mod jingle;
pub mod phone;
