//! An endpoint: what it offers, how it is reached, and `webrtc-srtp` for what it sends and hears.

use std::net::SocketAddr;
use std::time::Instant;

use media::rtp::{FIXED_HEADER, Header, RtpTime, SeqNo};
use model::{
    Candidate, Codec, Component, Crypto, Description, IceParameters, LegId, MediaKind, MediaPath, MediaStream,
    PayloadType, Profile, Secret, SrtpSuite, Ssrc, StreamId,
};
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

use crate::network::Dice;
use crate::source::{Format, Source};
use crate::watcher::{Watcher, nearest};

/// What an endpoint is like.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    /// None: plain RTP. Else keys in its description, for these.
    pub(crate) suites: Vec<SrtpSuite>,
    pub(crate) ice: bool,
}

/// An endpoint.
pub(crate) struct Endpoint {
    pub(crate) leg: LegId,
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    pub(crate) agent: Option<ice::Agent>,
    pub(crate) source: Source,
    pub(crate) watcher: Watcher,
    pub(crate) formats: [Format; 2],
    credentials: Option<IceParameters>,
    to: Option<SocketAddr>,
    /// Its own keys, of which the relay takes the first.
    keys: Vec<Crypto>,
    seal: Option<(Crypto, Context)>,
    /// How far the source has come under the present SSRC.
    sealed: Option<(Ssrc, u64)>,
    /// What the relay sends, as seen before the network and behind it.
    pub(crate) before: Opener,
    pub(crate) behind: Opener,
}

impl Endpoint {
    pub(crate) fn new(leg: LegId, kind: Kind, address: &str, opus: u8, telephone_event: u8, dice: &mut Dice) -> Self {
        let address = address.parse().expect("a literal address");
        let credentials = kind.ice.then(ice::new_credentials);
        let agent = credentials.clone().map(|credentials| {
            let config = ice::Config {
                component: Component::Rtp,
                role: if leg == LegId(0) { ice::Role::Controlling } else { ice::Role::Controlled },
                credentials,
                tie_breaker: 7,
                addresses: vec![ice::LocalAddress { bound: address, advertised: None }],
            };
            ice::Agent::new(config).expect("a good address")
        });
        let formats = [Format { payload_type: 0, clock_rate: 8000 }, Format { payload_type: opus, clock_rate: 48_000 }];
        let mut endpoint = Self {
            leg,
            address,
            agent,
            source: Source::new(0x1000 * (1 + u32::from(leg.0)), formats[0]),
            watcher: Watcher::new(&formats, telephone_event),
            formats,
            credentials,
            to: None,
            keys: Vec::new(),
            seal: None,
            sealed: None,
            before: Opener::default(),
            behind: Opener::default(),
            kind,
        };
        endpoint.draw_keys(dice);
        endpoint
    }

    /// Draws fresh keys.
    pub(crate) fn draw_keys(&mut self, dice: &mut Dice) {
        let mut key = |tag, suite: SrtpSuite| {
            let bytes = (0..suite.key_length() + suite.salt_length()).map(|_| dice.next().to_be_bytes()[3]);
            Crypto::new(tag, suite, Secret::new(bytes.collect()))
        };
        self.keys = (1..).zip(&self.kind.suites).map(|(tag, suite)| key(tag, *suite)).collect();
    }

    /// Prefers another suite from now on.
    pub(crate) fn rotate_suites(&mut self) {
        if !self.kind.suites.is_empty() {
            self.kind.suites.rotate_left(1);
        }
    }

    /// Restarts ICE.
    pub(crate) fn restart_ice(&mut self, now: Instant) -> Option<IceParameters> {
        let fresh = ice::new_credentials();
        self.agent.as_mut()?.restart(fresh.clone(), now);
        self.credentials = Some(fresh.clone());
        Some(fresh)
    }

    /// Takes what the relay answers to that.
    pub(crate) fn take_restart(&mut self, theirs: &IceParameters, candidates: &[Candidate], now: Instant) {
        let agent = self.agent.as_mut().expect("it uses ICE");
        agent.set_remote_credentials(theirs, now).expect("good credentials");
        for candidate in candidates {
            agent.add_remote_candidate(candidate, None, now).expect("a good candidate");
        }
    }

    pub(crate) fn offer(&self) -> Description {
        self.describe(self.keys.clone())
    }

    /// Answers with the key for the first suite of an offer that it knows.
    pub(crate) fn answer(&self, offer: &Description) -> Description {
        let known = |crypto: &&Crypto| self.keys.iter().any(|key| key.suite == crypto.suite);
        let chosen = offer.streams[0].path.crypto.iter().find(known);
        let ours = chosen.and_then(|chosen| {
            let key = self.keys.iter().find(|key| key.suite == chosen.suite)?;
            Some(Crypto { tag: chosen.tag, ..key.clone() })
        });
        self.describe(ours.into_iter().collect())
    }

    fn describe(&self, crypto: Vec<Crypto>) -> Description {
        let path = MediaPath {
            rtp: Some(self.address),
            rtcp_mux: true,
            profile: if self.kind.suites.is_empty() { Profile::Avp } else { Profile::Savp },
            ice: self.credentials.clone(),
            candidates: self.agent.iter().flat_map(ice::Agent::local_candidates).collect(),
            end_of_candidates: self.kind.ice,
            crypto,
            ..MediaPath::default()
        };
        let codec = |number: u8, name: &str, clock, channels| {
            Codec::new(PayloadType::try_from(number).expect("a payload type"), name, clock, channels)
        };
        let codecs = vec![
            codec(0, "PCMU", 8000, 1),
            codec(self.formats[1].payload_type, "opus", 48_000, 2),
            codec(self.watcher.telephone_event(), "telephone-event", 8000, 1),
        ];
        let stream = MediaStream { codecs, path, ..MediaStream::new(StreamId(0), "0", MediaKind::Audio) };
        Description { streams: vec![stream], bundle: Vec::new() }
    }

    /// Takes the relay's offer or answer. A peer that begins its rollover counter anew with a new key is as good as one
    /// that does not (RFC 3711 §3.3.1 keeps it; many do not).
    pub(crate) fn take(&mut self, theirs: &Description, keeps_rollovers: bool, now: Instant) {
        let path = &theirs.streams[0].path;
        match (&mut self.agent, &path.ice) {
            (Some(agent), Some(ice)) => {
                agent.set_remote_credentials(ice, now).expect("good credentials");
                for candidate in path.candidates.iter().filter(|candidate| candidate.component == Component::Rtp) {
                    let _ = agent.add_remote_candidate(candidate, None, now); // known ones come again
                }
            }
            _ => self.to = path.rtp,
        }
        let known = |crypto: &&Crypto| self.keys.iter().any(|key| key.suite == crypto.suite);
        let Some(theirs) = path.crypto.iter().find(known) else { return };
        let ours = self.keys.iter().find(|key| key.suite == theirs.suite).expect("as chosen").clone();
        if self.seal.as_ref().is_none_or(|(key, _)| key.key_and_salt != ours.key_and_salt) {
            let mut context = context(&ours);
            match self.sealed.take() {
                Some((ssrc, index)) if keeps_rollovers => {
                    teach(&mut context, None, ssrc, index);
                    self.sealed = Some((ssrc, index));
                }
                Some(_) | None => {}
            }
            self.seal = Some((ours, context));
        }
        let reached = self.watcher.ssrc.zip(self.watcher.index());
        self.before.take(theirs, reached);
        self.behind.take(theirs, reached);
    }

    /// The next packet of its source, as it leaves.
    pub(crate) fn talk(&mut self, start: Instant, now: Instant) -> Option<Vec<u8>> {
        let plain = self.source.next(start, now)?;
        let Some((_, context)) = &mut self.seal else { return Some(plain) };
        let header = Header::parse(&plain).expect("its own");
        let newest = self.sealed.filter(|(ssrc, _)| *ssrc == header.ssrc).map(|(_, index)| index);
        self.sealed = Some((header.ssrc, nearest(newest, header.seq)));
        Some(context.encrypt_rtp(&plain).expect("it seals").to_vec())
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.destination().is_some()
    }

    pub(crate) fn destination(&self) -> Option<SocketAddr> {
        match &self.agent {
            Some(agent) => agent.selected().map(|pair| pair.remote),
            None => self.to,
        }
    }
}

/// Opens what the relay sends, under its keys.
#[derive(Default)]
pub(crate) struct Opener(Vec<(Crypto, Context)>);

impl Opener {
    fn take(&mut self, theirs: &Crypto, reached: Option<(Ssrc, u64)>) {
        if self.0.first().is_some_and(|(key, _)| key.key_and_salt == theirs.key_and_salt) {
            return;
        }
        let mut context = context(theirs);
        if let Some((ssrc, index)) = reached {
            teach(&mut self::context(theirs), Some(&mut context), ssrc, index);
        }
        self.0.insert(0, (theirs.clone(), context));
        self.0.truncate(2);
    }

    /// Opens an RTP packet with the newest key that fits; says what that is.
    pub(crate) fn open(&mut self, sealed: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let opened = |(key, context): &mut (Crypto, Context)| {
            let plain = context.decrypt_rtp(sealed).ok()?;
            Some((plain.to_vec(), key.key_and_salt.reveal().clone()))
        };
        self.0.iter_mut().find_map(opened)
    }

    /// The newest key, and how many bytes of tag stand behind its SRTCP indices.
    pub(crate) fn newest(&self) -> Option<(&Crypto, usize)> {
        let (key, _) = self.0.first()?;
        let is_gcm = key.suite.salt_length() == 12;
        Some((key, if is_gcm { 0 } else { 10 }))
    }
}

fn context(key: &Crypto) -> Context {
    let profile = match key.suite {
        SrtpSuite::AesCm128Sha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
        SrtpSuite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpSuite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        SrtpSuite::Aes256CmSha1_80 => ProtectionProfile::Aes256CmHmacSha1_80,
        SrtpSuite::AesCm128Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        SrtpSuite::Aes256CmSha1_32 => ProtectionProfile::Aes256CmHmacSha1_32,
        SrtpSuite::Aes192CmSha1_80 | SrtpSuite::Aes192CmSha1_32 => panic!("webrtc-srtp does not know AES-192"),
    };
    let (master, salt) = key.key_and_salt.reveal().split_at(key.suite.key_length());
    Context::new(master, salt, profile, None, None).expect("lengths of the suite")
}

/// Lets a fresh context (and one that opens what it seals) count the rollovers up to an index.
fn teach(seal: &mut Context, mut open: Option<&mut Context>, ssrc: Ssrc, index: u64) {
    let first = 1 << 16; // where the first rollover is counted from
    for index in (first..index).step_by(1 << 14).chain([index]) {
        let mut bytes = [0; FIXED_HEADER + 1];
        let payload_type = PayloadType::try_from(0).expect("a payload type");
        let [.., high, low] = index.to_be_bytes();
        let header = Header::new(payload_type, SeqNo(u16::from_be_bytes([high, low])), RtpTime(0), ssrc);
        header.write(&mut bytes).expect("it fits");
        let sealed = seal.encrypt_rtp(&bytes).expect("it seals");
        if let Some(open) = &mut open {
            open.decrypt_rtp(&sealed).expect("it opens");
        }
    }
}
