//! `rollback`: an offer that came to nothing is taken back, and the dialogue stands as its last answer left it.
//!
//! ```text
//! offer (track state) -> generation 1 -> answer -> 1 is in force
//! offer               -> generation 2 -> rollback: 1 is in force again
//!                                     -> answer: 2 is in force
//! ```
//!
//! The relay changes nothing before an answer, so that what has to be kept is what the parties were told.

use model::{Command, Description};

use super::exchange::Finish;
use super::party::{Call, Dialogue, Exchange};
use super::policy::Standing;
use super::{Calls, Ticket, leg_id, ok};
use crate::request::{Flag, Options, Rollback, Supports};
use crate::rewriting::Told;
use crate::{Dictionary, request};

/// How often a dialogue came to an answer, and what the offer that is open may be taken back to.
#[derive(Debug, Default)]
pub(super) struct Tracking {
    /// The generation in force; 0: none.
    committed: u64,
    /// Whether an offer is open.
    is_open: bool,
    before: Option<Box<Checkpoint>>,
}

/// A dialogue as its last answer left it.
#[derive(Debug)]
pub(super) struct Checkpoint {
    session: sdp::Session,
    exchange: Exchange,
    local: [Option<Description>; 2],
    remote: [Option<Description>; 2],
    told: [Told; 2],
    standing: [Standing; 2],
}

impl Tracking {
    /// The generation of what was said last.
    const fn generation(&self) -> u64 {
        self.committed + if self.is_open { 1 } else { 0 }
    }
}

impl Dialogue {
    /// What an offer that is about to be taken may be taken back to, where that is wished for.
    pub(super) fn checkpoint(&self) -> Option<Box<Checkpoint>> {
        self.tracking.as_ref().filter(|tracking| !tracking.is_open)?;
        Some(Box::new(Checkpoint {
            session: self.session.clone(),
            exchange: self.exchange.clone()?,
            local: self.local.clone(),
            remote: self.remote.clone(),
            told: self.told.clone(),
            standing: self.standing,
        }))
    }

    /// Takes note of an offer. What was in force is kept from the first of several on; where the relay had to begin anew
    /// for one there is nothing to go back to.
    pub(super) fn track_offer(&mut self, options: &Options, before: Option<Box<Checkpoint>>, is_new: bool) {
        if options.flags.has(Flag::TrackState) {
            self.tracking.get_or_insert_default();
        }
        let Some(tracking) = &mut self.tracking else { return };
        if !tracking.is_open {
            tracking.before = before;
        }
        tracking.before.take_if(|_| is_new);
        tracking.is_open = true;
    }

    /// Takes note of an answer.
    pub(super) fn track_answer(&mut self) {
        if let Some(tracking) = &mut self.tracking {
            tracking.committed = tracking.generation();
            (tracking.is_open, tracking.before) = (false, None);
        }
    }

    /// Tells the generation, and what we can do, where that is wished for.
    pub(super) fn with_generation(&self, reply: Dictionary<'static>, options: &Options) -> Dictionary<'static> {
        let reply = match &self.tracking {
            Some(tracking) => reply.with("generation", number(tracking.generation())),
            None => reply,
        };
        match options.supports.has(Supports::Rollback) {
            true => reply.with("supported", vec!["rollback"]),
            false => reply,
        }
    }
}

impl Calls {
    pub(super) fn roll_back(&mut self, ticket: Ticket, rollback: Rollback) {
        let Some(call) = self.calls.get_mut(&rollback.call_id) else { return self.refuse(ticket, "Unknown call-id") };
        let Some(number) = call.dialogue_to_roll_back(&rollback) else {
            return self.refuse(ticket, "Unknown dialogue");
        };
        let dialogue = &mut call.dialogues[number];
        let Some(relay) = dialogue.roll_back(rollback.generation) else {
            let committed = dialogue.tracking.as_ref().map_or(0, |tracking| tracking.committed);
            return self.replies.push_back((ticket, rolled_back(false, committed)));
        };
        let asked = [0, 1].map(|leg| (number, Command::Rollback { call: relay, leg: leg_id(leg) }));
        self.ask(Some(ticket), rollback.call_id, asked.to_vec(), Finish::RolledBack { number });
    }

    /// Replies, once the relay has taken back its part.
    pub(super) fn rolled_back(&self, call_id: &str, number: usize) -> Dictionary<'static> {
        let dialogue = self.calls.get(call_id).and_then(|call| call.dialogues.get(number));
        let committed =
            dialogue.and_then(|dialogue| dialogue.tracking.as_ref()).map_or(0, |tracking| tracking.committed);
        rolled_back(true, committed)
    }
}

impl Call {
    /// The dialogue of two tags, in which a branch takes part if one is named.
    fn dialogue_to_roll_back(&self, rollback: &Rollback) -> Option<usize> {
        let request::Rollback { from_tag, to_tag, via_branch, .. } = rollback;
        let (from, to) = (self.party(from_tag)?, self.party(to_tag)?);
        let is_of_branch = |party: usize| {
            via_branch.is_none() || self.parties.get(party).is_some_and(|party| party.via_branch == *via_branch)
        };
        let (number, _) = self.dialogues_of(from).find(|(_, other)| *other == to)?;
        (is_of_branch(from) || is_of_branch(to)).then_some(number)
    }
}

impl Dialogue {
    /// Goes back to the last answer, if there is an open offer of this generation. Returns the call of the relay that has
    /// to do the same.
    fn roll_back(&mut self, generation: Option<u64>) -> Option<model::CallId> {
        let relay = self.relay?;
        let tracking = self.tracking.as_mut().filter(|tracking| tracking.is_open)?;
        if generation.is_some_and(|generation| generation != tracking.generation()) {
            return None;
        }
        let Checkpoint { session, exchange, local, remote, told, standing } = *tracking.before.take()?;
        tracking.is_open = false;
        (self.session, self.exchange) = (session, Some(exchange));
        (self.local, self.remote) = (local, remote);
        (self.told, self.standing) = (told, standing);
        Some(relay)
    }
}

fn rolled_back(is_done: bool, committed: u64) -> Dictionary<'static> {
    ok().with("rolled-back", i64::from(is_done)).with("generation", number(committed))
}

fn number(generation: u64) -> i64 {
    i64::try_from(generation).unwrap_or(i64::MAX)
}
