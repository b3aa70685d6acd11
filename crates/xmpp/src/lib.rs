//! XMPP for stox: Jingle and its friends to and from plain values, addresses, and the component stream.
//!
//! - [`address`]: local parts and names
//! - [`component`]: the stream to the server (XEP-0114)
//! - [`description`]: contents to and from the neutral description
//! - [`disco`]: who we are and what we can do (XEP-0030, 0115)
//! - [`jingle`]: sessions (XEP-0166, 0167, 0176, 0293, 0294, 0320, 0338, 0339)
//! - [`jingle_message`]: ringing before there is a session (XEP-0353)
//! - [`presence`]: presence of a gateway's users
//! - [`query`]: the small questions that any entity answers (XEP-0030, 0092, 0100, 0199, 0202)
//! - [`stanza`]: what travels between the translator and the component stream

pub mod address;
pub mod component;
pub mod description;
pub mod disco;
pub mod jingle;
pub mod jingle_message;
pub mod presence;
pub mod query;
pub mod stanza;
mod xml;
