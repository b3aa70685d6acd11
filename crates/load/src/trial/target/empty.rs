//! Calls that nobody takes part in: what the relay is asked for them, and nothing else.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use model::Description;

use super::calls::{AT_ONCE, Calls, Control, Told, now};
use super::side::Side;
use super::{CallNumber, Churned, TargetError};

/// A request that waits for its reply.
struct Asked {
    step: Step,
    at: Instant,
}

/// The requests of a call, in order. Their numbers are those of [`Churned::replies`].
#[derive(Clone, Copy)]
enum Step {
    Offer = 0,
    Answer = 1,
    End = 2,
}

/// The two ends that every such call is said to have. Their ports are theirs while this lives, and so never the relay's.
struct Ends {
    offer: Description,
    answer: Description,
    _sides: [Side; 2],
}

impl<C: Control> Calls<C> {
    fn ends(&self) -> Result<Ends, TargetError> {
        let mut first = Side::new(&self.terms[0], ice::Role::Controlling)?;
        let mut second = Side::new(&self.terms[1], ice::Role::Controlled)?;
        Ok(Ends { offer: first.offer(), answer: second.offer(), _sides: [first, second] })
    }

    /// Sets up calls, and leaves them up.
    pub(super) fn set_up_empty(&mut self, calls: &[CallNumber]) -> Result<(), TargetError> {
        let ends = self.ends()?;
        let mut asked = HashMap::new();
        let mut waiting = calls.iter();
        loop {
            while asked.len() < AT_ONCE
                && let Some(call) = waiting.next()
            {
                self.control.offer(*call, &ends.offer, now());
                asked.insert(*call, Step::Offer);
            }
            if asked.is_empty() {
                return Ok(());
            }
            self.turn()?;
            while let Some((call, told)) = self.control.poll() {
                match (asked.remove(&call), told) {
                    (None, _) | (Some(Step::Answer), Told::Answer(_)) => {}
                    (Some(_), Told::Offer(_)) => {
                        self.control.answer(call, &ends.answer, now());
                        asked.insert(call, Step::Answer);
                    }
                    (Some(_), Told::Refused(error)) => return Err(error),
                    (Some(_), Told::Answer(_) | Told::Ended) => return Err(out_of_turn(call)),
                }
            }
        }
    }

    /// Sets up calls and tears them down, so many side by side, for a time.
    pub(super) fn churn_empty(
        &mut self,
        first: CallNumber,
        at_once: usize,
        time: Duration,
    ) -> Result<Churned, TargetError> {
        let ends = self.ends()?;
        let mut churned = Churned::default();
        let mut asked: HashMap<CallNumber, Asked> = HashMap::new();
        let mut numbers = (first.0..).map(CallNumber);
        let began = now();
        loop {
            while asked.len() < at_once
                && now() < began + time
                && let Some(call) = numbers.next()
            {
                let at = now();
                self.control.offer(call, &ends.offer, at);
                asked.insert(call, Asked { step: Step::Offer, at });
            }
            if asked.is_empty() {
                churned.took = now().saturating_duration_since(began);
                return Ok(churned);
            }
            self.turn()?;
            while let Some((call, told)) = self.control.poll() {
                let Some(Asked { step, at }) = asked.remove(&call) else { continue };
                let now = now();
                let took = now.saturating_duration_since(at).as_nanos();
                churned.replies[step as usize].push(u64::try_from(took).unwrap_or(u64::MAX));
                let next = match (step, told) {
                    (_, Told::Refused(error)) => return Err(error),
                    (Step::Offer, Told::Offer(_)) => {
                        self.control.answer(call, &ends.answer, now);
                        Step::Answer
                    }
                    (Step::Answer, Told::Answer(_)) => {
                        self.control.end(call, now);
                        Step::End
                    }
                    (Step::End, Told::Ended) => {
                        churned.calls += 1;
                        continue;
                    }
                    (Step::Offer, Told::Answer(_) | Told::Ended)
                    | (Step::Answer, Told::Offer(_) | Told::Ended)
                    | (Step::End, Told::Offer(_) | Told::Answer(_)) => return Err(out_of_turn(call)),
                };
                asked.insert(call, Asked { step: next, at: now });
            }
        }
    }
}

fn out_of_turn(call: CallNumber) -> TargetError {
    TargetError::Refused(format!("call {}: the relay spoke out of turn", call.0))
}
