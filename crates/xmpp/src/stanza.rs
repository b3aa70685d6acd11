//! What travels between the translator and the component stream: stanzas, read as far as a gateway has to.

use jid::Jid;
use minidom::Element;

use crate::jingle::{Jingle, JingleError};
use crate::jingle_message::JingleMessage;

/// A stanza with its addresses (RFC 6120 §8.1). On a component stream both are always there.
#[derive(Clone, Debug, PartialEq)]
pub struct Stanza {
    /// Who sends it.
    pub from: Jid,
    /// Who gets it.
    pub to: Jid,
    /// `id`; empty where a message or presence has none.
    pub id: String,
    /// What it is.
    pub payload: Payload,
}

/// What a stanza carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// IQ set with a Jingle action.
    Jingle(Box<Jingle>),
    /// IQ set with a Jingle element that cannot be read; to be answered with `bad-request`.
    MalformedJingle(JingleError),
    /// Message with a Jingle Message Initiation element.
    JingleMessage(JingleMessage),
    /// IQ result: our request went well. The child, if it has one.
    Result(Option<Element>),
    /// Error in answer to something of ours, IQ or message.
    Error(StanzaError),
    /// IQ get or set of another kind.
    Query {
        /// Get, not set.
        get: bool,
        /// The child.
        child: Element,
    },
    /// Presence.
    Presence {
        /// Its type.
        kind: PresenceKind,
        /// Its children.
        children: Vec<Element>,
    },
    /// Message of another kind.
    Message {
        /// `type`; `normal` where it is absent.
        kind: String,
        /// Its children.
        children: Vec<Element>,
    },
}

/// Type of a presence stanza (RFC 6121 §4.7.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PresenceKind {
    /// No type: available.
    Available,
    /// Gone.
    Unavailable,
    /// Wants to subscribe.
    Subscribe,
    /// Granted us a subscription.
    Subscribed,
    /// Gives up a subscription.
    Unsubscribe,
    /// Took back our subscription.
    Unsubscribed,
    /// A server asks.
    Probe,
}

/// A stanza error (RFC 6120 §8.3).
#[derive(Clone, Debug, PartialEq)]
pub struct StanzaError {
    /// `auth`, `cancel`, `continue`, `modify` or `wait`.
    pub kind: ErrorKind,
    /// The defined condition.
    pub condition: Condition,
    /// The text.
    pub text: Option<String>,
    /// The application's own condition, as namespace and name.
    pub application: Option<(String, String)>,
}

/// What the sender of an erroneous stanza should do (RFC 6120 §8.3.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ErrorKind {
    /// Retry with credentials.
    Auth,
    /// Do not retry.
    Cancel,
    /// Go on, it was a warning.
    Continue,
    /// Retry with other data.
    Modify,
    /// Retry later.
    Wait,
}

/// The defined conditions (RFC 6120 §8.3.3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum Condition {
    BadRequest,
    Conflict,
    FeatureNotImplemented,
    Forbidden,
    Gone,
    InternalServerError,
    ItemNotFound,
    JidMalformed,
    NotAcceptable,
    NotAllowed,
    NotAuthorized,
    PolicyViolation,
    RecipientUnavailable,
    Redirect,
    RegistrationRequired,
    RemoteServerNotFound,
    RemoteServerTimeout,
    ResourceConstraint,
    ServiceUnavailable,
    SubscriptionRequired,
    UndefinedCondition,
    UnexpectedRequest,
}
