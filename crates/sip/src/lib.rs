//! SIP for stox: addresses, and the user agent.
//!
//! Addresses are pure. The user agent is a shell of tokio tasks over the transports and transactions of
//! `rsipstack`; its dialogs are ours. It knows no media: bodies pass through it as text.
//!
//! ```
//! use sip::address::SipUri;
//!
//! let uri = SipUri::parse("sip:c%3A%5C5commas@example.net;transport=tcp")?;
//! assert_eq!(uri.user_text()?.as_deref(), Some("c:\\5commas"));
//! assert_eq!(uri.parameter("transport"), Some("tcp"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`address`]: SIP and tel URIs, escaping of their user part, display names
//! - [`media_control`]: requests for a whole picture in INFO
//! - [`message`]: what the translator and the user agent say to each other
//! - [`transfer`]: whom a REFER names, and which dialog a call replaces
//! - [`agent`]: the user agent

pub mod address;
pub mod agent;
pub mod media_control;
pub mod message;
pub mod transfer;
