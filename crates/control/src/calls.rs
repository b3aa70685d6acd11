//! The calls that clients set up, and what of a relay they become.
//!
//! [`Calls`] takes requests and gives replies; what it wants of the relay are [`model::Command`]s, whose replies it is
//! given in turn. It reads no clock and waits for nothing: a request that has to wait for the relay, or for an earlier
//! request about the same call, is answered later.
//!
//! - `party`: who takes part in a call, and which of its dialogues a request is about
//! - `policy`, `codecs`: what an offer and the wishes beside it come to for the relay
//! - `exchange`: offers and answers
//! - `rollback`: offers that are taken back
//! - `unanswered`: offers that nobody answers
//! - `blocks`: what parties are kept from saying
//! - `figures`: what is told of a call

mod blocks;
mod codecs;
mod exchange;
mod figures;
mod party;
mod policy;
mod rollback;
#[cfg(test)]
mod tests;
mod unanswered;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use model::{CallId, CallStatistics, Command, CommandError, Event, FromRelay, LegId, News, Reply, RequestId};

use self::exchange::Finish;
use self::party::Call;
pub(crate) use self::party::Said;
use self::unanswered::Unanswered;
use crate::request::{Action, Delete, EndpointLearning, Flag, PlayDtmf, Query, Selection};
use crate::{Dictionary, Request, request, rewriting};

/// What an operator sets.
#[derive(Clone, Debug)]
pub struct Config {
    /// Calls at once; one more is refused.
    pub max_calls: usize,
    /// How long a deleted call may still be revived where its `delete` says nothing.
    pub delete_delay: Duration,
    /// How long an offer may stay without an answer.
    pub offer_timeout: Duration,
    /// How addresses are learnt where an offer says nothing.
    pub endpoint_learning: EndpointLearning,
    /// The names by which clients ask for addresses of the relay, and how the relay calls those; others mean any.
    pub interfaces: HashMap<String, String>,
    /// What the relay calls the addresses that are told by ICE where clients ask for none.
    pub usual_interface: Option<String>,
}

/// What a reply belongs to; chosen by whoever hands in the request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Ticket(pub u64);

/// The calls of all clients.
#[derive(Debug)]
pub struct Calls {
    config: Config,
    /// A moment, and the time since 1970 that it was.
    epoch: (Instant, Duration),
    /// The time since 1970 of what is worked on.
    unix: Duration,
    calls: HashMap<String, Call>,
    /// Which dialogue of which call a call of the relay is.
    of_relay: HashMap<CallId, (String, usize)>,
    /// What waits for the relay.
    jobs: HashMap<u64, Job>,
    /// Which job a request to the relay belongs to.
    asked: HashMap<RequestId, (u64, usize)>,
    /// Calls with a job.
    busy: HashMap<String, Busy>,
    /// When calls end whose end was asked for.
    ends: BTreeSet<(Instant, String)>,
    /// When dialogues end that wait for an answer.
    unanswered: Unanswered,
    next_number: u64,
    commands: VecDeque<model::Request>,
    replies: VecDeque<(Ticket, Dictionary<'static>)>,
    counts: Counts,
    /// What is to be said of requests that contradict themselves.
    warnings: HashMap<Ticket, String>,
    /// What says that a description has come by here, if clients wish for it.
    mark: String,
}

/// A request that waits for the relay.
#[derive(Debug)]
struct Job {
    ticket: Option<Ticket>,
    call_id: String,
    /// Replies that are still to come.
    left: usize,
    failed: Option<CommandError>,
    /// Our description in the last reply that had one.
    local: Option<model::Description>,
    /// Of which dialogue.
    figures: Vec<(usize, CallStatistics)>,
    finish: Finish,
}

/// What became of the calls so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Begun.
    pub begun: u64,
    /// Refused, because there were too many.
    pub refused: u64,
    /// Ended by `delete`.
    pub deleted: u64,
    /// Dialogues that ended because no media came.
    pub timed_out: u64,
    /// Dialogues that ended because no answer came.
    pub unanswered: u64,
}

/// A call with a job.
#[derive(Debug, Default)]
struct Busy {
    has_job: bool,
    /// Requests that wait for its end.
    waiting: VecDeque<(Ticket, Action)>,
}

/// Requests that may wait for one call.
const MAX_WAITING: usize = 64;

impl Calls {
    /// None yet. `unix` is the time since 1970 at `now`.
    pub fn new(config: Config, now: Instant, unix: Duration) -> Self {
        Self {
            config,
            epoch: (now, unix),
            unix,
            calls: HashMap::new(),
            of_relay: HashMap::new(),
            jobs: HashMap::new(),
            asked: HashMap::new(),
            busy: HashMap::new(),
            ends: BTreeSet::new(),
            unanswered: Unanswered::new(),
            next_number: 0,
            commands: VecDeque::new(),
            replies: VecDeque::new(),
            counts: Counts::default(),
            warnings: HashMap::new(),
            mark: rewriting::mark(unix),
        }
    }

    /// Takes no more calls: each new one is refused as one too many. Those there are go on.
    pub fn refuse_new(&mut self) {
        self.config.max_calls = 0;
    }

    /// How many calls there are.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// What became of them so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Says whether there is none.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// The next command for the relay.
    pub fn poll_command(&mut self) -> Option<model::Request> {
        self.commands.pop_front()
    }

    /// The next reply to a request.
    pub fn poll_reply(&mut self) -> Option<(Ticket, Dictionary<'static>)> {
        let (ticket, mut reply) = self.replies.pop_front()?;
        let warning = self.warnings.remove(&ticket);
        if let Some(warning) = warning.filter(|_| reply.text("result") == Some("ok") && reply.get("warning").is_none())
        {
            reply.put("warning", warning);
        }
        Some((ticket, reply))
    }

    /// When [`Calls::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let ends = self.ends.first().map(|(at, _)| *at);
        ends.into_iter().chain(self.unanswered.first().map(|(at, _)| *at)).min()
    }

    /// Takes a request. Its reply comes now or later by [`Calls::poll_reply`].
    pub fn handle_request(&mut self, ticket: Ticket, request: Request, now: Instant) {
        self.look_at_clock(now);
        let contradictions = request.findings.iter().filter(|finding| finding.is_contradiction());
        let warning: Vec<String> = contradictions.map(ToString::to_string).collect();
        if !warning.is_empty() {
            self.warnings.insert(ticket, warning.join("; "));
        }
        let Some(call_id) = request.action.call_id() else { return self.carry_out(ticket, request.action, now) };
        match self.busy.get_mut(call_id) {
            Some(busy) if busy.waiting.len() >= MAX_WAITING => self.refuse(ticket, "Too many requests for one call"),
            Some(busy) => busy.waiting.push_back((ticket, request.action)),
            None => self.carry_out(ticket, request.action, now),
        }
    }

    fn carry_out(&mut self, ticket: Ticket, action: Action, now: Instant) {
        match action {
            Action::Ping => self.replies.push_back((ticket, Dictionary::new().with("result", "pong"))),
            Action::Offer { to_tag, exchange } => self.offer(ticket, to_tag.as_deref(), *exchange, now),
            Action::Answer { to_tag, exchange } => self.answer(ticket, &to_tag, *exchange),
            Action::Delete(delete) => self.delete(ticket, &delete, now),
            Action::Query(query) => self.query(ticket, &query),
            Action::Rollback(rollback) => self.roll_back(ticket, rollback),
            Action::List(limit) => self.list(ticket, limit),
            Action::Statistics => {
                let up = now.saturating_duration_since(self.epoch.0);
                let reply = ok().with("statistics", figures::of_all(self.calls.len(), &self.counts, up));
                self.replies.push_back((ticket, reply));
            }
            Action::Block(block) => self.block(ticket, &block, true),
            Action::Unblock(block) => self.block(ticket, &block, false),
            Action::PlayDtmf(press) => self.play_dtmf(ticket, &press),
            Action::Unsupported(_) => self.refuse(ticket, "unsupported"),
        }
    }

    fn list(&mut self, ticket: Ticket, limit: u32) {
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let calls: Vec<String> = self.calls.keys().take(most).cloned().collect();
        self.replies.push_back((ticket, ok().with("calls", calls)));
    }

    /// Ends a call, or a branch of it.
    fn delete(&mut self, ticket: Ticket, delete: &Delete, now: Instant) {
        let is_fast = delete.flags.has(Flag::Fast);
        let delay = if is_fast { Duration::ZERO } else { delete.delay.unwrap_or(self.config.delete_delay) };
        let Some(call) = self.calls.get_mut(&delete.call_id) else {
            return self.not_found(ticket, delete.flags.has(Flag::Fatal));
        };
        let heeded_tag = delete.to_tag.as_deref().filter(|_| delete.flags.has(Flag::ToTag));
        let party = match (&delete.from_tag, heeded_tag, delete.via_branch.as_deref()) {
            (None, _, _) => None,
            (Some(_), Some(tag), _) => Some(call.party(tag)),
            (Some(from), None, branch) => {
                let by_branch = branch.and_then(|branch| {
                    call.parties.iter().position(|party| party.via_branch.as_deref() == Some(branch))
                });
                Some(by_branch.or_else(|| call.party(from)))
            }
        };
        let numbers: Vec<usize> = match party {
            None => (0..call.dialogues.len()).collect(),
            Some(None) => return self.not_found(ticket, delete.flags.has(Flag::Fatal)),
            Some(Some(party)) => call.dialogues_of(party).map(|(number, _)| number).collect(),
        };
        let alive = |number: &usize| call.dialogues[*number].relay.is_some();
        let numbers: Vec<usize> = numbers.into_iter().filter(alive).collect();
        let ends_all = call.dialogues.iter().filter(|dialogue| dialogue.relay.is_some()).count() == numbers.len();
        let at_once = delay.is_zero() || !ends_all;
        if !at_once {
            self.ends.extend(call.ends_at.is_none().then(|| (now + delay, delete.call_id.clone())));
            call.ends_at.get_or_insert(now + delay);
        }
        let asked =
            call.commands(&numbers, |call| if at_once { Command::End { call } } else { Command::Query { call } });
        if is_fast {
            // Nothing of what the relay has to say is told.
            asked.into_iter().for_each(|(_, command)| self.tell(command));
            self.deleted(&delete.call_id, &numbers, ends_all);
            return self.replies.push_back((ticket, ok()));
        }
        let finish = if at_once { Finish::Deleted { numbers, ends_all } } else { Finish::Told { of: None } };
        self.ask(Some(ticket), delete.call_id.clone(), asked, finish);
    }

    fn not_found(&mut self, ticket: Ticket, is_fatal: bool) {
        const REASON: &str = "Call-ID not found or tags didn't match";
        if is_fatal {
            return self.refuse(ticket, REASON);
        }
        self.replies.push_back((ticket, ok().with("warning", REASON)));
    }

    fn query(&mut self, ticket: Ticket, query: &Query) {
        let Some(call) = self.calls.get(&query.call_id) else { return self.refuse(ticket, "Unknown call-id") };
        let tag = query.from_tag.as_deref().or(query.to_tag.as_deref());
        let of = match tag.map(|tag| call.party(tag)) {
            Some(None) => return self.refuse(ticket, "Unknown call-id"),
            Some(Some(party)) => Some(party),
            None => None,
        };
        let numbers: Vec<usize> = match of {
            Some(party) => call.dialogues_of(party).map(|(number, _)| number).collect(),
            None => (0..call.dialogues.len()).collect(),
        };
        let asked = call.commands(&numbers, |call| Command::Query { call });
        self.ask(Some(ticket), query.call_id.clone(), asked, Finish::Told { of });
    }

    /// Presses a key in the place of a party: the others hear it.
    fn play_dtmf(&mut self, ticket: Ticket, press: &PlayDtmf) {
        let Some(call) = self.calls.get(&press.of.call_id) else { return self.refuse(ticket, "Unknown call-ID") };
        let party = match call.selected(&press.of) {
            Ok(party) => party,
            Err(reason) => return self.refuse(ticket, reason),
        };
        let duration_ms = u32::try_from(press.duration.as_millis()).unwrap_or(u32::MAX);
        let mut asked = Vec::new();
        for (number, dialogue) in call.dialogues.iter().enumerate() {
            let legs = (0..2).filter(|leg| party.is_none_or(|party| dialogue.parties[1 - *leg] == party));
            let press =
                |leg: usize, call| Command::SendDtmf { call, leg: leg_id(leg), digit: press.digit, duration_ms };
            asked.extend(legs.filter_map(|leg| Some((number, press(leg, dialogue.relay?)))));
        }
        self.ask(Some(ticket), press.of.call_id.clone(), asked, Finish::Done);
    }

    // What goes to the relay and comes back.

    /// Sends commands, each about a dialogue, and goes on when all are answered.
    fn ask(&mut self, ticket: Option<Ticket>, call_id: String, commands: Vec<(usize, Command)>, finish: Finish) {
        let number = self.next();
        let left = commands.len();
        let job =
            Job { ticket, call_id: call_id.clone(), left, failed: None, local: None, figures: Vec::new(), finish };
        for (dialogue, command) in commands {
            let id = RequestId(self.next());
            self.asked.insert(id, (number, dialogue));
            self.commands.push_back(model::Request { id, command });
        }
        if left == 0 {
            return self.finish(job);
        }
        self.busy.entry(call_id).or_default().has_job = true;
        self.jobs.insert(number, job);
    }

    /// Sends a command whose outcome changes nothing.
    fn tell(&mut self, command: Command) {
        let id = RequestId(self.next());
        self.commands.push_back(model::Request { id, command });
    }

    /// A number that was not used before.
    const fn next(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Takes what the relay says.
    pub fn handle_relay(&mut self, news: FromRelay, now: Instant) {
        self.look_at_clock(now);
        match news {
            FromRelay::Reply { id, outcome } => self.handle_outcome(id, outcome, now),
            FromRelay::Event(event) => self.handle_event(event),
        }
    }

    fn handle_outcome(&mut self, id: RequestId, outcome: Result<Reply, CommandError>, now: Instant) {
        let Some((number, dialogue)) = self.asked.remove(&id) else { return };
        let Some(job) = self.jobs.get_mut(&number) else { return };
        match outcome {
            Ok(Reply::Local(local)) => job.local = Some(local),
            Ok(Reply::Statistics(figures)) => job.figures.push((dialogue, figures)),
            Ok(Reply::Done | Reply::Restarted(_)) => {}
            Err(error) => drop(job.failed.get_or_insert(error)),
        }
        job.left -= 1;
        if job.left > 0 {
            return;
        }
        let Some(job) = self.jobs.remove(&number) else { return };
        let call_id = job.call_id.clone();
        self.busy.entry(call_id.clone()).or_default().has_job = false;
        self.finish(job);
        while let Some(busy) = self.busy.get_mut(&call_id)
            && !busy.has_job
        {
            match busy.waiting.pop_front() {
                Some((ticket, action)) => self.carry_out(ticket, action, now),
                None => drop(self.busy.remove(&call_id)),
            }
        }
    }

    fn handle_event(&mut self, Event { call, news }: Event) {
        let Some((call_id, number)) = self.of_relay.get(&call) else {
            // The relay had too much to do when it was told to end the call.
            if matches!(news, News::MediaTimeout { .. }) {
                self.tell(Command::End { call });
            }
            return;
        };
        let (call_id, number) = (call_id.clone(), *number);
        let Some(dialogue) = self.calls.get_mut(&call_id).and_then(|call| call.dialogues.get_mut(number)) else {
            return;
        };
        match news {
            News::Lost => {
                self.of_relay.remove(&call);
                dialogue.relay = None;
            }
            // Whether the other party is silent too, only the relay knows.
            News::MediaTimeout { leg } => {
                let asked = vec![(number, Command::Query { call })];
                return self.ask(None, call_id, asked, Finish::Silent { leg: usize::from(leg.0 != 0) });
            }
            News::Candidate { .. }
            | News::Ice { .. }
            | News::Dtls { .. }
            | News::FirstPacket { .. }
            | News::ConsentLost { .. }
            | News::Dtmf { .. }
            | News::PictureRequested { .. }
            | News::Statistics(_) => return,
        }
        self.forget_if_over(&call_id);
    }

    /// Ends a dialogue whose parties are both silent: of one that was before, nothing more has come.
    fn fell_silent(&mut self, call_id: &str, leg: usize, figures: &[(usize, CallStatistics)]) {
        let Some((number, figures)) = figures.first() else { return };
        let dialogue = self.calls.get_mut(call_id).and_then(|call| call.dialogues.get_mut(*number));
        let Some((dialogue, relay)) = dialogue.and_then(|one| one.relay.map(|relay| (one, relay))) else { return };
        let came = |leg: usize| {
            let streams = figures.legs.get(leg).map(|leg| leg.streams.iter().map(|stream| stream.packets_received));
            streams.map_or(0, Iterator::sum)
        };
        dialogue.silent[leg] = Some(came(leg));
        if dialogue.silent[1 - leg] != Some(came(1 - leg)) {
            return;
        }
        dialogue.relay = None;
        self.of_relay.remove(&relay);
        self.counts.timed_out += 1;
        self.tell(Command::End { call: relay });
        self.forget_if_over(call_id);
    }

    fn forget_if_over(&mut self, call_id: &str) {
        if self.calls.get(call_id).is_some_and(|call| call.dialogues.iter().all(|one| one.relay.is_none())) {
            self.forget(call_id);
        }
    }

    /// Takes a call off the list.
    fn forget(&mut self, call_id: &str) -> Option<Call> {
        let call = self.calls.remove(call_id)?;
        if let Some(at) = call.ends_at {
            self.ends.remove(&(at, call_id.to_owned()));
        }
        self.await_none_of(&call.dialogues);
        Some(call)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.end_unanswered(now);
        while self.ends.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, call_id)) = self.ends.pop_first()
        {
            self.counts.deleted += 1;
            self.end(&call_id);
        }
    }

    /// Ends a call now.
    fn end(&mut self, call_id: &str) {
        let Some(call) = self.forget(call_id) else { return };
        for relay in call.dialogues.iter().filter_map(|dialogue| dialogue.relay) {
            self.of_relay.remove(&relay);
            self.tell(Command::End { call: relay });
        }
    }

    fn refuse(&mut self, ticket: Ticket, reason: &str) {
        let reply = Dictionary::new().with("result", "error").with("error-reason", reason.to_owned());
        self.replies.push_back((ticket, reply));
    }

    fn look_at_clock(&mut self, now: Instant) {
        self.unix = self.epoch.1 + now.saturating_duration_since(self.epoch.0);
    }
}

impl Call {
    /// A command about each of some dialogues.
    fn commands(&self, numbers: &[usize], command: impl Fn(CallId) -> Command) -> Vec<(usize, Command)> {
        numbers.iter().filter_map(|number| Some((*number, command(self.dialogues.get(*number)?.relay?)))).collect()
    }

    /// The party that a request is about; `None`: all.
    fn selected(&self, of: &Selection) -> Result<Option<usize>, &'static str> {
        let by_label = |label: &String| self.parties.iter().position(|party| party.label.as_ref() == Some(label));
        match &of.party {
            request::Party::Everybody => Ok(None),
            request::Party::Label(label) => by_label(label).map(Some).ok_or("No monologue matching the given label"),
            request::Party::Address(address) => self
                .dialogues
                .iter()
                .find_map(|dialogue| {
                    let said = |leg: &usize| {
                        let remote = dialogue.remote[*leg].as_ref()?;
                        remote.streams.iter().find(|stream| stream.path.rtp.is_some_and(|rtp| rtp.ip() == *address))
                    };
                    (0..2).find(|leg| said(leg).is_some()).map(|leg| dialogue.parties[leg])
                })
                .map(Some)
                .ok_or("Failed to match address to any tag"),
            request::Party::Tag(tag) => self.party(tag).map(Some).ok_or("From-tag given, but no such tag exists"),
        }
    }
}

/// The leg of a number: that of whoever made the first offer is 0.
fn leg_id(number: usize) -> LegId {
    LegId(u16::from(number != 0))
}

fn ok() -> Dictionary<'static> {
    Dictionary::new().with("result", "ok")
}
