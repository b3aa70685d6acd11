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

/// More incoming numbers than these are not remembered: the one-byte form has no more (RFC 8285 §4.2).
const MAX_PASSING: usize = 14;

/// From the numbers one leg uses to those of another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExtensionMap {
    /// The incoming number and the outgoing one of each that passes; 0 and 0 where there are no more.
    passing: [(u8, u8); MAX_PASSING],
}

impl ExtensionMap {
    /// Lets nothing pass.
    pub const NONE: Self = Self { passing: [(0, 0); MAX_PASSING] };

    /// Lets pass what is [`FORWARDABLE`] and negotiated on both legs. Where a leg has several numbers for the same, all are
    /// taken and the first is sent.
    pub fn between(incoming: &[HeaderExtension], outgoing: &[HeaderExtension]) -> Self {
        let number = |extension: &HeaderExtension| u8::try_from(extension.id).ok().filter(|number| *number != 0);
        let both =
            incoming.iter().filter(|extension| FORWARDABLE.contains(&extension.uri.as_str())).filter_map(|from| {
                let to = outgoing.iter().filter(|to| to.uri == from.uri).find_map(number)?;
                Some((number(from)?, to))
            });
        let mut map = Self::NONE;
        map.passing.iter_mut().zip(both).for_each(|(place, numbers)| *place = numbers);
        map
    }

    /// Renumbers the elements of a header extension in place, and overwrites those that must not pass with padding.
    /// `extension` begins with the profile word. Returns false if nothing is left that is worth sending.
    pub fn apply(&self, extension: &mut [u8]) -> bool {
        if *self == Self::NONE {
            return false;
        }
        let Some((&mut [high, low, _, _], elements)) = extension.split_first_chunk_mut() else { return false };
        match [high, low] {
            [0xBE, 0xDE] => self.apply_one_byte_form(elements),
            [0x10, 0x00..=0x0F] => self.apply_two_byte_form(elements),
            _ => false,
        }
    }

    /// The outgoing number of an extension; 0 where it must not pass.
    fn outgoing(&self, incoming: u8) -> u8 {
        self.passing.iter().find(|(from, _)| *from == incoming).map_or(0, |(_, to)| *to)
    }

    /// RFC 8285 §4.2: `id(4) | length - 1 (4) | data`; a byte of zero is padding, id 15 ends the list.
    fn apply_one_byte_form(&self, mut elements: &mut [u8]) -> bool {
        const END: u8 = 15;
        let mut any = false;
        while let Some(&first) = elements.first() {
            let length = if first == 0 { 1 } else { 2 + usize::from(first & 0x0F) };
            if first >> 4 == END || elements.len() < length {
                elements.fill(0);
                break;
            }
            let (element, rest) = elements.split_at_mut(length);
            match self.outgoing(first >> 4) {
                id @ 1..END if first != 0 => {
                    element[0] = id << 4 | first & 0x0F;
                    any = true;
                }
                _ => element.fill(0),
            }
            elements = rest;
        }
        any
    }

    /// RFC 8285 §4.3: `id(8) | length(8) | data`; an id of zero is a byte of padding.
    fn apply_two_byte_form(&self, mut elements: &mut [u8]) -> bool {
        let mut any = false;
        while let Some(&first) = elements.first() {
            let length = if first == 0 { 1 } else { 2 + usize::from(elements.get(1).copied().unwrap_or(u8::MAX)) };
            if elements.len() < length {
                elements.fill(0);
                break;
            }
            let (element, rest) = elements.split_at_mut(length);
            match self.outgoing(first) {
                0 => element.fill(0),
                id => {
                    element[0] = id;
                    any = true;
                }
            }
            elements = rest;
        }
        any
    }
}

/// The data of an element. `extension` begins with the profile word.
pub fn element(extension: &[u8], id: u8) -> Option<&[u8]> {
    let (&[high, low, _, _], mut elements) = extension.split_first_chunk()?;
    let one_byte_form = match [high, low] {
        [0xBE, 0xDE] => true,
        [0x10, 0x00..=0x0F] => false,
        _ => return None,
    };
    while let Some((&first, rest)) = elements.split_first() {
        let (found, length, rest) = match (first, one_byte_form) {
            (0, _) => (0, 0, rest),
            (first, true) if first >> 4 == 15 => return None,
            (first, true) => (first >> 4, usize::from(first & 0x0F) + 1, rest),
            (first, false) => (first, usize::from(*rest.first()?), rest.get(1..)?),
        };
        let (data, rest) = rest.split_at_checked(length)?;
        if found == id && first != 0 {
            return Some(data);
        }
        elements = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use model::Direction;
    use proptest::prelude::*;

    use super::*;

    const AUDIO_LEVEL: &str = FORWARDABLE[0];
    const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

    fn extension(id: u16, uri: &str) -> HeaderExtension {
        HeaderExtension { id, uri: uri.to_owned(), direction: Direction::SendRecv }
    }

    fn audio_level(from: u16, to: u16) -> ExtensionMap {
        let incoming = [extension(from, AUDIO_LEVEL), extension(4, MID)];
        ExtensionMap::between(&incoming, &[extension(5, MID), extension(to, AUDIO_LEVEL)])
    }

    #[test]
    fn what_passes_gets_the_number_of_the_other_leg_and_the_rest_becomes_padding() {
        let mut bytes = *b"\xBE\xDE\x00\x03\x10\x7F\x41ab\x00\x22xyz\x00\x00";
        assert!(audio_level(1, 9).apply(&mut bytes));
        assert_eq!(&bytes, b"\xBE\xDE\x00\x03\x90\x7F\0\0\0\0\0\0\0\0\0\0");
        let mut bytes = *b"\x10\x00\x00\x02\x01\x01\x7F\x04\x02ab\x00";
        assert!(audio_level(1, 200).apply(&mut bytes));
        assert_eq!(&bytes, b"\x10\x00\x00\x02\xC8\x01\x7F\0\0\0\0\0");
    }

    #[test]
    fn all_numbers_of_an_extension_pass_as_the_first_of_the_other_leg() {
        let incoming = [extension(1, AUDIO_LEVEL), extension(2, AUDIO_LEVEL)];
        let map = ExtensionMap::between(&incoming, &[extension(8, AUDIO_LEVEL), extension(9, AUDIO_LEVEL)]);
        let mut bytes = *b"\xBE\xDE\x00\x01\x10\x7F\x20\x7E";
        assert!(map.apply(&mut bytes));
        assert_eq!(&bytes, b"\xBE\xDE\x00\x01\x80\x7F\x80\x7E");
    }

    #[test]
    fn an_element_is_found_by_its_number_in_both_forms() {
        let one_byte = b"\xBE\xDE\x00\x02\x10\x7F\x00\x41ab\xF0\x51";
        assert_eq!(element(one_byte, 4), Some(b"ab".as_slice()));
        assert_eq!(element(one_byte, 1), Some(b"\x7F".as_slice()));
        assert_eq!(element(one_byte, 5), None, "15 ends the list");
        assert_eq!(element(b"\x10\x00\x00\x02\x01\x00\x04\x02ab\x00\x00", 4), Some(b"ab".as_slice()));
        assert_eq!(element(b"\x10\x00\x00\x01\x04\x09ab", 4), None, "it goes beyond the end");
    }

    #[test]
    fn an_extension_without_anything_that_passes_is_worth_nothing() {
        assert!(!audio_level(1, 9).apply(&mut { *b"\xBE\xDE\x00\x01\x40a\x00\x00" }));
        assert!(!audio_level(1, 9).apply(&mut { *b"\xAB\xCD\x00\x01\x10\x7F\x00\x00" }));
        assert!(!ExtensionMap::NONE.apply(&mut { *b"\xBE\xDE\x00\x01\x10\x7F\x00\x00" }));
        assert!(!audio_level(1, 200).apply(&mut { *b"\xBE\xDE\x00\x01\x10\x7F\x00\x00" }), "200 needs two bytes");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..64), form in 0..3) {
            match (form, bytes.first_chunk_mut()) {
                (0, Some(start)) => *start = [0xBE, 0xDE],
                (1, Some(start)) => *start = [0x10, 0x00],
                _ => {}
            }
            let length = bytes.len();
            audio_level(1, 9).apply(&mut bytes);
            element(&bytes, 4);
            prop_assert_eq!(bytes.len(), length);
        }
    }
}
