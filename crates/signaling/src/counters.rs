//! What the translator counts, for `/metrics`.

use std::collections::BTreeMap;

/// Counts since the start, and what is there now.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Calls from the XMPP side.
    pub from_xmpp: DirectionCounters,
    /// Calls from the SIP side.
    pub from_sip: DirectionCounters,
    /// Times the SIP side was called anew, because one trunk was out of reach.
    pub tried_another: u64,
    /// What was refused or thrown away for other reasons than a call's end, by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

/// Counts of the calls of one direction.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DirectionCounters {
    /// Calls that were attempted and not refused at once.
    pub started: u64,
    /// Calls that were answered.
    pub answered: u64,
    /// Calls that exist now, answered or not.
    pub active: u64,
    /// Of these, those not answered yet.
    pub half_open: u64,
    /// Calls that ended before they were answered, by the word of their Jingle reason (XEP-0166 §7.4).
    pub failed: BTreeMap<&'static str, u64>,
    /// Calls that ended after they were answered, by the word of their Jingle reason.
    pub ended: BTreeMap<&'static str, u64>,
}
