//! SIP for stox: SDP to and from the neutral description, addresses, and the user agent.
//!
//! The first two are pure. The user agent is a shell of tokio tasks over the transports and transactions of
//! `rsipstack`; its dialogs are ours. It knows no media: bodies pass through it as text.
//!
//! ```
//! use sip::sdp::Session;
//!
//! let mut leg = Session::new(4711);
//! let offer = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n";
//! let mut description = leg.read_offer(offer)?.description;
//! assert_eq!(description.streams[0].codecs[0].name, "PCMA");
//!
//! description.streams[0].path.rtp = Some("198.51.100.1:30000".parse()?);
//! let answer = leg.write_answer(&description);
//! assert!(answer.contains("m=audio 30000 RTP/AVP 8\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`sdp`]: SDP (RFC 8866) to and from [`model::Description`], and what must be remembered between two of them
//! - [`address`]: SIP and tel URIs, escaping of their user part, display names
//! - [`media_control`]: requests for a whole picture in INFO
//! - [`message`]: what the translator and the user agent say to each other
//! - [`agent`]: the user agent

pub mod address;
pub mod agent;
pub mod media_control;
pub mod message;
pub mod sdp;
