//! Offers that nobody answers: the relay, which times out silence, waits for media only once there is an answer.

use std::collections::BTreeSet;
use std::time::Instant;

use model::{CallId, Command};

use super::Calls;
use super::party::Dialogue;

/// When dialogues end if they are not answered, by what they are called at the relay.
pub(super) type Unanswered = BTreeSet<(Instant, CallId)>;

impl Calls {
    /// Begins to wait for the answer to an offer for which a call of the relay was made, or that was not answered before.
    pub(super) fn await_answer(&mut self, call_id: &str, number: usize, relay: CallId, is_new: bool, now: Instant) {
        let until = (now + self.config.offer_timeout, relay);
        let dialogue = self.calls.get_mut(call_id).and_then(|call| call.dialogues.get_mut(number));
        let Some(dialogue) = dialogue.filter(|dialogue| is_new || dialogue.unanswered.is_some()) else { return };
        if let Some(before) = dialogue.unanswered.replace(until) {
            self.unanswered.remove(&before);
        }
        self.unanswered.insert(until);
    }

    /// Waits no longer, because there was an answer.
    pub(super) fn was_answered(&mut self, call_id: &str, number: usize) {
        let dialogue = self.calls.get_mut(call_id).and_then(|call| call.dialogues.get_mut(number));
        if let Some(until) = dialogue.and_then(|dialogue| dialogue.unanswered.take()) {
            self.unanswered.remove(&until);
        }
    }

    /// Waits no longer, because they are forgotten.
    pub(super) fn await_none_of(&mut self, dialogues: &[Dialogue]) {
        for until in dialogues.iter().filter_map(|dialogue| dialogue.unanswered) {
            self.unanswered.remove(&until);
        }
    }

    /// Ends what was not answered in time.
    pub(super) fn end_unanswered(&mut self, now: Instant) {
        while self.unanswered.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, relay)) = self.unanswered.pop_first()
        {
            // A branch that was deleted is no longer known.
            let Some((call_id, number)) = self.of_relay.remove(&relay) else { continue };
            if let Some(dialogue) = self.calls.get_mut(&call_id).and_then(|call| call.dialogues.get_mut(number)) {
                dialogue.unanswered = None;
                dialogue.relay = None;
            }
            self.counts.unanswered += 1;
            self.tell(Command::End { call: relay });
            self.forget_if_over(&call_id);
        }
    }
}
