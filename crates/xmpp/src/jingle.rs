//! Jingle sessions (XEP-0166).
//!
//! Reading is lenient: what real clients get wrong is understood or passed over, and only what leaves no meaning is an
//! error. Writing is strict.
//!
//! - `rtp`: descriptions (XEP-0167), with their feedback (XEP-0293) and header extensions (XEP-0294)
//! - `encryption`: keys in the description (XEP-0167 §7, RFC 4568)
//! - `ice_udp`: transports (XEP-0176), with `dtls`: fingerprints (XEP-0320)
//! - `group`: what shares a transport (XEP-0338)
//! - `reason` and `info`: why a session ends, and what happens in it
//!
//! Sources (XEP-0339) are neither read nor written: the relay has its own.

mod dtls;
mod encryption;
mod group;
mod ice_udp;
mod info;
mod reason;
pub(crate) mod rtp;

use minidom::Element;
use model::{Candidate, Description, Direction, IceParameters};
use thiserror::Error;

use crate::xml::{self, element};

pub use info::Info;
pub use reason::{Reason, ReasonCondition};

/// Namespace of Jingle.
pub const NS: &str = "urn:xmpp:jingle:1";
/// Namespace of Jingle's error conditions.
pub const ERRORS: &str = "urn:xmpp:jingle:errors:1";

/// A `<jingle/>` element.
#[derive(Clone, Debug, PartialEq)]
pub struct Jingle {
    /// What it asks.
    pub action: Action,
    /// The session.
    pub sid: String,
    /// Full JID, as it was written; sent only in session-initiate.
    pub initiator: Option<String>,
    /// Full JID, as it was written; sent only in session-accept.
    pub responder: Option<String>,
    /// The contents.
    pub contents: Vec<Content>,
    /// Names of the contents that share one transport (XEP-0338, semantics BUNDLE).
    pub bundle: Vec<String>,
    /// Why it ends.
    pub reason: Option<Reason>,
    /// What a session-info tells; `None` for an empty one, which is a ping.
    pub info: Option<Info>,
}

impl Jingle {
    /// An action without contents.
    pub fn new(action: Action, sid: impl Into<String>) -> Self {
        Self {
            action,
            sid: sid.into(),
            initiator: None,
            responder: None,
            contents: Vec::new(),
            bundle: Vec::new(),
            reason: None,
            info: None,
        }
    }

    /// Reads a `<jingle/>`, leniently: what a gateway does not need is passed over.
    ///
    /// # Errors
    ///
    /// It lacks what its action needs; to be answered with `bad-request`.
    pub fn parse(element: &Element) -> Result<Self, JingleError> {
        let action = element.attr("action").and_then(Action::from_word).ok_or(JingleError::UnknownAction)?;
        let sid = xml::name(element, "sid").ok_or(JingleError::NoSid)?;
        let mut jingle = Self::new(action, sid);
        jingle.initiator = element.attr("initiator").map(str::to_owned);
        jingle.responder = element.attr("responder").map(str::to_owned);
        for child in element.children() {
            if child.is("content", NS) {
                let content = Content::parse(child, action)?;
                if jingle.contents.iter().any(|other| other.name == content.name) {
                    return Err(JingleError::ContentName);
                }
                jingle.contents.push(content);
            } else if child.is("reason", NS) {
                jingle.reason = Some(Reason::parse(child));
            } else if child.is("group", group::NS) {
                jingle.bundle.extend(group::parse_bundle(child));
            } else if action == Action::SessionInfo {
                jingle.info = jingle.info.or_else(|| Some(Info::parse(child)));
            }
        }
        if action.is_about_contents() && jingle.contents.is_empty() {
            return Err(JingleError::Incomplete);
        }
        Ok(jingle)
    }

    /// Writes the `<jingle/>`.
    pub fn to_element(&self) -> Element {
        let mut jingle = element!(
            "jingle",
            NS,
            "action" = self.action.as_str(),
            "sid" = self.sid.as_str(),
            "initiator" = self.initiator.as_deref(),
            "responder" = self.responder.as_deref(),
        );
        for content in &self.contents {
            jingle.append_child(content.to_element());
        }
        if !self.bundle.is_empty() {
            jingle.append_child(group::bundle_element(&self.bundle));
        }
        if let Some(reason) = &self.reason {
            jingle.append_child(reason.to_element());
        }
        if let Some(info) = &self.info {
            jingle.append_child(info.to_element());
        }
        jingle
    }
}

/// The actions (XEP-0166 §7.2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum Action {
    ContentAccept,
    ContentAdd,
    ContentModify,
    ContentReject,
    ContentRemove,
    DescriptionInfo,
    SecurityInfo,
    SessionAccept,
    SessionInfo,
    SessionInitiate,
    SessionTerminate,
    TransportAccept,
    TransportInfo,
    TransportReject,
    TransportReplace,
}

/// Each action and its word.
const ACTIONS: [(Action, &str); 15] = [
    (Action::ContentAccept, "content-accept"),
    (Action::ContentAdd, "content-add"),
    (Action::ContentModify, "content-modify"),
    (Action::ContentReject, "content-reject"),
    (Action::ContentRemove, "content-remove"),
    (Action::DescriptionInfo, "description-info"),
    (Action::SecurityInfo, "security-info"),
    (Action::SessionAccept, "session-accept"),
    (Action::SessionInfo, "session-info"),
    (Action::SessionInitiate, "session-initiate"),
    (Action::SessionTerminate, "session-terminate"),
    (Action::TransportAccept, "transport-accept"),
    (Action::TransportInfo, "transport-info"),
    (Action::TransportReject, "transport-reject"),
    (Action::TransportReplace, "transport-replace"),
];

impl Action {
    /// The word in the `action` attribute.
    pub const fn as_str(self) -> &'static str {
        ACTIONS[self as usize].1
    }

    fn from_word(word: &str) -> Option<Self> {
        ACTIONS.iter().find(|(_, known)| *known == word).map(|(action, _)| *action)
    }

    /// Says whether the action means nothing without a content.
    const fn is_about_contents(self) -> bool {
        match self {
            Self::ContentAccept
            | Self::ContentAdd
            | Self::ContentModify
            | Self::ContentReject
            | Self::ContentRemove
            | Self::DescriptionInfo
            | Self::SessionAccept
            | Self::SessionInitiate
            | Self::TransportAccept
            | Self::TransportInfo
            | Self::TransportReject
            | Self::TransportReplace => true,
            Self::SecurityInfo | Self::SessionInfo | Self::SessionTerminate => false,
        }
    }
}

/// Which party of the session (XEP-0166 §3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Party {
    /// Sent session-initiate.
    Initiator,
    /// Answered it.
    Responder,
}

impl Party {
    /// The word in the `creator` attribute.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initiator => "initiator",
            Self::Responder => "responder",
        }
    }

    /// The party at the other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// Who sends media in a content (XEP-0166 §7.3). Absolute, unlike SDP's direction.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Senders {
    /// Both.
    #[default]
    Both,
    /// Only the initiator.
    Initiator,
    /// Only the responder.
    Responder,
    /// Nobody.
    None,
}

impl Senders {
    /// The word in the `senders` attribute.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Initiator => "initiator",
            Self::Responder => "responder",
            Self::None => "none",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Both, Self::Initiator, Self::Responder, Self::None].into_iter().find(|senders| senders.as_str() == word)
    }

    /// The direction that `writer` sees.
    pub const fn direction(self, writer: Party) -> Direction {
        let as_initiator = match self {
            Self::Both => Direction::SendRecv,
            Self::Initiator => Direction::SendOnly,
            Self::Responder => Direction::RecvOnly,
            Self::None => Direction::Inactive,
        };
        match writer {
            Party::Initiator => as_initiator,
            Party::Responder => as_initiator.reversed(),
        }
    }

    /// Who sends where `writer` sees this direction.
    pub const fn from_direction(direction: Direction, writer: Party) -> Self {
        let as_initiator = match writer {
            Party::Initiator => direction,
            Party::Responder => direction.reversed(),
        };
        match as_initiator {
            Direction::SendRecv => Self::Both,
            Direction::SendOnly => Self::Initiator,
            Direction::RecvOnly => Self::Responder,
            Direction::Inactive => Self::None,
        }
    }
}

/// A `<content/>`.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// Who added it.
    pub creator: Party,
    /// Its name, unique with the creator.
    pub name: String,
    /// Who sends.
    pub senders: Option<Senders>,
    /// `disposition`, `session` where it is absent.
    pub disposition: String,
    /// What flows; `None` where the action leaves it out.
    pub description: Option<RtpDescription>,
    /// How it flows; `None` where the action leaves it out.
    pub transport: Option<Transport>,
}

impl Content {
    /// A content with nothing but its identity.
    pub fn new(creator: Party, name: impl Into<String>) -> Self {
        Self {
            creator,
            name: name.into(),
            senders: None,
            disposition: SESSION.to_owned(),
            description: None,
            transport: None,
        }
    }

    fn parse(content: &Element, action: Action) -> Result<Self, JingleError> {
        let name = xml::name(content, "name").ok_or(JingleError::ContentName)?;
        let creator = if content.attr("creator") == Some("responder") { Party::Responder } else { Party::Initiator };
        let mut parsed = Self::new(creator, name);
        parsed.senders = content.attr("senders").and_then(Senders::from_word);
        if let Some(disposition) = content.attr("disposition") {
            parsed.disposition = disposition.to_owned();
        }
        for child in content.children() {
            match child.name() {
                "description" => parsed.description = Some(rtp::parse(child, name)?),
                "transport" => parsed.transport = Some(Transport::parse(child, action)),
                _ => (), // security preconditions and the like
            }
        }
        if parsed.serves(action) { Ok(parsed) } else { Err(JingleError::Incomplete) }
    }

    /// Says whether everything is there that the action needs (XEP-0166 §7.2).
    const fn serves(&self, action: Action) -> bool {
        match action {
            Action::SessionInitiate | Action::SessionAccept | Action::ContentAdd => {
                self.description.is_some() && self.transport.is_some()
            }
            Action::TransportInfo | Action::TransportReplace | Action::TransportAccept => self.transport.is_some(),
            Action::DescriptionInfo => self.description.is_some(),
            Action::ContentModify => self.senders.is_some(),
            Action::ContentAccept
            | Action::ContentReject
            | Action::ContentRemove
            | Action::SecurityInfo
            | Action::SessionInfo
            | Action::SessionTerminate
            | Action::TransportReject => true,
        }
    }

    fn to_element(&self) -> Element {
        let mut content = element!(
            "content",
            NS,
            "creator" = self.creator.as_str(),
            "name" = self.name.as_str(),
            "senders" = self.senders.map(Senders::as_str),
            "disposition" = Some(self.disposition.as_str()).filter(|disposition| *disposition != SESSION),
        );
        if let Some(RtpDescription::Rtp(stream)) = &self.description {
            let has_dtls = matches!(&self.transport, Some(Transport::IceUdp(IceUdp { dtls: Some(_), .. })));
            content.append_child(rtp::to_element(stream, !has_dtls));
        }
        if let Some(transport) = &self.transport {
            content.append_child(transport.to_element());
        }
        content
    }
}

/// The disposition of a content that says nothing else (RFC 3261 §20.11).
const SESSION: &str = "session";

/// What flows.
#[derive(Clone, Debug, PartialEq)]
pub enum RtpDescription {
    /// `urn:xmpp:jingle:apps:rtp:1` of audio or video: codecs and so on. `direction` is left at its default and `path`
    /// too, except `rtcp_mux`, `crypto`, and a `profile` of SAVP where keys come with the description. Directions of
    /// header extensions are those of the initiator.
    Rtp(Box<model::MediaStream>),
    /// Another application, or another medium.
    Unsupported,
}

/// How it flows.
#[derive(Clone, Debug, PartialEq)]
pub enum Transport {
    /// `urn:xmpp:jingle:transports:ice-udp:1`.
    IceUdp(IceUdp),
    /// Another transport, by its namespace.
    Unsupported(String),
}

impl Transport {
    fn parse(transport: &Element, action: Action) -> Self {
        if transport.has_ns(ice_udp::NS) {
            Self::IceUdp(ice_udp::parse(transport, action))
        } else {
            Self::Unsupported(transport.ns())
        }
    }

    fn to_element(&self) -> Element {
        match self {
            Self::IceUdp(transport) => ice_udp::to_element(transport),
            Self::Unsupported(namespace) => element!("transport", namespace.as_str()),
        }
    }
}

/// An ICE-UDP transport (XEP-0176 §5.3), with its DTLS fingerprints (XEP-0320).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IceUdp {
    /// The fragment; stanza.js sends it without a password in transport-info.
    pub ufrag: Option<String>,
    /// Both credentials, where both are there.
    pub ice: Option<IceParameters>,
    /// UDP candidates of components 1 and 2; others are left out when parsing.
    pub candidates: Vec<Candidate>,
    /// `<gathering-complete/>`.
    pub gathering_complete: bool,
    /// DTLS.
    pub dtls: Option<model::DtlsParameters>,
}

/// What is wrong with a `<jingle/>` element.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum JingleError {
    /// No action, or one that does not exist.
    #[error("unknown action")]
    UnknownAction,
    /// No session id, or an endless one.
    #[error("no sid")]
    NoSid,
    /// A content without a name, or two of one name.
    #[error("content without a name of its own")]
    ContentName,
    /// A payload type without a number, or with one above 127.
    #[error("payload type out of range")]
    PayloadType,
    /// A content that lacks what its action needs.
    #[error("content without description or transport")]
    Incomplete,
}

/// A session's contents as one description: written by `writer`, streams numbered from 0 in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// The description.
    pub description: Description,
    /// What could not be said, one sentence each.
    pub losses: Vec<String>,
}
