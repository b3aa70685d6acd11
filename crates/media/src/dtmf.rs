//! Key presses as RTP payload (RFC 4733): `event(8) | E(1) R(1) volume(6) | duration(16)`.

use std::time::{Duration, Instant};

use model::DtmfDigit;

use crate::rtp::Header;

/// A key that was pressed and let go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyPress {
    /// The key.
    pub digit: DtmfDigit,
    /// How long it was down.
    pub duration: Duration,
}

/// Recognises key presses in a stream of telephone-event packets.
#[derive(Clone, Debug)]
pub struct Receiver {
    clock_rate: u32,
}

impl Receiver {
    /// Begins with nothing pressed; durations tick `clock_rate` times a second.
    pub fn new(clock_rate: u32) -> Self {
        Self { clock_rate }
    }

    /// Takes one telephone-event packet. Returns a key when it ends, once.
    pub fn handle_packet(&mut self, _header: &Header, _payload: &[u8], _now: Instant) -> Option<KeyPress> {
        let _ = self.clock_rate;
        None
    }

    /// Returns a key whose end never came, when it has been silent for long enough.
    pub fn handle_timeout(&mut self, _now: Instant) -> Option<KeyPress> {
        None
    }

    /// When to call [`Receiver::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// The packets of one key press to be sent.
#[derive(Clone, Debug)]
pub struct Sender {
    digit: DtmfDigit,
}

/// One packet of a key press. All have one timestamp, that of the first; the sequence numbers go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Update {
    /// What to send.
    pub payload: [u8; 4],
    /// Set on the first packet only.
    pub marker: bool,
    /// How long after the one before it this packet is due; zero for the first and the repetitions of the last.
    pub after: Duration,
}

impl Sender {
    /// Prepares a key press of a length, with an update every 20 ms.
    pub fn new(digit: DtmfDigit, _duration: Duration, _clock_rate: u32) -> Self {
        Self { digit }
    }
}

impl Iterator for Sender {
    type Item = Update;

    fn next(&mut self) -> Option<Update> {
        let _ = self.digit;
        None
    }
}
