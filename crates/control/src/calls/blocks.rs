//! What parties are kept from saying.

use std::ops::BitOr;

use model::{CallId, Command, Direction, Mute};

use super::exchange::Finish;
use super::party::Call;
use super::{Calls, Ticket, leg_id};
use crate::request::{All, Block, Blocked, DropTraffic, Flag, Options};

/// What of a party's media goes no further.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Blocks {
    media: bool,
    sound: bool,
    key_presses: bool,
}

impl Blocks {
    /// All goes through.
    pub(super) const NOTHING: Self = Self { media: false, sound: false, key_presses: false };

    const fn set(&mut self, what: Blocked, is_blocked: bool) {
        match what {
            Blocked::Media => self.media = is_blocked,
            Blocked::Sound => self.sound = is_blocked,
            Blocked::Dtmf => self.key_presses = is_blocked,
        }
    }

    /// What the relay has to be told of a leg for which others were in force.
    fn commands(self, before: Self, call: CallId, leg: usize) -> impl Iterator<Item = Command> {
        let leg = leg_id(leg);
        // Seen from the relay: it may still send to the leg whose media it does not take.
        let direction = if self.media { Direction::SendOnly } else { Direction::SendRecv };
        let hold = (self.media != before.media).then_some(Command::Hold { call, leg, direction });
        let mute = Mute { sound: self.sound, key_presses: self.key_presses };
        let is_new = (self.sound, self.key_presses) != (before.sound, before.key_presses);
        hold.into_iter().chain(is_new.then_some(Command::Mute { call, leg, mute }))
    }
}

impl BitOr for Blocks {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            media: self.media | other.media,
            sound: self.sound | other.sound,
            key_presses: self.key_presses | other.key_presses,
        }
    }
}

impl Calls {
    /// Holds back what parties send, or lets it pass again. What is held back of the whole call and of one of its parties
    /// is let go by itself, unless all is to pass.
    pub(super) fn block(&mut self, ticket: Ticket, block: &Block, is_blocked: bool) {
        let Some(call) = self.calls.get_mut(&block.of.call_id) else { return self.refuse(ticket, "Unknown call-ID") };
        let party = match call.selected(&block.of) {
            Ok(party) => party,
            Err(reason) => return self.refuse(ticket, reason),
        };
        match party.and_then(|party| call.parties.get_mut(party)) {
            Some(party) => {
                party.blocked.set(block.what, is_blocked);
                party.label = block.of.set_label.clone().or_else(|| party.label.take());
            }
            None => call.blocked.set(block.what, is_blocked),
        }
        if !is_blocked && block.of.all == Some(All::All) {
            call.blocked.set(block.what, false);
            call.parties.iter_mut().for_each(|party| party.blocked.set(block.what, false));
        }
        let asked = call.enforce_blocks();
        self.ask(Some(ticket), block.of.call_id.clone(), asked, Finish::Done);
    }
}

impl Call {
    /// Takes what an offer or answer of a party says of it.
    pub(super) fn heed_blocks(&mut self, party: usize, options: &Options) {
        self.parties[party].blocked.key_presses |= options.flags.has(Flag::BlockDtmf);
        if let Some(drop) = options.drop_traffic {
            self.blocked.media = drop == DropTraffic::Start;
        }
    }

    /// What the relay has to be told for all that is blocked to be so.
    fn enforce_blocks(&mut self) -> Vec<(usize, Command)> {
        let mut asked = Vec::new();
        for number in 0..self.dialogues.len() {
            let Some(relay) = self.dialogues[number].relay else { continue };
            asked.extend(self.blocks_in(number, relay).into_iter().map(|command| (number, command)));
        }
        asked
    }

    /// The same for one dialogue, which has this call of the relay.
    pub(super) fn blocks_in(&mut self, number: usize, relay: CallId) -> Vec<Command> {
        let Some(dialogue) = self.dialogues.get_mut(number) else { return Vec::new() };
        let mut commands = Vec::new();
        for (leg, in_force) in dialogue.blocked.iter_mut().enumerate() {
            let wanted = self.blocked | self.parties[dialogue.parties[leg]].blocked;
            commands.extend(wanted.commands(*in_force, relay, leg));
            *in_force = wanted;
        }
        commands
    }
}
