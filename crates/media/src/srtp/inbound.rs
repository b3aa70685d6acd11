//! The receiving side.
//!
//! A packet is tried with the index that the highest one known suggests. Only where that is known to be uncertain is
//! it tried again: under the key before the last rekeying, without rollover after a rekeying, and, when a source has
//! failed for a while, a few rollovers to either side (we joined late, or missed half a cycle).

use lanes::Message;
use model::{SrtpSuite, Ssrc};

use super::{
    MasterKey, Rollover, SrtpError,
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
    current: Context,
    previous: Option<Box<Context>>,
    /// The one before is of the same master key, on other terms.
    restated: bool,
}

/// What belongs to one master key.
struct Context {
    session: Session,
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
        let sources = Sources::resumed(rollovers);
        Self {
            suite: key.suite,
            current: Context::new(key, sources, Sources::default()),
            previous: None,
            restated: false,
        }
    }

    /// Takes a new master key. The old one is still accepted until [`Inbound::forget_previous`]. Rollover counters go on
    /// (RFC 3711 §3.3.1), those of sources that were silent under the old key too.
    pub fn rekey(&mut self, key: &MasterKey) {
        let mut inherited = self.current.sources.clone();
        inherited.add_rtp(&self.current.inherited);
        let context = Context::new(key, Sources::default(), inherited);
        self.previous = Some(Box::new(std::mem::replace(&mut self.current, context)));
        self.restated = false;
        self.suite = key.suite;
    }

    /// Takes the master key there is on other terms: with another identifier, lifetime or length of tags. The terms
    /// before are still accepted until [`Inbound::forget_previous`]. A replay list belongs to the key (RFC 3711 §3.2.3), and
    /// neither identifier nor length of the tag is authenticated, so what came on one of the terms is accepted on none.
    pub fn restate(&mut self, key: &MasterKey) {
        let Context { sources, inherited, .. } = &mut self.current;
        let context = Context::new(key, std::mem::take(sources), inherited.clone());
        self.previous = Some(Box::new(std::mem::replace(&mut self.current, context)));
        self.restated = true;
        self.suite = key.suite;
    }

    /// Stops accepting the key before the last [`Inbound::rekey`].
    pub fn forget_previous(&mut self) {
        self.previous = None;
    }

    /// How far each source has come, to be kept with the key.
    pub fn rollovers(&self) -> impl Iterator<Item = Rollover> {
        self.current.sources.rollovers()
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
        match (self.current.session.is_meant_by(packet, media), is_of_previous) {
            (true, false) => self.current.open(packet, media, ahead, Retry::No),
            (false, true) => self.open_by_previous(packet, media),
            (true, true) => match self.current.open(packet, media, ahead, Retry::Yes) {
                Ok(()) => Ok(()),
                Err(SrtpError::Replayed) => self.open_by_previous(packet, media).map_err(|_| SrtpError::Replayed),
                Err(_) => self.open_by_previous(packet, media),
            },
            (false, false) => Err(SrtpError::UnknownMki),
        }
    }

    fn open_by_previous(&mut self, packet: &mut Packet<'_>, media: Media) -> Result<(), SrtpError> {
        let previous = self.previous.as_mut().ok_or(SrtpError::UnknownMki)?;
        if !self.restated {
            return previous.open(packet, media, None, Retry::No);
        }
        std::mem::swap(&mut previous.sources, &mut self.current.sources);
        let opened = previous.open(packet, media, None, Retry::No);
        std::mem::swap(&mut previous.sources, &mut self.current.sources);
        opened
    }

    /// What the tag of an RTP packet will be computed of, if it has the index that the highest one known suggests.
    /// Nothing for a packet that would be refused before, and where tags cannot be computed ahead.
    pub fn foresee<'a>(&'a self, packet: &'a [u8]) -> Option<Message<'a>> {
        let context = &self.current;
        if !context.session.is_meant_by(packet, Media::Rtp) {
            return None;
        }
        let header = Header::parse(packet).ok()?;
        let Guess { window, index, .. } = context.guess(&header);
        let index = index.filter(|index| window.is_none_or(|window| window.is_fresh(index.index())))?;
        context.session.message(packet, index)
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
}

impl Context {
    fn new(key: &MasterKey, sources: Sources, inherited: Sources) -> Self {
        Self { session: Session::new(key), sources, inherited, strangers: 0 }
    }

    fn open(
        &mut self,
        packet: &mut Packet<'_>,
        media: Media,
        ahead: Option<&Tag>,
        retry: Retry,
    ) -> Result<(), SrtpError> {
        match media {
            Media::Rtp => self.open_rtp(packet, ahead, retry),
            Media::Rtcp => self.open_rtcp(packet, retry),
        }
    }

    /// What is known of the index of a packet before it authenticated.
    fn guess(&self, header: &Header) -> Guess {
        if let Some(source) = self.sources.present(header.ssrc).filter(|source| source.rtp.is_some()) {
            return Guess { window: source.rtp, failures: source.failures, index: source.index(header.seq) };
        }
        let past = self.sources.past(header.ssrc).filter(|source| source.rtp.is_some());
        let window = past.as_ref().and_then(|source| source.rtp);
        let source = past.or_else(|| self.inherited.find(header.ssrc));
        let index = source.map_or(Some(ExtSeqNo::new(0, header.seq)), |source| source.index(header.seq));
        Guess { window, failures: self.strangers, index }
    }

    fn open_rtp(&mut self, packet: &mut Packet<'_>, ahead: Option<&Tag>, retry: Retry) -> Result<(), SrtpError> {
        let header = Header::parse(packet).map_err(|_| SrtpError::Malformed)?;
        self.sources.check_room(header.ssrc)?;
        let Guess { window, failures, index: guess } = self.guess(&header);

        let session = &self.session;
        let attempt = |packet: &mut Packet<'_>, index: ExtSeqNo, retry| {
            if window.is_some_and(|window| !window.is_fresh(index.index())) {
                return Err(SrtpError::Replayed);
            }
            unharmed(packet, retry, |packet| session.open_rtp(packet, header.length(), header.ssrc.0, index, ahead))?;
            Ok(index)
        };

        let zero = ExtSeqNo::new(0, header.seq);
        let unsure = window.is_none() && guess.is_some_and(|guess| guess != zero);
        let recover = failures != 0 && failures.is_multiple_of(RECOVERY_INTERVAL);
        let more = |more: bool| if more { Retry::Yes } else { retry };
        let mut opened = match guess {
            Some(guess) => attempt(packet, guess, more(unsure || recover)),
            None => Err(SrtpError::Replayed),
        };
        if opened.is_err() && unsure {
            opened = attempt(packet, zero, more(recover));
        }
        if opened.is_err() && recover {
            let others = [1, -1, 2, -2].into_iter().filter_map(|cycles| guess.unwrap_or(zero).offset(cycles << 16));
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

    fn open_rtcp(&mut self, packet: &mut Packet<'_>, retry: Retry) -> Result<(), SrtpError> {
        let ssrc = rtcp_sender(packet)?;
        self.sources.check_room(ssrc)?;
        let RtcpIndex { index, encrypted } = self.session.rtcp_index(packet)?;
        let window = self.sources.find(ssrc).and_then(|source| source.rtcp);
        if window.is_some_and(|window| !window.is_fresh(u64::from(index))) {
            return Err(SrtpError::Replayed);
        }
        unharmed(packet, retry, |packet| self.session.open_rtcp(packet, ssrc.0, RtcpIndex { index, encrypted }))?;
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
