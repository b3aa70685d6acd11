//! What travels between the translator and the component stream: stanzas, read as far as a gateway has to.

use jid::Jid;
use minidom::Element;
use rxml::xml_ncname;

use crate::address::display_name;
use crate::jingle::{self, Jingle, JingleError};
use crate::jingle_message::JingleMessage;
use crate::xml::element;

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
        let of = StanzaKind::from_word(element.name()).ok_or(Refusal { why: "not a stanza", answer: None })?;
        let header = Header { element, of };
        let from = header.address("from").map_err(|why| Refusal { why, answer: None })?;
        let to = header.address("to").map_err(|why| header.refuse(why, Condition::JidMalformed))?;
        let id = element.attr("id").unwrap_or_default().to_owned();
        let payload = match of {
            StanzaKind::Iq => parse_iq(&header)?,
            StanzaKind::Message => parse_message(element),
            StanzaKind::Presence => parse_presence(&header)?,
        };
        Ok(Self { from, to, id, payload })
    }

    /// Writes the stanza, in the namespace of a component's stream.
    pub fn to_element(&self) -> Element {
        let (name, kind, children) = match &self.payload {
            Payload::Jingle(jingle) => ("iq", Some("set"), vec![jingle.to_element()]),
            Payload::MalformedJingle(_) => ("iq", Some("set"), vec![Element::bare("jingle", jingle::NS)]),
            Payload::JingleMessage(message) => ("message", Some("chat"), vec![message.to_element(), store_hint()]),
            Payload::Result(child) => ("iq", Some("result"), child.iter().cloned().collect()),
            Payload::Error { of, error } => (of.as_str(), Some("error"), vec![error.to_element()]),
            Payload::Query { get, child } => ("iq", Some(if *get { "get" } else { "set" }), vec![child.clone()]),
            Payload::Presence { kind, children } => ("presence", kind.as_str(), children.clone()),
            Payload::Message { kind, children } => ("message", Some(kind.as_str()), children.clone()),
        };
        Element::builder(name, NS)
            .attr(xml_ncname!("from").to_owned(), self.from.as_str())
            .attr(xml_ncname!("to").to_owned(), self.to.as_str())
            .attr(xml_ncname!("id").to_owned(), Some(self.id.as_str()).filter(|id| !id.is_empty()))
            .attr(xml_ncname!("type").to_owned(), kind)
            .append_all(children)
            .build()
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

/// Keeps a message in the archives, so that all devices learn of the call (XEP-0334 §4.4, XEP-0353 §3).
fn store_hint() -> Element {
    Element::bare("store", "urn:xmpp:hints")
}

/// A stanza of which only the name is known to be right.
struct Header<'a> {
    element: &'a Element,
    of: StanzaKind,
}

impl Header<'_> {
    fn address(&self, attribute: &str) -> Result<Jid, &'static str> {
        let text = self.element.attr(attribute).ok_or("without an address")?;
        Jid::new(text).map_err(|_| "malformed address")
    }

    /// Refuses the stanza with an error, unless it is itself an answer (RFC 6120 §8.3.1).
    fn refuse(&self, why: &'static str, condition: Condition) -> Refusal {
        Refusal { why, answer: error_for(self.element, self.of, StanzaError::new(condition)).map(Box::new) }
    }
}

/// The error that answers a stanza known by its attributes alone; nothing where it is itself an answer.
pub(crate) fn error_for(stanza: &Element, of: StanzaKind, error: StanzaError) -> Option<Element> {
    if matches!(stanza.attr("type"), Some("error" | "result")) {
        return None;
    }
    let from = Jid::new(stanza.attr("from")?).ok()?;
    Some(
        Element::builder(of.as_str(), NS)
            .attr(xml_ncname!("from").to_owned(), stanza.attr("to"))
            .attr(xml_ncname!("to").to_owned(), from.as_str())
            .attr(xml_ncname!("id").to_owned(), stanza.attr("id"))
            .attr(xml_ncname!("type").to_owned(), "error")
            .append(error.to_element())
            .build(),
    )
}

fn parse_iq(header: &Header<'_>) -> Result<Payload, Refusal> {
    let iq = header.element;
    if iq.attr("id").is_none_or(str::is_empty) {
        return Err(header.refuse("iq without id", Condition::BadRequest));
    }
    let mut children = iq.children();
    let get = match iq.attr("type") {
        Some("result") => return Ok(Payload::Result(children.next().cloned())),
        Some("error") => return Ok(Payload::Error { of: StanzaKind::Iq, error: StanzaError::parse(iq) }),
        Some("get") => true,
        Some("set") => false,
        Some(_) | None => return Err(header.refuse("iq of unknown type", Condition::BadRequest)),
    };
    let (Some(child), None) = (children.next(), children.next()) else {
        return Err(header.refuse("iq request without its one child", Condition::BadRequest));
    };
    if get || !child.is("jingle", jingle::NS) {
        return Ok(Payload::Query { get, child: child.clone() });
    }
    Ok(match Jingle::parse(child) {
        Ok(jingle) => Payload::Jingle(Box::new(jingle)),
        Err(error) => Payload::MalformedJingle(error),
    })
}

fn parse_message(message: &Element) -> Payload {
    // An unknown type is to be read as normal (RFC 6121 §5.2.2).
    let kind = message.attr("type").filter(|kind| MESSAGE_TYPES.contains(kind)).unwrap_or("normal");
    if kind == "error" {
        return Payload::Error { of: StanzaKind::Message, error: StanzaError::parse(message) };
    }
    match message.children().find_map(JingleMessage::parse).filter(|_| kind != "groupchat") {
        Some(jingle_message) => Payload::JingleMessage(jingle_message),
        None => Payload::Message { kind: kind.to_owned(), children: message.children().cloned().collect() },
    }
}

const MESSAGE_TYPES: [&str; 5] = ["chat", "error", "groupchat", "headline", "normal"];

fn parse_presence(header: &Header<'_>) -> Result<Payload, Refusal> {
    let kind = match header.element.attr("type") {
        None => PresenceKind::Available,
        Some("unavailable") => PresenceKind::Unavailable,
        Some("subscribe") => PresenceKind::Subscribe,
        Some("subscribed") => PresenceKind::Subscribed,
        Some("unsubscribe") => PresenceKind::Unsubscribe,
        Some("unsubscribed") => PresenceKind::Unsubscribed,
        Some("probe") => PresenceKind::Probe,
        Some("error") => {
            let error = StanzaError::parse(header.element);
            return Ok(Payload::Error { of: StanzaKind::Presence, error });
        }
        Some(_) => return Err(header.refuse("presence of unknown type", Condition::BadRequest)),
    };
    Ok(Payload::Presence { kind, children: header.element.children().cloned().collect() })
}

/// Namespace of stanzas on a component's stream (XEP-0114).
pub const NS: &str = "jabber:component:accept";

/// A stanza that cannot be read, and what its sender shall hear.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// What is wrong.
    pub why: &'static str,
    /// The error to send back; nothing where there is nobody to send it to.
    pub answer: Option<Box<Element>>,
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

impl StanzaKind {
    /// The element's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Iq => "iq",
            Self::Message => "message",
            Self::Presence => "presence",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Iq, Self::Message, Self::Presence].into_iter().find(|kind| kind.as_str() == word)
    }
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

impl PresenceKind {
    /// The word in the `type` attribute; available presence has none.
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Available => None,
            Self::Unavailable => Some("unavailable"),
            Self::Subscribe => Some("subscribe"),
            Self::Subscribed => Some("subscribed"),
            Self::Unsubscribe => Some("unsubscribe"),
            Self::Unsubscribed => Some("unsubscribed"),
            Self::Probe => Some("probe"),
        }
    }
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

    /// Reads the `<error/>` of a stanza. Where it says nothing that we know, the condition is `undefined-condition`.
    fn parse(stanza: &Element) -> Self {
        let mut parsed = Self::new(Condition::UndefinedCondition);
        let Some(error) = stanza.children().find(|child| child.name() == "error") else {
            return parsed;
        };
        for child in error.children() {
            if child.is("text", CONDITIONS_NS) {
                parsed.text = Some(display_name(&child.text()));
            } else if child.has_ns(CONDITIONS_NS) {
                let condition = Condition::from_word(child.name()).unwrap_or(Condition::UndefinedCondition);
                (parsed.condition, parsed.kind) = (condition, condition.default_kind());
            } else {
                parsed.application = Some((child.ns(), child.name().to_owned()));
            }
        }
        if let Some(kind) = error.attr("type").and_then(ErrorKind::from_word) {
            parsed.kind = kind;
        }
        parsed
    }

    fn to_element(&self) -> Element {
        let mut error = element!("error", NS, "type" = self.kind.as_str());
        error.append_child(Element::bare(self.condition.as_str(), CONDITIONS_NS));
        if let Some(text) = &self.text {
            let mut element = element!("text", CONDITIONS_NS);
            element.append_text(text.as_str());
            error.append_child(element);
        }
        if let Some((namespace, name)) = &self.application {
            error.append_child(Element::bare(name.as_str(), namespace.as_str()));
        }
        error
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
        Self::new(Condition::ItemNotFound).with_application(jingle::ERRORS, "unknown-session")
    }

    /// Not now, in this state (XEP-0166 §10).
    pub fn out_of_order() -> Self {
        Self::new(Condition::UnexpectedRequest).with_application(jingle::ERRORS, "out-of-order")
    }

    /// The other party's request of the same kind wins (XEP-0166 §10).
    pub fn tie_break() -> Self {
        Self::new(Condition::Conflict).with_application(jingle::ERRORS, "tie-break")
    }

    /// A session-info that means nothing to us (XEP-0166 §10).
    pub fn unsupported_info() -> Self {
        let error = Self { kind: ErrorKind::Modify, ..Self::new(Condition::FeatureNotImplemented) };
        error.with_application(jingle::ERRORS, "unsupported-info")
    }

    /// Only with encryption (XEP-0166 §10).
    pub fn security_required() -> Self {
        Self::new(Condition::NotAcceptable).with_application(jingle::ERRORS, "security-required")
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

impl ErrorKind {
    /// The word in the `type` attribute.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Cancel => "cancel",
            Self::Continue => "continue",
            Self::Modify => "modify",
            Self::Wait => "wait",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Auth, Self::Cancel, Self::Continue, Self::Modify, Self::Wait]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

/// Namespace of the defined conditions.
const CONDITIONS_NS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

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

    fn from_word(word: &str) -> Option<Self> {
        CONDITIONS.iter().find(|(_, known, _)| *known == word).map(|(condition, ..)| *condition)
    }
}
