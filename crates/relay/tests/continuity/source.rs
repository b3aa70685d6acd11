//! Who speaks: a source of RTP that knows what it sent, and what may happen to it.

use std::time::{Duration, Instant};

use media::rtp::{FIXED_HEADER, Header, RtpTime, SeqNo};
use model::{PayloadType, Ssrc};

use crate::network::Dice;

/// Time between two packets.
pub(crate) const FRAME: Duration = Duration::from_millis(20);

/// A payload type with the clock of its timestamps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Format {
    pub(crate) payload_type: u8,
    pub(crate) clock_rate: u32,
}

/// Where a packet comes from, as its payload says.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Origin {
    /// Changes whenever the numbers of the source do not go on.
    pub(crate) run: u32,
    /// Counts the packets of the source.
    pub(crate) number: u64,
    /// When it was sampled, in microseconds since the beginning.
    pub(crate) sampled: u64,
    /// Its timestamp as the source wrote it.
    pub(crate) time: u32,
}

/// A source of RTP.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) ssrc: Ssrc,
    pub(crate) seq: u16,
    pub(crate) time: u32,
    pub(crate) format: Format,
    pub(crate) run: u32,
    pub(crate) number: u64,
    /// It speaks, and nobody hears it.
    pub(crate) is_cut_off: bool,
    /// Nothing is sent, and the numbers stand still.
    pub(crate) is_silent: bool,
    /// The clock of its timestamps stands still while it is silent.
    pub(crate) stops_its_clock: bool,
}

impl Source {
    /// Begins a few packets before its sequence numbers and its timestamps wrap.
    pub(crate) fn new(ssrc: u32, format: Format) -> Self {
        Self {
            ssrc: Ssrc(ssrc),
            seq: 65_530,
            time: 0_u32.wrapping_sub(3200),
            format,
            run: 0,
            number: 0,
            is_cut_off: false,
            is_silent: false,
            stops_its_clock: false,
        }
    }

    /// The packet of these twenty milliseconds.
    pub(crate) fn next(&mut self, start: Instant, now: Instant) -> Option<Vec<u8>> {
        if self.is_silent {
            if !self.stops_its_clock {
                self.tick();
            }
            return None;
        }
        let payload_type = PayloadType::try_from(self.format.payload_type).expect("a payload type");
        let header = Header::new(payload_type, SeqNo(self.seq), RtpTime(self.time), self.ssrc);
        let sampled = u64::try_from((now - start).as_micros()).expect("hours");
        let mut bytes = vec![0; FIXED_HEADER];
        header.write(&mut bytes).expect("it fits");
        bytes.extend(Origin { run: self.run, number: self.number, sampled, time: self.time }.to_bytes());
        self.seq = self.seq.wrapping_add(1);
        self.number += 1;
        self.tick();
        (!self.is_cut_off).then_some(bytes)
    }

    fn tick(&mut self) {
        self.time = self.time.wrapping_add(self.format.clock_rate / 50);
    }

    /// Another device, or another process, takes over.
    pub(crate) fn change_ssrc(&mut self, dice: &mut Dice) {
        self.ssrc = Ssrc(self.ssrc.0.wrapping_add(1));
        self.restart(dice);
    }

    /// Begins anew with other numbers.
    pub(crate) fn restart(&mut self, dice: &mut Dice) {
        let [a, b, c, d, e, f, ..] = dice.next().to_be_bytes();
        self.seq = u16::from_be_bytes([a, b]);
        self.time = u32::from_be_bytes([c, d, e, f]);
        self.run += 1;
    }
}

impl Origin {
    const LENGTH: usize = 24;

    fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..4].copy_from_slice(&self.run.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.number.to_be_bytes());
        bytes[12..20].copy_from_slice(&self.sampled.to_be_bytes());
        bytes[20..].copy_from_slice(&self.time.to_be_bytes());
        bytes
    }

    /// Reads a payload; `None` if no source wrote it.
    pub(crate) fn from_bytes(payload: &[u8]) -> Option<Self> {
        let payload: &[u8; Self::LENGTH] = payload.try_into().ok()?;
        let word = |at: usize| u32::from_be_bytes([payload[at], payload[at + 1], payload[at + 2], payload[at + 3]]);
        let long = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
        Some(Self { run: word(0), number: long(4), sampled: long(12), time: word(20) })
    }
}
