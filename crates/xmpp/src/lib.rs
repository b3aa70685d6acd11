//! XMPP for stox: Jingle and its friends to and from plain values, addresses, and the component stream.
//!
//! - [`jingle`]: sessions (XEP-0166, 0167, 0176, 0293, 0294, 0320, 0338, 0339)
//! - [`jingle_message`]: ringing before there is a session (XEP-0353)
//! - [`stanza`]: what travels between the translator and the component stream

pub mod jingle;
pub mod jingle_message;
pub mod stanza;
