//! Jingle sessions (XEP-0166).

use minidom::Element;
use model::{Candidate, Description, IceParameters};
use thiserror::Error;

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
        let _ = element;
        Err(JingleError::UnknownAction)
    }

    /// Writes the `<jingle/>`.
    pub fn to_element(&self) -> Element {
        Element::bare("jingle", NS)
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

/// Which party of the session (XEP-0166 §3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Party {
    /// Sent session-initiate.
    Initiator,
    /// Answered it.
    Responder,
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

/// What flows.
#[derive(Clone, Debug, PartialEq)]
pub enum RtpDescription {
    /// `urn:xmpp:jingle:apps:rtp:1` of audio or video: codecs and so on, `direction` and `path` left at their defaults
    /// except `path.rtcp_mux` and `path.crypto`.
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

/// Why a session ends (XEP-0166 §7.4).
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// The condition.
    pub condition: ReasonCondition,
    /// The text.
    pub text: Option<String>,
    /// The status of the SIP side, as a foreign element `<sip xmlns='urn:xmpp:sip-status:0' code='486'/>`.
    pub sip_status: Option<u16>,
    /// RTP's own condition (XEP-0167 §9): `crypto-required`, `invalid-crypto`.
    pub rtp_error: Option<String>,
}

impl Reason {
    /// A reason with nothing but its condition.
    pub const fn new(condition: ReasonCondition) -> Self {
        Self { condition, text: None, sip_status: None, rtp_error: None }
    }
}

/// The conditions of a reason (XEP-0166 §7.4). An unknown one reads as `general-error`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum ReasonCondition {
    AlternativeSession,
    Busy,
    Cancel,
    ConnectivityError,
    Decline,
    Expired,
    FailedApplication,
    FailedTransport,
    GeneralError,
    Gone,
    IncompatibleParameters,
    MediaError,
    SecurityError,
    Success,
    Timeout,
    UnsupportedApplications,
    UnsupportedTransports,
}

/// What a session-info tells (XEP-0167 §8).
#[derive(Clone, Debug, PartialEq)]
pub enum Info {
    /// The phone rings.
    Ringing,
    /// On hold.
    Hold,
    /// No longer on hold.
    Unhold,
    /// Active again: neither held nor muted.
    Active,
    /// Does not send, but listens. The content's name, or all.
    Mute(Option<String>),
    /// Sends again.
    Unmute(Option<String>),
    /// Something else, as namespace and name.
    Other(String, String),
}

/// What is wrong with a `<jingle/>` element.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum JingleError {
    /// No action, or one that does not exist.
    #[error("unknown action")]
    UnknownAction,
    /// No session id.
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
