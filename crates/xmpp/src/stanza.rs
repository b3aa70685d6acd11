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

impl Stanza {
    /// Reads a stanza.
    ///
    /// # Errors
    ///
    /// It breaks the rules; the refusal holds what to answer, if anything.
    pub fn parse(element: &Element) -> Result<Self, Refusal> {
        let _ = element;
        Err(Refusal { why: "not a stanza", answer: None })
    }

    /// Writes the stanza, in the namespace of a component's stream.
    pub fn to_element(&self) -> Element {
        Element::bare("iq", NS)
    }

    /// The result that answers this request.
    pub fn result(&self, child: Option<Element>) -> Self {
        Self { from: self.to.clone(), to: self.from.clone(), id: self.id.clone(), payload: Payload::Result(child) }
    }

    /// The error that answers this stanza; nothing where it is itself an answer (RFC 6120 §8.3.1).
    pub fn error(&self, error: StanzaError) -> Option<Self> {
        let of = match &self.payload {
            Payload::Jingle(_) | Payload::MalformedJingle(_) | Payload::Query { .. } => StanzaKind::Iq,
            Payload::JingleMessage(_) | Payload::Message { .. } => StanzaKind::Message,
            Payload::Presence { .. } => StanzaKind::Presence,
            Payload::Result(_) | Payload::Error { .. } => return None,
        };
        let payload = Payload::Error { of, error };
        Some(Self { from: self.to.clone(), to: self.from.clone(), id: self.id.clone(), payload })
    }
}

/// Namespace of stanzas on a component's stream (XEP-0114).
pub const NS: &str = "jabber:component:accept";

/// A stanza that cannot be read, and what its sender shall hear.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// What is wrong.
    pub why: &'static str,
    /// The error to send back; nothing where there is nobody to send it to.
    pub answer: Option<Element>,
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
    /// Error in answer to a stanza: to one of ours when it comes in, to the peer's when it goes out.
    Error {
        /// What kind of stanza it answers.
        of: StanzaKind,
        /// What went wrong.
        error: StanzaError,
    },
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

/// The three stanzas (RFC 6120 §8.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum StanzaKind {
    Iq,
    Message,
    Presence,
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

impl StanzaError {
    /// An error with the type that belongs to its condition (RFC 6120 §8.3.3).
    pub const fn new(condition: Condition) -> Self {
        Self { kind: condition.default_kind(), condition, text: None, application: None }
    }

    /// Adds a text.
    #[must_use]
    pub fn with_text(self, text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..self }
    }

    /// Adds the application's own condition.
    #[must_use]
    pub fn with_application(self, namespace: &str, name: &str) -> Self {
        Self { application: Some((namespace.to_owned(), name.to_owned())), ..self }
    }

    /// The session does not exist (XEP-0166 §10).
    pub fn unknown_session() -> Self {
        Self::new(Condition::ItemNotFound).with_application(crate::jingle::ERRORS, "unknown-session")
    }

    /// Not now, in this state (XEP-0166 §10).
    pub fn out_of_order() -> Self {
        Self::new(Condition::UnexpectedRequest).with_application(crate::jingle::ERRORS, "out-of-order")
    }

    /// The other party's request of the same kind wins (XEP-0166 §10).
    pub fn tie_break() -> Self {
        Self::new(Condition::Conflict).with_application(crate::jingle::ERRORS, "tie-break")
    }

    /// A session-info that means nothing to us (XEP-0166 §10).
    pub fn unsupported_info() -> Self {
        let error = Self { kind: ErrorKind::Modify, ..Self::new(Condition::FeatureNotImplemented) };
        error.with_application(crate::jingle::ERRORS, "unsupported-info")
    }

    /// Only with encryption (XEP-0166 §10).
    pub fn security_required() -> Self {
        Self::new(Condition::NotAcceptable).with_application(crate::jingle::ERRORS, "security-required")
    }
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

/// Each condition, its word, and the type it has unless there is a reason for another (RFC 6120 §8.3.3).
const CONDITIONS: [(Condition, &str, ErrorKind); 22] = [
    (Condition::BadRequest, "bad-request", ErrorKind::Modify),
    (Condition::Conflict, "conflict", ErrorKind::Cancel),
    (Condition::FeatureNotImplemented, "feature-not-implemented", ErrorKind::Cancel),
    (Condition::Forbidden, "forbidden", ErrorKind::Auth),
    (Condition::Gone, "gone", ErrorKind::Cancel),
    (Condition::InternalServerError, "internal-server-error", ErrorKind::Cancel),
    (Condition::ItemNotFound, "item-not-found", ErrorKind::Cancel),
    (Condition::JidMalformed, "jid-malformed", ErrorKind::Modify),
    (Condition::NotAcceptable, "not-acceptable", ErrorKind::Modify),
    (Condition::NotAllowed, "not-allowed", ErrorKind::Cancel),
    (Condition::NotAuthorized, "not-authorized", ErrorKind::Auth),
    (Condition::PolicyViolation, "policy-violation", ErrorKind::Modify),
    (Condition::RecipientUnavailable, "recipient-unavailable", ErrorKind::Wait),
    (Condition::Redirect, "redirect", ErrorKind::Modify),
    (Condition::RegistrationRequired, "registration-required", ErrorKind::Auth),
    (Condition::RemoteServerNotFound, "remote-server-not-found", ErrorKind::Cancel),
    (Condition::RemoteServerTimeout, "remote-server-timeout", ErrorKind::Wait),
    (Condition::ResourceConstraint, "resource-constraint", ErrorKind::Wait),
    (Condition::ServiceUnavailable, "service-unavailable", ErrorKind::Cancel),
    (Condition::SubscriptionRequired, "subscription-required", ErrorKind::Auth),
    (Condition::UndefinedCondition, "undefined-condition", ErrorKind::Cancel),
    (Condition::UnexpectedRequest, "unexpected-request", ErrorKind::Wait),
];

impl Condition {
    /// The type it has unless there is a reason for another.
    pub const fn default_kind(self) -> ErrorKind {
        CONDITIONS[self as usize].2
    }

    /// The element's name.
    pub const fn as_str(self) -> &'static str {
        CONDITIONS[self as usize].1
    }
}
