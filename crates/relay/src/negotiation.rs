//! What an offer and its answer come to on one transport: who protects media with what, and which streams share it.
//!
//! Nothing here changes anything: a leg first decides all of it, and then carries it out.

use std::net::IpAddr;

use media::srtp::MasterKey;
use model::{
    CommandError, Crypto, Description, DtlsParameters, Fingerprint, HashFunction, IceParameters, Learning, MediaPath,
    MediaStream, PathPolicy, Profile, Secret, Security, Setup, SrtpSuite, StreamId,
};

use crate::relay::Random;

/// How many streams a leg may have.
pub(crate) const MAX_STREAMS: usize = 16;

/// What protects the media of a transport, as agreed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Keying {
    /// Nothing.
    Plain,
    /// Keys in the descriptions, one for each direction (RFC 4568 §5.1.3).
    Sdes {
        /// We seal with it.
        ours: Crypto,
        /// The peer seals with it.
        theirs: Crypto,
    },
    /// Keys from DTLS.
    Dtls {
        /// Who sends the ClientHello; nobody while the association is held (RFC 4145 §4).
        role: Option<dtls::Role>,
        /// The peer's certificate must match one of them.
        fingerprints: Vec<Fingerprint>,
    },
}

impl Keying {
    /// What the policy calls it.
    pub(crate) const fn security(&self) -> Security {
        match self {
            Self::Plain => Security::Rtp,
            Self::Sdes { .. } => Security::Sdes,
            Self::Dtls { .. } => Security::Dtls,
        }
    }
}

/// What a transport's part in an exchange starts from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy<'a> {
    /// What may protect media, best first.
    pub(crate) security: &'a [Security],
    /// All of it that can stand together is offered.
    pub(crate) offers_all: bool,
    /// In DTLS we are the server where the peer leaves that to us.
    pub(crate) dtls_server: bool,
    /// The hash function of our fingerprint.
    pub(crate) fingerprint: Option<HashFunction>,
    /// The suites allowed, best first.
    pub(crate) suites: &'a [SrtpSuite],
    /// Their tags in an offer.
    pub(crate) suite_tags: &'a [u32],
    /// How the peer is to be reached.
    pub(crate) path: PathPolicy,
    /// How its address is learnt if it declines ICE.
    pub(crate) without_ice: Learning,
    /// Where its signalling comes from.
    pub(crate) sender: Option<IpAddr>,
    /// RTCP may be in clear, if the peer asks for it.
    pub(crate) unencrypted_srtcp: bool,
}

impl Policy<'_> {
    /// How the address of a peer without ICE is learnt.
    pub(crate) const fn learning(&self) -> Learning {
        match self.path {
            PathPolicy::Plain { learning } => learning,
            PathPolicy::Ice { .. } => self.without_ice,
        }
    }

    /// Says whether a peer without ICE is reached wherever it sends from.
    pub(crate) const fn learns_any_source(&self) -> bool {
        match self.learning() {
            Learning::Off | Learning::SignalledAddress => false,
            Learning::Any | Learning::First | Learning::Best | Learning::Settled => true,
        }
    }

    /// Chooses what protects media from what the peer offers: DTLS before keys in the description before nothing, as
    /// far as the leg's policy allows.
    ///
    /// # Errors
    ///
    /// Nothing that is offered is allowed, or usable.
    pub(crate) fn choose(self, offered: &MediaPath) -> Result<Security, CommandError> {
        let allowed = |security| self.security.contains(&security);
        if let Some(dtls) = &offered.dtls
            && allowed(Security::Dtls)
        {
            return if dtls.fingerprints.is_empty() { Err(CommandError::NoUsableKey) } else { Ok(Security::Dtls) };
        }
        if !offered.crypto.is_empty() && allowed(Security::Sdes) {
            return self.usable_crypto(&offered.crypto).map(|_| Security::Sdes).ok_or(CommandError::NoUsableKey);
        }
        if offered.dtls.is_some() || offered.profile.is_secure() || !allowed(Security::Rtp) {
            return Err(CommandError::SecurityRequired); // a leg that promised protection never falls back to none
        }
        Ok(Security::Rtp)
    }

    /// The first of the peer's keys that we can use.
    pub(crate) fn usable_crypto(self, offered: &[Crypto]) -> Option<&Crypto> {
        let is_allowed = |crypto: &Crypto| self.unencrypted_srtcp || !crypto.unencrypted_srtcp;
        let is_usable = |crypto: &Crypto| self.suites.contains(&crypto.suite) && MasterKey::from_sdes(crypto).is_ok();
        offered.iter().find(|crypto| is_allowed(crypto) && is_usable(crypto))
    }

    /// The peer's ICE credentials, if ICE is used with it.
    ///
    /// # Errors
    ///
    /// The policy requires ICE, and the peer has none.
    pub(crate) fn ice(self, path: &MediaPath) -> Result<Option<&IceParameters>, CommandError> {
        match (self.path, &path.ice) {
            (PathPolicy::Ice { .. }, Some(ice)) => Ok(Some(ice)),
            (PathPolicy::Ice { required: true, .. }, None) => Err(CommandError::IceRequired),
            (PathPolicy::Ice { required: false, .. }, None) | (PathPolicy::Plain { .. }, _) => Ok(None),
        }
    }

    /// Says whether our offer has one way of protecting media: the one agreed on before, or else the first of the policy
    /// or, if it is to have all, each that can stand beside the first.
    pub(crate) fn offers(self, way: Security, agreed: Option<Security>) -> bool {
        match agreed {
            Some(agreed) => agreed == way,
            None if self.offers_all => self.security.contains(&way),
            None => self.security.first() == Some(&way),
        }
    }

    /// What the peer's answer chooses of what we offered.
    ///
    /// # Errors
    ///
    /// It chooses nothing that we offered, or nothing that protects where the policy wants it.
    pub(crate) fn chosen(self, offered: &MediaPath, answer: &MediaPath) -> Result<Security, CommandError> {
        let offers_keys = !offered.crypto.is_empty();
        if offered.dtls.is_some() && (answer.dtls.is_some() || !offers_keys) {
            return if answer.dtls.is_some() { Ok(Security::Dtls) } else { Err(CommandError::SecurityRequired) };
        }
        if offers_keys && !answer.crypto.is_empty() {
            return Ok(Security::Sdes);
        }
        let is_secure = answer.dtls.is_some() || answer.profile.is_secure();
        match offers_keys {
            // Beside a profile that does not ask for keys they are an offer that may be declined (RFC 8643 §3).
            true if self.offers_all && self.security.contains(&Security::Rtp) && !is_secure => Ok(Security::Rtp),
            true => Err(CommandError::SecurityRequired),
            false if is_secure => Err(CommandError::AnswerMismatch),
            false => Ok(Security::Rtp),
        }
    }

    /// The suites that we offer, with their tags.
    pub(crate) fn offered_suites(self) -> Vec<(u32, SrtpSuite)> {
        let are_tags = self.suite_tags.len() == self.suites.len();
        let tags = if are_tags { self.suite_tags.to_vec() } else { (1..).take(self.suites.len()).collect() };
        tags.into_iter().zip(self.suites.iter().copied()).collect()
    }

    /// Our role in DTLS where the peer leaves it to us.
    pub(crate) const fn preferred_role(self) -> dtls::Role {
        if self.dtls_server { dtls::Role::Server } else { dtls::Role::Client }
    }

    /// The suites that DTLS may negotiate.
    pub(crate) fn dtls_suites(self) -> Vec<SrtpSuite> {
        self.suites.iter().copied().filter(|suite| suite.dtls_id().is_some()).collect()
    }
}

/// Our role in an association that the peer offers (RFC 5763 §5, RFC 8842 §5.3): the one we have already where the
/// peer leaves it to us, `preferred` where there is none.
pub(crate) fn role_from_offer(
    offered: Setup,
    present: Option<dtls::Role>,
    preferred: dtls::Role,
) -> Option<dtls::Role> {
    match offered {
        Setup::Actpass => Some(present.unwrap_or(preferred)),
        Setup::Passive => Some(dtls::Role::Client),
        Setup::Active => Some(dtls::Role::Server),
        Setup::Holdconn => None,
    }
}

/// Our role in an association that the peer answers; we offered `actpass`.
///
/// # Errors
///
/// An answer has to decide: `actpass` is no answer (RFC 5763 §5).
pub(crate) fn role_from_answer(answered: &DtlsParameters) -> Result<Option<dtls::Role>, CommandError> {
    match answered.setup {
        Setup::Active => Ok(Some(dtls::Role::Server)),
        Setup::Passive => Ok(Some(dtls::Role::Client)),
        Setup::Actpass => Err(CommandError::BadSetup),
        Setup::Holdconn => Ok(None),
    }
}

/// How we write our role in an answer. Never `actpass`.
pub(crate) const fn answered_setup(role: Option<dtls::Role>) -> Setup {
    match role {
        Some(dtls::Role::Client) => Setup::Active,
        Some(dtls::Role::Server) => Setup::Passive,
        None => Setup::Holdconn,
    }
}

/// Says whether a peer gives its DTLS association another name (RFC 8842 §5.1).
pub(crate) fn is_renamed(before: &MediaPath, now: &MediaPath) -> bool {
    let name = |path: &'_ MediaPath| path.dtls.as_ref().and_then(|dtls| dtls.tls_id.clone());
    name(before).zip(name(now)).is_some_and(|(before, now)| before != now)
}

/// The profile of a stream that we offer.
pub(crate) fn offered_profile(security: Security, stream: &MediaStream) -> Profile {
    let feedback = !stream.feedback.is_empty() || stream.codecs.iter().any(|codec| !codec.feedback.is_empty());
    match security {
        Security::Rtp => Profile::Avp.with_feedback(feedback),
        Security::Sdes => Profile::Savp.with_feedback(feedback),
        Security::Dtls => Profile::TlsSavpf,
    }
}

/// Draws a fresh key of our own.
pub(crate) fn new_crypto(tag: u32, suite: SrtpSuite, random: &mut Random) -> Crypto {
    let mut key_and_salt = vec![0; suite.key_length() + suite.salt_length()];
    random(&mut key_and_salt);
    Crypto::new(tag, suite, Secret::new(key_and_salt))
}

/// The suites that we offer where a key of ours is in force, with their tags: its own first, the others behind it.
pub(crate) fn suites_after(key: &Crypto, suites: &[SrtpSuite]) -> Vec<(u32, SrtpSuite)> {
    /// A tag has at most nine digits (RFC 4568 §9.1).
    const HIGHEST_TAG: u32 = 999_999_900;
    let others = suites.iter().copied().filter(|suite| *suite != key.suite);
    let first = if key.tag < HIGHEST_TAG { key.tag + 1 } else { 1 };
    std::iter::once((key.tag, key.suite)).chain((first..).zip(others)).collect()
}

/// Says whether an answer has the streams of its offer, each once.
pub(crate) fn fits(answer: &Description, offer: &Description) -> bool {
    let ids = |description: &Description| {
        let mut ids: Vec<StreamId> = description.streams.iter().map(|stream| stream.id).collect();
        ids.sort_unstable();
        ids
    };
    let (answered, offered) = (ids(answer), ids(offer));
    answered == offered && answered.windows(2).all(|pair| pair[0] != pair[1])
}

/// The streams that an answer accepts, grouped by the transport they shall use: first the bundle, then each of the
/// others alone (RFC 8843 §7.3).
pub(crate) fn groups(answer: &Description, offer: &Description) -> Vec<Vec<StreamId>> {
    let accepted = |id: &StreamId| {
        let stands = |description: &Description| description.streams.iter().any(|s| s.id == *id && !s.rejected);
        stands(answer) && stands(offer)
    };
    let mut bundle: Vec<StreamId> =
        answer.bundle.iter().copied().filter(|id| offer.bundle.contains(id) && accepted(id)).collect();
    let mut seen = Vec::new();
    bundle.retain(|id| {
        !seen.contains(id) && {
            seen.push(*id);
            true
        }
    });
    let alone = answer.streams.iter().map(|stream| stream.id).filter(|id| accepted(id) && !bundle.contains(id));
    let mut groups: Vec<Vec<StreamId>> = alone.map(|id| vec![id]).collect();
    if !bundle.is_empty() {
        groups.insert(0, bundle);
    }
    groups
}

/// The stream of a number.
pub(crate) fn stream(description: &Description, id: StreamId) -> Option<&MediaStream> {
    description.streams.iter().find(|stream| stream.id == id)
}

/// The path of a stream: its own, or that of its bundle where it says nothing of its own.
pub(crate) fn path(description: &Description, id: StreamId) -> Option<&MediaPath> {
    let own = &stream(description, id)?.path;
    let silent = own.ice.is_none() && own.candidates.is_empty() && own.dtls.is_none() && own.rtp.is_none();
    if silent && description.bundle.contains(&id) {
        let first = description.bundle.iter().filter_map(|id| stream(description, *id)).find(|s| !s.rejected)?;
        return Some(&first.path);
    }
    Some(own)
}

#[cfg(test)]
mod tests {
    use model::{HashFunction, MediaKind};

    use super::*;

    const POLICY: Policy<'static> = Policy {
        security: &[Security::Dtls, Security::Sdes, Security::Rtp],
        offers_all: false,
        dtls_server: false,
        fingerprint: None,
        suites: &SrtpSuite::ALL,
        suite_tags: &[],
        path: PathPolicy::Ice { role: model::IceRole::Offerer, required: true },
        without_ice: Learning::Off,
        sender: None,
        unencrypted_srtcp: false,
    };

    fn dtls(setup: Setup) -> DtlsParameters {
        DtlsParameters {
            fingerprints: vec![Fingerprint { hash: HashFunction::Sha1, digest: vec![0; 20] }],
            setup,
            tls_id: None,
        }
    }

    fn crypto() -> Crypto {
        let mut random: Random = Box::new(|bytes| bytes.fill(7));
        new_crypto(1, SrtpSuite::AesCm128Sha1_80, &mut random)
    }

    #[test]
    fn dtls_wins_over_keys_in_the_description() {
        let both = MediaPath { dtls: Some(dtls(Setup::Actpass)), crypto: vec![crypto()], ..MediaPath::default() };
        assert_eq!(POLICY.choose(&both), Ok(Security::Dtls));
        let sdes_only = Policy { security: &[Security::Sdes], ..POLICY };
        assert_eq!(sdes_only.choose(&both), Ok(Security::Sdes));
    }

    #[test]
    fn a_peer_that_promised_protection_is_never_taken_in_the_clear() {
        let plain_only = Policy { security: &[Security::Rtp], ..POLICY };
        let promised = MediaPath { dtls: Some(dtls(Setup::Active)), ..MediaPath::default() };
        assert_eq!(plain_only.choose(&promised), Err(CommandError::SecurityRequired));
        let savp = MediaPath { profile: Profile::Savp, ..MediaPath::default() };
        assert_eq!(POLICY.choose(&savp), Err(CommandError::SecurityRequired));
        let optional = MediaPath { crypto: vec![crypto()], ..MediaPath::default() };
        assert_eq!(plain_only.choose(&optional), Ok(Security::Rtp), "RTP/AVP with keys leaves the choice to us");
    }

    #[test]
    fn of_several_ways_in_one_offer_the_answer_chooses() {
        let none = MediaPath::default();
        let by_dtls = MediaPath { dtls: Some(dtls(Setup::Active)), ..none.clone() };
        let by_keys = MediaPath { crypto: vec![crypto()], ..none.clone() };
        let both = MediaPath { crypto: vec![crypto()], ..by_dtls.clone() };
        let secure = MediaPath { profile: Profile::Savp, ..none.clone() };
        let all = Policy { offers_all: true, ..POLICY };
        let strict = Policy { security: &[Security::Sdes, Security::Dtls], ..all };
        for (policy, offered, answer, expected) in [
            (strict, &both, &by_dtls, Ok(Security::Dtls)),
            (strict, &both, &by_keys, Ok(Security::Sdes)),
            (strict, &both, &none, Err(CommandError::SecurityRequired)),
            (all, &by_keys, &none, Ok(Security::Rtp)),
            (all, &by_keys, &secure, Err(CommandError::SecurityRequired)),
            (POLICY, &by_keys, &none, Err(CommandError::SecurityRequired)),
            (POLICY, &by_dtls, &by_keys, Err(CommandError::SecurityRequired)),
            (POLICY, &none, &by_dtls, Err(CommandError::AnswerMismatch)),
        ] {
            assert_eq!(policy.chosen(offered, answer), expected, "{offered:?} {answer:?}");
        }
        assert!(all.offers(Security::Sdes, None) && !POLICY.offers(Security::Sdes, None));
        assert!(!all.offers(Security::Sdes, Some(Security::Dtls)), "a later offer keeps to what was agreed on");
    }

    #[test]
    fn rtcp_in_clear_needs_leave() {
        let [encrypted, clear] = [false, true].map(|unencrypted_srtcp| Crypto { unencrypted_srtcp, ..crypto() });
        let lenient = Policy { unencrypted_srtcp: true, ..POLICY };
        for (policy, offered, expected) in [
            (POLICY, vec![clear.clone(), encrypted.clone()], Some(&encrypted)),
            (POLICY, vec![clear.clone()], None),
            (lenient, vec![clear.clone(), encrypted.clone()], Some(&clear)),
        ] {
            assert_eq!(policy.usable_crypto(&offered), expected);
        }
    }

    #[test]
    fn plain_rtp_needs_leave() {
        let strict = Policy { security: &[Security::Dtls], ..POLICY };
        assert_eq!(strict.choose(&MediaPath::default()), Err(CommandError::SecurityRequired));
        assert_eq!(POLICY.choose(&MediaPath::default()), Ok(Security::Rtp));
    }

    #[test]
    fn an_answer_to_actpass_is_active_and_actpass_is_no_answer() {
        assert_eq!(answered_setup(role_from_offer(Setup::Actpass, None, dtls::Role::Client)), Setup::Active);
        assert_eq!(answered_setup(role_from_offer(Setup::Active, None, dtls::Role::Client)), Setup::Passive);
        assert_eq!(answered_setup(role_from_offer(Setup::Passive, None, dtls::Role::Client)), Setup::Active);
        let server = role_from_offer(Setup::Actpass, None, dtls::Role::Server);
        assert_eq!(answered_setup(server), Setup::Passive, "where that is preferred");
        let kept = role_from_offer(Setup::Actpass, Some(dtls::Role::Server), dtls::Role::Client);
        assert_eq!(answered_setup(kept), Setup::Passive, "a later offer does not change roles");
        assert_eq!(role_from_answer(&dtls(Setup::Actpass)), Err(CommandError::BadSetup));
        assert_eq!(role_from_answer(&dtls(Setup::Active)), Ok(Some(dtls::Role::Server)));
    }

    #[test]
    fn the_answer_decides_what_is_bundled() {
        let description = |bundle: &[u16], rejected: &[u16]| Description {
            streams: (0..3)
                .map(|id| MediaStream {
                    rejected: rejected.contains(&id),
                    ..MediaStream::new(StreamId(id), id.to_string(), MediaKind::Audio)
                })
                .collect(),
            bundle: bundle.iter().copied().map(StreamId).collect(),
        };
        let ids = |groups: &[&[u16]]| -> Vec<Vec<StreamId>> {
            groups.iter().map(|group| group.iter().copied().map(StreamId).collect()).collect()
        };
        let offer = description(&[0, 1, 2], &[]);
        assert_eq!(groups(&description(&[], &[]), &offer), ids(&[&[0], &[1], &[2]]));
        assert_eq!(groups(&description(&[0, 2, 2], &[]), &offer), ids(&[&[0, 2], &[1]]));
        assert_eq!(groups(&description(&[0, 1], &[0]), &offer), ids(&[&[1], &[2]]));
        assert_eq!(groups(&description(&[0, 1], &[]), &description(&[], &[])), ids(&[&[0], &[1], &[2]]));
    }
}
