//! What an offer or an answer asks to be done with the media and its description.

use std::net::IpAddr;

use model::{HashFunction, Profile, SrtpSuite};

use super::flag::Flag;
use super::words::{Set, words};

/// The wishes of an offer or an answer. What is `None` or empty was not said, and is as the doc of the type says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Options {
    /// What is on or off.
    pub flags: Set<Flag>,
    /// The interfaces to use.
    pub interfaces: Interfaces,
    /// The family of the addresses that the receiver is told.
    pub address_family: Option<AddressFamily>,
    /// Where the sender's SIP message came from.
    pub received_from: Option<IpAddr>,
    /// Where the sender's media is, whatever its SDP says.
    pub media_address: Option<IpAddr>,
    /// The profile that the receiver is offered; otherwise the one that was offered to us.
    pub transport: Option<Transport>,
    /// What becomes of ICE.
    pub ice: Option<Ice>,
    /// Towards whom we speak ICE as a lite agent.
    pub ice_lite: Option<IceLite>,
    /// `ICE=ice2`: `a=ice-options:ice2` (RFC 8445 §10) is written.
    pub ice2: bool,
    /// What becomes of DTLS.
    pub dtls: Option<Dtls>,
    /// Our role in the DTLS that the sender offers.
    pub dtls_reverse: Option<DtlsReverse>,
    /// The hash function of our fingerprint; otherwise SHA-256 or the peer's.
    pub fingerprint: Option<HashFunction>,
    /// What becomes of SDES.
    pub sdes: Sdes,
    /// What becomes of keys beside a profile that does not ask for them (RFC 8643).
    pub osrtp: Set<Osrtp>,
    /// What becomes of `a=rtcp-mux` (RFC 5761); otherwise the client is followed.
    pub rtcp_mux: Set<RtcpMux>,
    /// What becomes of bundles (RFC 9143); otherwise each `m=` stands alone.
    pub bundle: Set<Bundle>,
    /// The parts of the SDP that are written anew besides addresses.
    pub replace: Set<Replace>,
    /// What becomes of the codecs.
    pub codecs: Codecs,
    /// Milliseconds of media in a packet towards the receiver.
    pub ptime: Option<u32>,
    /// Milliseconds of media in a packet towards the sender.
    pub ptime_reverse: Option<u32>,
    /// The type of service of the call's packets; otherwise the default.
    pub tos: Option<Tos>,
    /// What the client understands.
    pub supports: Set<Supports>,
    /// What the SDP came in.
    pub sip_message: Option<SipMessage>,
    /// The code of the SIP response that the SDP came in.
    pub sip_code: Option<u16>,
    /// When the sender's address is learnt from its packets.
    pub endpoint_learning: Option<EndpointLearning>,
    /// Whether RTCP ends here and is made anew.
    pub generate_rtcp: Option<Switch>,
    /// Where media goes instead of to its receiver.
    pub media_echo: Option<MediaEcho>,
    /// Whether all media is dropped from now on.
    pub drop_traffic: Option<DropTraffic>,
    /// What becomes of RTP header extensions (RFC 8285).
    pub extmap: Extmap,
    /// What becomes of attributes, textually, in the SDP that is sent.
    pub sdp_attributes: SdpAttributes,
    /// The types of media that are taken out of the offer that is sent.
    pub media_remove: Vec<String>,
    /// Whether an unknown tag may be another name of a known party.
    pub alias_key: Option<AliasKey>,
}

/// The names of the interfaces of a call. They are remembered after the first offer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Interfaces {
    /// Towards the sender.
    pub from: Option<String>,
    /// Towards the receiver.
    pub to: Option<String>,
}

words! {
    /// A family of addresses.
    pub AddressFamily {
        /// IPv4.
        Ip4 = "IP4" | "IPv4",
        /// IPv6.
        Ip6 = "IP6" | "IPv6",
    }
}

/// What goes into the `m=` lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    /// This profile.
    Profile(Profile),
    /// In an answer: what the answerer chose, instead of what the offerer offered.
    Accept,
}

impl Transport {
    pub(super) fn find(said: &str) -> Option<Self> {
        if said.eq_ignore_ascii_case("accept") {
            return Some(Self::Accept);
        }
        said.parse().ok().map(Self::Profile)
    }
}

words! {
    /// Part of a profile's name, of which several together name one.
    pub(super) ProfilePart {
        /// No encryption.
        Rtp = "RTP",
        /// Encryption.
        Srtp = "SRTP",
        /// No early feedback.
        Avp = "AVP",
        /// Early feedback.
        Avpf = "AVPF",
        /// Encryption with keys from DTLS.
        Dtls = "DTLS",
    }
}

impl ProfilePart {
    /// The profile that several of them name.
    pub(super) fn join(parts: Set<Self>) -> Profile {
        let plain = match (parts.has(Self::Dtls), parts.has(Self::Srtp)) {
            (true, _) => Profile::TlsSavp,
            (false, true) => Profile::Savp,
            (false, false) => Profile::Avp,
        };
        plain.with_feedback(parts.has(Self::Avpf))
    }
}

words! {
    /// What becomes of ICE in the SDP that is sent.
    pub Ice {
        /// There is none.
        Remove = "remove",
        /// There is ours, with our candidates and no others.
        Force = "force",
        /// There is ours if there was any.
        Default = "default",
        /// As `force`: candidates of others never stay, since media would pass us by.
        Optional = "optional",
    }
}

words! {
    /// A word of the key `ICE`.
    pub(super) IceWord {
        /// [`Ice::Remove`].
        Remove = "remove",
        /// [`Ice::Force`].
        Force = "force",
        /// [`Ice::Default`].
        Default = "default",
        /// [`Ice::Optional`].
        Optional = "optional",
        /// As `force`, but others' candidates stay, which is not done here.
        ForceRelay = "force-relay",
        /// [`IceLite::Both`].
        Lite = "lite" | "lite-both",
        /// [`IceLite::Forward`].
        LiteForward = "lite-forward",
        /// [`IceLite::Backward`].
        LiteBackward = "lite-backward",
        /// [`IceLite::Off`].
        NoLite = "no-lite" | "lite-off",
        /// [`Flag::TrickleIce`].
        Trickle = "trickle",
        /// [`Options::ice2`].
        Ice2 = "ice2",
    }
}

words! {
    /// Towards whom we are a lite agent (RFC 8445 §2.5).
    pub IceLite {
        /// The receiver of the offer.
        Forward = "forward",
        /// Its sender.
        Backward = "backward",
        /// Both.
        Both = "both",
        /// Neither.
        Off = "off",
    }
}

words! {
    /// What becomes of DTLS (RFC 5763). Otherwise we are its client where we can, and offer it if the profile is encrypted.
    pub Dtls {
        /// In an offer: we prefer to be its server.
        Passive = "passive",
        /// Undoes `passive`.
        Active = "active",
        /// It is neither offered nor taken.
        Off = "off" | "no" | "disable",
    }
}

words! {
    /// Our role in the DTLS that the sender offers. Otherwise we are its client where we can.
    pub DtlsReverse {
        /// We prefer to be its server.
        Passive = "passive",
        /// Undoes `passive`.
        Active = "active",
    }
}

/// What becomes of SDES (RFC 4568). Otherwise the suites that were offered are offered on, and all others after them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sdes {
    /// What is on or off.
    pub words: Set<SdesWord>,
    /// No suites but these are offered or taken. Wins over `no`.
    pub only: Option<Vec<SrtpSuite>>,
    /// These suites are neither offered nor taken.
    pub no: Vec<SrtpSuite>,
    /// These suites come first in what we offer, in this order.
    pub order: Vec<SrtpSuite>,
    /// These suites are preferred, in this order, among what the offerer offers.
    pub offerer_pref: Vec<SrtpSuite>,
}

impl Sdes {
    /// Says whether a suite may be offered or taken.
    pub fn allows(&self, suite: SrtpSuite) -> bool {
        match &self.only {
            Some(only) => only.contains(&suite),
            None => !self.no.contains(&suite),
        }
    }
}

words! {
    /// A word of the key `SDES` that names no suite.
    pub SdesWord {
        /// It is neither offered nor taken.
        Off = "off" | "no" | "disable",
        /// No suite is offered that the offerer does not offer. Wins over `only` and `no`.
        NoNew = "nonew",
        /// The padding of base64 in keys is written.
        Pad = "pad",
        /// The lifetime of keys is written.
        Lifetime = "lifetime",
        /// In an answer: the suite stays as it was.
        Static = "static",
        /// It is taken rather than DTLS where both are offered.
        Prefer = "prefer",
        /// RTP is encrypted, as always.
        EncryptedSrtp = "encrypted_srtp",
        /// RTCP is encrypted, as always.
        EncryptedSrtcp = "encrypted_srtcp",
        /// RTP is authenticated, as always.
        AuthenticatedSrtp = "authenticated_srtp",
    }
}

words! {
    /// What becomes of keys beside a profile that does not ask for them (RFC 8643).
    pub Osrtp {
        /// They are offered beside a plain profile.
        Offer = "offer" | "offer-RFC",
        /// A plain and an encrypted `m=` are offered in the place of one.
        OfferLegacy = "offer-legacy",
        /// They are taken where they are offered beside a plain profile.
        AcceptRfc = "accept-RFC",
        /// A pair of a plain and an encrypted `m=` is taken as one.
        AcceptLegacy = "accept-legacy",
        /// They are taken in either form.
        Accept = "accept",
    }
}

words! {
    /// What becomes of `a=rtcp-mux` (RFC 5761).
    pub RtcpMux {
        /// It is offered even if the sender did not.
        Offer = "offer",
        /// It is offered as if it were accepted already: RTCP has no port of its own.
        Require = "require",
        /// It is taken from the offerer, and not offered on.
        Demux = "demux",
        /// It is taken from the offerer, and offered on.
        Accept = "accept",
        /// The offerer is refused it.
        Reject = "reject",
    }
}

words! {
    /// What becomes of bundles (RFC 9143).
    pub Bundle {
        /// They are taken, and never offered.
        Accept = "accept",
        /// They are offered.
        Offer = "offer",
        /// They are offered with one port only (`a=bundle-only`, RFC 9143 §6).
        Require = "require",
        /// Those that break the rules are refused.
        Strict = "strict",
        /// They are refused.
        Reject = "reject",
    }
}

words! {
    /// A part of the SDP that is written anew.
    pub Replace {
        /// The address in `o=`.
        Origin = "origin",
        /// The whole `o=`, the same for all that a receiver gets.
        OriginFull = "origin-full",
        /// `s=`.
        SessionName = "session-name",
        /// The user name in `o=`.
        Username = "username",
        /// The version in `o=`, which then counts the changes of what is sent.
        SdpVersion = "SDP-version",
        /// The version in `o=`, which then counts everything that is sent.
        ForceIncrement = "force-increment-sdp-ver",
        /// `0.0.0.0` and `::` in `c=`, which otherwise stay as the sign of a call on hold.
        ZeroAddress = "zero-address",
    }
}

/// What becomes of codecs: lists of [`CodecMatch`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Codecs {
    /// Taken out of what is sent.
    pub strip: Vec<CodecMatch>,
    /// Kept in spite of `strip` or `mask`.
    pub except: Vec<CodecMatch>,
    /// As `except`, and put into this order.
    pub offer: Vec<CodecMatch>,
    /// Added to what is offered, and translated from or to another if it is chosen.
    pub transcode: Vec<CodecMatch>,
    /// Taken out of what is sent, and nevertheless taken from the offerer.
    pub mask: Vec<CodecMatch>,
    /// As `mask`, and translated in any case.
    pub consume: Vec<CodecMatch>,
    /// Taken from the offerer even if the answerer rejects them.
    pub accept: Vec<CodecMatch>,
    /// As if the sender had not named them.
    pub ignore: Vec<CodecMatch>,
    /// Parameters of codecs that we add.
    pub set: Vec<CodecMatch>,
}

words! {
    /// A list of the key `codec`.
    pub(super) CodecList {
        /// [`Codecs::strip`].
        Strip = "strip",
        /// [`Codecs::except`].
        Except = "except",
        /// [`Codecs::offer`].
        Offer = "offer",
        /// [`Codecs::transcode`].
        Transcode = "transcode",
        /// [`Codecs::mask`].
        Mask = "mask",
        /// [`Codecs::consume`].
        Consume = "consume",
        /// [`Codecs::accept`].
        Accept = "accept",
        /// [`Codecs::ignore`].
        Ignore = "ignore",
        /// [`Codecs::set`].
        Set = "set",
    }
}

impl Codecs {
    pub(super) const fn list(&mut self, list: CodecList) -> &mut Vec<CodecMatch> {
        match list {
            CodecList::Strip => &mut self.strip,
            CodecList::Except => &mut self.except,
            CodecList::Offer => &mut self.offer,
            CodecList::Transcode => &mut self.transcode,
            CodecList::Mask => &mut self.mask,
            CodecList::Consume => &mut self.consume,
            CodecList::Accept => &mut self.accept,
            CodecList::Ignore => &mut self.ignore,
            CodecList::Set => &mut self.set,
        }
    }
}

/// Codecs that a list is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CodecMatch {
    /// All.
    All,
    /// All that we can translate.
    Full,
    /// One.
    Codec(CodecName),
}

/// A codec: `name[/clock[/channels[/bitrate[/ptime[/fmtp[/options]]]]]]`. What is left out may be anything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CodecName {
    /// The name, as in `a=rtpmap`.
    pub name: String,
    /// Ticks per second.
    pub clock_rate: Option<u32>,
    /// Channels.
    pub channels: Option<u32>,
    /// Bits per second.
    pub bitrate: Option<u32>,
    /// Milliseconds of media in a packet.
    pub ptime: Option<u32>,
    /// The parameters, as in `a=fmtp`.
    pub fmtp: Option<String>,
    /// What the encoder is told.
    pub options: Option<String>,
}

impl CodecMatch {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "all" => return Some(Self::All),
            "full" => return Some(Self::Full),
            _ => {}
        }
        let mut parts = text.splitn(7, '/').map(|part| Some(part).filter(|part| !part.is_empty()));
        let name = parts.next()??.to_owned();
        let mut number = || parts.next().flatten().map(str::parse).transpose().ok();
        let (clock_rate, channels, bitrate, ptime) = (number()?, number()?, number()?, number()?);
        let mut text = || parts.next().flatten().map(ToOwned::to_owned);
        let (fmtp, options) = (text(), text());
        Some(Self::Codec(CodecName { name, clock_rate, channels, bitrate, ptime, fmtp, options }))
    }
}

/// The type of service of a call's packets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tos {
    /// This byte.
    Set(u8),
    /// What it was.
    Keep,
}

words! {
    /// Something that the client understands.
    pub Supports {
        /// `load limit` as a result.
        LoadLimit = "load limit",
        /// `rollback`, of which it is told whether we know it.
        Rollback = "rollback",
    }
}

words! {
    /// What an SDP came in.
    pub SipMessage {
        /// A request.
        Request = "SIP request" | "request",
        /// A response.
        Response = "SIP response" | "SIP reply" | "response" | "reply",
    }
}

words! {
    /// When an address is learnt from packets.
    pub EndpointLearning {
        /// From the first packet, after 3 s.
        Delayed = "delayed",
        /// From the first packet.
        Immediate = "immediate",
        /// Not at all.
        Off = "off",
        /// From the packet within 3 s whose source is nearest to the signalled address.
        Heuristic = "heuristic",
    }
}

words! {
    /// On or off.
    pub Switch {
        /// On.
        On = "on" | "yes" | "true" | "1",
        /// Off.
        Off = "off" | "no" | "false" | "0",
    }
}

words! {
    /// Where media goes instead of to its receiver.
    pub MediaEcho {
        /// Nowhere.
        Blackhole = "blackhole" | "sinkhole",
        /// The receiver of the offer gets its own back.
        Forward = "forward",
        /// Its sender gets its own back.
        Backwards = "backwards",
        /// Both get their own back.
        Both = "both",
    }
}

words! {
    /// Whether all media is dropped.
    pub DropTraffic {
        /// From now on.
        Start = "start",
        /// No longer.
        Stop = "stop",
    }
}

/// What becomes of RTP header extensions (RFC 8285): their URIs, or `all`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Extmap {
    /// Taken out of what is sent, and of packets.
    pub strip: Vec<String>,
    /// Taken out of what is sent, and nevertheless taken from the offerer.
    pub mask: Vec<String>,
}

/// What becomes of attributes, by the part of the SDP they are in.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SdpAttributes {
    /// Before the first `m=`.
    pub session: AttributeChanges,
    /// After each `m=audio`.
    pub audio: AttributeChanges,
    /// After each `m=video`.
    pub video: AttributeChanges,
}

words! {
    /// A part of an SDP.
    pub(super) SdpPart {
        /// [`SdpAttributes::session`].
        Session = "global" | "none",
        /// [`SdpAttributes::audio`].
        Audio = "audio",
        /// [`SdpAttributes::video`].
        Video = "video",
    }
}

impl SdpAttributes {
    pub(super) const fn part(&mut self, part: SdpPart) -> &mut AttributeChanges {
        match part {
            SdpPart::Session => &mut self.session,
            SdpPart::Audio => &mut self.audio,
            SdpPart::Video => &mut self.video,
        }
    }
}

/// What becomes of the attributes of a part, written without `a=`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AttributeChanges {
    /// Added.
    pub add: Vec<String>,
    /// Taken out: all of a name, all that begin so, or a whole line.
    pub remove: Vec<String>,
    /// The first one of each pair, found as in `remove`, becomes the second.
    pub substitute: Vec<(String, String)>,
}

words! {
    /// By what an unknown tag of an offer is another name of a known party.
    pub AliasKey {
        /// By nothing.
        Off = "off",
        /// The same SDP.
        Sdp = "SDP",
        /// The same first media address.
        Address = "address" | "endpoint",
    }
}
