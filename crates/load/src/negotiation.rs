//! Offer and answer of an end: one audio stream, PCMU (RFC 3264).

use model::{
    Codec, Crypto, Description, Direction, DtlsParameters, Fingerprint, MediaKind, MediaPath, MediaStream, PayloadType,
    Profile, Secret, Security, Setup, SrtpSuite, StreamId,
};

use thiserror::Error;

/// PCMU has a number of its own (RFC 3551 §6).
const PCMU: u8 = 0;
/// The usual number of telephone-event.
const TELEPHONE_EVENT: u8 = 101;

/// Why a description was not taken.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("{0}")]
pub struct NegotiationError(pub &'static str);

/// What was agreed.
#[derive(Clone, Debug)]
pub(crate) struct Agreed {
    /// What the peer takes PCMU under.
    pub(crate) sends: PayloadType,
    /// What we take PCMU under.
    pub(crate) receives: PayloadType,
    /// RTP and RTCP share a port.
    pub(crate) rtcp_mux: bool,
    /// Where the peer is.
    pub(crate) remote: MediaPath,
    /// Which way media flows, as we see it.
    pub(crate) direction: Direction,
    /// We open the DTLS association.
    pub(crate) dtls_client: bool,
    /// The keys of SDES: ours, the peer's.
    pub(crate) crypto: Option<(Crypto, Crypto)>,
}

/// Our side of a description.
pub(crate) struct Local<'a> {
    /// The peer has to use ICE.
    pub(crate) ice: bool,
    /// How media is protected.
    pub(crate) security: Security,
    /// Which keys SDES offers and takes, best first.
    pub(crate) suites: &'a [SrtpSuite],
    /// RTP and RTCP on one port.
    pub(crate) rtcp_mux: bool,
    /// Addresses, candidates and credentials.
    pub(crate) path: MediaPath,
    pub(crate) fingerprint: Option<Fingerprint>,
    /// Whether we opened the DTLS association, if one was agreed before: that does not change (RFC 8842 §5.5).
    pub(crate) dtls_client: Option<bool>,
}

impl Local<'_> {
    /// Our offer.
    pub(crate) fn offer(&self) -> Description {
        let mut stream = MediaStream::new(StreamId(0), "0", MediaKind::Audio);
        stream.codecs = vec![
            Codec::new(payload_type(PCMU), "PCMU", 8000, 1),
            Codec::new(payload_type(TELEPHONE_EVENT), "telephone-event", 8000, 1),
        ];
        stream.path = MediaPath { rtcp_mux: self.rtcp_mux, ..self.path.clone() };
        match self.security {
            Security::Rtp => stream.path.profile = Profile::Avp,
            Security::Sdes => {
                stream.path.profile = Profile::Savp;
                stream.path.crypto = (1..).zip(self.suites).map(|(tag, suite)| fresh_key(tag, *suite)).collect();
            }
            Security::Dtls => {
                stream.path.profile = Profile::TlsSavpf;
                stream.path.dtls = self.dtls(Setup::Actpass);
            }
        }
        Description { streams: vec![stream], bundle: Vec::new() }
    }

    /// Our answer to an offer, and what is then agreed.
    pub(crate) fn answer(&self, offer: &Description) -> Result<(Description, Agreed), NegotiationError> {
        let (index, offered) = audio(offer)?;
        let pcmu = pcmu(offered)?;
        let theirs = &offered.path;
        let profile = match self.security {
            Security::Rtp => Profile::Avp.with_feedback(theirs.profile.has_feedback()),
            Security::Sdes | Security::Dtls => theirs.profile,
        };
        self.check_path(theirs)?;
        let mut path = MediaPath { rtcp_mux: self.rtcp_mux && theirs.rtcp_mux, profile, ..self.path.clone() };
        let (mut dtls_client, mut crypto) = (false, None);
        match self.security {
            Security::Rtp => {}
            Security::Sdes => {
                let chosen = theirs.crypto.iter().find(|crypto| self.suites.contains(&crypto.suite));
                let chosen = chosen.ok_or(NegotiationError("no key of a suite that we have"))?;
                let ours = fresh_key(chosen.tag, chosen.suite);
                path.crypto = vec![ours.clone()];
                crypto = Some((ours, chosen.clone()));
            }
            Security::Dtls => {
                let setup = match (theirs.dtls.as_ref().map(|dtls| dtls.setup), self.dtls_client) {
                    (Some(Setup::Actpass | Setup::Passive), Some(true) | None) => Setup::Active,
                    (Some(Setup::Actpass), Some(false)) | (Some(Setup::Active), Some(false) | None) => Setup::Passive,
                    (Some(Setup::Passive), Some(false))
                    | (Some(Setup::Active), Some(true))
                    | (Some(Setup::Holdconn) | None, _) => {
                        return Err(NegotiationError("no DTLS setup that can be answered"));
                    }
                };
                dtls_client = setup == Setup::Active;
                path.dtls = self.dtls(setup);
            }
        }
        let agreed = Agreed {
            sends: pcmu.payload_type,
            receives: pcmu.payload_type,
            rtcp_mux: path.rtcp_mux,
            direction: offered.direction.reversed(),
            remote: theirs.clone(),
            dtls_client,
            crypto,
        };
        let codecs = vec![pcmu.clone()];
        let direction = agreed.direction;
        let answered =
            MediaStream { codecs, direction, path, ..MediaStream::new(offered.id, &offered.name, offered.kind) };
        Ok((answer_around(offer, index, answered), agreed))
    }

    /// What is agreed by the peer's answer to our offer.
    pub(crate) fn accept(&self, offer: &Description, answer: &Description) -> Result<Agreed, NegotiationError> {
        let (_, answered) = audio(answer)?;
        let ours = offer.streams.first().ok_or(NegotiationError("an answer without an offer"))?;
        let theirs = &answered.path;
        self.check_path(theirs)?;
        let mut crypto = None;
        if self.security == Security::Sdes {
            let [chosen] = &theirs.crypto[..] else {
                return Err(NegotiationError("not exactly one key in the answer"));
            };
            let same = |own: &&Crypto| own.tag == chosen.tag && own.suite == chosen.suite;
            let own = ours.path.crypto.iter().find(same).ok_or(NegotiationError("a key that was not offered"))?;
            crypto = Some((own.clone(), chosen.clone()));
        }
        let dtls_client = match theirs.dtls.as_ref().map(|dtls| dtls.setup) {
            Some(Setup::Passive) => true,
            Some(Setup::Active) | None => false,
            Some(Setup::Actpass | Setup::Holdconn) => return Err(NegotiationError("a setup role that is no answer")),
        };
        Ok(Agreed {
            sends: pcmu(answered)?.payload_type,
            receives: pcmu(ours)?.payload_type,
            rtcp_mux: ours.path.rtcp_mux && theirs.rtcp_mux,
            direction: answered.direction.reversed(),
            remote: theirs.clone(),
            dtls_client,
            crypto,
        })
    }

    /// The peer's path has what ours needs, and is protected as ours is.
    fn check_path(&self, theirs: &MediaPath) -> Result<(), NegotiationError> {
        if self.ice && theirs.ice.is_none() {
            return Err(NegotiationError("no ICE"));
        }
        let fits = match self.security {
            // A Jingle client without DTLS does not know what a fingerprint is, and answers what is left.
            Security::Rtp => self.ice || (theirs.dtls.is_none() && theirs.crypto.is_empty()),
            Security::Sdes => !theirs.crypto.is_empty(),
            Security::Dtls => theirs.dtls.as_ref().is_some_and(|dtls| !dtls.fingerprints.is_empty()),
        };
        if fits { Ok(()) } else { Err(NegotiationError("media is not protected as it has to be")) }
    }

    fn dtls(&self, setup: Setup) -> Option<DtlsParameters> {
        self.fingerprint.clone().map(|fingerprint| DtlsParameters {
            fingerprints: vec![fingerprint],
            setup,
            tls_id: None,
        })
    }
}

/// The first audio stream that is not refused, and its place.
fn audio(description: &Description) -> Result<(usize, &MediaStream), NegotiationError> {
    let mut streams = description.streams.iter().enumerate();
    streams.find(|(_, stream)| stream.kind == MediaKind::Audio && !stream.rejected).ok_or(NegotiationError("no audio"))
}

fn pcmu(stream: &MediaStream) -> Result<&Codec, NegotiationError> {
    let wanted = Codec::new(payload_type(PCMU), "PCMU", 8000, 1);
    stream.codecs.iter().find(|codec| codec.is_same_format(&wanted)).ok_or(NegotiationError("no PCMU"))
}

/// The answer to an offer of which one stream is taken and all others are refused.
fn answer_around(offer: &Description, index: usize, answered: MediaStream) -> Description {
    let mut streams: Vec<MediaStream> =
        offer.streams.iter().map(|stream| MediaStream { rejected: true, ..stream.clone() }).collect();
    let bundle = if offer.bundle.contains(&answered.id) { vec![answered.id] } else { Vec::new() };
    streams[index] = answered;
    Description { streams, bundle }
}

fn fresh_key(tag: u32, suite: SrtpSuite) -> Crypto {
    let mut key = vec![0; suite.key_length() + suite.salt_length()];
    getrandom::fill(&mut key).expect("the system has randomness");
    Crypto::new(tag, suite, Secret::new(key))
}

fn payload_type(number: u8) -> PayloadType {
    PayloadType::try_from(number).expect("the constants above are below 128")
}
