//! Which messages are hashed together, and by what.

use crate::key::has_instructions;
#[cfg(target_arch = "x86_64")]
use crate::vector::{avx2, avx512};
use crate::{CODE_LENGTH, Message};

/// Messages that are put in order together.
const MOST: usize = 64;

/// How messages are hashed: by the widest vectors that the processor has, or one after the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lanes {
    width: Width,
    /// So many blocks one after the other take as long as one step of all lanes.
    worth: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Width {
    /// Sixteen lanes of AVX-512.
    #[cfg(target_arch = "x86_64")]
    Sixteen(avx512::Vectors),
    /// Eight lanes of AVX2.
    #[cfg(target_arch = "x86_64")]
    Eight(avx2::Vectors),
    /// One message after the other.
    One,
}

impl Lanes {
    /// Finds out what the processor has, and takes the widest.
    pub fn detect() -> Self {
        Self::all().next().unwrap_or(Self { width: Width::One, worth: usize::MAX })
    }

    /// All ways that the processor has, the widest first.
    pub fn all() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let wide = [avx512::Vectors::detect().map(Width::Sixteen), avx2::Vectors::detect().map(Width::Eight)];
        #[cfg(not(target_arch = "x86_64"))]
        let wide: [Option<Width>; 0] = [];
        let with_worth = |width: Width| Self { width, worth: width.worth(has_instructions()) };
        wide.into_iter().flatten().chain([Width::One]).map(with_worth)
    }

    /// Which way it is, and why.
    pub const fn reason(self) -> &'static str {
        match self.width {
            #[cfg(target_arch = "x86_64")]
            Width::Sixteen(_) => "16 packets side by side, by AVX-512",
            #[cfg(target_arch = "x86_64")]
            Width::Eight(_) => "8 packets side by side, by AVX2: the processor has no AVX-512",
            Width::One => "one packet after the other: the processor has neither AVX-512 nor AVX2",
        }
    }

    /// Writes the code of each message to its own place, and nothing where there is no message. Nothing is allocated.
    pub fn authenticate(self, messages: &[Option<Message<'_>>], codes: &mut [[u8; CODE_LENGTH]]) {
        for (messages, codes) in messages.chunks(MOST).zip(codes.chunks_mut(MOST)) {
            match self.width {
                #[cfg(target_arch = "x86_64")]
                Width::Sixteen(vectors) => {
                    self.by_length::<{ avx512::LANES }>(messages, codes, |group, codes| {
                        vectors.authenticate(group, codes)
                    });
                }
                #[cfg(target_arch = "x86_64")]
                Width::Eight(vectors) => {
                    self.by_length::<{ avx2::LANES }>(messages, codes, |group, codes| {
                        vectors.authenticate(group, codes)
                    });
                }
                Width::One => one_by_one(messages, codes),
            }
        }
    }

    /// Hashes `N` messages at a time, those of like length together, because each step takes as long for one lane as for
    /// all of them.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "there are no vectors"))]
    fn by_length<'a, const N: usize>(
        self,
        messages: &[Option<Message<'a>>],
        codes: &mut [[u8; CODE_LENGTH]],
        side_by_side: impl Fn(&[Message<'a>], &mut [[u8; CODE_LENGTH]]),
    ) {
        let mut order = [0; MOST];
        let mut count = 0;
        for (place, _) in messages.iter().enumerate().filter(|(_, message)| message.is_some()) {
            order[count] = place;
            count += 1;
        }
        let order = &mut order[..count];
        order.sort_unstable_by_key(|place| messages[*place].map(|message| message.blocks()));
        for places in order.chunks(N) {
            let Some(first) = messages[places[0]] else { continue };
            let mut group = [first; N];
            for (message, place) in group.iter_mut().zip(places) {
                *message = messages[*place].unwrap_or(first);
            }
            let group = &group[..places.len()];
            let mut of_group = [[0; CODE_LENGTH]; N];
            if self.pays_for(group) {
                side_by_side(group, &mut of_group);
            } else {
                of_group.iter_mut().zip(group).for_each(|(code, message)| *code = message.code());
            }
            for (place, code) in places.iter().zip(of_group) {
                codes[*place] = code;
            }
        }
    }

    /// Says whether vectors take less time for a group than one message after the other.
    fn pays_for(self, group: &[Message<'_>]) -> bool {
        const OF_DIGEST: usize = 1;
        let blocks = || group.iter().map(|message| message.blocks() + OF_DIGEST);
        blocks().max().is_some_and(|steps| blocks().sum::<usize>() >= steps.saturating_mul(self.worth))
    }
}

impl Width {
    /// Measured with 172-byte packets (`cargo bench -p stox-lanes`): AVX-512 overtakes the instructions for SHA at five
    /// of them and AVX2 at six, and portable code at two.
    const fn worth(self, instructions: bool) -> usize {
        match (self, instructions) {
            #[cfg(target_arch = "x86_64")]
            (Self::Sixteen(_), true) => 5,
            #[cfg(target_arch = "x86_64")]
            (Self::Eight(_), true) => 6,
            #[cfg(target_arch = "x86_64")]
            (Self::Sixteen(_) | Self::Eight(_), false) => 2,
            (Self::One, _) => usize::MAX,
        }
    }
}

fn one_by_one(messages: &[Option<Message<'_>>], codes: &mut [[u8; CODE_LENGTH]]) {
    for (message, code) in messages.iter().zip(codes) {
        if let Some(message) = message {
            *code = message.code();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha1::{Digest, Sha1};

    use super::*;
    use crate::Key;

    /// RFC 2104, over the whole hash function of the library.
    fn by_the_library(key: &[u8; 20], message: &[u8]) -> [u8; CODE_LENGTH] {
        let padded = |pad: u8| {
            let mut block = [pad; 64];
            block.iter_mut().zip(key).for_each(|(byte, of_key)| *byte ^= of_key);
            block
        };
        let inner = Sha1::new().chain_update(padded(0x36)).chain_update(message).finalize();
        Sha1::new().chain_update(padded(0x5C)).chain_update(inner).finalize().into()
    }

    /// Each way that the processor has, also where another would take less time.
    fn ways() -> impl Iterator<Item = Lanes> {
        Lanes::all().map(|lanes| Lanes { worth: 0, ..lanes }).chain(Lanes::all())
    }

    fn check(messages: &[([u8; 20], Vec<u8>, [u8; 4])]) -> Result<(), TestCaseError> {
        let keys: Vec<Key> = messages.iter().map(|(key, ..)| Key::new(key)).collect();
        let given = messages.iter().zip(&keys);
        let given: Vec<Option<Message<'_>>> =
            given.map(|((_, bytes, trailer), key)| Some(Message { key, bytes, trailer: *trailer })).collect();
        let expected: Vec<_> =
            messages.iter().map(|(key, bytes, trailer)| by_the_library(key, &[bytes, &trailer[..]].concat())).collect();
        for lanes in ways() {
            let mut codes = vec![[0; CODE_LENGTH]; messages.len()];
            lanes.authenticate(&given, &mut codes);
            prop_assert_eq!(&codes, &expected, "{}", lanes.reason());
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn every_way_gives_the_codes_of_the_library(
            messages in prop::collection::vec((any::<[u8; 20]>(), prop::collection::vec(any::<u8>(), 0..300), any::<[u8; 4]>()), 0..70),
        ) {
            check(&messages)?;
        }

        #[test]
        fn messages_of_one_length_fill_every_number_of_lanes(count in 0..70_usize, length in 0..1500_usize, fill in any::<u8>()) {
            let message = |number| ([u8::try_from(number).unwrap_or(u8::MAX); 20], vec![fill; length], [fill; 4]);
            check(&(0..count).map(message).collect::<Vec<_>>())?;
        }
    }

    #[test]
    fn a_place_without_a_message_stays_as_it_was() {
        let key = Key::new(&[3; 20]);
        let message = Message { key: &key, bytes: &[1; 100], trailer: [0; 4] };
        let messages: [_; 64] = std::array::from_fn(|place| (place % 3 != 0).then_some(message));
        for lanes in ways() {
            let mut codes = [[0xEE; CODE_LENGTH]; 64];
            lanes.authenticate(&messages, &mut codes);
            let expected: [_; 64] = std::array::from_fn(|place| messages[place].map_or([0xEE; 20], |m| m.code()));
            assert_eq!(codes, expected, "{}", lanes.reason());
        }
    }

    /// RFC 2202 §3, test cases 1 and 5: the ones whose keys have twenty bytes. Their last four bytes are the trailer.
    #[test]
    fn codes_are_those_of_rfc_2202() {
        let (first, fifth) = (Key::new(&[0x0b; 20]), Key::new(&[0x0c; 20]));
        let messages: [Option<Message<'_>>; 16] = std::array::from_fn(|lane| {
            Some(match lane % 2 {
                0 => Message { key: &first, bytes: b"Hi T", trailer: *b"here" },
                _ => Message { key: &fifth, bytes: b"Test With Trunca", trailer: *b"tion" },
            })
        });
        for lanes in ways() {
            let mut codes = [[0; CODE_LENGTH]; 16];
            lanes.authenticate(&messages, &mut codes);
            for [one, five] in codes.as_chunks().0 {
                assert_eq!(hex(one), "b617318655057264e28bc0b6fb378c8ef146be00");
                assert_eq!(hex(five), "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04");
            }
        }
    }

    fn hex(code: &[u8]) -> String {
        code.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
