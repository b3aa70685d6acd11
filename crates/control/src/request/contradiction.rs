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

/// Pairs of which only one can be granted.
pub(super) const CONTRADICTIONS: &[(Wish, Wish)] = &[
    (("ICE=remove", removes_ice), ("trickle ICE", |options| options.flags.has(Flag::TrickleIce))),
    (
        ("ICE=remove", removes_ice),
        ("ICE-lite", |options| options.ice_lite.is_some_and(|towards| towards != IceLite::Off)),
    ),
    (
        ("symmetric", |options| options.flags.has(Flag::Symmetric)),
        ("asymmetric", |options| options.flags.has(Flag::Asymmetric)),
    ),
    (
        ("asymmetric", |options| options.flags.has(Flag::Asymmetric)),
        ("endpoint-learning", |options| {
            options.endpoint_learning.is_some_and(|learning| learning != EndpointLearning::Off)
        }),
    ),
    (
        ("trust address", |options| options.flags.has(Flag::TrustAddress)),
        ("SIP source address", |options| options.flags.has(Flag::SipSourceAddress)),
    ),
    (
        ("port latching", |options| options.flags.has(Flag::PortLatching)),
        ("no port latching", |options| options.flags.has(Flag::NoPortLatching)),
    ),
    (
        ("pierce NAT", |options| options.flags.has(Flag::PierceNat)),
        ("NAT-wait", |options| options.flags.has(Flag::NatWait)),
    ),
    (
        ("full rtcp attribute", |options| options.flags.has(Flag::FullRtcpAttribute)),
        ("no rtcp attribute", |options| options.flags.has(Flag::NoRtcpAttribute)),
    ),
    (("DTLS=off with SDES=off", |options| is_dtls_off(options) && is_sdes_off(options)), ("RTP/SAVP", is_savp)),
    (("DTLS=off", is_dtls_off), ("UDP/TLS/RTP/SAVP", is_tls_savp)),
    (("SDES=off", is_sdes_off), ("SDES=prefer or only-", wants_sdes)),
    (
        ("SDES=only-", |options| options.sdes.only.is_some()),
        ("every suite excluded", |options| options.sdes.only.as_ref().is_some_and(Vec::is_empty)),
    ),
    (
        ("SDES=no-", |options| !options.sdes.no.is_empty()),
        ("every suite excluded", |options| {
            options.sdes.only.is_none() && !SrtpSuite::ALL.into_iter().any(|suite| options.sdes.allows(suite))
        }),
    ),
    (
        ("rtcp-mux=reject", |options| options.rtcp_mux.has(RtcpMux::Reject)),
        ("rtcp-mux=offer, require, demux or accept", |options| {
            options.rtcp_mux.has_any(&[RtcpMux::Offer, RtcpMux::Require, RtcpMux::Demux, RtcpMux::Accept])
        }),
    ),
    (
        ("rtcp-mux=demux", |options| options.rtcp_mux.has(RtcpMux::Demux)),
        ("rtcp-mux=offer, require or accept", |options| {
            options.rtcp_mux.has_any(&[RtcpMux::Offer, RtcpMux::Require, RtcpMux::Accept])
        }),
    ),
    (
        ("bundle=reject", |options| options.bundle.has(Bundle::Reject)),
        ("bundle=accept, offer, require or strict", |options| {
            options.bundle.has_any(&[Bundle::Accept, Bundle::Offer, Bundle::Require, Bundle::Strict])
        }),
    ),
    (
        ("reuse codecs", |options| options.flags.has(Flag::ReuseCodecs)),
        ("static codecs", |options| options.flags.has(Flag::StaticCodecs)),
    ),
    (("WebRTC", is_webrtc), ("transport protocol", |options| ![None, WEBRTC_TRANSPORT].contains(&options.transport))),
    (("WebRTC", is_webrtc), ("ICE=remove", removes_ice)),
    (("WebRTC", is_webrtc), ("DTLS=off", is_dtls_off)),
    (("WebRTC", is_webrtc), ("SDES=prefer or only-", wants_sdes)),
    (
        ("WebRTC", is_webrtc),
        ("rtcp-mux=demux or reject", |options| options.rtcp_mux.has_any(&[RtcpMux::Demux, RtcpMux::Reject])),
    ),
];

const WEBRTC_TRANSPORT: Option<Transport> = Some(Transport::Profile(Profile::TlsSavpf));

/// Joins what was said in parts, finds contradictions, and puts in the place of `WebRTC` what it stands for. What was
/// said outright counts more.
pub(super) fn settle(reader: &mut Reader) {
    join_profile(reader);
    for ((one, wants_one), (other, wants_other)) in CONTRADICTIONS {
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
