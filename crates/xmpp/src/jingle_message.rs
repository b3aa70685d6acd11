//! Ringing before there is a session: Jingle Message Initiation (XEP-0353).

use minidom::Element;
use model::MediaKind;
use rxml::xml_ncname;

use crate::jingle::{Reason, rtp};
use crate::xml::{self, element};

/// A JMI element. `id` is the session's future `sid`.
#[derive(Clone, Debug, PartialEq)]
pub enum JingleMessage {
    /// Somebody wants to call.
    Propose {
        /// The session.
        id: String,
        /// What with.
        media: Vec<MediaKind>,
    },
    /// A device rings.
    Ringing {
        /// The session.
        id: String,
    },
    /// A device took the call: send it the session-initiate.
    Proceed {
        /// The session.
        id: String,
    },
    /// A device of the same user took the call (older versions, and clients' copies to themselves).
    Accept {
        /// The session.
        id: String,
    },
    /// The call is refused.
    Reject {
        /// The session.
        id: String,
        /// Why.
        reason: Option<Reason>,
        /// It lost a tie.
        tie_break: bool,
    },
    /// The caller gave up.
    Retract {
        /// The session.
        id: String,
        /// Why.
        reason: Option<Reason>,
        /// It lost a tie.
        tie_break: bool,
    },
    /// The call is over.
    Finish {
        /// The session.
        id: String,
        /// Why.
        reason: Option<Reason>,
        /// The session that goes on in its place.
        migrated_to: Option<String>,
    },
}

/// Namespace of Jingle Message Initiation.
pub const NS: &str = "urn:xmpp:jingle-message:0";
/// The namespace that XEP-0353 §8 registers, though none of its examples and no client uses it.
const REGISTERED_NS: &str = "urn:xmpp:jingle:jingle-message:0";

impl JingleMessage {
    /// The session it is about.
    pub fn id(&self) -> &str {
        match self {
            Self::Propose { id, .. }
            | Self::Ringing { id }
            | Self::Proceed { id }
            | Self::Accept { id }
            | Self::Reject { id, .. }
            | Self::Retract { id, .. }
            | Self::Finish { id, .. } => id,
        }
    }

    /// Reads the element, in either of the namespaces in use; nothing where it is none, or has no id.
    pub fn parse(element: &Element) -> Option<Self> {
        if !element.has_ns(NS) && !element.has_ns(REGISTERED_NS) {
            return None;
        }
        let id = xml::name(element, "id")?.to_owned();
        let child = |name: &str| element.children().find(|child| child.name() == name);
        let reason = || child("reason").map(Reason::parse);
        let tie_break = child("tie-break").is_some();
        Some(match element.name() {
            "propose" => Self::Propose { id, media: parse_media(element) },
            "ringing" => Self::Ringing { id },
            "proceed" => Self::Proceed { id },
            "accept" => Self::Accept { id },
            "reject" => Self::Reject { id, reason: reason(), tie_break },
            "retract" => Self::Retract { id, reason: reason(), tie_break },
            "finish" => {
                let migrated_to = child("migrated").and_then(|migrated| migrated.attr("to")).map(str::to_owned);
                Self::Finish { id, reason: reason(), migrated_to }
            }
            _ => return None,
        })
    }

    /// Writes the element.
    pub fn to_element(&self) -> Element {
        let mut element = Element::bare(self.name(), NS);
        element.set_attr(rxml::Namespace::NONE, xml_ncname!("id").to_owned(), self.id());
        match self {
            Self::Propose { media, .. } => {
                for kind in media {
                    element.append_child(element!("description", rtp::NS, "media" = rtp::media_word(*kind)));
                }
            }
            Self::Ringing { .. } | Self::Proceed { .. } | Self::Accept { .. } => (),
            Self::Reject { reason, tie_break, .. } | Self::Retract { reason, tie_break, .. } => {
                append_reason(&mut element, reason.as_ref());
                if *tie_break {
                    element.append_child(element!("tie-break", NS));
                }
            }
            Self::Finish { reason, migrated_to, .. } => {
                append_reason(&mut element, reason.as_ref());
                if let Some(session) = migrated_to {
                    element.append_child(element!("migrated", NS, "to" = session.as_str()));
                }
            }
        }
        element
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Propose { .. } => "propose",
            Self::Ringing { .. } => "ringing",
            Self::Proceed { .. } => "proceed",
            Self::Accept { .. } => "accept",
            Self::Reject { .. } => "reject",
            Self::Retract { .. } => "retract",
            Self::Finish { .. } => "finish",
        }
    }
}

/// Each kind of media once, in the order of the descriptions.
fn parse_media(propose: &Element) -> Vec<MediaKind> {
    let mut media = Vec::new();
    for kind in propose.children().filter_map(rtp::media_kind) {
        if !media.contains(&kind) {
            media.push(kind);
        }
    }
    media
}

fn append_reason(element: &mut Element, reason: Option<&Reason>) {
    if let Some(reason) = reason {
        element.append_child(reason.to_element());
    }
}
