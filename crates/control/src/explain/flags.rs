//! What each flag of an offer or an answer does.

use super::Effect::{self, Does, Nothing, Usual};
use super::Side;
use crate::request::Flag;

/// Why what is known does nothing, where there is no more to say.
pub(super) const NOT_YET: &str = "stox does not do this yet.";

/// Why what is for offers does nothing in an answer.
pub(super) const SETTLED: &str = "The offer has settled this; it does nothing in an answer.";

pub(super) const DEBUG: &str = "What is logged is set for the whole relay: `[log] level`.";

/// What comes of a flag.
pub(super) const fn effect(flag: Flag, side: Side) -> (Effect, &'static str) {
    match flag {
        Flag::TrustAddress => (Usual, "Media of the sender is where its SDP says."),
        Flag::SipSourceAddress => (
            Does,
            "Media of the sender is where its SIP message came from (`received from`, which a proxy adds), not where its \
             SDP says.",
        ),
        Flag::Symmetric => (Usual, "Addresses are learnt from packets, unless that is turned off."),
        Flag::StrictSource => (Usual, "Once a source is learnt, nothing is taken from any other."),
        Flag::PortLatching => (Usual, "Ports stay where the remote address changes."),
        Flag::Recrypt => (Usual, "SRTP is always opened and sealed anew: a relay of two legs has keys for each."),
        Flag::Unidirectional => (Usual, "Media that flows one way is forwarded like any other."),
        Flag::InjectDtmf => (Usual, "`play DTMF` works in every call."),
        Flag::NoTlsId => (Does, "A fingerprint of ours has no `a=tls-id` beside it."),
        Flag::Asymmetric => for_offers(side, "No address is learnt from packets: media goes where the SDPs say."),
        Flag::RejectIce => for_offers(side, "The sender is answered without ICE."),
        Flag::GenerateMid => (Does, "Every m-line gets an `a=mid`."),
        Flag::FullRtcpAttribute => (Does, "`a=rtcp` names port and address."),
        Flag::NoRtcpAttribute => (Does, "There is no `a=rtcp`."),
        Flag::OriginalSendrecv => (Does, "`a=sendrecv` and its like stay as the sender has them."),
        Flag::TrickleIce => (Does, "Where there is ICE, the receiver is told that candidates may trickle (RFC 8838)."),
        Flag::WebRtc => (
            Does,
            "Stands for `UDP/TLS/RTP/SAVPF ICE=force rtcp-mux=[offer require] SDES=off trickle-ICE no-rtcp-attribute \
             generate-mid`; what is said outright counts more.",
        ),
        Flag::Fragment => (Does, "The SDP is a fragment with candidates (RFC 8840)."),
        Flag::SingleCodec => (
            Does,
            "The receiver is told one codec, the first, with the telephone-event and comfort noise of its clock rate.",
        ),
        Flag::AllowNoCodecMedia => {
            (Does, "An m-line without a codec left is rejected, and does not get its codecs back.")
        }
        Flag::MediaHandover => (
            Nothing,
            "A source changes with an offer or an answer only: whoever guesses a port would \
             get the call.",
        ),
        Flag::NoPortLatching => (Nothing, "Ports stay for as long as the way to the party stays of its kind."),
        Flag::Reset => for_offers(side, "A receiver that refused ICE is offered it again."),
        Flag::Debug => (Nothing, DEBUG),
        Flag::BlockDtmf => (Does, "Key presses of this party (RFC 4733) are not heard, until they are unblocked."),
        Flag::DetectDtmf => (Nothing, "Key presses are not reported."),
        Flag::AllowAsymmetricCodecs => match side {
            Side::Answer => (Does, "Codecs that the answerer calls by other numbers stay, by its numbers."),
            Side::Offer => (Nothing, "It is for answers, where numbers may be other than those offered."),
        },
        Flag::ReuseCodecs => (Does, "What the receiver liked best before stays first, whatever the order is now."),
        Flag::StaticCodecs => for_offers(
            side,
            "The receiver is told the codecs that it was told before, those of them that the sender still offers.",
        ),
        Flag::TrackState => for_offers(
            side,
            "Offers between these parties can be taken back by `rollback`, from this one on; replies tell the generation.",
        ),
        Flag::LoopProtect => {
            (Does, "A description says that it has come by here; one that says so comes back as it is.")
        }
        Flag::PierceNat => (
            Does,
            "Without ICE, an empty datagram goes to this party each second until it is heard, so that its packets reach a \
             relay behind a NAT.",
        ),
        Flag::NatWait => (Does, "Without ICE, no media is sent to this party until it is heard."),
        Flag::Provisional | Flag::NewBranch => {
            (Nothing, "Another tag in an answer is always another name of the answerer.")
        }
        // Not of offers and answers: a finding says so.
        Flag::Directional | Flag::Fast | Flag::Fatal | Flag::ToTag => (Nothing, ""),
    }
}

const fn for_offers(side: Side, text: &'static str) -> (Effect, &'static str) {
    match side {
        Side::Offer => (Does, text),
        Side::Answer => (Nothing, SETTLED),
    }
}
