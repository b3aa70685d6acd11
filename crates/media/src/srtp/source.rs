//! What is remembered of each SSRC under one master key.
//!
//! A call may last, and its peer take a new SSRC with each hold, so a source that is over makes room for the next. It is
//! never forgotten whole: how far it had come stays, and should it come again, nothing up to there is fresh. So neither is
//! a packet of it accepted twice (RFC 3711 §3.3.2), nor one of its indices used twice, which would be the same keystream
//! (§9.1). What is lost is that its late packets are told from replayed ones.

use model::Ssrc;

use super::{MAX_SOURCES, MAX_SOURCES_EVER, Rollover, SrtpError, replay::Window};
use crate::rtp::{ExtSeqNo, SeqNo};

/// The sources of one direction.
#[derive(Clone, Default)]
pub(super) struct Sources {
    /// At most [`MAX_SOURCES`], with their windows.
    present: Vec<Source>,
    /// How far those had come that made room.
    past: Vec<Rollover>,
    /// How often a source was used.
    uses: u64,
}

/// One SSRC: the RTP indices and the RTCP indices it has used.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) ssrc: Ssrc,
    pub(super) rtp: Option<Window>,
    pub(super) rtcp: Option<Window>,
    /// Packets in a row that did not authenticate.
    pub(super) failures: u32,
    /// Which use of a source was the last of this one.
    used: u64,
}

impl Source {
    /// One that is new, or was used up to somewhere: no index up to there is fresh.
    fn resumed(Rollover { ssrc, rtp, rtcp }: Rollover) -> Self {
        Self {
            ssrc,
            rtp: rtp.map(|highest| Window::closed_at(highest.index())),
            rtcp: rtcp.map(|highest| Window::closed_at(u64::from(highest))),
            failures: 0,
            used: 0,
        }
    }

    fn rollover(&self) -> Rollover {
        let rtcp = self.rtcp.and_then(|window| u32::try_from(window.highest()).ok());
        Rollover { ssrc: self.ssrc, rtp: self.highest(), rtcp }
    }

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
        let rollovers = &rollovers[..rollovers.len().min(MAX_SOURCES_EVER)];
        let (present, past) = rollovers.split_at(rollovers.len().min(MAX_SOURCES));
        Self { present: present.iter().copied().map(Source::resumed).collect(), past: past.to_vec(), uses: 0 }
    }

    /// Makes all that is present past: each goes on behind the highest index it used, wherever that turns out to be.
    pub(super) fn close(&mut self) {
        self.past.extend(self.present.drain(..).map(|source| source.rollover()));
    }

    /// Closes the SRTCP indices that others have used.
    pub(super) fn close_rtcp(&mut self, others: &Self) {
        for other in others.rollovers() {
            if let (Some(highest), Ok(source)) = (other.rtcp.map(u64::from), self.entry(other.ssrc))
                && source.rtcp.is_none_or(|ours| ours.highest() < highest)
            {
                source.rtcp = Some(Window::closed_at(highest));
            }
        }
    }

    /// Adds how far sources came by what others know, where we know nothing, as far as there is room.
    pub(super) fn add_rtp(&mut self, others: &Self) {
        for other in others.rollovers() {
            if let Ok(source) = self.entry(other.ssrc) {
                source.rtp = source.rtp.or(Source::resumed(other).rtp);
            }
        }
    }

    pub(super) fn rollovers(&self) -> impl Iterator<Item = Rollover> {
        self.present.iter().map(Source::rollover).chain(self.past.iter().copied())
    }

    /// A source that has its window.
    pub(super) fn present(&self, ssrc: Ssrc) -> Option<&Source> {
        self.present.iter().find(|source| source.ssrc == ssrc)
    }

    /// The same, to be changed.
    pub(super) fn present_mut(&mut self, ssrc: Ssrc) -> Option<&mut Source> {
        self.present.iter_mut().find(|source| source.ssrc == ssrc)
    }

    /// A source that made room, as it would be if it came again.
    pub(super) fn past(&self, ssrc: Ssrc) -> Option<Source> {
        self.past.iter().find(|past| past.ssrc == ssrc).copied().map(Source::resumed)
    }

    /// Either.
    pub(super) fn find(&self, ssrc: Ssrc) -> Option<Source> {
        self.present(ssrc).cloned().or_else(|| self.past(ssrc))
    }

    /// Refuses a source of which nothing could be remembered.
    pub(super) fn check_room(&self, ssrc: Ssrc) -> Result<(), SrtpError> {
        let has_room = self.present.len() + self.past.len() < MAX_SOURCES_EVER;
        if has_room || self.rollovers().any(|known| known.ssrc == ssrc) {
            Ok(())
        } else {
            Err(SrtpError::TooManySources)
        }
    }

    /// Gives the source of an SSRC, a new one if need be, for which the one makes room that was not used for longest.
    pub(super) fn entry(&mut self, ssrc: Ssrc) -> Result<&mut Source, SrtpError> {
        let place = match self.present.iter().position(|source| source.ssrc == ssrc) {
            Some(place) => place,
            None => self.add(ssrc)?,
        };
        self.uses += 1;
        let source = &mut self.present[place];
        source.used = self.uses;
        Ok(source)
    }

    fn add(&mut self, ssrc: Ssrc) -> Result<usize, SrtpError> {
        self.check_room(ssrc)?;
        let past = self.past.iter().position(|past| past.ssrc == ssrc).map(|place| self.past.swap_remove(place));
        let source = Source::resumed(past.unwrap_or(Rollover { ssrc, rtp: None, rtcp: None }));
        let oldest = (0..self.present.len()).min_by_key(|place| self.present[*place].used);
        Ok(match oldest {
            Some(place) if self.present.len() == MAX_SOURCES => {
                let gone = std::mem::replace(&mut self.present[place], source);
                self.past.push(gone.rollover());
                place
            }
            Some(_) | None => {
                self.present.push(source);
                self.present.len() - 1
            }
        })
    }
}

/// Marks an index as used, in a window that may not be there yet.
pub(super) fn mark(window: &mut Option<Window>, index: u64) {
    match window {
        Some(window) => window.insert(index),
        None => *window = Some(Window::new(index)),
    }
}
