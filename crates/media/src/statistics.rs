//! What a receiver knows of one source: loss, jitter, extended highest sequence number (RFC 3550 §A.1, §A.3, §A.8).

use std::time::Instant;

use model::Ssrc;

use crate::{
    rtcp::{ReportBlock, SenderInfo},
    rtp::Header,
};

/// The figures of one source.
#[derive(Clone, Debug)]
pub struct Reception {
    ssrc: Ssrc,
    clock_rate: u32,
}

impl Reception {
    /// Begins with a source whose timestamps tick `clock_rate` times a second.
    pub fn new(ssrc: Ssrc, clock_rate: u32) -> Self {
        Self { ssrc, clock_rate }
    }

    /// Counts a packet that is authentic or otherwise believed.
    pub fn count(&mut self, _header: &Header, _payload: usize, _now: Instant) {}

    /// Remembers a sender report, so that the next report of ours can answer it.
    pub fn handle_sender_report(&mut self, _info: &SenderInfo, _now: Instant) {}

    /// The report on this source, and the beginning of the next interval. `None` before the first packet.
    pub fn report(&mut self, _now: Instant) -> Option<ReportBlock> {
        let _ = self.ssrc;
        None
    }

    /// Packets counted.
    pub const fn packets(&self) -> u64 {
        0
    }

    /// Bytes of their payload.
    pub const fn octets(&self) -> u64 {
        0
    }

    /// Packets that never came; negative where duplicates came.
    pub const fn lost(&self) -> i64 {
        0
    }

    /// Interarrival jitter in milliseconds.
    pub fn jitter_ms(&self) -> f32 {
        let _ = self.clock_rate;
        0.0
    }
}
