//! Flags, and what stands among them for something else.

use super::Kind;
use super::words::words;

words! {
    /// What a request turns on by naming it.
    pub Flag {
        /// The SDP's addresses are where media is, as always.
        TrustAddress = "trust address",
        /// Media is where the SIP message came from, not where its SDP says.
        SipSourceAddress = "SIP source address",
        /// An address may be learnt from packets, as always.
        Symmetric = "symmetric",
        /// No address is learnt from packets.
        Asymmetric = "asymmetric",
        /// Sources are checked after they were learnt, as always.
        StrictSource = "strict source",
        /// A source may change without an offer.
        MediaHandover = "media handover",
        /// Ports stay when the remote endpoint changes.
        PortLatching = "port latching",
        /// Ports change with the remote endpoint.
        NoPortLatching = "no port latching",
        /// The SDP is a fragment with candidates (RFC 8840).
        Fragment = "fragment",
        /// Candidates may trickle (RFC 8838).
        TrickleIce = "trickle ICE",
        /// The offerer is answered without ICE.
        RejectIce = "reject ICE",
        /// What was learnt about the party is forgotten.
        Reset = "reset",
        /// An SDP that we have rewritten before passes as it is.
        LoopProtect = "loop protect",
        /// Every `m=` gets an `a=mid`.
        GenerateMid = "generate mid",
        /// `a=rtcp` names port and address.
        FullRtcpAttribute = "full rtcp attribute",
        /// There is no `a=rtcp`.
        NoRtcpAttribute = "no rtcp attribute",
        /// `a=sendrecv` and its like stay as they are.
        OriginalSendrecv = "original sendrecv",
        /// An answer keeps its first codec only.
        SingleCodec = "single codec",
        /// There is no `a=tls-id`.
        NoTlsId = "no tls-id",
        /// Everything a browser wants.
        WebRtc = "WebRTC",
        /// Key presses can be put into the media by `play DTMF`.
        InjectDtmf = "inject DTMF",
        /// Key presses are taken out of the media.
        BlockDtmf = "block DTMF",
        /// Key presses are reported.
        DetectDtmf = "detect DTMF",
        /// The tag selects a party.
        Directional = "directional",
        /// Empty packets go to the signalled address until media comes.
        PierceNat = "pierce NAT",
        /// Nothing goes to the signalled address until media comes.
        NatWait = "NAT-wait",
        /// The answer is not final, so that its tag may still change.
        Provisional = "provisional",
        /// Another tag is another party, not another name of the same.
        NewBranch = "new branch",
        /// SRTP is opened and sealed anew, as always.
        Recrypt = "recrypt",
        /// The call is logged in detail.
        Debug = "debug",
        /// The answerer may send codecs that the offerer does not.
        AllowAsymmetricCodecs = "allow asymmetric codecs",
        /// An `m=` without a codec left is rejected, and does not get its codecs back.
        AllowNoCodecMedia = "allow no codec media",
        /// Codecs stay as they were in earlier descriptions of the call.
        ReuseCodecs = "reuse codecs",
        /// Codecs stay as the description has them.
        StaticCodecs = "static codecs",
        /// Media that flows one way only is forwarded like any other, as always.
        Unidirectional = "unidirectional",
        /// Offers of the dialogue can be taken back by `rollback`, from this one on.
        TrackState = "track state",
        /// The delay of `delete` is none, and there are no statistics in its reply.
        Fast = "fast",
        /// An unknown call is an error.
        Fatal = "fatal",
        /// The to-tag selects a dialogue.
        ToTag = "to-tag",
    }
}

impl Flag {
    /// Says whether a command heeds it.
    pub(super) const fn is_heeded_by(self, kind: Kind) -> bool {
        if matches!(self, Self::Debug) {
            return true;
        }
        match kind {
            Kind::Offer => !self.is_for_other_commands() && !self.is_for_answers(),
            Kind::Answer => !self.is_for_other_commands(),
            Kind::Delete => matches!(self, Self::Fast | Self::Fatal | Self::ToTag),
            Kind::Block(_) | Kind::Unblock(_) => matches!(self, Self::Directional),
            Kind::Ping | Kind::Query | Kind::Rollback | Kind::List | Kind::Statistics | Kind::PlayDtmf => false,
        }
    }

    const fn is_for_other_commands(self) -> bool {
        matches!(self, Self::Fast | Self::Fatal | Self::ToTag | Self::Directional)
    }

    const fn is_for_answers(self) -> bool {
        matches!(self, Self::SingleCodec | Self::Provisional | Self::NewBranch)
    }
}

/// Other names for a value of a key: the flag, where the value goes, the value.
pub(super) const VALUES: &[(&str, &[&str], &str)] = &[
    ("all", &["all"], "all"),
    ("generate RTCP", &["generate RTCP"], "on"),
    ("pad crypto", &["SDES"], "pad"),
    ("strip extmap", &["extmap", "strip"], "all"),
    ("internal", &["direction"], "internal"),
    ("external", &["direction"], "external"),
    ("RTP", &["transport protocol"], "RTP"),
    ("SRTP", &["transport protocol"], "SRTP"),
    ("AVP", &["transport protocol"], "AVP"),
    ("AVPF", &["transport protocol"], "AVPF"),
    ("DTLS", &["transport protocol"], "DTLS"),
    ("RTP/AVP", &["transport protocol"], "RTP/AVP"),
    ("RTP/AVPF", &["transport protocol"], "RTP/AVPF"),
    ("RTP/SAVP", &["transport protocol"], "RTP/SAVP"),
    ("RTP/SAVPF", &["transport protocol"], "RTP/SAVPF"),
    ("UDP/TLS/RTP/SAVP", &["transport protocol"], "UDP/TLS/RTP/SAVP"),
    ("UDP/TLS/RTP/SAVPF", &["transport protocol"], "UDP/TLS/RTP/SAVPF"),
];

/// Flags that end in a value of a key: how they begin, and where the rest goes.
pub(super) const PREFIXES: &[(&str, &[&str])] = &[
    ("rtcp-mux-", &["rtcp-mux"]),
    ("SDES-", &["SDES"]),
    ("OSRTP-", &["OSRTP"]),
    ("T.38-", &["T.38"]),
    ("T38-", &["T.38"]),
    ("BUNDLE-", &["bundle"]),
    ("replace-", &["replace"]),
    ("codec-strip-", &["codec", "strip"]),
    ("codec-except-", &["codec", "except"]),
    ("codec-offer-", &["codec", "offer"]),
    ("codec-transcode-", &["codec", "transcode"]),
    ("transcode-", &["codec", "transcode"]),
    ("codec-mask-", &["codec", "mask"]),
    ("codec-consume-", &["codec", "consume"]),
    ("codec-accept-", &["codec", "accept"]),
    ("codec-ignore-", &["codec", "ignore"]),
    ("codec-set-", &["codec", "set"]),
    ("endpoint-learning-", &["endpoint-learning"]),
    ("from-tags-", &["from-tags"]),
    ("sdp-attr-add-none-", &["sdp-attr", "none", "add"]),
    ("sdp-attr-add-global-", &["sdp-attr", "global", "add"]),
    ("sdp-attr-add-audio-", &["sdp-attr", "audio", "add"]),
    ("sdp-attr-add-video-", &["sdp-attr", "video", "add"]),
    ("sdp-attr-remove-none-", &["sdp-attr", "none", "remove"]),
    ("sdp-attr-remove-global-", &["sdp-attr", "global", "remove"]),
    ("sdp-attr-remove-audio-", &["sdp-attr", "audio", "remove"]),
    ("sdp-attr-remove-video-", &["sdp-attr", "video", "remove"]),
    ("sdp-attr-substitute-none-", &["sdp-attr", "none", "substitute"]),
    ("sdp-attr-substitute-global-", &["sdp-attr", "global", "substitute"]),
    ("sdp-attr-substitute-audio-", &["sdp-attr", "audio", "substitute"]),
    ("sdp-attr-substitute-video-", &["sdp-attr", "video", "substitute"]),
];

/// What is known and not done here.
pub(super) const UNSUPPORTED: &[&str] = &[
    "record call",
    "exclude recording",
    "discard recording",
    "recording announcement",
    "skip recording db",
    "SIPREC",
    "allow transcoding",
    "force transcoding",
    "always transcode",
    "symmetric codecs",
    "asymmetric codecs",
    "reorder codecs",
    "no jitter buffer",
    "mix",
    "bidirectional",
    "inactive",
    "RTCP mirror",
    "early media",
    "block egress",
    "block short",
    "egress",
    "no redis update",
];
