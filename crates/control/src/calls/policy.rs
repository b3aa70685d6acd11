//! What an offer and the wishes beside it come to for the two legs of a dialogue.

use model::{
    AddressFamily, Description, IceRole, Learning, LegId, LegPolicy, MediaPath, PathPolicy, Profile, Reporting,
    Security, SrtpSuite,
};

use crate::request::{
    self, Bundle, Dtls, DtlsReverse, EndpointLearning, Flag, Ice, IceLite, Options, Osrtp, RtcpMux, Sdes, SdesWord,
    Switch, Tos, Transport,
};

/// The legs of a dialogue, seen from an offer: its sender's and its receiver's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Legs {
    pub(super) sender: LegPolicy,
    pub(super) receiver: LegPolicy,
    /// What the `m=` lines to the receiver say.
    pub(super) profile: Profile,
    /// The sender's bundle is taken.
    pub(super) takes_bundle: bool,
    /// The receiver is offered one.
    pub(super) offers_bundle: bool,
    /// The sender's keys beside a plain profile are the receiver's to take or to decline (RFC 8643).
    pub(super) passes_keys: bool,
}

/// What stands of earlier exchanges with the party of a leg, where nothing else is wished for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Standing {
    /// Whether it was told of ICE last.
    pub(super) ice: Option<bool>,
    /// It was offered ICE and answered without.
    pub(super) refused_ice: bool,
    /// It was told that we are a lite agent.
    pub(super) lite: bool,
    /// Its bundles are taken, and it takes ours.
    pub(super) bundles: bool,
}

impl Standing {
    /// Takes note of what the party was told.
    pub(super) fn was_told(&mut self, local: &Description, policy: &LegPolicy, bundles: bool) {
        let ice = has_ice(local);
        (self.ice, self.bundles) = (Some(ice), bundles);
        if ice {
            self.lite = matches!(policy.path, PathPolicy::Ice { role: IceRole::Controlled, .. });
        }
    }

    /// Takes note of what the party said, in an offer or in an answer to what it was told.
    pub(super) fn said(&mut self, remote: &Description, role: sdp::Role) {
        let is_answer = role == sdp::Role::Answer;
        self.refused_ice = !has_ice(remote) && (self.refused_ice || (is_answer && self.ice == Some(true)));
        self.bundles &= !is_answer || !remote.bundle.is_empty();
    }
}

fn has_ice(description: &Description) -> bool {
    description.streams.iter().any(|stream| !stream.rejected && stream.path.ice.is_some())
}

/// What stands of earlier exchanges.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before {
    /// What the sender wrote, and the receiver was told, last.
    pub(super) profiles: Option<[Profile; 2]>,
    pub(super) sender: Standing,
    pub(super) receiver: Standing,
}

impl Legs {
    /// Reads the wishes of an offer, whose sender says to be reached in a family of addresses.
    pub(super) fn of(
        offer: &Description,
        family: Option<AddressFamily>,
        before: Before,
        options: &Options,
        learning: EndpointLearning,
        legs: [LegId; 2],
    ) -> Self {
        let carried = offer.streams.iter().find(|stream| !stream.rejected).or(offer.streams.first());
        let path = carried.map(|stream| stream.path.clone()).unwrap_or_default();
        let profile = match options.transport {
            Some(Transport::Profile(profile)) => profile,
            // What was wished for once stays so until the sender changes its own.
            Some(Transport::Accept) | None => match before.profiles {
                Some([sender, receiver]) if sender == path.profile => receiver,
                Some(_) | None => path.profile,
            },
        };
        let passes_keys = passes_keys(&path, profile, options);
        let reporting = match options.generate_rtcp {
            Some(Switch::On) => Reporting::Terminated,
            Some(Switch::Off) | None => Reporting::Translated,
        };
        let traffic_class = match options.tos {
            Some(Tos::Set(byte)) => Some(byte),
            Some(Tos::Keep) | None => None,
        };
        let learning = learning_of(options, learning);
        let plain = PathPolicy::Plain { learning };
        let ice = |role| PathPolicy::Ice { role, required: false };
        let lite = |towards, before: Standing| match options.ice_lite {
            Some(said) => said == IceLite::Both || said == towards,
            None => before.lite,
        };
        let sender = LegPolicy {
            path: match path.ice.is_some() && !options.flags.has(Flag::RejectIce) {
                true => ice(role(lite(IceLite::Backward, before.sender))),
                false => plain,
            },
            security: offered(&path, passes_keys, options),
            suites: SrtpSuite::ALL.to_vec(),
            rtcp_mux: path.rtcp_mux && !options.rtcp_mux.has(RtcpMux::Reject),
            dtls_server: options.dtls == Some(Dtls::Passive) || options.dtls_reverse == Some(DtlsReverse::Passive),
            address: options.interfaces.from.clone(),
            family,
            traffic_class,
            reporting,
            ..LegPolicy::plain_sip(legs[0])
        };
        let receiver = if options.flags.has(Flag::Reset) { Standing::default() } else { before.receiver };
        let with_ice = match options.ice {
            Some(Ice::Remove) => false,
            _ if receiver.refused_ice => false,
            Some(Ice::Force | Ice::Optional) => true,
            Some(Ice::Default) | None => receiver.ice.unwrap_or(path.ice.is_some()),
        };
        let keeps_bundles = |before: Standing| before.bundles && !options.bundle.has(Bundle::Reject);
        let (suite_tags, suites) = suites(&path, &options.sdes).into_iter().unzip();
        let receiver = LegPolicy {
            path: if with_ice { ice(role(lite(IceLite::Forward, before.receiver))) } else { plain },
            security: wanted(profile, passes_keys, options),
            offers_all: true,
            fingerprint: options.fingerprint,
            suites,
            suite_tags,
            rtcp_mux: offers_mux(&path, options),
            rtcp_mux_only: options.rtcp_mux.has(RtcpMux::Require),
            without_ice: learning,
            address: options.interfaces.to.clone(),
            family: options.address_family.map(family_of).or(family),
            traffic_class,
            reporting,
            ..LegPolicy::plain_sip(legs[1])
        };
        Self {
            sender,
            receiver,
            profile,
            takes_bundle: options.bundle.has(Bundle::Accept) || keeps_bundles(before.sender),
            offers_bundle: options.bundle.has_any(&[Bundle::Offer, Bundle::Require]) || keeps_bundles(before.receiver),
            passes_keys,
        }
    }
}

/// Our role in ICE: a peer of a lite agent controls (RFC 8445 §6.1.1).
const fn role(lite: bool) -> IceRole {
    if lite { IceRole::Controlled } else { IceRole::Offerer }
}

fn learning_of(options: &Options, usual: EndpointLearning) -> Learning {
    match options.endpoint_learning.unwrap_or(usual) {
        EndpointLearning::Off => Learning::Off,
        _ if options.flags.has(Flag::Asymmetric) => Learning::Off,
        EndpointLearning::Delayed => Learning::Settled,
        EndpointLearning::Immediate => Learning::First,
        EndpointLearning::Heuristic => Learning::Best,
    }
}

/// Says whether keys beside a plain profile go on as such: where nothing else is wished for.
fn passes_keys(path: &MediaPath, profile: Profile, options: &Options) -> bool {
    let is_plain = !path.profile.is_secure() && !profile.is_secure();
    let accepts = options.osrtp.has_any(&[Osrtp::Accept, Osrtp::AcceptRfc]);
    is_plain
        && !path.crypto.is_empty()
        && !accepts
        && options.transport.is_none()
        && !options.sdes.words.has(SdesWord::Off)
}

/// What may protect the media of the sender: what it offers.
fn offered(path: &MediaPath, passes_keys: bool, options: &Options) -> Vec<Security> {
    let keys = !path.crypto.is_empty();
    if !path.profile.is_secure() {
        let takes_keys = passes_keys || keys && options.osrtp.has_any(&[Osrtp::Accept, Osrtp::AcceptRfc]);
        return if takes_keys { vec![Security::Sdes, Security::Rtp] } else { vec![Security::Rtp] };
    }
    match (path.dtls.is_some(), keys) {
        (true, true) if options.sdes.words.has(SdesWord::Prefer) => vec![Security::Sdes, Security::Dtls],
        (true, true) => vec![Security::Dtls, Security::Sdes],
        (true, false) => vec![Security::Dtls],
        (false, _) => vec![Security::Sdes],
    }
}

/// What may protect the media of the receiver: what goes together with the profile, as far as it is wished for. The answer
/// chooses.
fn wanted(profile: Profile, passes_keys: bool, options: &Options) -> Vec<Security> {
    let takes = |way: &Security| match way {
        Security::Dtls => options.dtls != Some(Dtls::Off),
        Security::Sdes => !options.sdes.words.has(SdesWord::Off),
        Security::Rtp => true,
    };
    let ways = match profile {
        Profile::Avp | Profile::Avpf if passes_keys || options.osrtp.has(Osrtp::Offer) => {
            vec![Security::Sdes, Security::Rtp]
        }
        Profile::Avp | Profile::Avpf => vec![Security::Rtp],
        Profile::TlsSavp | Profile::TlsSavpf => vec![Security::Dtls],
        Profile::Savp | Profile::Savpf => vec![Security::Sdes, Security::Dtls],
    };
    let taken: Vec<Security> = ways.iter().copied().filter(takes).collect();
    match taken.first() {
        Some(_) => taken,
        // A profile that asks for keys gets some, whatever else is wished for.
        None if !options.sdes.words.has(SdesWord::Off) => vec![Security::Sdes],
        None => ways.into_iter().take(1).collect(),
    }
}

/// Our word for a family of addresses.
const fn family_of(said: request::AddressFamily) -> AddressFamily {
    match said {
        request::AddressFamily::Ip4 => AddressFamily::Ipv4,
        request::AddressFamily::Ip6 => AddressFamily::Ipv6,
    }
}

/// The suites for the receiver, with their tags: those of the sender with its own, all others with higher ones; but those
/// that are to come first do.
fn suites(path: &MediaPath, sdes: &Sdes) -> Vec<(u32, SrtpSuite)> {
    let no_new = sdes.words.has(SdesWord::NoNew) && !path.crypto.is_empty();
    let allowed = |suite| no_new || sdes.allows(suite);
    let mut suites: Vec<(u32, SrtpSuite)> = Vec::new();
    for crypto in path.crypto.iter().filter(|crypto| allowed(crypto.suite) && crypto.tag < HIGHEST_TAG) {
        if suites.iter().all(|(tag, suite)| *tag != crypto.tag && *suite != crypto.suite) {
            suites.push((crypto.tag, crypto.suite));
        }
    }
    let mut tag = suites.iter().map(|(tag, _)| *tag).max().unwrap_or_default();
    for suite in SrtpSuite::ALL.into_iter().filter(|suite| !no_new && sdes.allows(*suite)) {
        if suites.iter().all(|(_, known)| *known != suite) {
            tag += 1;
            suites.push((tag, suite));
        }
    }
    suites.sort_by_key(|(_, suite)| sdes.order.iter().position(|first| first == suite).unwrap_or(usize::MAX));
    suites
}

/// An offer whose keys stand in the order in which they are taken: first those whose suites are preferred, then those of the
/// suite that the answerer chose, which is then the same on both legs.
pub(super) fn with_keys_as_liked(offer: &Description, answer: &Description, sdes: &Sdes) -> Description {
    let mut offer = offer.clone();
    for stream in &mut offer.streams {
        let answered = answer.streams.iter().find(|answered| answered.id == stream.id);
        let chosen = answered.and_then(|answered| answered.path.crypto.first()).map(|crypto| crypto.suite);
        stream.path.crypto.sort_by_key(|crypto| {
            let preferred = sdes.offerer_pref.iter().position(|suite| *suite == crypto.suite);
            (preferred.unwrap_or(usize::MAX), Some(crypto.suite) != chosen)
        });
    }
    offer
}

/// A tag has at most nine digits (RFC 4568 §9.1), and ours are higher than the sender's.
const HIGHEST_TAG: u32 = 999_999_900;

fn offers_mux(path: &MediaPath, options: &Options) -> bool {
    if options.rtcp_mux.has_any(&[RtcpMux::Offer, RtcpMux::Require]) {
        return true;
    }
    path.rtcp_mux && !options.rtcp_mux.has(RtcpMux::Demux)
}
