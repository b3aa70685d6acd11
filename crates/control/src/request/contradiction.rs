//! What a request wants and does not want at once, and what it leaves to a flag.

use model::{Profile, SrtpSuite};

use super::finding::Finding;
use super::flag::Flag;
use super::options::{
    Bundle, Dtls, EndpointLearning, Ice, IceLite, Options, ProfilePart, RtcpMux, SdesWord, Transport,
};
use super::reader::Reader;

/// A wish, and how to see it.
type Wish = (&'static str, fn(&Options) -> bool);

/// Pairs of which only one can be granted, and what is done instead.
pub(super) const CONTRADICTIONS: &[(Wish, Wish, &str)] = &[
    (
        ("ICE=remove", removes_ice),
        ("trickle ICE", |options| options.flags.has(Flag::TrickleIce)),
        "There is no ICE for the receiver, so nothing trickles.",
    ),
    (
        ("ICE=remove", removes_ice),
        ("ICE-lite", |options| options.ice_lite.is_some_and(|towards| towards != IceLite::Off)),
        "There is no ICE for the receiver.",
    ),
    (
        ("symmetric", |options| options.flags.has(Flag::Symmetric)),
        ("asymmetric", |options| options.flags.has(Flag::Asymmetric)),
        "No address is learnt.",
    ),
    (
        ("asymmetric", |options| options.flags.has(Flag::Asymmetric)),
        ("endpoint-learning", |options| {
            options.endpoint_learning.is_some_and(|learning| learning != EndpointLearning::Off)
        }),
        "No address is learnt.",
    ),
    (
        ("trust address", |options| options.flags.has(Flag::TrustAddress)),
        ("SIP source address", |options| options.flags.has(Flag::SipSourceAddress)),
        "`SIP source address` counts, if the request says what it is.",
    ),
    (
        ("port latching", |options| options.flags.has(Flag::PortLatching)),
        ("no port latching", |options| options.flags.has(Flag::NoPortLatching)),
        "Ports stay, with either.",
    ),
    (
        ("pierce NAT", |options| options.flags.has(Flag::PierceNat)),
        ("NAT-wait", |options| options.flags.has(Flag::NatWait)),
        "Neither is done.",
    ),
    (
        ("full rtcp attribute", |options| options.flags.has(Flag::FullRtcpAttribute)),
        ("no rtcp attribute", |options| options.flags.has(Flag::NoRtcpAttribute)),
        "There is no `a=rtcp`.",
    ),
    (
        ("DTLS=off with SDES=off", |options| is_dtls_off(options) && is_sdes_off(options)),
        ("RTP/SAVP", is_savp),
        "The profile needs keys: SDES is offered.",
    ),
    (
        ("DTLS=off", is_dtls_off),
        ("UDP/TLS/RTP/SAVP", is_tls_savp),
        "The profile needs keys: SDES is offered, or DTLS if `SDES=off` is said, too.",
    ),
    (("SDES=off", is_sdes_off), ("SDES=prefer or only-", wants_sdes), "`SDES=off` counts."),
    (
        ("SDES=only-", |options| options.sdes.only.is_some()),
        ("every suite excluded", |options| options.sdes.only.as_ref().is_some_and(Vec::is_empty)),
        "No suite is left, so no keys can be offered by SDES.",
    ),
    (
        ("SDES=no-", |options| !options.sdes.no.is_empty()),
        ("every suite excluded", |options| {
            options.sdes.only.is_none() && !SrtpSuite::ALL.into_iter().any(|suite| options.sdes.allows(suite))
        }),
        "No suite is left, so no keys can be offered by SDES.",
    ),
    (
        ("rtcp-mux=reject", |options| options.rtcp_mux.has(RtcpMux::Reject)),
        ("rtcp-mux=offer, require, demux or accept", |options| {
            options.rtcp_mux.has_any(&[RtcpMux::Offer, RtcpMux::Require, RtcpMux::Demux, RtcpMux::Accept])
        }),
        "The sender is refused rtcp-mux; the receiver is offered it as the other word says.",
    ),
    (
        ("rtcp-mux=demux", |options| options.rtcp_mux.has(RtcpMux::Demux)),
        ("rtcp-mux=offer, require or accept", |options| {
            options.rtcp_mux.has_any(&[RtcpMux::Offer, RtcpMux::Require, RtcpMux::Accept])
        }),
        "`offer` and `require` count more than `demux`, and `demux` more than `accept`.",
    ),
    (
        ("bundle=reject", |options| options.bundle.has(Bundle::Reject)),
        ("bundle=accept, offer, require or strict", |options| {
            options.bundle.has_any(&[Bundle::Accept, Bundle::Offer, Bundle::Require, Bundle::Strict])
        }),
        "The words that ask for a bundle count.",
    ),
    (
        ("reuse codecs", |options| options.flags.has(Flag::ReuseCodecs)),
        ("static codecs", |options| options.flags.has(Flag::StaticCodecs)),
        "Neither is done: codecs are those that both parties name.",
    ),
    (
        ("WebRTC", is_webrtc),
        ("transport protocol", |options| ![None, WEBRTC_TRANSPORT].contains(&options.transport)),
        "The profile that is said outright counts.",
    ),
    (("WebRTC", is_webrtc), ("ICE=remove", removes_ice), "There is no ICE for the receiver."),
    (("WebRTC", is_webrtc), ("DTLS=off", is_dtls_off), "The profile needs keys: DTLS is used all the same."),
    (
        ("WebRTC", is_webrtc),
        ("SDES=prefer or only-", wants_sdes),
        "The receiver is offered SDES only if the profile is one that has it: RTP/SAVP or RTP/SAVPF.",
    ),
    (
        ("WebRTC", is_webrtc),
        ("rtcp-mux=demux or reject", |options| options.rtcp_mux.has_any(&[RtcpMux::Demux, RtcpMux::Reject])),
        "`rtcp-mux` is as it is said outright.",
    ),
];

const WEBRTC_TRANSPORT: Option<Transport> = Some(Transport::Profile(Profile::TlsSavpf));

/// Joins what was said in parts, finds contradictions, and puts in the place of `WebRTC` what it stands for. What was
/// said outright counts more.
pub(super) fn settle(reader: &mut Reader) {
    join_profile(reader);
    for ((one, wants_one), (other, wants_other), _) in CONTRADICTIONS {
        if wants_one(&reader.said.options) && wants_other(&reader.said.options) {
            reader.find(Finding::Contradiction(one, other));
        }
    }
    if is_webrtc(&reader.said.options) {
        expand_webrtc(&mut reader.said.options);
    }
}

fn join_profile(reader: &mut Reader) {
    let parts = reader.said.profile_parts;
    if parts.is_empty() {
        return;
    }
    let joined = Transport::Profile(ProfilePart::join(parts));
    let contradicts_itself = parts.has(ProfilePart::Rtp) && parts.has_any(&[ProfilePart::Srtp, ProfilePart::Dtls])
        || parts.has(ProfilePart::Avp) && parts.has(ProfilePart::Avpf);
    let transport = *reader.said.options.transport.get_or_insert(joined);
    if contradicts_itself || transport != joined {
        reader.find(Finding::Repeated("transport protocol"));
    }
}

fn expand_webrtc(options: &mut Options) {
    options.transport = options.transport.or(WEBRTC_TRANSPORT);
    options.ice.get_or_insert(Ice::Force);
    if options.rtcp_mux.is_empty() {
        options.rtcp_mux = [RtcpMux::Offer, RtcpMux::Require].into_iter().collect();
    }
    if !wants_sdes(options) {
        options.sdes.words.insert(SdesWord::Off);
    }
    for flag in [Flag::TrickleIce, Flag::NoRtcpAttribute, Flag::GenerateMid] {
        options.flags.insert(flag);
    }
}

fn is_webrtc(options: &Options) -> bool {
    options.flags.has(Flag::WebRtc)
}

fn removes_ice(options: &Options) -> bool {
    options.ice == Some(Ice::Remove)
}

fn is_dtls_off(options: &Options) -> bool {
    options.dtls == Some(Dtls::Off)
}

fn is_sdes_off(options: &Options) -> bool {
    options.sdes.words.has(SdesWord::Off)
}

fn wants_sdes(options: &Options) -> bool {
    options.sdes.words.has(SdesWord::Prefer) || options.sdes.only.is_some()
}

const fn is_savp(options: &Options) -> bool {
    matches!(options.transport, Some(Transport::Profile(Profile::Savp | Profile::Savpf)))
}

const fn is_tls_savp(options: &Options) -> bool {
    matches!(options.transport, Some(Transport::Profile(Profile::TlsSavp | Profile::TlsSavpf)))
}
