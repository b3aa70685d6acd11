//! What is remembered of each SSRC under one master key.

use model::Ssrc;

use super::{MAX_SOURCES, Rollover, SrtpError, replay::Window};
use crate::rtp::{ExtSeqNo, SeqNo};

/// The sources of one direction, at most [`MAX_SOURCES`].
#[derive(Clone, Default)]
pub(super) struct Sources(Vec<Source>);

/// One SSRC: the RTP indices and the RTCP indices it has used.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) ssrc: Ssrc,
    pub(super) rtp: Option<Window>,
    pub(super) rtcp: Option<Window>,
    /// Packets in a row that did not authenticate.
    pub(super) failures: u32,
}

impl Source {
    /// The whole index of a sequence number: guessed from the highest one known, else without rollover.
    pub(super) fn index(&self, seq: SeqNo) -> Option<ExtSeqNo> {
        self.highest().map_or(Some(ExtSeqNo::new(0, seq)), |highest| highest.nearest(seq))
    }

    /// The highest RTP index used.
    pub(super) fn highest(&self) -> Option<ExtSeqNo> {
        ExtSeqNo::default().offset(self.rtp?.highest().cast_signed())
    }
}

impl Sources {
    /// Takes up where an earlier life had come to: no index up to there is fresh.
    pub(super) fn resumed(rollovers: &[Rollover]) -> Self {
        let resumed = |rollover: &Rollover| Source {
            ssrc: rollover.ssrc,
            rtp: rollover.rtp.map(|highest| Window::closed_at(highest.index())),
            rtcp: rollover.rtcp.map(|highest| Window::closed_at(u64::from(highest))),
            failures: 0,
        };
        Self(rollovers.iter().take(MAX_SOURCES).map(resumed).collect())
    }

    /// Closes the SRTCP indices that others have used.
    pub(super) fn close_rtcp(&mut self, others: &Self) {
        for other in &others.0 {
            if let (Some(window), Ok(source)) = (other.rtcp, self.entry(other.ssrc))
                && source.rtcp.is_none_or(|ours| ours.highest() < window.highest())
            {
                source.rtcp = Some(Window::closed_at(window.highest()));
            }
        }
    }

    /// Adds how far sources came by what others know, where we know nothing, as far as there is room.
    pub(super) fn add_rtp(&mut self, others: &Self) {
        for other in &others.0 {
            if let Ok(source) = self.entry(other.ssrc) {
                source.rtp = source.rtp.or(other.rtp);
            }
        }
    }

    pub(super) fn rollovers(&self) -> impl Iterator<Item = Rollover> {
        self.0.iter().map(|source| Rollover {
            ssrc: source.ssrc,
            rtp: source.highest(),
            rtcp: source.rtcp.and_then(|window| u32::try_from(window.highest()).ok()),
        })
    }

    pub(super) fn find(&self, ssrc: Ssrc) -> Option<&Source> {
        self.0.iter().find(|source| source.ssrc == ssrc)
    }

    pub(super) fn find_mut(&mut self, ssrc: Ssrc) -> Option<&mut Source> {
        self.0.iter_mut().find(|source| source.ssrc == ssrc)
    }

    /// Refuses a source for which there would be no place.
    pub(super) fn check_room(&self, ssrc: Ssrc) -> Result<(), SrtpError> {
        if self.0.len() < MAX_SOURCES || self.find(ssrc).is_some() { Ok(()) } else { Err(SrtpError::TooManySources) }
    }

    /// Gives the source of an SSRC, a new one if need be.
    pub(super) fn entry(&mut self, ssrc: Ssrc) -> Result<&mut Source, SrtpError> {
        self.check_room(ssrc)?;
        let known = self.0.iter().position(|source| source.ssrc == ssrc);
        let place = known.unwrap_or_else(|| {
            self.0.push(Source { ssrc, rtp: None, rtcp: None, failures: 0 });
            self.0.len() - 1
        });
        Ok(&mut self.0[place])
    }
}

/// Marks an index as used, in a window that may not be there yet.
pub(super) fn mark(window: &mut Option<Window>, index: u64) {
    match window {
        Some(window) => window.insert(index),
        None => *window = Some(Window::new(index)),
    }
}
