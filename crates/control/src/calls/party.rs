//! The parties of a call and their dialogues.

use std::time::{Duration, Instant};

use model::{CallId, Description, LegPolicy};
use sdp::facts::Facts;

use super::blocks::Blocks;
use super::policy::{Legs, Standing};
use super::rollback::Tracking;
use crate::request::{AliasKey, Options};
use crate::rewriting::Told;

/// Parties of one call: forks of an offer.
const MAX_PARTIES: usize = 64;

/// Tags that one party may have besides its first.
const MAX_ALIASES: usize = 64;

/// Whoever sends an offer or an answer, or is to.
#[derive(Debug, Default)]
pub(super) struct Party {
    /// None before the first answer.
    pub(super) tag: Option<String>,
    /// Other tags that it has used.
    pub(super) aliases: Vec<String>,
    pub(super) via_branch: Option<String>,
    pub(super) label: Option<String>,
    /// What of its media goes no further.
    pub(super) blocked: Blocks,
    /// Since 1970.
    pub(super) created: Duration,
}

impl Party {
    pub(super) fn is_called(&self, tag: &str) -> bool {
        self.tag.as_deref() == Some(tag) || self.aliases.iter().any(|alias| alias == tag)
    }

    /// The tag, or what stands for it where there is none yet.
    pub(super) fn name(&self, number: usize) -> String {
        self.tag.clone().unwrap_or_else(|| format!("<untagged {number}>"))
    }
}

/// Two parties of a call that exchange media: one call of the relay.
#[derive(Debug)]
pub(super) struct Dialogue {
    /// Whoever made the first offer comes first: leg 0.
    pub(super) parties: [usize; 2],
    /// The call of the relay, once there is one.
    pub(super) relay: Option<CallId>,
    /// What the relay was told of the legs.
    pub(super) policies: Option<[LegPolicy; 2]>,
    /// Which `m=` is which stream, for both parties.
    pub(super) session: sdp::Session,
    /// The same as it was at the last answer.
    pub(super) settled: sdp::Session,
    /// What the last exchange came to.
    pub(super) exchange: Option<Exchange>,
    /// What the relay said last to each party.
    pub(super) local: [Option<Description>; 2],
    /// What each party said last.
    pub(super) remote: [Option<Description>; 2],
    /// What each party is told in the same words again.
    pub(super) told: [Told; 2],
    /// What stands with each party until something else is wished for.
    pub(super) standing: [Standing; 2],
    /// What its offers may be taken back to, where that is wished for.
    pub(super) tracking: Option<Tracking>,
    /// When it ends if there is no answer, and as which call of the relay.
    pub(super) unanswered: Option<(Instant, CallId)>,
    /// The packets that had come from each party when it had been silent for too long.
    pub(super) silent: [Option<u64>; 2],
    /// What the relay was told to keep back of each party's media.
    pub(super) blocked: [Blocks; 2],
}

impl Dialogue {
    pub(super) fn between(parties: [usize; 2]) -> Self {
        Self {
            parties,
            relay: None,
            policies: None,
            session: sdp::Session::new(0),
            settled: sdp::Session::new(0),
            exchange: None,
            local: [None, None],
            remote: [None, None],
            told: <[Told; 2]>::default(),
            standing: [Standing::default(); 2],
            tracking: None,
            unanswered: None,
            silent: [None; 2],
            blocked: [Blocks::default(); 2],
        }
    }

    /// Which leg a party is.
    pub(super) fn leg_of(&self, party: usize) -> Option<usize> {
        self.parties.iter().position(|own| *own == party)
    }
}

/// An offer and, perhaps, its answer.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    /// The leg whose party offers.
    pub(super) offerer: usize,
    pub(super) offer: Said,
    /// What it came to for the legs, the offerer's first.
    pub(super) legs: Legs,
    pub(super) answer: Option<Said>,
}

/// A description that was rewritten, with which wishes, and what came of it: the same again gets the same again.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) sdp: String,
    /// What it says beside its streams.
    pub(crate) facts: Facts,
    pub(crate) options: Options,
    pub(super) rewritten: Option<String>,
}

impl Said {
    pub(super) fn is_again(&self, sdp: &str, options: &Options) -> Option<&str> {
        self.rewritten.as_deref().filter(|_| self.sdp == sdp && self.options == *options)
    }
}

/// A call as its client knows it.
#[derive(Debug)]
pub(super) struct Call {
    /// Since 1970.
    pub(super) created: Duration,
    /// Since 1970.
    pub(super) last_signal: Duration,
    pub(super) parties: Vec<Party>,
    pub(super) dialogues: Vec<Dialogue>,
    /// What goes no further, whoever sends it.
    pub(super) blocked: Blocks,
    /// When it ends, if its end was asked for.
    pub(super) ends_at: Option<Instant>,
}

impl Call {
    pub(super) const fn new(now: Duration) -> Self {
        Self {
            created: now,
            last_signal: now,
            parties: Vec::new(),
            dialogues: Vec::new(),
            blocked: Blocks::NOTHING,
            ends_at: None,
        }
    }

    pub(super) fn party(&self, tag: &str) -> Option<usize> {
        self.parties.iter().position(|party| party.is_called(tag))
    }

    /// Adds a party, unless there are as many as there may be.
    fn add(&mut self, party: Party) -> Result<usize, &'static str> {
        if self.parties.len() >= MAX_PARTIES {
            return Err("Too many parties in one call");
        }
        self.parties.push(party);
        Ok(self.parties.len() - 1)
    }

    /// Labels the parties of a dialogue, the offerer first.
    pub(super) fn name(&mut self, number: usize, offerer: usize, label: Option<String>, to_label: Option<String>) {
        let parties = self.dialogues[number].parties;
        for (party, label) in [(parties[offerer], label), (parties[1 - offerer], to_label)] {
            if label.is_some() {
                self.parties[party].label = label;
            }
        }
    }

    /// The dialogues of a party, the latest first, each with the other party.
    pub(super) fn dialogues_of(&self, party: usize) -> impl Iterator<Item = (usize, usize)> {
        self.dialogues.iter().enumerate().rev().filter_map(move |(number, dialogue)| {
            let leg = dialogue.leg_of(party)?;
            Some((number, dialogue.parties[1 - leg]))
        })
    }

    /// Takes an unknown tag of an offer for another name of whoever said the same before, where that is asked for.
    pub(super) fn alias(&mut self, tag: &str, sdp: &str, key: Option<AliasKey>) {
        if self.party(tag).is_some() {
            return;
        }
        let address = || Facts::read(sdp).ok()?.first_address();
        let is_alike = |said: &Said| match key {
            None | Some(AliasKey::Off) => false,
            Some(AliasKey::Sdp) => said.sdp == sdp,
            Some(AliasKey::Address) => address().is_some_and(|ours| said.facts.first_address() == Some(ours)),
        };
        let alike = self.dialogues.iter().find_map(|dialogue| {
            let exchange = dialogue.exchange.as_ref()?;
            let said = [(exchange.offerer, Some(&exchange.offer)), (1 - exchange.offerer, exchange.answer.as_ref())];
            let (leg, _) = said.into_iter().find(|(_, said)| said.is_some_and(&is_alike))?;
            Some(dialogue.parties[leg])
        });
        if let Some(party) = alike.and_then(|party| self.parties.get_mut(party))
            && party.aliases.len() < MAX_ALIASES
        {
            party.aliases.push(tag.to_owned());
        }
    }

    /// The dialogue that an offer belongs to, a new one where there is none, and who offers.
    ///
    /// # Errors
    ///
    /// The party is its own partner, or there are too many; in the words that clients know.
    pub(super) fn dialogue_for_offer(
        &mut self,
        from_tag: &str,
        to_tag: Option<&str>,
        via_branch: Option<&str>,
        now: Duration,
    ) -> Result<(usize, usize), &'static str> {
        let new = |tag: Option<&str>, branch: Option<&str>| Party {
            tag: tag.map(str::to_owned),
            via_branch: branch.map(str::to_owned),
            created: now,
            ..Party::default()
        };
        let from = self.party(from_tag).map_or_else(|| self.add(new(Some(from_tag), None)), Ok)?;
        let to = to_tag.and_then(|tag| self.party(tag));
        if to == Some(from) {
            return Err("Invalid dialogue association");
        }
        let mut known = self.dialogues_of(from);
        let found = match (to, to_tag, via_branch) {
            (Some(to), _, _) => known.find(|(_, other)| *other == to),
            (None, _, Some(branch)) => {
                known.find(|(_, other)| self.parties[*other].via_branch.as_deref() == Some(branch))
            }
            // A tag that was never heard of belongs to the partner that has none.
            (None, Some(_), None) => known.find(|(_, other)| self.parties[*other].tag.is_none()),
            (None, None, None) => known.next(),
        };
        drop(known);
        if let Some((number, other)) = found {
            if let (None, Some(tag)) = (&self.parties[other].tag, to_tag) {
                self.parties[other].tag = Some(tag.to_owned());
            }
            return Ok((number, from));
        }
        let to = to.map_or_else(|| self.add(new(to_tag, via_branch)), Ok)?;
        self.dialogues.push(Dialogue::between([from, to]));
        Ok((self.dialogues.len() - 1, from))
    }

    /// The dialogue that an answer belongs to, and the leg of its offerer.
    pub(super) fn dialogue_for_answer(
        &mut self,
        from_tag: &str,
        to_tag: &str,
        via_branch: Option<&str>,
    ) -> Option<(usize, usize)> {
        let from = self.party(from_tag)?;
        let offered = |(number, _): &(usize, usize)| {
            let dialogue = &self.dialogues[*number];
            dialogue.exchange.as_ref().is_some_and(|exchange| dialogue.parties[exchange.offerer] == from)
        };
        let by_tag = self.dialogues_of(from).find(|(_, other)| self.parties[*other].is_called(to_tag));
        let by_branch = || {
            let branch = via_branch?;
            self.dialogues_of(from).find(|(_, other)| self.parties[*other].via_branch.as_deref() == Some(branch))
        };
        let (number, other) = by_tag.or_else(by_branch).or_else(|| self.dialogues_of(from).find(offered))?;
        let answerer = &mut self.parties[other];
        match &answerer.tag {
            None => answerer.tag = Some(to_tag.to_owned()),
            Some(_) if answerer.is_called(to_tag) => {}
            // The same offer went to all that may answer it, with the same ports.
            Some(_) if answerer.aliases.len() < MAX_ALIASES => answerer.aliases.push(to_tag.to_owned()),
            Some(_) => return None,
        }
        Some((number, self.dialogues[number].leg_of(from)?))
    }
}
