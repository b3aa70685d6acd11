//! Why something that came from outside went no further, and how often.

use media::demux::DemuxError;
use media::rewrite::RewriteError;
use media::rtcp::{RtcpError, Translated};
use media::rtp::RtpError;
use media::srtp::SrtpError;

/// Declares the reasons, so that none can lack its label.
macro_rules! reasons {
    ($($(#[doc = $text:literal])+ $reason:ident = $name:literal,)+) => {
        /// Why something that came from outside went no further. One variant is one counter and one metric label.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum Dropped {
            $($(#[doc = $text])+ $reason,)+
        }

        impl Dropped {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$reason,)+];

            /// The label under which it is counted.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)+
                }
            }
        }
    };
}

reasons! {
    /// It came to a socket that no call has any more.
    UnknownSocket = "unknown_socket",
    /// It is longer than its buffer, or has no bytes.
    Empty = "empty",
    /// Its first byte is that of no protocol here (RFC 7983 §7).
    UnknownProtocol = "unknown_protocol",
    /// ZRTP, which we do not speak.
    Zrtp = "zrtp",
    /// TURN ChannelData, which we never ask for.
    TurnChannel = "turn_channel",
    /// STUN that is malformed, or whose FINGERPRINT is wrong.
    StunMalformed = "stun_malformed",
    /// STUN to a leg without ICE.
    StunUnexpected = "stun_unexpected",
    /// STUN for other credentials than ours, or for none.
    StunUsername = "stun_username",
    /// STUN whose MESSAGE-INTEGRITY is missing or wrong.
    StunIntegrity = "stun_integrity",
    /// A STUN response to no request of ours.
    StunResponse = "stun_response",
    /// STUN that needs something we do not know, or came where it cannot come.
    StunUnsupported = "stun_unsupported",
    /// STUN from one more source than ICE keeps.
    StunTooMany = "stun_too_many",
    /// STUN after consent was lost.
    StunConsentLost = "stun_consent_lost",
    /// Too many packets from its network were wrong of late for one more to be looked into.
    TooManyWrong = "too_many_wrong",
    /// DTLS to a leg that has agreed on none.
    DtlsUnexpected = "dtls_unexpected",
    /// DTLS before the answer, more than is kept.
    DtlsTooEarly = "dtls_too_early",
    /// DTLS, more in a second than a handshake takes.
    DtlsTooMany = "dtls_too_many",
    /// It comes from an address that neither ICE nor the description vouches for.
    UnknownSource = "unknown_source",
    /// ICE validated a source on the shared port that another leg is using.
    SourceTaken = "source_taken",
    /// Its source may become believed, but is not yet.
    SourceOnTrial = "source_on_trial",
    /// Another source was learnt, and no description has come since.
    SourceNotLearnt = "source_not_learnt",
    /// Its source might have been learnt sooner after the description.
    SourceTooLate = "source_too_late",
    /// Its source says goodbye (RFC 3550 §6.6), and is not learnt by that.
    SourceGoodbye = "source_goodbye",
    /// Media before the leg had an answer.
    NoAnswer = "no_answer",
    /// Media on a leg whose keys are not there, or whose peer showed the wrong certificate.
    NoKeys = "no_keys",
    /// It is not RTP.
    RtpMalformed = "rtp_malformed",
    /// SRTP too short for its tag, or not RTP below it.
    SrtpMalformed = "srtp_malformed",
    /// SRTP with an unknown master key identifier.
    SrtpUnknownMki = "srtp_unknown_mki",
    /// SRTP that was seen before, or is too old to know.
    SrtpReplayed = "srtp_replayed",
    /// SRTP whose tag does not fit.
    SrtpAuthentication = "srtp_authentication",
    /// SRTCP without encryption.
    SrtpUnencrypted = "srtp_unencrypted",
    /// SRTP of one more source than a key serves.
    SrtpTooManySources = "srtp_too_many_sources",
    /// The SRTP key has protected as many packets as it may.
    SrtpKeyUsedUp = "srtp_key_used_up",
    /// The SRTP index was used before: two packets of one sequence number.
    SrtpIndexReused = "srtp_index_reused",
    /// There is no room behind it for a tag.
    NoRoom = "no_room",
    /// No stream of the bundle claims it (RFC 8843 §9.2).
    UnknownStream = "unknown_stream",
    /// Its payload type was not negotiated on both legs.
    PayloadType = "payload_type",
    /// Its source is new or jumped, and has to show a second packet (RFC 3550 §A.1).
    Probation = "probation",
    /// It belongs to a source or a time that was left behind.
    Late = "late",
    /// The direction of the leg it came from, or hold, keeps it back.
    NotReceiving = "not_receiving",
    /// The direction of the leg it would go to, or hold, keeps it back.
    NotSending = "not_sending",
    /// The other leg has no such stream, no answer or no keys yet.
    OtherLegNotReady = "other_leg_not_ready",
    /// The other leg has no address to send to: ICE has not selected one, or the peer no longer consents.
    NoDestination = "no_destination",
    /// A key press of ours takes its place.
    KeyPress = "key_press",
    /// Its leg is muted, or the key presses of it are.
    Muted = "muted",
    /// It is not RTCP.
    RtcpMalformed = "rtcp_malformed",
    /// RTCP with nothing in it that means something to the other leg.
    RtcpEnded = "rtcp_ended",
    /// A part of RTCP that describes one hop only, and ends here.
    RtcpTerminated = "rtcp_terminated",
    /// A part of RTCP about an SSRC or sequence number that the other leg does not know.
    RtcpUnmapped = "rtcp_unmapped",
    /// Feedback in RTCP to a leg that did not negotiate it.
    RtcpFeedback = "rtcp_feedback",
    /// A part of RTCP that is of no known kind, or malformed.
    RtcpUnknown = "rtcp_unknown",
    /// A trickled candidate of another generation.
    CandidateGeneration = "candidate_generation",
    /// A trickled candidate that cannot be used from here.
    CandidateUnusable = "candidate_unusable",
    /// A candidate beyond those we keep.
    CandidateTooMany = "candidate_too_many",
}

impl Dropped {
    /// The parts of an RTCP packet that were left out of its translation, and how many.
    pub(crate) const fn parts(translated: &Translated) -> [(Self, u16); 4] {
        [
            (Self::RtcpTerminated, translated.terminated),
            (Self::RtcpUnmapped, translated.unmapped),
            (Self::RtcpFeedback, translated.feedback),
            (Self::RtcpUnknown, translated.unknown),
        ]
    }
}

impl From<DemuxError> for Dropped {
    fn from(error: DemuxError) -> Self {
        match error {
            DemuxError::Empty => Self::Empty,
            DemuxError::Stun => Self::StunMalformed,
            DemuxError::Zrtp => Self::Zrtp,
            DemuxError::TurnChannel => Self::TurnChannel,
            DemuxError::Unknown | _ => Self::UnknownProtocol,
        }
    }
}

impl From<ice::Dropped> for Dropped {
    fn from(reason: ice::Dropped) -> Self {
        match reason {
            ice::Dropped::Malformed => Self::StunMalformed,
            ice::Dropped::UnknownUsername => Self::StunUsername,
            ice::Dropped::Integrity => Self::StunIntegrity,
            ice::Dropped::UnexpectedResponse => Self::StunResponse,
            ice::Dropped::TooMany => Self::StunTooMany,
            ice::Dropped::ConsentLost => Self::StunConsentLost,
            ice::Dropped::Unsupported | ice::Dropped::UnknownAddress | _ => Self::StunUnsupported,
        }
    }
}

impl From<ice::CandidateError> for Dropped {
    fn from(error: ice::CandidateError) -> Self {
        match error {
            ice::CandidateError::OldGeneration => Self::CandidateGeneration,
            ice::CandidateError::TooMany => Self::CandidateTooMany,
            ice::CandidateError::OtherComponent
            | ice::CandidateError::Unusable
            | ice::CandidateError::OutOfScope
            | ice::CandidateError::Loop
            | _ => Self::CandidateUnusable,
        }
    }
}

impl From<RtpError> for Dropped {
    fn from(_: RtpError) -> Self {
        Self::RtpMalformed
    }
}

impl From<SrtpError> for Dropped {
    fn from(error: SrtpError) -> Self {
        match error {
            SrtpError::UnknownMki => Self::SrtpUnknownMki,
            SrtpError::Replayed => Self::SrtpReplayed,
            SrtpError::Authentication => Self::SrtpAuthentication,
            SrtpError::Unencrypted => Self::SrtpUnencrypted,
            SrtpError::TooManySources => Self::SrtpTooManySources,
            SrtpError::KeyUsedUp => Self::SrtpKeyUsedUp,
            SrtpError::IndexReused => Self::SrtpIndexReused,
            SrtpError::NoRoom => Self::NoRoom,
            SrtpError::Malformed | _ => Self::SrtpMalformed,
        }
    }
}

impl From<RewriteError> for Dropped {
    fn from(error: RewriteError) -> Self {
        match error {
            RewriteError::PayloadType => Self::PayloadType,
            RewriteError::Probation => Self::Probation,
            RewriteError::Late => Self::Late,
            RewriteError::Malformed(_) | _ => Self::RtpMalformed,
        }
    }
}

impl From<RtcpError> for Dropped {
    fn from(error: RtcpError) -> Self {
        match error {
            RtcpError::Empty => Self::RtcpEnded,
            RtcpError::NoRoom => Self::NoRoom,
            RtcpError::Malformed | _ => Self::RtcpMalformed,
        }
    }
}

/// How often each reason occurred.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Drops([u64; Dropped::ALL.len()]);

impl Default for Drops {
    fn default() -> Self {
        Self([0; Dropped::ALL.len()])
    }
}

impl Drops {
    pub(crate) fn count(&mut self, reason: Dropped) {
        self.0[reason as usize] += 1;
    }

    /// The reasons that occurred, by name.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Dropped::ALL.iter().zip(self.0).filter(|(_, times)| *times > 0).map(|(reason, times)| (reason.name(), times))
    }
}

/// What the relay counts. The counters only grow; the gauges `calls`, `streams` and
/// `ports_in_use` do not.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Datagrams that arrived.
    pub packets_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Media packets that went on to the other leg.
    pub packets_forwarded: u64,
    /// Their bytes, as sent.
    pub bytes_forwarded: u64,
    /// Calls made since the start.
    pub calls_created: u64,
    /// Calls now.
    pub calls: usize,
    /// Streams of all legs now.
    pub streams: usize,
    /// Sockets open now.
    pub ports_in_use: usize,
    /// Times that a direction of a stream was measured, by its mean opinion score: below 2, 3, 4, and above.
    pub scores: [u64; 4],
    pub(crate) dropped: Drops,
}

impl Counters {
    pub(crate) fn count_score(&mut self, score: f64) {
        let place = [2.0, 3.0, 4.0].iter().filter(|bound| score >= **bound).count();
        self.scores[place] += 1;
    }

    /// How often something was dropped for a reason.
    pub fn dropped(&self, reason: Dropped) -> u64 {
        self.dropped.0[reason as usize]
    }

    /// How often anything was dropped.
    pub fn all_dropped(&self) -> u64 {
        self.dropped.0.iter().sum()
    }

    /// Adds what another relay counted.
    pub fn add(&mut self, other: &Self) {
        let Self {
            packets_received,
            bytes_received,
            packets_forwarded,
            bytes_forwarded,
            calls_created,
            calls,
            streams,
            ports_in_use,
            scores,
            dropped,
        } = other;
        for (sum, more) in self.scores.iter_mut().zip(scores) {
            *sum += more;
        }
        self.packets_received += packets_received;
        self.bytes_received += bytes_received;
        self.packets_forwarded += packets_forwarded;
        self.bytes_forwarded += bytes_forwarded;
        self.calls_created += calls_created;
        self.calls += calls;
        self.streams += streams;
        self.ports_in_use += ports_in_use;
        for (sum, more) in self.dropped.0.iter_mut().zip(dropped.0) {
            *sum += more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_counter_and_a_label_of_its_own() {
        let mut counters = Counters::default();
        for (times, reason) in (1..).zip(Dropped::ALL) {
            (0..times).for_each(|_| counters.dropped.count(*reason));
        }
        counters.add(&counters.clone());
        let counted: Vec<u64> = Dropped::ALL.iter().map(|reason| counters.dropped(*reason)).collect();
        assert!(counted.iter().zip(1..).all(|(counted, times)| *counted == 2 * times));
        let mut names: Vec<&str> = counters.dropped.named().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Dropped::ALL.len());
    }
}
