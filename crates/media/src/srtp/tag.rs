//! Tags of counter mode that are computed for many packets at a time: before they are opened, and after they are sealed.
//!
//! ```text
//! arrived   Inbound::foresee -> code of the message -> Tag ---> Inbound::open_expecting
//! to leave  Outbound::seal_untagged -> Untagged -> code of its message -> Untagged::complete
//! ```

use std::ops::Range;

use lanes::{CODE_LENGTH, Key, Message};

/// A tag that was computed before its packet is opened.
#[derive(Clone, Copy, Debug)]
pub struct Tag {
    /// The rollover counter that was supposed.
    rollovers: [u8; 4],
    code: [u8; CODE_LENGTH],
}

impl Tag {
    /// Takes the code of a message that [`super::Inbound::foresee`] gave, and that message's trailer.
    pub const fn new(trailer: [u8; 4], code: [u8; CODE_LENGTH]) -> Self {
        Self { rollovers: trailer, code }
    }

    /// The code, if it is that of a rollover counter.
    pub(super) fn under(&self, rollovers: [u8; 4]) -> Option<&[u8; CODE_LENGTH]> {
        (self.rollovers == rollovers).then_some(&self.code)
    }
}

/// The tag of a sealed packet, which is still to be computed.
///
/// The packet must not leave before [`Untagged::complete`].
#[derive(Clone)]
#[must_use = "the packet has no tag yet"]
pub struct Untagged {
    pub(super) key: Key,
    pub(super) rollovers: [u8; 4],
    /// Bytes of the packet that are authenticated.
    pub(super) authenticated: usize,
    /// Where the tag goes.
    pub(super) place: Range<usize>,
}

impl Untagged {
    /// What the tag is computed of.
    pub fn message<'a>(&'a self, packet: &'a [u8]) -> Message<'a> {
        Message { key: &self.key, bytes: &packet[..self.authenticated], trailer: self.rollovers }
    }

    /// Writes the tag, from the code of that message.
    pub fn complete(self, packet: &mut [u8], code: &[u8; CODE_LENGTH]) {
        packet[self.place.clone()].copy_from_slice(&code[..self.place.len()]);
    }
}

#[cfg(test)]
mod tests {
    use lanes::Lanes;
    use model::{SrtpSuite, Ssrc};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        demux::Media,
        packet::Packet,
        rtp::{Header, RtpTime, SeqNo},
        srtp::{Inbound, MasterKey, Outbound},
    };

    const SUITES: [SrtpSuite; 3] = [SrtpSuite::AesCm128Sha1_80, SrtpSuite::AesCm128Sha1_32, SrtpSuite::AeadAes128Gcm];

    /// What a peer does next.
    #[derive(Clone, Copy, Debug)]
    enum Act {
        /// It sends RTP so many numbers after the last of that source.
        Rtp(u16),
        /// It sends RTCP.
        Rtcp,
        /// Its last packet arrives again.
        Again,
        /// Its last packet arrives again, changed in this byte.
        Forged(usize),
    }

    /// An act of a peer, by one of its sources.
    #[derive(Clone, Copy, Debug)]
    struct Step {
        peer: usize,
        source: u32,
        act: Act,
    }

    fn step() -> impl Strategy<Value = Step> {
        let act = prop_oneof![
            6 => (1..4_u16).prop_map(Act::Rtp),
            2 => prop::sample::select(vec![0_u16.wrapping_sub(2), 20_000, 30_000]).prop_map(Act::Rtp),
            1 => Just(Act::Rtcp),
            1 => Just(Act::Again),
            1 => (0..40_usize).prop_map(Act::Forged),
        ];
        (0..SUITES.len(), 0..2_u32, act).prop_map(|(peer, source, act)| Step { peer, source, act })
    }

    fn key(suite: SrtpSuite, fill: u8) -> MasterKey {
        MasterKey::new(suite, &vec![fill; suite.key_length()], &vec![fill; suite.salt_length()]).expect("its lengths")
    }

    #[derive(Clone)]
    struct Bytes {
        buffer: [u8; 128],
        length: usize,
    }

    impl Bytes {
        fn packet(&mut self) -> Packet<'_> {
            Packet::new(&mut self.buffer, self.length).expect("it fits")
        }
    }

    /// A peer, once sealing one by one and once leaving tags for later, and its receiver, likewise.
    struct Peer {
        seals: [Outbound; 2],
        opens: [Inbound; 2],
        seqs: [u16; 2],
        last: Option<(Media, Bytes)>,
    }

    impl Peer {
        fn new(suite: SrtpSuite) -> Self {
            let key = key(suite, 1);
            Self {
                seals: [Outbound::new(&key), Outbound::new(&key)],
                opens: [Inbound::new(&key), Inbound::new(&key)],
                seqs: [30_000; 2],
                last: None,
            }
        }

        /// A packet as it arrives; both ways of sealing give the same.
        fn act(&mut self, step: Step) -> Option<(Media, Bytes)> {
            let (media, plain) = match step.act {
                Act::Rtp(steps) => {
                    let seq = &mut self.seqs[step.source as usize];
                    *seq = seq.wrapping_add(steps);
                    (Media::Rtp, rtp(step.source, *seq))
                }
                Act::Rtcp => (Media::Rtcp, rtcp(step.source)),
                Act::Again => return self.last.clone(),
                Act::Forged(place) => {
                    let (media, mut forged) = self.last.clone()?;
                    forged.buffer[place % forged.length] ^= 4;
                    return Some((media, forged));
                }
            };
            let [(first, whole), (second, later)] = [false, true].map(|later| {
                let mut bytes = plain.clone();
                let mut packet = bytes.packet();
                let outcome = if later {
                    self.seals[1].seal_untagged(&mut packet, media).map(|untagged| {
                        if let Some(untagged) = untagged {
                            let code = untagged.message(&packet).code();
                            untagged.complete(&mut packet, &code);
                        }
                    })
                } else {
                    self.seals[0].seal(&mut packet, media)
                };
                bytes.length = packet.len();
                (outcome, bytes)
            });
            assert_eq!((first, &whole.buffer, whole.length), (second, &later.buffer, later.length));
            self.last = first.is_ok().then_some((media, whole));
            self.last.clone()
        }
    }

    fn rtp(source: u32, seq: u16) -> Bytes {
        let mut buffer = [0xab; 128];
        let header = Header::new(0.try_into().expect("a payload type"), SeqNo(seq), RtpTime(1), Ssrc(source));
        header.write(&mut buffer).expect("room");
        Bytes { buffer, length: 60 }
    }

    fn rtcp(source: u32) -> Bytes {
        let mut buffer = [0xab; 128];
        buffer[..4].copy_from_slice(&[0x80, 201, 0, 1]);
        buffer[4..8].copy_from_slice(&source.to_be_bytes());
        Bytes { buffer, length: 28 }
    }

    proptest! {
        #[test]
        fn a_batch_opens_as_its_packets_do_one_by_one(
            batches in prop::collection::vec(prop::collection::vec(step(), 1..40), 1..6),
            rekeyed in 0..6_usize,
        ) {
            let mut peers = SUITES.map(Peer::new);
            for (number, batch) in batches.into_iter().enumerate() {
                if let Some(back) = [rekeyed, rekeyed + 2].iter().position(|at| *at == number) {
                    for (peer, suite) in peers.iter_mut().zip(SUITES) {
                        let key = key(suite, [2, 1][back]);
                        peer.opens.iter_mut().for_each(|inbound| inbound.rekey(&key));
                        if number % 2 == 0 {
                            peer.seals.iter_mut().for_each(|outbound| outbound.rekey(&key));
                        }
                    }
                }
                let arrived: Vec<_> =
                    batch.into_iter().filter_map(|step| Some((step.peer, peers[step.peer].act(step)?))).collect();
                let foreseen: Vec<_> = arrived
                    .iter()
                    .map(|(peer, (media, bytes))| match media {
                        Media::Rtp => peers[*peer].opens[1].foresee(&bytes.buffer[..bytes.length]),
                        Media::Rtcp => None,
                    })
                    .collect();
                let mut codes = vec![[0; CODE_LENGTH]; foreseen.len()];
                Lanes::detect().authenticate(&foreseen, &mut codes);
                let tags: Vec<_> =
                    foreseen.iter().zip(codes).map(|(message, code)| message.map(|m| Tag::new(m.trailer, code))).collect();
                for ((peer, (media, bytes)), tag) in arrived.into_iter().zip(tags) {
                    let [one, together] = &mut peers[peer].opens;
                    let (mut first, mut second) = (bytes.clone(), bytes);
                    let (mut first, mut second) = (first.packet(), second.packet());
                    let outcome = one.open(&mut first, media);
                    prop_assert_eq!(together.open_expecting(&mut second, media, tag.as_ref()), outcome);
                    prop_assert_eq!(&*first, &*second);
                }
                for peer in &peers {
                    let [one, together] = peer.opens.each_ref().map(|inbound| inbound.rollovers().collect::<Vec<_>>());
                    prop_assert_eq!(one, together);
                }
            }
        }
    }

    #[test]
    fn packets_in_order_are_opened_with_the_tags_computed_ahead() {
        let mut peer = Peer::new(SrtpSuite::AesCm128Sha1_80);
        let step = Step { peer: 0, source: 0, act: Act::Rtp(20_000) };
        for _ in 0..5 {
            let (media, mut bytes) = peer.act(step).expect("a fresh packet");
            let message = peer.opens[1].foresee(&bytes.buffer[..bytes.length]).expect("it is to be expected");
            let wrong = Tag::new(message.trailer, [0; CODE_LENGTH]);
            let right = Tag::new(message.trailer, message.code());
            let [_, inbound] = &mut peer.opens;
            assert!(inbound.open_expecting(&mut bytes.clone().packet(), media, Some(&wrong)).is_err(), "it is used");
            assert_eq!(inbound.open_expecting(&mut bytes.packet(), media, Some(&right)), Ok(()));
        }
    }

    #[test]
    fn nothing_is_foreseen_of_what_would_be_refused_before() {
        let mut peer = Peer::new(SrtpSuite::AesCm128Sha1_80);
        let step = Step { peer: 0, source: 0, act: Act::Rtp(1) };
        let (media, mut bytes) = peer.act(step).expect("a fresh packet");
        let sealed = bytes.clone();
        let [_, inbound] = &mut peer.opens;
        assert_eq!(inbound.open(&mut bytes.packet(), media), Ok(()));
        assert!(inbound.foresee(&sealed.buffer[..sealed.length]).is_none(), "it is a replay");
        assert!(inbound.foresee(&sealed.buffer[..15]).is_none(), "it is shorter than its tag");
        assert!(inbound.foresee(&[]).is_none());
    }
}
