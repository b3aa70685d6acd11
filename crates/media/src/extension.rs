//! RTP header extensions (RFC 8285): which may pass from one leg to the other, and under which number.

use model::HeaderExtension;

/// The extensions that say the same to any receiver. All others describe one hop or one session: `sdes:*`, `rid`,
/// transport-wide sequence numbers, absolute send time.
pub const FORWARDABLE: [&str; 5] = [
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "urn:ietf:params:rtp-hdrext:csrc-audio-level",
    "urn:ietf:params:rtp-hdrext:toffset",
    "urn:3gpp:video-orientation",
    "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
];

/// From the numbers one leg uses to those of another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExtensionMap {
    /// By the incoming number, the outgoing one; 0 where the extension must not pass.
    outgoing: [u8; 256],
    empty: bool,
}

impl ExtensionMap {
    /// Lets nothing pass.
    pub const NONE: Self = Self { outgoing: [0; 256], empty: true };

    /// Lets pass what is [`FORWARDABLE`] and negotiated on both legs.
    pub fn between(incoming: &[HeaderExtension], outgoing: &[HeaderExtension]) -> Self {
        let mut map = Self::NONE;
        for from in incoming.iter().filter(|from| FORWARDABLE.contains(&from.uri.as_str())) {
            let to = outgoing.iter().find(|to| to.uri == from.uri).and_then(|to| u8::try_from(to.id).ok());
            if let (Some(to), Ok(from)) = (to, u8::try_from(from.id)) {
                map.outgoing[usize::from(from)] = to;
                map.empty &= to == 0;
            }
        }
        map
    }

    /// Says whether nothing passes, so that the whole extension can go.
    pub const fn is_empty(&self) -> bool {
        self.empty
    }
}
