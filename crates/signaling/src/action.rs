//! What the translator wants done.

use model::{CallId, ToRelay};
use sip::message::ToAgent;
use tracing::Level;
use xmpp::stanza::Stanza;

use crate::Record;

/// What the translator wants done, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send this to the XMPP server.
    Stanza(Box<Stanza>),
    /// Have the SIP user agent do this.
    Sip(ToAgent),
    /// Have the relay do this.
    Relay(ToRelay),
    /// Log this.
    Log(LogLine),
    /// Put this call on record.
    Record(Box<Record>),
}

/// A line for the log. It never holds a secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogLine {
    /// The call it is about.
    pub call: Option<CallId>,
    /// How much it matters.
    pub level: Level,
    /// What happened.
    pub text: String,
}
