//! XMPP for stox: Jingle and its friends to and from plain values, addresses, and the component stream.
//!
//! Nothing here knows of calls. A stanza is read as far as a gateway has to, its contents become the neutral
//! description, and the other way round:
//!
//! ```
//! use xmpp::description::describe;
//! use xmpp::jingle::{Jingle, Party};
//!
//! let offer = "<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='a73sjjvkla37jfea'>
//!     <content creator='initiator' name='0'>
//!         <description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'><payload-type id='0'/></description>
//!         <transport xmlns='urn:xmpp:jingle:transports:ice-udp:1' ufrag='8hhy' pwd='asd88fgpdd777uzjYhagZg'/>
//!     </content></jingle>";
//! let jingle = Jingle::parse(&offer.parse()?)?;
//! let described = describe(&jingle.contents, &jingle.bundle, Party::Initiator);
//! assert_eq!(described.description.streams[0].codecs[0].name, "PCMU");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`address`]: local parts, domains and names
//! - [`component`]: the stream to the server (XEP-0114)
//! - [`description`]: contents to and from the neutral description
//! - [`disco`]: who we are and what we can do (XEP-0030, XEP-0115)
//! - [`jingle`]: sessions as in XEP-0166, and the seven that build on it
//! - [`jingle_message`]: ringing before there is a session (XEP-0353)
//! - [`presence`]: presence of a gateway's users
//! - [`query`]: the small questions that any entity answers (XEP-0092, XEP-0100, XEP-0199, XEP-0202)
//! - [`stanza`]: what travels between the translator and the component stream
//! - [`stream`]: XML streams, bytes to elements and back

pub mod address;
pub mod component;
pub mod description;
pub mod disco;
pub mod jingle;
pub mod jingle_message;
pub mod presence;
pub mod query;
pub mod stanza;
pub mod stream;
mod xml;
