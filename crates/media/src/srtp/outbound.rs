//! The sending side.

use model::{SrtpSuite, Ssrc};

use super::{
    MasterKey, Rollover, SrtpError,
    keyring::Keyring,
    session::{RTCP_CLEAR, Session},
    source::{Sources, mark},
    tag::Untagged,
};
use crate::{demux::Media, packet::Packet, rtp};

/// The last SRTCP index there is (RFC 3711 §3.4).
const MAX_RTCP_INDEX: u64 = (1 << 31) - 1;

/// Seals what we send to one peer on one transport.
pub struct Outbound {
    suite: SrtpSuite,
    session: Session,
    /// Of all keys: no index is used twice, not even under two of them.
    sources: Sources,
    keys: Keyring<Lifetime>,
}

/// How long a master key lives (RFC 3711 §9.2).
#[derive(Default)]
struct Lifetime {
    rtp: Count,
    rtcp: Count,
}

/// How many packets a master key has protected, and may.
#[derive(Default)]
struct Count {
    packets: u64,
    most: u64,
}

impl Lifetime {
    /// Takes the terms of the key. What it has protected counts on.
    const fn set(&mut self, key: &MasterKey) {
        self.rtp.most = key.max_rtp_packets;
        self.rtcp.most = key.max_rtcp_packets;
    }
}

impl Count {
    const fn add(&mut self) -> Result<(), SrtpError> {
        if self.packets >= self.most {
            return Err(SrtpError::KeyUsedUp);
        }
        self.packets += 1;
        Ok(())
    }
}

impl Outbound {
    /// Begins with a master key.
    pub fn new(key: &MasterKey) -> Self {
        let mut lifetime = Lifetime::default();
        lifetime.set(key);
        let keys = Keyring::new(key, lifetime);
        Self { suite: key.suite, session: Session::new(key), sources: Sources::default(), keys }
    }

    /// Goes on where an earlier life of the same key had come to: no index up to there is used again.
    pub fn resume(key: &MasterKey, rollovers: &[Rollover]) -> Self {
        Self { sources: Sources::resumed(rollovers), ..Self::new(key) }
    }

    /// Takes another master key, or the same on other terms. Rollover counters and SRTCP indices go on (RFC 3711 §3.3.1,
    /// §3.2.1), and so does the number of packets under a key that was used before, if it is none before the last
    /// [`super::MAX_FORMER_KEYS`].
    pub fn rekey(&mut self, key: &MasterKey) {
        self.keys.turn_to(key, Lifetime::default);
        self.keys.current_mut().set(key);
        self.session = Session::new(key);
        self.suite = key.suite;
    }

    /// Goes on where another user of the same keys has come to with its SRTCP.
    pub fn go_on_behind(&mut self, other: &Self) {
        self.sources.close_rtcp(&other.sources);
        self.keys.current_mut().rtcp.packets += other.keys.current().rtcp.packets;
    }

    /// How far each source has come, to be kept with the key.
    pub fn rollovers(&self) -> impl Iterator<Item = Rollover> {
        self.sources.rollovers()
    }

    /// The suite in use.
    pub const fn suite(&self) -> SrtpSuite {
        self.suite
    }

    /// Encrypts a packet in place and appends its tag.
    ///
    /// # Errors
    ///
    /// The packet is to be dropped; its bytes may have changed.
    pub fn seal(&mut self, packet: &mut Packet<'_>, media: Media) -> Result<(), SrtpError> {
        if let Some(untagged) = self.seal_untagged(packet, media)? {
            let code = untagged.message(packet).code();
            untagged.complete(packet, &code);
        }
        Ok(())
    }

    /// Encrypts a packet in place and appends its tag, or the place for a tag that can be computed together with others.
    ///
    /// # Errors
    ///
    /// The packet is to be dropped; its bytes may have changed.
    pub fn seal_untagged(&mut self, packet: &mut Packet<'_>, media: Media) -> Result<Option<Untagged>, SrtpError> {
        if !self.session.fits(packet, media) {
            return Err(SrtpError::NoRoom);
        }
        match media {
            Media::Rtp => self.seal_rtp(packet),
            Media::Rtcp => self.seal_rtcp(packet).map(|()| None),
        }
    }

    /// Packets may come reordered around a rollover, so the index is guessed as a receiver would guess it, and none is
    /// used twice: two payloads under one index would give both away.
    fn seal_rtp(&mut self, packet: &mut Packet<'_>) -> Result<Option<Untagged>, SrtpError> {
        let header = rtp::Header::parse(packet).map_err(|_| SrtpError::Malformed)?;
        let source = self.sources.entry(header.ssrc)?;
        let index = source.index(header.seq).ok_or(match source.highest() {
            Some(highest) if highest.rollovers() == u32::MAX => SrtpError::KeyUsedUp,
            Some(_) | None => SrtpError::IndexReused,
        })?;
        if source.rtp.is_some_and(|window| !window.is_fresh(index.index())) {
            return Err(SrtpError::IndexReused);
        }
        self.keys.current_mut().rtp.add()?;
        mark(&mut source.rtp, index.index());
        self.session.seal_rtp(packet, header.length(), header.ssrc.0, index)
    }

    fn seal_rtcp(&mut self, packet: &mut Packet<'_>) -> Result<(), SrtpError> {
        let ssrc = rtcp_sender(packet)?;
        let source = self.sources.entry(ssrc)?;
        let index = source.rtcp.map_or(0, |window| window.highest() + 1);
        if index > MAX_RTCP_INDEX {
            return Err(SrtpError::KeyUsedUp);
        }
        self.keys.current_mut().rtcp.add()?;
        mark(&mut source.rtcp, index);
        let index = u32::try_from(index).map_err(|_| SrtpError::KeyUsedUp)?;
        self.session.seal_rtcp(packet, ssrc.0, index)
    }
}

/// The SSRC of an RTCP packet, which stays clear.
pub(super) fn rtcp_sender(packet: &[u8]) -> Result<Ssrc, SrtpError> {
    let Some([flags, _, _, _, a, b, c, d]) = packet.first_chunk::<RTCP_CLEAR>() else {
        return Err(SrtpError::Malformed);
    };
    if flags >> 6 == 2 { Ok(Ssrc(u32::from_be_bytes([*a, *b, *c, *d]))) } else { Err(SrtpError::Malformed) }
}
