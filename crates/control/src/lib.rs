//! The ng protocol, by which signalling gateways drive a packet relay.
//!
//! A message is a cookie, a space and a dictionary, written as bencode or as JSON; its reply repeats the cookie and is
//! written the same way. There is no formal standard: the daemon rtpengine is the reference. This crate is the form,
//! for either side, and what requests mean, without I/O.
//!
//! ```
//! use control::{Dictionary, Encoding, Frame, Reply};
//!
//! let ping = Frame::write(b"5323_1", Encoding::Bencode, &Dictionary::new().with("command", "ping"));
//! assert_eq!(ping, b"5323_1 d7:command4:pinge");
//!
//! let frame = Frame::split(b"5323_1 d6:result4:ponge")?;
//! let (_, dictionary) = frame.read()?;
//! assert_eq!((frame.cookie, Reply::of(&dictionary)?), (&b"5323_1"[..], Reply::Pong));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`frame`]: cookie and dictionary; [`stream`]: messages back to back; [`cookies`]: messages that are repeated
//! - [`value`]: what a dictionary holds
//! - [`bencode`], [`json`]: its two encodings
//! - [`request`]: what is asked of a relay
//! - [`explain`]: the same in words
//! - [`reply`]: how a request went

pub mod bencode;
pub mod calls;
pub mod cookies;
pub mod explain;
pub mod frame;
pub mod json;
pub mod reply;
pub mod request;
mod rewriting;
pub mod stream;
pub mod value;

pub use cookies::Cookies;
pub use frame::{Encoding, Frame, FrameError, ReadError};
pub use reply::{Reply, ReplyError};
pub use request::{Action, Finding, Request, RequestError};
pub use stream::{Stream, StreamError};
pub use value::{Dictionary, Value};

/// Bytes that a message may have.
pub const MAX_MESSAGE: usize = 256 * 1024;

/// How deep lists and dictionaries may lie in each other.
pub const MAX_DEPTH: usize = 16;
