//! The receiving side.
//!
//! A packet is tried with the index that the highest one known suggests. Only where that is known to be uncertain is
//! it tried again: under the key before the last rekeying; after a rekeying, where its source stood under the same key, or
//! without rollover; and, when a source has failed for a while, a few rollovers to either side (we joined late, or missed
//! half a cycle).

use lanes::Message;
use model::{SrtpSuite, Ssrc};

use super::{
    MasterKey, Rollover, SrtpError,
    keyring::Keyring,
    outbound::rtcp_sender,
    replay::Window,
    session::{RtcpIndex, Session},
    source::{Sources, mark},
    tag::Tag,
};
use crate::{
    demux::Media,
    packet::Packet,
    rtp::{ExtSeqNo, Header},
};

/// After so many packets in a row that did not authenticate, and again after as many more, other rollovers are tried.
const RECOVERY_INTERVAL: u32 = 20;

/// The longest packet that is tried more than once.
const MAX_RETRIED: usize = 2048;

/// Opens what one peer sends on one transport.
pub struct Inbound {
    suite: SrtpSuite,
    session: Session,
    keys: Keyring<Received>,
    previous: Option<Box<Previous>>,
}

/// The terms before, while they are still accepted.
struct Previous {
    session: Session,
    /// They are of the key before, not of the one in force.
    of_last_key: bool,
}

/// What came under one master key.
#[derive(Default)]
struct Received {
    sources: Sources,
    /// Where the sources stood under the key before.
    inherited: Sources,
    /// Packets in a row, of sources that never authenticated, which did not authenticate.
    strangers: u32,
}

impl Inbound {
    /// Begins with a master key.
    pub fn new(key: &MasterKey) -> Self {
        Self::resume(key, &[])
    }

    /// Goes on where an earlier life of the same key had come to: nothing up to there is accepted again.
    pub fn resume(key: &MasterKey, rollovers: &[Rollover]) -> Self {
        let received = Received { sources: Sources::resumed(rollovers), ..Received::default() };
        Self { suite: key.suite, session: Session::new(key), keys: Keyring::new(key, received), previous: None }
    }

    /// Takes another master key, or the same on other terms: with another identifier, lifetime or length of tags. The terms
    /// before are still accepted until [`Inbound::forget_previous`]. Rollover counters go on (RFC 3711 §3.3.1), those of
    /// sources that were silent under the old key too. Nothing that came under a key, on whatever terms, is accepted again
    /// when the key comes back (§3.3.2), if it is none before the last [`super::MAX_FORMER_KEYS`].
    pub fn rekey(&mut self, key: &MasterKey) {
        let Received { sources, inherited, .. } = self.keys.current();
        let mut stood = sources.clone();
        stood.add_rtp(inherited);
        let of_last_key = self.keys.turn_to(key, Received::default);
        if of_last_key {
            let received = self.keys.current_mut();
            received.inherited = stood;
            received.sources.close();
        }
        let session = std::mem::replace(&mut self.session, Session::new(key));
        self.previous = Some(Box::new(Previous { session, of_last_key }));
        self.suite = key.suite;
    }

    /// Stops accepting the terms before the last [`Inbound::rekey`].
    pub fn forget_previous(&mut self) {
        self.previous = None;
    }

    /// How far each source has come, to be kept with the key.
    pub fn rollovers(&self) -> impl Iterator<Item = Rollover> {
        self.keys.current().sources.rollovers()
    }

    /// The suite in use.
    pub const fn suite(&self) -> SrtpSuite {
        self.suite
    }

    /// Authenticates, decrypts and shortens a packet in place.
    ///
    /// # Errors
    ///
    /// The packet is to be dropped; nothing was learnt from it, and its bytes may have changed.
    pub fn open(&mut self, packet: &mut Packet<'_>, media: Media) -> Result<(), SrtpError> {
        self.open_expecting(packet, media, None)
    }

    /// The same, with a tag that was computed ahead by [`Inbound::foresee`] under the same keys. It is used if it is of
    /// the index that the packet turns out to have.
    ///
    /// # Errors
    ///
    /// Those of [`Inbound::open`].
    pub fn open_expecting(
        &mut self,
        packet: &mut Packet<'_>,
        media: Media,
        ahead: Option<&Tag>,
    ) -> Result<(), SrtpError> {
        let is_of_previous = self.previous.as_ref().is_some_and(|previous| previous.session.is_meant_by(packet, media));
        let received = self.keys.current_mut();
        match (self.session.is_meant_by(packet, media), is_of_previous) {
            (true, false) => received.open(&self.session, packet, media, ahead, Retry::No),
            (false, true) => self.open_by_previous(packet, media),
            (true, true) => match received.open(&self.session, packet, media, ahead, Retry::Yes) {
                Ok(()) => Ok(()),
                Err(SrtpError::Replayed) => self.open_by_previous(packet, media).map_err(|_| SrtpError::Replayed),
                Err(_) => self.open_by_previous(packet, media),
            },
            (false, false) => Err(SrtpError::UnknownMki),
        }
    }

    fn open_by_previous(&mut self, packet: &mut Packet<'_>, media: Media) -> Result<(), SrtpError> {
        let Previous { session, of_last_key } = self.previous.as_deref().ok_or(SrtpError::UnknownMki)?;
        let received = if *of_last_key { self.keys.last_mut() } else { Some(self.keys.current_mut()) };
        received.ok_or(SrtpError::UnknownMki)?.open(session, packet, media, None, Retry::No)
    }

    /// What the tag of an RTP packet will be computed of, if it has the index that the highest one known suggests.
    /// Nothing for a packet that would be refused before, and where tags cannot be computed ahead.
    pub fn foresee<'a>(&'a self, packet: &'a [u8]) -> Option<Message<'a>> {
        if !self.session.is_meant_by(packet, Media::Rtp) {
            return None;
        }
        let header = Header::parse(packet).ok()?;
        let Guess { window, index, .. } = self.keys.current().guess(&header);
        let index = index.filter(|index| window.is_none_or(|window| window.is_fresh(index.index())))?;
        self.session.message(packet, index)
    }
}

/// Whether a packet that does not open must stay as it was.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Retry {
    Yes,
    No,
}

/// The index that a packet seems to have.
struct Guess {
    /// The indices of its source that were used.
    window: Option<Window>,
    /// Packets in a row of its source, or of strangers, that did not authenticate.
    failures: u32,
    /// The index nearest to the highest one known; nothing before 0 and behind the last.
    index: Option<ExtSeqNo>,
    /// The one it has if its source did not go on from the key before.
    otherwise: Option<ExtSeqNo>,
}

impl Received {
    fn open(
        &mut self,
        session: &Session,
        packet: &mut Packet<'_>,
        media: Media,
        ahead: Option<&Tag>,
        retry: Retry,
    ) -> Result<(), SrtpError> {
        match media {
            Media::Rtp => self.open_rtp(session, packet, ahead, retry),
            Media::Rtcp => self.open_rtcp(session, packet, retry),
        }
    }

    /// What is known of the index of a packet before it authenticated.
    fn guess(&self, header: &Header) -> Guess {
        if let Some(source) = self.sources.present(header.ssrc).filter(|source| source.rtp.is_some()) {
            let index = source.index(header.seq);
            return Guess { window: source.rtp, failures: source.failures, index, otherwise: index };
        }
        let past = self.sources.past(header.ssrc);
        let window = past.as_ref().and_then(|source| source.rtp);
        let otherwise = past.map_or(Some(ExtSeqNo::new(0, header.seq)), |source| source.index(header.seq));
        let index = self.inherited.find(header.ssrc).map_or(otherwise, |source| source.index(header.seq));
        Guess { window, failures: self.strangers, index, otherwise }
    }

    fn open_rtp(
        &mut self,
        session: &Session,
        packet: &mut Packet<'_>,
        ahead: Option<&Tag>,
        retry: Retry,
    ) -> Result<(), SrtpError> {
        let header = Header::parse(packet).map_err(|_| SrtpError::Malformed)?;
        self.sources.check_room(header.ssrc)?;
        let Guess { window, failures, index: guess, otherwise } = self.guess(&header);

        let attempt = |packet: &mut Packet<'_>, index: ExtSeqNo, retry| {
            if window.is_some_and(|window| !window.is_fresh(index.index())) {
                return Err(SrtpError::Replayed);
            }
            unharmed(packet, retry, |packet| session.open_rtp(packet, header.length(), header.ssrc.0, index, ahead))?;
            Ok(index)
        };

        let otherwise = otherwise.filter(|index| guess != Some(*index));
        let recover = failures != 0 && failures.is_multiple_of(RECOVERY_INTERVAL);
        let more = |more: bool| if more { Retry::Yes } else { retry };
        let mut opened = match guess {
            Some(guess) => attempt(packet, guess, more(otherwise.is_some() || recover)),
            None => Err(SrtpError::Replayed),
        };
        if let Some(index) = otherwise.filter(|_| opened.is_err()) {
            opened = attempt(packet, index, more(recover));
        }
        if opened.is_err() && recover {
            let known = guess.unwrap_or(ExtSeqNo::new(0, header.seq));
            let others = [1, -1, 2, -2].into_iter().filter_map(|cycles| known.offset(cycles << 16));
            for index in others {
                opened = opened.or_else(|error| attempt(packet, index, Retry::Yes).map_err(|_| error));
            }
        }
        match opened {
            Ok(index) => self.accept_rtp(header.ssrc, index),
            Err(error) => {
                self.count_failure(header.ssrc);
                Err(error)
            }
        }
    }

    fn accept_rtp(&mut self, ssrc: Ssrc, index: ExtSeqNo) -> Result<(), SrtpError> {
        let source = self.sources.entry(ssrc)?;
        if source.rtp.is_none() {
            self.strangers = 0;
        }
        source.failures = 0;
        mark(&mut source.rtp, index.index());
        Ok(())
    }

    fn count_failure(&mut self, ssrc: Ssrc) {
        let known = self.sources.present_mut(ssrc).filter(|source| source.rtp.is_some());
        let failures = known.map_or(&mut self.strangers, |source| &mut source.failures);
        *failures = failures.wrapping_add(1);
    }

    fn open_rtcp(&mut self, session: &Session, packet: &mut Packet<'_>, retry: Retry) -> Result<(), SrtpError> {
        let ssrc = rtcp_sender(packet)?;
        self.sources.check_room(ssrc)?;
        let RtcpIndex { index, encrypted } = session.rtcp_index(packet)?;
        let window = self.sources.find(ssrc).and_then(|source| source.rtcp);
        if window.is_some_and(|window| !window.is_fresh(u64::from(index))) {
            return Err(SrtpError::Replayed);
        }
        unharmed(packet, retry, |packet| session.open_rtcp(packet, ssrc.0, RtcpIndex { index, encrypted }))?;
        mark(&mut self.sources.entry(ssrc)?.rtcp, u64::from(index));
        Ok(())
    }
}

/// Tries to open a packet; if another try may follow, puts its bytes back after a failure. (GCM overwrites them.)
fn unharmed(
    packet: &mut Packet<'_>,
    retry: Retry,
    open: impl FnOnce(&mut Packet<'_>) -> Result<(), SrtpError>,
) -> Result<(), SrtpError> {
    if retry == Retry::No {
        return open(packet);
    }
    let mut copy = [0; MAX_RETRIED];
    let copy = copy.get_mut(..packet.len()).ok_or(SrtpError::Authentication)?;
    copy.copy_from_slice(packet);
    open(packet).inspect_err(|_| packet.copy_from_slice(copy))
}
