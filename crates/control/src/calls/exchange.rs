//! Offers and answers: what the relay is asked, and what comes of its replies.

use std::time::Instant;

use model::{CallId, Command, CommandError, Description, LegPolicy, Numbering, PathPolicy, Profile, Security};

use sdp::facts::Facts;
use sdp::fragment::{Fragment, Trickled};
use sdp::{Described, Role, SdpError};

use super::blocks::Blocks;
use super::party::{Call, Dialogue, Exchange, Said};
use super::policy::{Before, Legs};
use super::rollback::Checkpoint;
use super::{Calls, Job, Ticket, codecs, figures, leg_id, ok, policy};
use crate::request::{self, Flag, Options, Supports};
use crate::rewriting;

/// Clients try another relay at these words.
const TOO_MANY_CALLS: &str = "Parallel session limit reached";

/// What is left to do when the relay has answered.
#[derive(Debug)]
pub(super) enum Finish {
    /// To reply to an offer.
    Offered {
        number: usize,
        exchange: Box<Exchange>,
        offer: Box<Description>,
        /// The call of the relay that was made for it, and the legs' policies.
        made: Option<Box<(CallId, [LegPolicy; 2])>>,
        /// What it may be taken back to.
        before: Option<Box<Checkpoint>>,
    },
    /// To reply to an answer.
    Answered { number: usize, answer: Box<Said>, described: Box<Description> },
    /// To reply to `delete`, with what was counted.
    Deleted { numbers: Vec<usize>, ends_all: bool },
    /// To reply with what is known.
    Told { of: Option<usize> },
    /// To reply that an offer was taken back.
    RolledBack { number: usize },
    /// To reply that it is done.
    Done,
    /// To end a dialogue if nobody speaks in it any more: the party of this leg was silent for too long.
    Silent { leg: usize },
}

impl Calls {
    /// Takes candidates that trickle. Their reply has no SDP.
    fn trickle(&mut self, ticket: Ticket, said: request::Exchange) {
        let Some(call) = self.calls.get(&said.call_id) else { return self.refuse(ticket, "Unknown call-id") };
        let dialogue = call.party(&said.from_tag).and_then(|from| Some((from, call.dialogues_of(from).next()?.0)));
        let Some((from, number)) = dialogue else { return self.refuse(ticket, "Invalid dialogue association") };
        let dialogue = &call.dialogues[number];
        let Ok(fragment) = Fragment::read(&said.sdp) else { return self.refuse(ticket, "Failed to parse SDP") };
        let Some((leg, relay)) = dialogue.leg_of(from).zip(dialogue.relay) else {
            return self.refuse(ticket, "Invalid dialogue association");
        };
        let streams = dialogue.session.streams();
        let remote = dialogue.remote[leg].iter().flat_map(|remote| &remote.streams);
        let stream_of = |part: &Trickled| match &part.mid {
            Some(mid) => remote.clone().find(|stream| stream.name == *mid).map(|stream| stream.id),
            None => streams.get(part.index).copied().flatten(),
        };
        let mut asked = Vec::new();
        for part in fragment.parts {
            let Some(stream) = stream_of(&part) else { continue };
            let Trickled { ufrag, candidates, end_of_candidates, .. } = part;
            let leg = leg_id(leg);
            asked.push((
                number,
                Command::AddCandidates { call: relay, leg, stream, ufrag, candidates, end_of_candidates },
            ));
        }
        self.ask(Some(ticket), said.call_id, asked, Finish::Done);
    }

    /// Says whether a description is to stay as it is, for it has come by here.
    fn came_by(&self, said: &request::Exchange) -> bool {
        said.options.flags.has(Flag::LoopProtect) && rewriting::is_marked(&said.sdp, &self.mark)
    }

    pub(super) fn offer(&mut self, ticket: Ticket, to_tag: Option<&str>, said: request::Exchange, now: Instant) {
        if said.options.flags.has(Flag::Fragment) {
            return self.trickle(ticket, said);
        }
        if self.came_by(&said) {
            return self.replies.push_back((ticket, ok().with("sdp", said.sdp)));
        }
        let unix = self.unix;
        let request::Exchange { call_id, from_tag, via_branch, label, to_label, sdp, options } = said;
        let is_new = !self.calls.contains_key(&call_id);
        if is_new && self.calls.len() >= self.config.max_calls {
            return self.refuse_load(ticket, &options);
        }
        self.counts.begun += u64::from(is_new);
        let call = self.calls.entry(call_id.clone()).or_insert_with(|| Call::new(unix));
        call.last_signal = unix;
        call.alias(&from_tag, &sdp, options.alias_key);
        let found = call.dialogue_for_offer(&from_tag, to_tag, via_branch.as_deref(), unix);
        let (number, from) = match found {
            Ok(found) => found,
            Err(reason) => {
                self.forget_if_over(&call_id);
                return self.refuse(ticket, reason);
            }
        };
        if let Some(at) = call.ends_at.take() {
            self.ends.remove(&(at, call_id.clone()));
        }
        let dialogue = &mut call.dialogues[number];
        let offerer = usize::from(dialogue.parties[0] != from);
        let again = dialogue.exchange.as_ref().filter(|known| known.offerer == offerer && known.answer.is_none());
        if let Some(rewritten) = again.and_then(|known| known.offer.is_again(&sdp, &options)) {
            let reply = dialogue.with_generation(ok().with("sdp", rewritten.to_owned()), &options);
            return self.replies.push_back((ticket, reply));
        }
        let before_it = dialogue.checkpoint();
        let (Ok(facts), Ok((described, replaces))) = (Facts::read(&sdp), dialogue.read_offer(&sdp)) else {
            self.forget_if_over(&call_id);
            return self.refuse(ticket, "Failed to parse SDP");
        };
        let offer = rewriting::described(described.description, &facts, &dialogue.session, &options);
        let (family, before) = (rewriting::family(&facts), dialogue.before(offerer));
        let order = [offerer, 1 - offerer].map(leg_id);
        let legs = Legs::of(&offer, family, before, &options, self.config.endpoint_learning, order);
        let onward = codecs::offered(&offer, &options, dialogue.past(1 - offerer), legs.offers_bundle);
        call.name(number, offerer, label, to_label);
        let mut asked = Vec::new();
        let policies =
            by_leg(offerer, self.known_interfaces(legs.sender.clone()), self.known_interfaces(legs.receiver.clone()));
        let wanted = (policies, legs.offers_bundle, replaces);
        let (relay, made) = self.relay_for(&call_id, (number, offerer), wanted, &mut asked);
        self.await_answer(&call_id, number, relay, made.is_some(), now);
        if let Some(call) = self.calls.get_mut(&call_id) {
            call.heed_blocks(from, &options);
            asked.extend(call.blocks_in(number, relay));
        }
        asked.push(Command::RemoteOffer { call: relay, leg: leg_id(offerer), offer: offer.clone() });
        asked.push(Command::LocalOffer { call: relay, leg: leg_id(1 - offerer), offer: onward });
        let exchange = Exchange { offerer, offer: Said { sdp, facts, options, rewritten: None }, legs, answer: None };
        let (exchange, offer, made) = (Box::new(exchange), Box::new(offer), made.map(Box::new));
        let finish = Finish::Offered { number, exchange, offer, made, before: before_it };
        self.ask(Some(ticket), call_id, asked.into_iter().map(|command| (number, command)).collect(), finish);
    }

    /// The call of the relay for an offer of a dialogue: the one it has, if that has the right legs, or else a new one in
    /// its place, whose legs come with it.
    fn relay_for(
        &mut self,
        call_id: &str,
        (number, offerer): (usize, usize),
        (policies, offers_bundle, replaces): ([LegPolicy; 2], bool, bool),
        asked: &mut Vec<Command>,
    ) -> (CallId, Option<(CallId, [LegPolicy; 2])>) {
        let new = CallId::from(self.next());
        let dialogue = self.calls.get_mut(call_id).and_then(|call| call.dialogues.get_mut(number));
        if let Some(dialogue) = dialogue {
            // One transport is not parted again.
            let parts = dialogue.standing[1 - offerer].bundles && !offers_bundle;
            if let Some(relay) = dialogue.relay.filter(|_| !parts && dialogue.fits(&policies)) {
                // An offer takes the place of one of the same party, of which it may keep something.
                let open = dialogue.exchange.as_ref().filter(|open| open.answer.is_none());
                if replaces || open.is_some_and(|open| open.offerer != offerer) {
                    asked.extend([0, 1].map(|leg| Command::Rollback { call: relay, leg: leg_id(leg) }));
                }
                return (relay, None);
            }
            dialogue.blocked = [Blocks::NOTHING; 2];
            if let Some(old) = dialogue.relay.take() {
                self.of_relay.remove(&old);
                asked.push(Command::End { call: old });
            }
        }
        let policies = self.with_interfaces(call_id, number, policies);
        // The parties tell each other of their SSRCs, which is what they get.
        let legs = policies.iter().map(|policy| LegPolicy { numbering: Numbering::Source, ..policy.clone() }).collect();
        asked.push(Command::CreateCall { call: new, legs });
        (new, Some((new, policies)))
    }

    /// Where an offer names no interface, the one that an earlier one named. By ICE no other would do but the first, since
    /// all that are used are told; without, it is the first one that fits.
    fn with_interfaces(&self, call_id: &str, number: usize, mut policies: [LegPolicy; 2]) -> [LegPolicy; 2] {
        let before = self.calls.get(call_id).and_then(|call| call.dialogues.get(number)?.policies.as_ref());
        for (leg, policy) in policies.iter_mut().enumerate().filter(|(_, policy)| policy.address.is_none()) {
            let usual = self.config.usual_interface.as_ref().filter(|_| matches!(policy.path, PathPolicy::Ice { .. }));
            policy.address = before.and_then(|before| before[leg].address.as_ref()).or(usual).cloned();
        }
        policies
    }

    pub(super) fn answer(&mut self, ticket: Ticket, to_tag: &str, said: request::Exchange) {
        if self.came_by(&said) {
            return self.replies.push_back((ticket, ok().with("sdp", said.sdp)));
        }
        let unix = self.unix;
        let request::Exchange { call_id, from_tag, via_branch, label, to_label, sdp, options } = said;
        let Some(call) = self.calls.get_mut(&call_id) else { return self.refuse(ticket, "Unknown call-id") };
        call.last_signal = unix;
        let found = call.dialogue_for_answer(&from_tag, to_tag, via_branch.as_deref());
        let Some((number, offerer)) = found else { return self.refuse(ticket, "Invalid dialogue association") };
        call.name(number, offerer, label, to_label);
        let dialogue = &mut call.dialogues[number];
        let (Some(exchange), Some(relay)) = (&dialogue.exchange, dialogue.relay) else {
            return self.refuse(ticket, "Invalid dialogue association");
        };
        if exchange.offerer != offerer {
            return self.refuse(ticket, "Invalid dialogue association");
        }
        let Ok(facts) = Facts::read(&sdp) else { return self.refuse(ticket, "Failed to parse SDP") };
        let whole = rewriting::completed(&sdp, &facts, &exchange.offer.facts, &exchange.offer.options);
        let (sdp, facts) = match whole.map(|whole| (Facts::read(&whole), whole)) {
            Some((Ok(facts), whole)) => (whole, facts),
            Some((Err(_), _)) | None => (sdp, facts),
        };
        if let Some(rewritten) = exchange.answer.as_ref().and_then(|answer| answer.is_again(&sdp, &options)) {
            let reply = dialogue.with_generation(ok().with("sdp", rewritten.to_owned()), &options);
            return self.replies.push_back((ticket, reply));
        }
        let answerer = dialogue.parties[1 - offerer];
        let was_answered = exchange.answer.is_some();
        let Legs { takes_bundle, passes_keys, .. } = exchange.legs;
        let Ok(described) = dialogue.session.read_answer(&sdp) else {
            return self.refuse(ticket, "Failed to parse SDP");
        };
        let Some(offer) = dialogue.remote[offerer].clone() else {
            return self.refuse(ticket, "Invalid dialogue association");
        };
        let remote = rewriting::described(described.description, &facts, &dialogue.session, &options);
        let wishes = codecs::Wishes {
            offer: &exchange.offer.options,
            answer: &options,
            offerer: dialogue.past(offerer),
            answerer: dialogue.past(1 - offerer),
        };
        let onward = codecs::answered(&offer, &remote, wishes, takes_bundle);
        let liked = policy::with_keys_as_liked(&offer, &remote, &exchange.offer.options.sdes);
        call.heed_blocks(answerer, &options);
        let mut asked = call.blocks_in(number, relay);
        asked.push(Command::RemoteAnswer { call: relay, leg: leg_id(1 - offerer), answer: remote.clone() });
        let declined = passes_keys && remote.streams.iter().all(|stream| stream.path.crypto.is_empty());
        if was_answered || declined || liked != offer {
            // To the relay another answer is one to the same offer made again; keys that the answerer declines were none.
            let offer = if declined { without_keys(offer) } else { liked };
            asked.push(Command::RemoteOffer { call: relay, leg: leg_id(offerer), offer });
        }
        asked.push(Command::LocalAnswer { call: relay, leg: leg_id(offerer), answer: onward });
        let answer = Box::new(Said { sdp, facts, options, rewritten: None });
        let finish = Finish::Answered { number, answer, described: Box::new(remote) };
        self.ask(Some(ticket), call_id, asked.into_iter().map(|command| (number, command)).collect(), finish);
    }

    /// Replies, once the relay has answered all that a request came to.
    pub(super) fn finish(&mut self, job: Job) {
        let Job { ticket, call_id, failed, local, figures, finish, .. } = job;
        let reply = match (finish, failed) {
            (Finish::Silent { leg }, _) => return self.fell_silent(&call_id, leg, &figures),
            (Finish::Offered { number, made, .. }, Some(error)) => {
                self.undo_offer(&call_id, number, made.map(|made| made.0), &error);
                error_reply(&error)
            }
            (Finish::Answered { .. }, Some(error)) => {
                if error == CommandError::NoFreePort {
                    self.end(&call_id);
                }
                error_reply(&error)
            }
            (Finish::Done | Finish::RolledBack { .. }, Some(error)) => error_reply(&error),
            (Finish::Offered { number, exchange, offer, made, before }, None) => {
                self.offered(&call_id, number, (*exchange, *offer), made.map(|made| *made), (local, before))
            }
            (Finish::Answered { number, answer, described }, None) => {
                self.answered(&call_id, number, *answer, *described, local)
            }
            // A call of the relay that is gone has no figures.
            (Finish::Told { of }, _) => match self.calls.get(&call_id) {
                Some(call) => figures::of_call(call, of, &figures, self.unix),
                None => ok(),
            },
            (Finish::Deleted { numbers, ends_all }, _) => {
                let call = self.calls.get(&call_id);
                let reply = call.map_or_else(ok, |call| figures::of_call(call, None, &figures, self.unix));
                self.deleted(&call_id, &numbers, ends_all);
                reply
            }
            (Finish::RolledBack { number }, None) => self.rolled_back(&call_id, number),
            (Finish::Done, None) => ok(),
        };
        self.replies.extend(ticket.map(|ticket| (ticket, reply)));
    }

    fn offered(
        &mut self,
        call_id: &str,
        number: usize,
        (mut exchange, offer): (Exchange, Description),
        made: Option<(CallId, [LegPolicy; 2])>,
        (local, before): (Option<Description>, Option<Box<Checkpoint>>),
    ) -> crate::Dictionary<'static> {
        let Some(dialogue) = self.calls.get_mut(call_id).and_then(|call| call.dialogues.get_mut(number)) else {
            return crate::Reply::error("Unknown call-id");
        };
        dialogue.track_offer(&exchange.offer.options, before, made.is_some());
        if let Some((relay, policies)) = made {
            dialogue.policies = Some(policies);
            dialogue.silent = [None; 2];
            dialogue.relay = Some(relay);
            self.of_relay.insert(relay, (call_id.to_owned(), number));
        }
        let local = rewriting::with_ice(local.unwrap_or_default(), &exchange.legs.receiver);
        let local = rewriting::with_profile(local, exchange.legs.profile);
        let offerer = exchange.offerer;
        let rewritten = match dialogue.rewrite(&exchange.offer, Role::Offer, 1 - offerer, &local, &self.mark) {
            Ok(rewritten) => exchange.offer.rewritten.insert(rewritten).clone(),
            Err(_) => return crate::Reply::error("Error rewriting SDP"),
        };
        dialogue.standing[offerer].said(&offer, Role::Offer);
        dialogue.standing[1 - offerer].was_told(&local, &exchange.legs.receiver, exchange.legs.offers_bundle);
        dialogue.remote[offerer] = Some(offer);
        dialogue.local[1 - offerer] = Some(local);
        let reply = dialogue.with_generation(ok().with("sdp", rewritten), &exchange.offer.options);
        dialogue.exchange = Some(exchange);
        reply
    }

    fn answered(
        &mut self,
        call_id: &str,
        number: usize,
        mut answer: Said,
        described: Description,
        local: Option<Description>,
    ) -> crate::Dictionary<'static> {
        let dialogue = self.calls.get_mut(call_id).and_then(|call| call.dialogues.get_mut(number));
        let Some(dialogue) = dialogue else { return crate::Reply::error("Unknown call-id") };
        let Some(exchange) = &dialogue.exchange else {
            return crate::Reply::error("Invalid dialogue association");
        };
        let offerer = exchange.offerer;
        let local = rewriting::with_ice(local.unwrap_or_default(), &exchange.legs.sender);
        let local = rewriting::with_answered_profile(local, answer.options.transport, &described);
        let rewritten = match dialogue.rewrite(&answer, Role::Answer, offerer, &local, &self.mark) {
            Ok(rewritten) => answer.rewritten.insert(rewritten).clone(),
            Err(_) => return crate::Reply::error("Error rewriting SDP"),
        };
        dialogue.settled = dialogue.session.clone();
        dialogue.track_answer();
        let reply = dialogue.with_generation(ok().with("sdp", rewritten), &answer.options);
        let Some(exchange) = &mut dialogue.exchange else {
            return crate::Reply::error("Invalid dialogue association");
        };
        exchange.answer = Some(answer);
        dialogue.standing[1 - offerer].said(&described, Role::Answer);
        dialogue.standing[offerer].was_told(&local, &exchange.legs.sender, exchange.legs.takes_bundle);
        dialogue.remote[1 - offerer] = Some(described);
        dialogue.local[offerer] = Some(local);
        self.was_answered(call_id, number);
        reply
    }

    /// Takes back what a refused offer had begun. Without ports the call goes, as clients know it.
    fn undo_offer(&mut self, call_id: &str, number: usize, made: Option<CallId>, error: &CommandError) {
        if let Some(relay) = made {
            self.tell(Command::End { call: relay });
        } else if let Some(relay) = self.calls.get(call_id).and_then(|call| call.dialogues.get(number)?.relay) {
            for leg in 0..2 {
                self.tell(Command::Rollback { call: relay, leg: leg_id(leg) });
            }
        }
        let lives = |call: &Call| call.dialogues.iter().any(|dialogue| dialogue.relay.is_some());
        if *error == CommandError::NoFreePort || !self.calls.get(call_id).is_some_and(lives) {
            self.end(call_id);
        }
    }

    pub(super) fn deleted(&mut self, call_id: &str, numbers: &[usize], ends_all: bool) {
        if ends_all {
            self.counts.deleted += 1;
            if let Some(call) = self.forget(call_id) {
                call.dialogues
                    .iter()
                    .filter_map(|dialogue| dialogue.relay)
                    .for_each(|relay| drop(self.of_relay.remove(&relay)));
            }
            return;
        }
        let Some(call) = self.calls.get_mut(call_id) else { return };
        for number in numbers {
            let gone = call.dialogues.get_mut(*number).and_then(|dialogue| dialogue.relay.take());
            gone.map(|relay| self.of_relay.remove(&relay));
        }
    }

    fn refuse_load(&mut self, ticket: Ticket, options: &Options) {
        self.counts.refused += 1;
        if options.supports.has(Supports::LoadLimit) {
            let reply = crate::Dictionary::new().with("result", "load limit").with("message", TOO_MANY_CALLS);
            return self.replies.push_back((ticket, reply));
        }
        self.refuse(ticket, TOO_MANY_CALLS);
    }

    /// The policy, on any interface if there is none of the name.
    fn known_interfaces(&self, policy: LegPolicy) -> LegPolicy {
        let address = policy.address.and_then(|name| self.config.interfaces.get(&name).cloned());
        LegPolicy { address, ..policy }
    }
}

impl Dialogue {
    /// The SDP for the party of a leg.
    fn rewrite(
        &mut self,
        said: &Said,
        role: Role,
        leg: usize,
        local: &Description,
        mark: &str,
    ) -> Result<String, SdpError> {
        rewriting::rewrite(said, role, &self.session.streams(), local, &mut self.told[leg], mark)
    }

    /// Reads an offer. Says whether it keeps nothing of one that nobody answered.
    fn read_offer(&mut self, sdp: &str) -> Result<(Described, bool), SdpError> {
        let is_open = self.exchange.as_ref().is_some_and(|exchange| exchange.answer.is_none());
        match self.session.read_offer(sdp) {
            Err(SdpError::MediaMismatch { .. }) if is_open => {
                self.session = self.settled.clone();
                Ok((self.session.read_offer(sdp)?, true))
            }
            outcome => Ok((outcome?, false)),
        }
    }

    /// What the party of a leg has heard and said so far.
    fn past(&self, leg: usize) -> codecs::Past<'_> {
        codecs::Past { told: self.local[leg].as_ref(), said: self.remote[leg].as_ref() }
    }

    /// What stands of earlier exchanges for an offer of a party.
    fn before(&self, offerer: usize) -> Before {
        let [sender, receiver] = [offerer, 1 - offerer].map(|leg| self.standing[leg]);
        Before { profiles: self.profiles(offerer), sender, receiver }
    }

    /// The profiles that a party wrote, and its partner was told, last.
    fn profiles(&self, offerer: usize) -> Option<[Profile; 2]> {
        let of = |said: &Option<Description>| {
            let carried = said.as_ref()?.streams.iter().find(|stream| !stream.rejected)?;
            Some(carried.path.profile)
        };
        Some([of(&self.remote[offerer])?, of(&self.local[1 - offerer])?])
    }

    /// Says whether the legs that the relay has will do for an offer.
    fn fits(&self, wanted: &[LegPolicy; 2]) -> bool {
        let Some(policies) = &self.policies else { return false };
        policies.iter().zip(wanted).zip(&self.standing).all(|((has, wants), standing)| {
            let by_ice = |policy: &LegPolicy| matches!(policy.path, PathPolicy::Ice { .. });
            // A leg whose party refused ICE does without.
            (by_ice(has) && !standing.refused_ice) == by_ice(wants)
                && wants.security.iter().any(|way| {
                    // Doing without is no reason to keep a leg that could not do better.
                    (*way != Security::Rtp || wants.security.len() == 1) && has.security.contains(way)
                })
                && (wants.address.is_none() || wants.address == has.address)
        })
    }
}

fn without_keys(mut offer: Description) -> Description {
    offer.streams.iter_mut().for_each(|stream| stream.path.crypto.clear());
    offer
}

/// Two things in the order of the legs.
fn by_leg<T>(offerer: usize, senders: T, receivers: T) -> [T; 2] {
    if offerer == 0 { [senders, receivers] } else { [receivers, senders] }
}

/// What clients are told, in the words that they compare.
fn error_reply(error: &CommandError) -> crate::Dictionary<'static> {
    const WORDS: [(CommandError, &str); 2] =
        [(CommandError::NoFreePort, "Ran out of ports"), (CommandError::TooManyCalls, TOO_MANY_CALLS)];
    let known = WORDS.iter().find(|(known, _)| known == error).map(|(_, words)| (*words).to_owned());
    let reason = known.unwrap_or_else(|| error.to_string());
    crate::Dictionary::new().with("result", "error").with("error-reason", reason)
}
