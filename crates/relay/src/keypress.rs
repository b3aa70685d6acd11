//! Key presses that we send to a leg's peer (RFC 4733), one after the other.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use media::dtmf::{Sender, Update};
use media::rtp::RtpTime;
use model::{CommandError, DtmfDigit, PayloadType, StreamId};

/// Key presses that may wait.
const MAX_WAITING: usize = 64;

/// The silence between two key presses, so that the same key twice is not taken for one.
const PAUSE: Duration = Duration::from_millis(60);

/// The key presses of one leg, in order.
#[derive(Debug, Default)]
pub(crate) struct KeyPresses {
    waiting: VecDeque<Waiting>,
    current: Option<Current>,
    /// Not before this may the next begin.
    pause_until: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    digit: DtmfDigit,
    duration: Duration,
    by: Carrier,
}

/// What carries key presses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carrier {
    /// The stream.
    pub(crate) stream: StreamId,
    /// The payload type, as the peer wants to receive it.
    pub(crate) payload_type: PayloadType,
    /// Ticks of durations per second.
    pub(crate) clock_rate: u32,
}

#[derive(Debug)]
struct Current {
    by: Carrier,
    sender: Sender,
    next: Update,
    due: Instant,
    time: Option<RtpTime>,
}

/// A packet that is due.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) by: Carrier,
    pub(crate) update: Update,
    /// The timestamp of the press, once its first packet had one.
    pub(crate) time: Option<RtpTime>,
}

impl KeyPresses {
    /// Puts a key press behind those that wait.
    pub(crate) fn push(
        &mut self,
        digit: DtmfDigit,
        duration: Duration,
        by: Carrier,
        now: Instant,
    ) -> Result<(), CommandError> {
        if self.waiting.len() >= MAX_WAITING {
            return Err(CommandError::Overloaded);
        }
        self.waiting.push_back(Waiting { digit, duration, by });
        self.begin(now);
        Ok(())
    }

    /// Says whether a key press is being sent on a stream: its packets take the place of the sound.
    pub(crate) fn occupies(&self, stream: StreamId) -> bool {
        self.current.as_ref().is_some_and(|current| current.by.stream == stream)
    }

    /// When the next packet is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.current {
            Some(current) => Some(current.due),
            None if self.waiting.is_empty() => None,
            None => self.pause_until,
        }
    }

    /// The next packet, if it is due. [`KeyPresses::sent_at`] has to follow the first of a press.
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<Due> {
        self.begin(now);
        let current = self.current.as_mut().filter(|current| current.due <= now)?;
        let due = Due { by: current.by, update: current.next, time: current.time };
        match current.sender.next() {
            Some(next) => {
                current.due += next.after;
                current.next = next;
            }
            None => {
                self.pause_until = Some(now + PAUSE);
                self.current = None;
            }
        }
        Some(due)
    }

    /// Takes the timestamp of a press: all its packets have that of the first (RFC 4733 §2.5.1.2).
    pub(crate) fn sent_at(&mut self, time: RtpTime) {
        if let Some(current) = &mut self.current {
            current.time.get_or_insert(time);
        }
    }

    fn begin(&mut self, now: Instant) {
        if self.current.is_some() || self.pause_until.is_some_and(|until| now < until) {
            return;
        }
        if let Some(Waiting { digit, duration, by }) = self.waiting.pop_front() {
            let mut sender = Sender::new(digit, duration, by.clock_rate);
            self.current = sender.next().map(|next| Current { by, sender, next, due: now, time: None });
        }
    }
}
