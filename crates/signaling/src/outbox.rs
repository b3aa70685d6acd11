//! What goes out, and what is still waited for: answers to our IQs, and the relay's replies.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use jid::Jid;
use model::{CallId, Command, DtmfDigit, LegId, Request, RequestId, ToRelay};
use sip::message::ToAgent;
use tracing::Level;
use xmpp::stanza::{Payload, Stanza};

use crate::translator::Random;
use crate::{Action, Config, Counters, LogLine, Record};

/// How long an answer to an IQ is waited for.
const IQ_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a reply of the relay is waited for. It answers within milliseconds, or not at all.
const RELAY_TIMEOUT: Duration = Duration::from_secs(10);

/// What everything that handles an input needs at hand.
pub(crate) struct Context<'a> {
    pub(crate) config: &'a Config,
    pub(crate) out: &'a mut Outbox,
    pub(crate) now: Instant,
}

/// Actions, and what they wait for.
pub(crate) struct Outbox {
    actions: VecDeque<Action>,
    random: Random,
    /// Begins the ids of our IQs, so that answers to those of an earlier life are recognised as such.
    prefix: String,
    next: u64,
    /// By number, which is also the order in which they give up.
    iqs: BTreeMap<u64, Waiting<Asked>>,
    requests: BTreeMap<u64, Waiting<(CallId, Purpose)>>,
    pub(crate) counters: Counters,
}

#[derive(Debug)]
struct Waiting<T> {
    what: T,
    until: Instant,
}

/// What an IQ of ours was about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Asked {
    /// Whom we asked.
    pub(crate) whom: Jid,
    /// What.
    pub(crate) what: Question,
}

/// What an IQ of ours asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Question {
    /// A call's session-initiate or session-accept.
    Session(CallId),
    /// A call's content-add.
    Content(CallId),
    /// What a device can do, with the hash that it tells of itself.
    Features(Option<String>),
}

/// What a command was for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    /// Make the call.
    Create,
    /// Take the peer's offer.
    TakeOffer(LegId),
    /// Have our answer completed.
    GiveAnswer(LegId),
    /// Have our offer completed.
    GiveOffer(LegId),
    /// Take the peer's answer.
    TakeAnswer(LegId),
    /// Have our new ICE credentials.
    Restart,
    /// Make ready for somebody else.
    Renew,
    /// Have a key press sent to a leg's peer, for so many milliseconds.
    Key(LegId, DtmfDigit, u32),
    /// Something the call goes on without.
    Aside,
    /// End the call.
    End,
}

impl Outbox {
    pub(crate) fn new(mut random: Random) -> Self {
        let mut number = [0; 8];
        random(&mut number);
        Self {
            actions: VecDeque::new(),
            random,
            prefix: format!("{:016x}-", u64::from_be_bytes(number)),
            next: 0,
            iqs: BTreeMap::new(),
            requests: BTreeMap::new(),
            counters: Counters::default(),
        }
    }

    /// The next action.
    pub(crate) fn pop(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Where the next action will stand; see [`Outbox::stanza_at`].
    pub(crate) fn position(&self) -> usize {
        self.actions.len()
    }

    /// Sends a stanza before what was added since a position: the answer to an IQ goes before all that follows from it.
    pub(crate) fn stanza_at(&mut self, position: usize, stanza: Stanza) {
        self.actions.insert(position, Action::Stanza(Box::new(stanza)));
    }

    pub(crate) fn stanza(&mut self, stanza: Stanza) {
        self.actions.push_back(Action::Stanza(Box::new(stanza)));
    }

    pub(crate) fn sip(&mut self, request: ToAgent) {
        self.actions.push_back(Action::Sip(request));
    }

    pub(crate) fn log(&mut self, call: Option<CallId>, level: Level, text: impl Into<String>) {
        self.actions.push_back(Action::Log(LogLine { call, level, text: text.into() }));
    }

    pub(crate) fn record(&mut self, record: Record) {
        self.actions.push_back(Action::Record(Box::new(record)));
    }

    /// Counts something refused or thrown away.
    pub(crate) fn count(&mut self, reason: &'static str) {
        *self.counters.refused.entry(reason).or_default() += 1;
    }

    /// Sends an IQ whose answer nobody waits for.
    pub(crate) fn tell(&mut self, from: &Jid, to: &Jid, payload: Payload) {
        let number = self.number();
        self.stanza(Stanza { from: from.clone(), to: to.clone(), id: format!("{}{number}", self.prefix), payload });
    }

    /// Sends an IQ whose answer is waited for.
    pub(crate) fn ask(&mut self, from: &Jid, to: &Jid, payload: Payload, what: Question, now: Instant) {
        let asked = Asked { whom: to.clone(), what };
        self.iqs.insert(self.next, Waiting { what: asked, until: now + IQ_TIMEOUT });
        self.tell(from, to, payload);
    }

    /// What an answer to an IQ is about, if it is one that was waited for.
    pub(crate) fn answered(&mut self, id: &str, from: &Jid) -> Option<Asked> {
        let number = id.strip_prefix(&self.prefix)?.parse().ok()?;
        if self.iqs.get(&number)?.what.whom != *from {
            return None;
        }
        self.iqs.remove(&number).map(|waiting| waiting.what)
    }

    /// Has the relay do something.
    pub(crate) fn relay(&mut self, command: Command, purpose: Purpose, now: Instant) {
        let number = self.number();
        self.requests.insert(number, Waiting { what: (command.call(), purpose), until: now + RELAY_TIMEOUT });
        self.actions.push_back(Action::Relay(ToRelay::Command(Request { id: RequestId(number), command })));
    }

    /// What a reply is about.
    pub(crate) fn replied(&mut self, id: RequestId) -> Option<(CallId, Purpose)> {
        self.requests.remove(&id.0).map(|waiting| waiting.what)
    }

    /// An IQ that nobody answered in time.
    pub(crate) fn unanswered(&mut self, now: Instant) -> Option<Asked> {
        take_due(&mut self.iqs, now)
    }

    /// A command that the relay did not answer in time.
    pub(crate) fn unreplied(&mut self, now: Instant) -> Option<(CallId, Purpose)> {
        take_due(&mut self.requests, now)
    }

    /// When the first of both is due.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let iq = self.iqs.first_key_value().map(|(_, waiting)| waiting.until);
        let request = self.requests.first_key_value().map(|(_, waiting)| waiting.until);
        iq.into_iter().chain(request).min()
    }

    /// Forgets what was asked on a stream that is gone.
    pub(crate) fn forget_features(&mut self) {
        self.iqs.retain(|_, waiting| matches!(waiting.what.what, Question::Session(_) | Question::Content(_)));
    }

    /// A random number.
    pub(crate) fn random(&mut self) -> u64 {
        let mut bytes = [0; 8];
        (self.random)(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    /// A session id that nobody can guess: a random UUID (RFC 9562 §5.4).
    pub(crate) fn uuid(&mut self) -> String {
        let (high, low) = (self.random(), self.random());
        let (high, low) = (high & 0xffff_ffff_ffff_0fff | 0x4000, low & 0x3fff_ffff_ffff_ffff | 1 << 63);
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }

    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }
}

/// The first that is due: all wait equally long, so that they are due in the order of their numbers.
fn take_due<T>(waiting: &mut BTreeMap<u64, Waiting<T>>, now: Instant) -> Option<T> {
    let first = waiting.first_entry()?;
    if first.get().until <= now { Some(first.remove().what) } else { None }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_is_a_random_uuid() {
        let mut out = Outbox::new(Box::new(|bytes| bytes.fill(0xff)));
        assert_eq!(out.uuid(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn only_who_was_asked_can_answer() {
        let now = Instant::now();
        let jid = |text| Jid::new(text).expect("a JID");
        let mut out = Outbox::new(Box::new(|bytes| bytes.fill(0)));
        let question = Question::Features(None);
        out.ask(&jid("sip.localhost"), &jid("a@b/c"), Payload::Result(None), question, now);
        assert_eq!(out.answered("0000000000000000-0", &jid("evil@b/c")), None);
        assert_eq!(out.answered("x-0", &jid("a@b/c")), None);
        assert!(out.answered("0000000000000000-0", &jid("a@b/c")).is_some());
        assert_eq!(out.answered("0000000000000000-0", &jid("a@b/c")), None);
    }
}
