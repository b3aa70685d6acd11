//! RTCP from one leg in the words of the other.

use super::RtcpError;
use crate::{packet::Packet, rewrite::Rewriter};
use model::Ssrc;

/// The streams between the two legs, as translation asks for them. RTCP comes from the near leg and goes to the far.
pub trait Streams {
    /// The rewriter towards the far leg that a source of the near leg feeds.
    fn fed_by(&mut self, source: Ssrc) -> Option<&mut Rewriter>;

    /// The rewriter towards the near leg that sends under an SSRC: RTCP from the near leg reports on it.
    fn sent_as(&mut self, ssrc: Ssrc) -> Option<&mut Rewriter>;

    /// The SSRC towards the far leg that speaks for sources of the near leg which send no media.
    fn speaker(&self) -> Ssrc;
}

/// What the far leg understands.
#[derive(Clone, Copy, Debug)]
pub struct OtherLeg<'a> {
    /// The canonical name that all our SSRCs have there (RFC 7022).
    pub cname: &'a str,
    /// It negotiated feedback (RFC 4585): AVPF. Without, it gets reports only.
    pub feedback: bool,
    /// It negotiated reduced-size RTCP (RFC 5506). Without, every packet begins with a report and a CNAME.
    pub reduced_size: bool,
}

/// What became of a compound packet: how many of its packets or blocks were left out, and why.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Translated {
    /// They describe one hop only, and end here: TWCC, CCFB, ECN, APP.
    pub terminated: u16,
    /// They speak of an SSRC or sequence number that the far leg does not know.
    pub unmapped: u16,
    /// Feedback, and the far leg did not negotiate it.
    pub feedback: u16,
    /// They are of no kind that we know, or malformed.
    pub unknown: u16,
}

/// Translates a compound packet in place.
///
/// # Errors
///
/// Nothing of it can be passed on.
pub fn translate(
    _packet: &mut Packet<'_>,
    _streams: &mut impl Streams,
    _to: OtherLeg<'_>,
) -> Result<Translated, RtcpError> {
    Err(RtcpError::Empty)
}
