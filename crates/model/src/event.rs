//! What the relay tells without being asked.

use serde::{Deserialize, Serialize};

use crate::{CallId, Candidate, Component, DtmfDigit, LegId, Security, SrtpSuite, Ssrc, StreamId};

/// News about a call.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Event {
    /// The call.
    pub call: CallId,
    /// What happened.
    pub news: News,
}

/// What happened to a call.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum News {
    /// We found another candidate of ours.
    Candidate {
        /// The leg.
        leg: LegId,
        /// The stream; of a bundle the first.
        stream: StreamId,
        /// The candidate.
        candidate: Candidate,
    },
    /// ICE went on or failed.
    Ice {
        /// The leg.
        leg: LegId,
        /// The stream; of a bundle the first.
        stream: StreamId,
        /// Which component.
        component: Component,
        /// Where it is now.
        state: IceState,
    },
    /// DTLS went on or failed.
    Dtls {
        /// The leg.
        leg: LegId,
        /// The stream; of a bundle the first.
        stream: StreamId,
        /// Which component.
        component: Component,
        /// Where it is now.
        state: DtlsState,
    },
    /// The first media packet that was believed, or sent.
    FirstPacket {
        /// The leg.
        leg: LegId,
        /// The stream.
        stream: StreamId,
        /// From the leg's peer to us, or from us to it.
        way: Way,
    },
    /// The peer no longer agrees to receive (RFC 7675 §5.1); we stopped sending.
    ConsentLost {
        /// The leg.
        leg: LegId,
        /// The stream; of a bundle the first.
        stream: StreamId,
    },
    /// Nothing that we could believe came from the leg for as long as the configuration allows.
    MediaTimeout {
        /// The leg.
        leg: LegId,
    },
    /// A key was pressed (RFC 4733). Reported once, when it is let go.
    Dtmf {
        /// The leg whose user pressed it.
        leg: LegId,
        /// The key.
        digit: DtmfDigit,
        /// How long, in milliseconds.
        duration_ms: u32,
    },
    /// The other leg's peer needs a whole picture, and this leg's peer takes no request for one by RTCP: nothing of RFC
    /// 4585 and RFC 5104 was negotiated with it. At most once a second.
    PictureRequested {
        /// The leg whose peer is to send it.
        leg: LegId,
        /// The stream.
        stream: StreamId,
    },
    /// Figures, now and then.
    Statistics(CallStatistics),
    /// The relay lost the call by a failure of its own; nothing of it remains there.
    Lost,
}

/// Which way a packet goes, seen from the relay.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Way {
    /// From the leg's peer.
    Received,
    /// To the leg's peer.
    Sent,
}

/// Where ICE is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum IceState {
    /// Checks are running.
    Checking,
    /// A pair is valid.
    Connected,
    /// The selected pair stopped answering; it may come back.
    Disconnected,
    /// No pair works.
    Failed,
}

/// Where DTLS is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum DtlsState {
    /// The handshake runs.
    Handshaking,
    /// Keys are there, and the fingerprint was compared: media flows only after [`FingerprintVerdict::Matched`].
    Connected {
        /// The negotiated SRTP suite.
        suite: SrtpSuite,
        /// How the peer's certificate compared.
        fingerprint: FingerprintVerdict,
    },
    /// The handshake failed: an alert, a timeout, no common suite.
    Failed,
    /// The peer closed the association.
    Closed,
}

/// How the peer's certificate compared with what signalling promised (RFC 8122 §6.2).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum FingerprintVerdict {
    /// It has one of the promised fingerprints.
    Matched,
    /// It has none of them. The leg is dead.
    Mismatched,
    /// The peer showed no certificate. The leg is dead.
    NoCertificate,
}

/// The figures of a call.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct CallStatistics {
    /// Each leg's.
    pub legs: Vec<LegStatistics>,
}

/// The figures of a leg.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LegStatistics {
    /// The leg.
    pub leg: LegId,
    /// What protects its media, once it is negotiated.
    pub security: Option<Security>,
    /// The suite, once keys are there.
    pub suite: Option<SrtpSuite>,
    /// Each stream's.
    pub streams: Vec<StreamStatistics>,
    /// RTCP packets believed.
    #[serde(default)]
    pub rtcp_packets_received: u64,
    /// Their bytes, without what protects them.
    #[serde(default)]
    pub rtcp_bytes_received: u64,
    /// Milliseconds since something of the peer was believed; nothing before.
    #[serde(default)]
    pub silent_ms: Option<u64>,
    /// Packets that were not passed on, by the name of the reason.
    pub dropped: Vec<(String, u64)>,
}

/// The figures of one stream of a leg.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct StreamStatistics {
    /// The stream.
    pub stream: StreamId,
    /// RTP packets believed.
    pub packets_received: u64,
    /// Bytes of their payload.
    pub bytes_received: u64,
    /// RTP packets sent to the peer.
    pub packets_sent: u64,
    /// Bytes of their payload.
    pub bytes_sent: u64,
    /// Packets that never came (RFC 3550 §A.3); negative where duplicates came.
    pub packets_lost: i64,
    /// Interarrival jitter in milliseconds (RFC 3550 §A.8).
    pub jitter_ms: f32,
    /// Packets that the peer reports missing of those sent to it (RFC 3550 §6.4.1); where it does not report, those of
    /// the other leg that never came to us, and so could not be sent.
    pub peer_lost: i64,
    /// Interarrival jitter in milliseconds that the peer reports, or else that of the other leg.
    pub peer_jitter_ms: f32,
    /// To the peer and back in milliseconds, by its last report that answered one of those we sent; nothing before.
    pub round_trip_ms: Option<f32>,
    /// How good what the peer sends arrives here; nothing for video, or before the first figures.
    pub received_mos: Option<Mos>,
    /// How good what is sent arrives at the peer, all the way from the other peer.
    pub sent_mos: Option<Mos>,
    /// The SSRCs of the peer, in the order of their coming. The oldest of many are forgotten, and only in the sums.
    #[serde(default)]
    pub sources: Vec<SourceStatistics>,
    /// The SSRC of what is sent to the peer; nothing before the first packet.
    #[serde(default)]
    pub sent_ssrc: Option<Ssrc>,
}

/// The figures of one source of a stream.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct SourceStatistics {
    /// As the peer numbers it.
    pub ssrc: Ssrc,
    /// RTP packets believed.
    pub packets: u64,
    /// Bytes of their payload.
    pub bytes: u64,
    /// Packets that never came (RFC 3550 §A.3); negative where duplicates came.
    pub packets_lost: i64,
    /// Interarrival jitter in milliseconds (RFC 3550 §A.8).
    pub jitter_ms: f32,
    /// The timestamp of the packet that came last in its place.
    pub last_timestamp: u32,
    /// The highest sequence number.
    pub last_sequence_number: u16,
}

/// Mean opinion scores by the E-model (ITU-T G.107): 1, bad, to 4.5, excellent.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Mos {
    /// That of the last few seconds.
    pub current: f32,
    /// The worst.
    pub min: f32,
    /// The best.
    pub max: f32,
    /// The mean of all.
    pub average: f32,
}
