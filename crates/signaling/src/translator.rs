//! The translator: which call an input is for, and whether there may be one.

mod transfers;

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Instant;

use jid::{BareJid, Jid};
use model::{CallId, FromRelay, LegStatistics, MediaKind, Reply};
use sdp::Session;
use sip::address::SipUri;
use sip::message::{DialogId, Failure, FromAgent, IncomingInvite, OutgoingInvite, ToAgent};
use tracing::Level;
use xmpp::description::describe;
use xmpp::jingle::{Action as JingleAction, Jingle, Party, Reason, ReasonCondition};
use xmpp::jingle_message::JingleMessage;
use xmpp::presence;
use xmpp::stanza::{Condition, Payload, PresenceKind, Stanza, StanzaError, StanzaKind};

use crate::call::{self, Call, Names, Side, SipNames};
use crate::caller::SipCaller;
use crate::directory::{self, Directory, Way};
use crate::ending::{Ending, Refusal};
use crate::limits::{Limits, Whose};
use crate::outbox::{Asked, Context, Outbox, Purpose, Question};
use crate::plan::{self, Attempt, FromSip, NotMade, ToXmpp};
use crate::tombstone::{SessionKey, Tombstones};
use crate::{Action, Config, Counters, DirectionCounters, Record, caller, codecs};

/// Whom a call from XMPP is for, on the SIP side.
struct Callee {
    /// Where it is tried first.
    first: OutgoingInvite,
    /// Where it is tried next, in order.
    others: VecDeque<OutgoingInvite>,
    /// The URI that is made of the caller's JID, if the SIP side sees one.
    caller_uri: Option<String>,
}

/// A source of random bytes that nobody can guess; a test seeds it.
pub type Random = Box<dyn FnMut(&mut [u8]) + Send>;

/// Hops a call from XMPP may take on the SIP side (RFC 3261 §8.1.1.6).
const MAX_FORWARDS: u8 = 70;
/// Dialogs of calls we make have this bit, those of the agent do not.
const OUR_DIALOG: u64 = 1 << 63;
/// Begins the id of a proposal's message; its error comes back with it.
const PROPOSE_ID: &str = "jm-propose-";

/// Joins XMPP and SIP.
pub struct Translator {
    config: Config,
    out: Outbox,
    directory: Directory,
    calls: HashMap<CallId, Call>,
    sessions: HashMap<SessionKey, CallId>,
    dialogs: HashMap<DialogId, CallId>,
    /// The calls of each user on the XMPP side.
    users: HashMap<BareJid, Vec<CallId>>,
    /// The From URIs under which users of the XMPP side are calling, and how often.
    callers: HashMap<String, usize>,
    /// Calls not answered yet of each address that is no trunk's.
    half_open: HashMap<IpAddr, usize>,
    limits: Limits,
    /// Calls that are over, until the relay has told its figures.
    records: HashMap<CallId, Record>,
    deadlines: BTreeSet<(Instant, CallId)>,
    tombstones: Tombstones,
    next_dialog: u64,
    xmpp_is_up: bool,
    stopping: bool,
}

impl Translator {
    /// A translator without calls, whose XMPP side is not connected yet.
    pub fn new(config: Config, random: Random) -> Self {
        Self {
            directory: Directory::new(&config),
            out: Outbox::new(random),
            config,
            calls: HashMap::new(),
            sessions: HashMap::new(),
            dialogs: HashMap::new(),
            users: HashMap::new(),
            callers: HashMap::new(),
            half_open: HashMap::new(),
            limits: Limits::default(),
            records: HashMap::new(),
            deadlines: BTreeSet::new(),
            tombstones: Tombstones::default(),
            next_dialog: 0,
            xmpp_is_up: false,
            stopping: false,
        }
    }

    /// Takes a stanza.
    pub fn handle_stanza(&mut self, stanza: Stanza, now: Instant) {
        match &stanza.payload {
            Payload::Jingle(jingle) => {
                let position = self.out.position();
                let outcome = self.handle_jingle(&stanza, jingle, now);
                self.answer(position, &stanza, outcome);
            }
            Payload::MalformedJingle(error) => {
                self.out.count("malformed-jingle");
                let bad = StanzaError::new(Condition::BadRequest).with_text(error.to_string());
                self.answer(self.out.position(), &stanza, Err(bad));
            }
            Payload::JingleMessage(message) => self.handle_jingle_message(&stanza, message, now),
            Payload::Result(_) | Payload::Error { of: StanzaKind::Iq, .. } => {
                if let Some(asked) = self.out.answered(&stanza.id, &stanza.from) {
                    self.handle_answer(asked, &stanza.payload, now);
                }
            }
            Payload::Error { of: StanzaKind::Message, error } => self.handle_undelivered(&stanza, error, now),
            Payload::Error { of: StanzaKind::Presence, .. } => (), // of a subscription that came to nothing
            Payload::Query { .. } => {
                let answer = self.directory.answer(&stanza, &self.config, now);
                self.out.stanza(answer);
            }
            Payload::Presence { kind, .. } => {
                let mut cx = Context { config: &self.config, out: &mut self.out, now };
                self.directory.handle_presence(&stanza, *kind, &mut cx);
                self.reconsider(&stanza.from.to_bare(), now);
            }
            Payload::Message { .. } => {
                let mut cx = Context { config: &self.config, out: &mut self.out, now };
                directory::answer_message(&stanza, &mut cx);
            }
        }
    }

    /// Learns that the stream to the XMPP server is there, or is not. Calls go on: their media needs no stanzas.
    pub fn handle_xmpp_link(&mut self, up: bool, _now: Instant) {
        self.xmpp_is_up = up;
        if !up {
            self.directory.forget();
            self.out.forget_features();
        }
    }

    /// Takes an event of the SIP user agent.
    pub fn handle_sip(&mut self, event: FromAgent, now: Instant) {
        if let FromAgent::Invite(invite) = &event {
            if let Err(not_made) = self.handle_invite(invite, now) {
                let by = invite.trunk.as_deref().unwrap_or("nobody's trunk");
                let who = format!("{} ({by}, {:?}) to {:?}", invite.source, invite.from, invite.request_uri);
                self.refuse(&who, not_made);
                let response = not_made.refusal.response(&self.config.component);
                self.out.sip(ToAgent::Respond { dialog: invite.dialog, response });
            }
            return;
        }
        if let FromAgent::Failed { dialog, failure } = &event
            && let Some(id) = self.dialogs.get(dialog).copied()
            && self.has_another(id, failure, now)
        {
            return self.with_call(id, now, |call, cx| call.try_another(cx, failure));
        }
        match self.dialogs.get(&event.dialog()).copied() {
            Some(id) if matches!(event, FromAgent::Refer { .. }) => self.handle_refer(id, event, now),
            Some(id) => self.with_call(id, now, |call, cx| call.handle_sip(cx, event)),
            None => {
                let mut cx = Context { config: &self.config, out: &mut self.out, now };
                call::answer_stray(&mut cx, &event);
            }
        }
    }

    /// Says whether a call that failed can be tried at another place, which has room for it.
    fn has_another(&mut self, id: CallId, failure: &Failure, now: Instant) -> bool {
        if !self.redirect(id, failure) && !Ending::is_for_another(failure) {
            return false;
        }
        while let Some(call) = self.calls.get(&id).filter(|call| call.can_try_another()) {
            let trunk = call.others.front().and_then(|next| next.trunk.clone());
            match self.check_trunk(trunk.as_deref(), now) {
                Ok(()) => return true,
                Err(refusal) => self.out.count(refusal.word()),
            }
            self.calls.get_mut(&id).and_then(|call| call.others.pop_front());
        }
        false
    }

    /// Takes a reply or news of the relay.
    pub fn handle_relay(&mut self, from: FromRelay, now: Instant) {
        match from {
            FromRelay::Reply { id, outcome } => match (self.out.replied(id), outcome) {
                (Some((call, Purpose::End)), outcome) => {
                    let figures = match outcome {
                        Ok(Reply::Statistics(figures)) => figures.legs,
                        Ok(Reply::Done | Reply::Local(_) | Reply::Restarted(_)) | Err(_) => Vec::new(),
                    };
                    self.put_on_record(call, figures);
                }
                (Some((call, purpose)), outcome) => {
                    self.with_call(call, now, |call, cx| call.handle_reply(cx, purpose, outcome));
                }
                (None, _) => (), // of a call that gave up waiting
            },
            FromRelay::Event(event) => {
                self.with_call(event.call, now, |call, cx| call.handle_news(cx, event.news));
            }
        }
    }

    /// A call is over, and these are the relay's figures of it.
    fn put_on_record(&mut self, call: CallId, figures: Vec<LegStatistics>) {
        for leg in &figures {
            let text = call::describe_figures(leg);
            self.out.log(Some(call), Level::INFO, text);
        }
        if let Some(mut record) = self.records.remove(&call) {
            record.take(figures);
            self.out.record(record);
        }
    }

    /// Does what is due. Call it at [`Translator::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, id)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, id));
            self.with_call(id, now, |call, cx| call.handle_timeout(cx));
        }
        while let Some(Asked { whom, what }) = self.out.unanswered(now) {
            match what {
                Question::Session(id) => self.with_call(id, now, |call, cx| call.handle_no_session_answer(cx, &whom)),
                Question::Content(id) => self.with_call(id, now, |call, cx| call.handle_content_error(cx, "no answer")),
                Question::Features(_) => (), // it stays unknown
            }
        }
        while let Some((id, purpose)) = self.out.unreplied(now) {
            if purpose == Purpose::End {
                self.put_on_record(id, Vec::new());
            } else {
                self.with_call(id, now, |call, cx| call.handle_no_reply(cx));
            }
        }
        self.tombstones.forget_until(now);
    }

    /// Ends every call, on both sides; new ones are refused from now on.
    pub fn stop(&mut self, now: Instant) {
        self.stopping = true;
        for id in self.calls.keys().copied().collect::<Vec<_>>() {
            let ending = Ending::with_text(ReasonCondition::Gone, "the gateway is going down");
            self.with_call(id, now, |call, cx| call.end(cx, Side::Neither, ending));
        }
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.out.pop()
    }

    /// When to call [`Translator::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let call = self.deadlines.first().map(|(at, _)| *at);
        [call, self.out.next_timeout(), self.tombstones.next_timeout()].into_iter().flatten().min()
    }

    /// Says whether there is no call.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty()
    }

    /// Says whether calls that are over are not on record yet, because the relay has not told its figures.
    pub fn owes_records(&self) -> bool {
        !self.records.is_empty()
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.out.counters
    }

    /// Answers an IQ, before everything that followed from it.
    fn answer(&mut self, position: usize, stanza: &Stanza, outcome: Result<(), StanzaError>) {
        let answer = match outcome {
            Ok(()) => Some(stanza.result(None)),
            Err(error) => stanza.error(error),
        };
        if let Some(answer) = answer {
            self.out.stanza_at(position, answer);
        }
    }

    /// Gives an input to a call, if it still exists, and puts down what became of it.
    fn with_call(&mut self, id: CallId, now: Instant, handle: impl FnOnce(&mut Call, &mut Context<'_>)) {
        let Some(mut call) = self.calls.remove(&id) else { return };
        if let Some(at) = call.next_timeout() {
            self.deadlines.remove(&(at, id));
        }
        let (was_answered, dialogs, trunk) = (call.was_answered(), call.dialogs(), call.trunk().map(str::to_owned));
        handle(&mut call, &mut Context { config: &self.config, out: &mut self.out, now });
        let dialogs_now = call.dialogs();
        if dialogs_now != dialogs {
            self.dialogs.retain(|dialog, _| !dialogs.contains(dialog));
            self.dialogs.extend(dialogs_now.into_iter().map(|dialog| (dialog, id)));
        }
        if call.trunk() != trunk.as_deref() {
            self.limits.moved(trunk.as_deref(), call.trunk());
        }
        self.settle(call, was_answered, now);
    }

    /// Takes a new call in.
    fn admit(&mut self, call: Call, now: Instant) {
        let id = call.id();
        self.sessions.insert(session_key(&call), id);
        self.dialogs.insert(call.dialog(), id);
        self.users.entry(call.peer().to_bare()).or_default().push(id);
        self.limits.moved(None, call.trunk());
        if let Some(source) = call.source {
            *self.half_open.entry(source).or_default() += 1;
        }
        if let Some(uri) = call.caller_uri() {
            *self.callers.entry(uri.to_owned()).or_default() += 1;
        }
        let counters = counters_of(&mut self.out.counters, &call);
        counters.started += 1;
        counters.active += 1;
        counters.half_open += 1;
        self.settle(call, false, now);
    }

    fn settle(&mut self, mut call: Call, was_answered: bool, now: Instant) {
        let id = call.id();
        call.note(now);
        let counters = counters_of(&mut self.out.counters, &call);
        if call.was_answered() && !was_answered {
            counters.answered += 1;
            counters.half_open -= 1;
        }
        if let Some(ending) = call.ending() {
            counters.active -= 1;
            counters.half_open -= u64::from(!call.was_answered());
            let by_reason = if call.was_answered() { &mut counters.ended } else { &mut counters.failed };
            *by_reason.entry(ending.reason.as_str()).or_default() += 1;
        }
        if (call.was_answered() || call.ending().is_some())
            && let Some(source) = call.source.take()
        {
            uncount(&mut self.half_open, &source);
        }
        match call.ending() {
            Some(ending) => {
                self.records.extend(call.record(now).map(|record| (id, record)));
                let key = session_key(&call);
                self.sessions.remove(&key);
                for dialog in call.dialogs() {
                    self.dialogs.remove(&dialog);
                }
                self.limits.moved(call.trunk(), None);
                if let Some(uri) = call.caller_uri() {
                    uncount(&mut self.callers, uri);
                }
                if let Some(calls) = self.users.get_mut(&key.0) {
                    calls.retain(|other| *other != id);
                    if calls.is_empty() {
                        self.users.remove(&key.0);
                    }
                }
                self.tombstones.bury(key, ending.jingle_reason(), now);
            }
            None => {
                self.deadlines.extend(call.next_timeout().map(|at| (at, id)));
                self.calls.insert(id, call);
            }
        }
    }

    /// Takes a Jingle action. The result is the answer to its IQ.
    fn handle_jingle(&mut self, stanza: &Stanza, jingle: &Jingle, now: Instant) -> Result<(), StanzaError> {
        let key = (stanza.from.to_bare(), jingle.sid.clone());
        if let Some(id) = self.sessions.get(&key).copied() {
            if let Some(outcome) = self.handle_jingle_transfer(id, stanza, jingle, now) {
                return outcome;
            }
            let mut outcome = Err(StanzaError::unknown_session());
            self.with_call(id, now, |call, cx| {
                if call.us().to_bare() == stanza.to.to_bare() {
                    outcome = call.handle_jingle(cx, &stanza.from, jingle);
                }
            });
            return outcome;
        }
        let over = self.tombstones.reason(&key).cloned();
        match (jingle.action, over) {
            (JingleAction::SessionInitiate, Some(reason)) => {
                // Our refusal of the proposal crossed it.
                self.terminate(stanza, jingle, reason);
                Ok(())
            }
            (JingleAction::SessionInitiate, None) => self.handle_session_initiate(stanza, jingle, now),
            (_, Some(_)) => Ok(()), // it crossed the end
            (_, None) => Err(StanzaError::unknown_session()),
        }
    }

    /// Takes a call from XMPP that begins with its session.
    fn handle_session_initiate(&mut self, stanza: &Stanza, jingle: &Jingle, now: Instant) -> Result<(), StanzaError> {
        let initiator = jingle.initiator.as_deref().map(Jid::new);
        if initiator.is_some_and(|named| named.map(|named| named.to_bare()) != Ok(stanza.from.to_bare())) {
            self.refuse_stanza(stanza, Refusal::Impostor); // XEP-0166 §7.1
            return Err(Refusal::Impostor.stanza_error());
        }
        let callee = self.find_callee(stanza, now).map_err(|not_made| {
            self.refuse_stanza(stanza, not_made);
            not_made.refusal.stanza_error()
        })?;
        let described = describe(&jingle.contents, &jingle.bundle, Party::Initiator);
        let offer = codecs::one_of_each_kind(&described.description);
        if codecs::carried(&offer, self.config.video).streams.is_empty() {
            self.refuse_stanza(stanza, Refusal::NoMedia);
            self.terminate(stanza, jingle, Reason::new(call::why_not_carried(&jingle.contents)));
            return Ok(());
        }
        let Some(names) = self.names(stanza, &jingle.sid, &callee) else {
            self.refuse_stanza(stanza, Refusal::Unmappable);
            return Err(Refusal::Unmappable.stanza_error());
        };
        let mut cx = Context { config: &self.config, out: &mut self.out, now };
        let mut call = Call::initiated(&mut cx, names, offer, callee.first);
        call.losses(&mut cx, "XMPP", &described.losses);
        call.others = callee.others;
        self.admit(call, now);
        Ok(())
    }

    fn terminate(&mut self, stanza: &Stanza, jingle: &Jingle, reason: Reason) {
        let end = Jingle { reason: Some(reason), ..Jingle::new(JingleAction::SessionTerminate, jingle.sid.clone()) };
        self.out.tell(&stanza.to, &stanza.from, Payload::Jingle(Box::new(end)));
    }

    /// Counts a call that is not made, and tells the log.
    fn refuse(&mut self, who: &str, NotMade { refusal, row }: NotMade) {
        self.out.count(refusal.word());
        let row = row.map_or_else(String::new, |row| format!(", by route {row}"));
        self.out.log(None, Level::INFO, format!("refused a call from {who}: {}{row}", refusal.word()));
    }

    /// The same for a call from XMPP.
    fn refuse_stanza(&mut self, stanza: &Stanza, why: impl Into<NotMade>) {
        self.refuse(&format!("{} to {}", stanza.from, stanza.to), why.into());
    }

    /// What a call from XMPP is known by.
    fn names(&mut self, stanza: &Stanza, sid: &str, callee: &Callee) -> Option<Names> {
        // A client knows a session by the JID that it addressed, whatever its resource; a proposal has none yet.
        let us = if matches!(stanza.payload, Payload::Jingle(_)) {
            stanza.to.clone()
        } else {
            Jid::from(caller::with_resource(&stanza.to.to_bare())?)
        };
        let host = SipUri::parse(&callee.first.to).ok()?.host;
        // Where there are several, media may come from any.
        let sip_address = host.trim_matches(['[', ']']).parse().ok().filter(|_| callee.others.is_empty());
        Some(Names {
            id: self.new_call_id(),
            us,
            peer: stanza.from.clone(),
            sid: sid.to_owned(),
            dialog: callee.first.dialog,
            trunk: callee.first.trunk.clone(),
            sip_address,
            caller_uri: callee.caller_uri.clone(),
            sip: SipNames { from: callee.first.from.clone(), to: callee.first.to.clone(), call_id: None },
        })
    }

    fn new_call_id(&mut self) -> CallId {
        loop {
            let id = CallId::from(self.out.random());
            if !self.calls.contains_key(&id) {
                return id;
            }
        }
    }

    /// Finds whom a call from XMPP is for on the SIP side, and makes the INVITEs for it: one for each place to try.
    fn find_callee(&mut self, stanza: &Stanza, now: Instant) -> Result<Callee, NotMade> {
        let from = stanza.from.to_bare();
        if !self.limits.attempt(Whose::Caller(from.clone()), self.config.max_attempts_per_user, now) {
            return Err(Refusal::UserTooOften.into());
        }
        let planned = plan::to_sip(&self.config, &from, &stanza.to)?;
        self.check_room(&from)?;
        let known_by = planned.attempts.iter().find(|attempt| attempt.caller.is_jid);
        let caller_uri = known_by.map(|attempt| attempt.caller.from.clone());
        let mut others: VecDeque<_> = planned.attempts.into_iter().map(|attempt| self.invite(attempt)).collect();
        let mut why = Refusal::NoRoute;
        while let Some(first) = others.pop_front() {
            match self.check_trunk(first.trunk.as_deref(), now) {
                Ok(()) => return Ok(Callee { first, others, caller_uri }),
                Err(refusal) => why = refusal,
            }
        }
        Err(why.into())
    }

    /// Checks that there may be another call by this trunk, and counts the attempt.
    fn check_trunk(&mut self, name: Option<&str>, now: Instant) -> Result<(), Refusal> {
        let known = name.and_then(|name| self.config.trunks.get_key_value(name));
        let Some((name, trunk)) = known else { return Ok(()) };
        if trunk.max_calls > 0 && self.limits.calls(name) >= trunk.max_calls {
            return Err(Refusal::TrunkBusy);
        }
        let is_allowed = self.limits.attempt(Whose::Trunk(name.clone()), trunk.max_attempts, now);
        if is_allowed { Ok(()) } else { Err(Refusal::TrunkTooOften) }
    }

    fn invite(&mut self, attempt: Attempt) -> OutgoingInvite {
        self.next_dialog += 1;
        let dialog = DialogId(OUR_DIALOG | self.next_dialog);
        let Attempt { trunk, to, caller } = attempt;
        OutgoingInvite {
            trunk,
            from_display: caller.display,
            max_forwards: MAX_FORWARDS,
            asserted_identity: caller.asserted,
            private: caller.private,
            ..OutgoingInvite::new(dialog, to, caller.from)
        }
    }

    /// Checks that there may be another call, of this user.
    fn check_room(&self, user: &BareJid) -> Result<(), Refusal> {
        if self.stopping {
            Err(Refusal::Stopping)
        } else if self.calls.len() >= self.config.max_calls {
            Err(Refusal::TooManyCalls)
        } else if self.users.get(user).map_or(0, Vec::len) >= self.config.max_calls_per_user {
            Err(Refusal::UserBusy)
        } else {
            Ok(())
        }
    }

    /// Takes a message about a call.
    fn handle_jingle_message(&mut self, stanza: &Stanza, message: &JingleMessage, now: Instant) {
        let key = (stanza.from.to_bare(), message.id().to_owned());
        if let Some(id) = self.sessions.get(&key).copied() {
            self.with_call(id, now, |call, cx| {
                if call.us().to_bare() == stanza.to.to_bare() {
                    call.handle_jingle_message(cx, &stanza.from, message);
                }
            });
            return;
        }
        match message {
            JingleMessage::Propose { id, media } if self.tombstones.reason(&key).is_none() => {
                self.handle_propose(stanza, id, media, now);
            }
            JingleMessage::Propose { .. }
            | JingleMessage::Ringing { .. }
            | JingleMessage::Proceed { .. }
            | JingleMessage::Accept { .. }
            | JingleMessage::Reject { .. }
            | JingleMessage::Retract { .. }
            | JingleMessage::Finish { .. } => self.out.count("message-of-no-call"),
        }
    }

    /// Takes a call from XMPP that is proposed.
    fn handle_propose(&mut self, stanza: &Stanza, sid: &str, media: &[MediaKind], now: Instant) {
        if !stanza.from.is_full() || self.loses_tie(stanza, sid, now) {
            return;
        }
        let wanted: Vec<MediaKind> =
            media.iter().copied().filter(|kind| *kind == MediaKind::Audio || self.config.video).collect();
        let callee = self.find_callee(stanza, now);
        let reason = match callee {
            Ok(_) if wanted.is_empty() => Reason::new(ReasonCondition::UnsupportedApplications),
            Ok(callee) => match self.names(stanza, sid, &callee) {
                Some(names) => {
                    let mut cx = Context { config: &self.config, out: &mut self.out, now };
                    let mut call = Call::proposed(&mut cx, names, &wanted, callee.first);
                    call.others = callee.others;
                    return self.admit(call, now);
                }
                None => {
                    self.refuse_stanza(stanza, Refusal::Unmappable);
                    Refusal::Unmappable.reason(self.config.privacy_reasons)
                }
            },
            Err(not_made) => {
                self.refuse_stanza(stanza, not_made);
                not_made.refusal.reason(self.config.privacy_reasons)
            }
        };
        self.reject(stanza, sid, reason, false);
    }

    fn reject(&mut self, stanza: &Stanza, sid: &str, reason: Reason, tie_break: bool) {
        let from = caller::with_resource(&stanza.to.to_bare()).map_or_else(|| stanza.to.clone(), Jid::from);
        let message = JingleMessage::Reject { id: sid.to_owned(), reason: Some(reason), tie_break };
        let payload = Payload::JingleMessage(message);
        self.out.stanza(Stanza { from, to: stanza.from.clone(), id: format!("jm-reject-{sid}"), payload });
    }

    /// Two users call each other at the same moment: the lower id wins (XEP-0353 §4.2). True where it is ours.
    fn loses_tie(&mut self, stanza: &Stanza, sid: &str, now: Instant) -> bool {
        let (user, us) = (stanza.from.to_bare(), stanza.to.to_bare());
        let ids = self.users.get(&user).map(Vec::as_slice).unwrap_or_default();
        let crossing = ids.iter().filter_map(|id| self.calls.get(id)).find(|call| call.is_proposed_to(&user, &us));
        let Some((id, ours)) = crossing.map(|call| (call.id(), call.sid().to_owned())) else { return false };
        if (ours.as_str(), us.to_string()) < (sid, user.to_string()) {
            self.reject(stanza, sid, Reason::new(ReasonCondition::Expired), true);
            return true;
        }
        self.with_call(id, now, |call, cx| call.lose_tie(cx));
        false
    }

    /// A message of ours came back. Only a proposal matters.
    fn handle_undelivered(&mut self, stanza: &Stanza, error: &StanzaError, now: Instant) {
        let Some(sid) = stanza.id.strip_prefix(PROPOSE_ID) else { return };
        if let Some(id) = self.sessions.get(&(stanza.from.to_bare(), sid.to_owned())).copied() {
            self.with_call(id, now, |call, cx| call.handle_undelivered(cx, error));
        }
    }

    /// An IQ of ours was answered.
    fn handle_answer(&mut self, asked: Asked, payload: &Payload, now: Instant) {
        match (asked.what, payload) {
            (Question::Features(ver), _) => {
                self.directory.handle_features(&asked.whom, ver, payload);
                self.reconsider(&asked.whom.to_bare(), now);
            }
            (Question::Session(id), Payload::Error { error, .. }) => {
                self.with_call(id, now, |call, cx| call.handle_session_error(cx, &asked.whom, error));
            }
            (Question::Content(id), Payload::Error { error, .. }) => {
                let why = error.condition.as_str();
                self.with_call(id, now, |call, cx| call.handle_content_error(cx, why));
            }
            (Question::Session(_) | Question::Content(_), _) => (), // it went well
        }
    }

    /// What was just learnt of a user may show that a proposal which nobody has heard never will be.
    fn reconsider(&mut self, user: &BareJid, now: Instant) {
        let Some(ids) = self.users.get(user).cloned() else { return };
        // What protects the media of a call that has begun is decided: it has DTLS.
        if let Way::Initiate { devices, plain: false } = self.directory.way_to(user) {
            for id in ids {
                self.with_call(id, now, |call, cx| call.initiate_instead(cx, devices.clone()));
            }
        }
    }

    /// Takes a call from SIP.
    fn handle_invite(&mut self, invite: &IncomingInvite, now: Instant) -> Result<(), NotMade> {
        if self.stopping {
            return Err(Refusal::Stopping.into());
        }
        if invite.max_forwards == 0 {
            return Err(Refusal::TooManyHops.into());
        }
        if self.is_our_caller(&invite.from) {
            return Err(Refusal::Loop.into());
        }
        self.check_trunk(invite.trunk.as_deref(), now)?;
        if let Some(replaced) = invite.replaces {
            return Ok(self.handle_replacement(invite, replaced, now)?);
        }
        let caller =
            SipCaller { from: &invite.from, asserted: invite.asserted_identity.as_deref(), private: invite.private };
        let wanted = FromSip { trunk: invite.trunk.as_deref(), request_uri: &invite.request_uri, caller };
        let ToXmpp { callee, caller: us, .. } = plan::to_xmpp(&self.config, wanted)?;
        if !self.xmpp_is_up {
            return Err(Refusal::XmppDown.into());
        }
        let source = if invite.trunk.is_none() { Some(invite.source.ip()) } else { None };
        let half_open = source.and_then(|source| self.half_open.get(&source)).copied().unwrap_or_default();
        if half_open >= self.config.max_half_open_per_source {
            return Err(Refusal::TooManyCalls.into());
        }
        self.check_room(&callee)?;
        if !self.limits.attempt(Whose::Callee(callee.clone()), self.config.max_attempts_per_user, now) {
            return Err(Refusal::UserTooOften.into());
        }
        let mut session = Session::new(self.out.random());
        let described = invite.sdp.as_deref().map(|sdp| session.read_offer(sdp)).transpose();
        let described = described.map_err(|_| Refusal::Malformed)?;
        let offer = described.as_ref().map(|described| codecs::carried(&described.description, self.config.video));
        if offer.as_ref().is_some_and(|offer| offer.streams.is_empty()) {
            return Err(Refusal::NoMedia.into());
        }
        let way = self.directory.way_to(&callee);
        if !self.directory.knows(&callee) {
            // Its devices may have been there before we were.
            self.out.stanza(presence::bare(us.to_bare().into(), callee.clone().into(), PresenceKind::Probe));
        }
        let names = Names {
            id: self.new_call_id(),
            us: us.into(),
            peer: callee.into(),
            sid: self.out.uuid(),
            dialog: invite.dialog,
            trunk: invite.trunk.clone(),
            sip_address: Some(invite.source.ip()),
            caller_uri: None,
            sip: SipNames {
                from: invite.from.clone(),
                to: invite.request_uri.clone(),
                call_id: Some(invite.sip_call_id.clone()),
            },
        };
        let mut cx = Context { config: &self.config, out: &mut self.out, now };
        let mut call = Call::invited(&mut cx, names, offer, session, way);
        cx.out.log(Some(call.id()), Level::DEBUG, format!("SIP Call-ID {:?}", invite.sip_call_id));
        call.losses(
            &mut cx,
            "SIP",
            described.as_ref().map(|described| described.losses.as_slice()).unwrap_or_default(),
        );
        call.source = source;
        call.set_support(invite.peer);
        self.admit(call, now);
        Ok(())
    }

    /// Says whether a From URI is one under which a user of ours is calling right now: its call came back.
    fn is_our_caller(&self, from: &str) -> bool {
        let Ok(uri) = SipUri::parse(from) else { return false };
        let Ok(Some(user)) = uri.user_text() else { return false };
        self.callers.contains_key(&SipUri::new(&user, &uri.host).to_string())
    }
}

fn uncount<Q, K>(counts: &mut HashMap<K, usize>, key: &Q)
where
    K: Borrow<Q> + Eq + Hash,
    Q: Eq + Hash + ?Sized,
{
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn session_key(call: &Call) -> SessionKey {
    (call.peer().to_bare(), call.sid().to_owned())
}

fn counters_of<'a>(counters: &'a mut Counters, call: &Call) -> &'a mut DirectionCounters {
    match call.caller() {
        Side::Xmpp => &mut counters.from_xmpp,
        Side::Sip | Side::Neither => &mut counters.from_sip,
    }
}

impl fmt::Debug for Translator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Translator").field("calls", &self.calls.len()).finish_non_exhaustive()
    }
}
