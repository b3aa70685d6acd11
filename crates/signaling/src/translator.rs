//! The translator.

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use model::FromRelay;
use sip::message::FromAgent;
use xmpp::stanza::Stanza;

use crate::{Action, Config, Counters};

/// A source of random bytes that nobody can guess; a test seeds it.
pub type Random = Box<dyn FnMut(&mut [u8]) + Send>;

/// Joins XMPP and SIP.
pub struct Translator {
    actions: VecDeque<Action>,
    counters: Counters,
}

impl Translator {
    /// A translator without calls, whose XMPP side is not connected yet.
    pub fn new(config: Config, random: Random) -> Self {
        let _ = (config, random);
        Self { actions: VecDeque::new(), counters: Counters::default() }
    }

    /// Takes a stanza.
    pub fn handle_stanza(&mut self, stanza: Stanza, now: Instant) {
        let _ = (stanza, now);
    }

    /// Learns that the stream to the XMPP server is there, or is not.
    pub fn handle_xmpp_link(&mut self, up: bool, now: Instant) {
        let _ = (up, now);
    }

    /// Takes an event of the SIP user agent.
    pub fn handle_sip(&mut self, event: FromAgent, now: Instant) {
        let _ = (event, now);
    }

    /// Takes a reply or news of the relay.
    pub fn handle_relay(&mut self, from: FromRelay, now: Instant) {
        let _ = (from, now);
    }

    /// Does what is due. Call it at [`Translator::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// Ends every call, on both sides; new ones are refused from now on.
    pub fn stop(&mut self, now: Instant) {
        let _ = now;
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Translator::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Says whether there is no call.
    pub fn is_idle(&self) -> bool {
        true
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl fmt::Debug for Translator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Translator").field("counters", &self.counters).finish_non_exhaustive()
    }
}
