//! Calls that come and go at a rate, with media for as long as each lasts.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Recorder, Trial, nanos, net, seconds};
use crate::trial::progress::Phase;
use crate::trial::report::Reason;
use crate::trial::target::CallNumber;

/// Nanoseconds between two looks at what is due.
const TICK: u64 = 5_000_000;

/// How long packets of a call that fell silent are awaited.
const LINGER: u64 = 150_000_000;

/// The share of the rate that has to be reached.
const ENOUGH: f64 = 0.9;

impl Trial<'_> {
    /// Begins calls at a rate and ends each after a time, by a schedule that waits for nothing.
    pub(super) fn churn(&mut self, rate: f64, hold: Duration) {
        self.total = Some(self.plan.duration);
        self.phase = Phase::Measuring;
        self.crew.start_media();
        let mut recorder = Recorder::begin(self);
        let end = recorder.began + nanos(self.plan.duration);
        let mut lives =
            Lives { hold: nanos(hold), linger: LINGER + nanos(self.plan.impair.jitter), ..Lives::default() };
        while net::now() < end && self.goes_on() {
            lives.end_due(self);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of calls")]
            let due = (seconds(net::now() - recorder.began) * rate) as u64;
            let room = (self.plan.calls as usize).saturating_sub(lives.talking.len());
            let missing = usize::try_from(due.saturating_sub(lives.begun)).unwrap_or(usize::MAX);
            lives.begin(self, missing.min(room).min(super::PORTION));
            if net::now() >= self.shown.at + super::GLANCE {
                recorder.look(self, end);
            }
            if missing <= room.min(super::PORTION) {
                net::sleep_until(net::now() + TICK);
            }
        }
        let length = seconds(net::now() - recorder.began);
        let begun = lives.begun as f64 / length.max(1e-9);
        self.report.set_up.per_second = begun;
        if begun < rate * ENOUGH && self.failed.is_none() {
            self.reasons.push(Reason::CallsLate { wanted: rate, begun });
        }
        let window = recorder.end(self, true);
        self.report_window(window);
    }
}

/// The calls that are up, by when each is over.
#[derive(Debug, Default)]
struct Lives {
    hold: u64,
    linger: u64,
    begun: u64,
    talking: VecDeque<(u64, CallNumber)>,
    silent: VecDeque<(u64, CallNumber)>,
}

impl Lives {
    fn begin(&mut self, trial: &mut Trial<'_>, count: usize) {
        if count == 0 {
            return;
        }
        let before = trial.up.len();
        trial.set_up(count);
        let over = net::now() + self.hold;
        self.talking.extend(trial.up[before..].iter().map(|call| (over, *call)));
        self.begun += count as u64;
    }

    /// Lets calls fall silent whose time is over, and tears down those that have been silent for long enough.
    fn end_due(&mut self, trial: &mut Trial<'_>) {
        let now = net::now();
        let hushed = due(&mut self.talking, now);
        trial.crew.hush(&hushed);
        self.silent.extend(hushed.into_iter().map(|call| (now + self.linger, call)));
        let over = due(&mut self.silent, now);
        if over.is_empty() {
            return;
        }
        trial.up.retain(|call| !over.contains(call));
        trial.report.set_up.torn_down += over.len() as u64;
        trial.tear_down(&over);
    }
}

/// The calls at the front of a queue whose time has come.
fn due(queue: &mut VecDeque<(u64, CallNumber)>, now: u64) -> Vec<CallNumber> {
    let count = queue.iter().take_while(|(at, _)| *at <= now).count();
    queue.drain(..count).map(|(_, call)| call).collect()
}
