//! SHA-1 (FIPS 180-4 §6.1.2) with one message per lane: the same code over vectors of sixteen and of eight words.
//!
//! What the two differ in is a handful of instructions, each module's own; the macro is the algorithm. `unsafe` is
//! only where vectors are loaded and stored, and where a function is called that needs an instruction set.

use std::arch::x86_64::*;

use crate::Message;
use crate::key::{BLOCK, end, to_bytes};

/// Rounds of the compression function, written out so that schedule and state stay in registers.
macro_rules! rounds {
    ($state:ident, $schedule:ident, $mix:ident, $constant:literal, $($t:literal)*) => { $(
        if $t >= 16 {
            let past = |back: usize| $schedule[($t + 16 - back) % 16];
            $schedule[$t % 16] = rotate_left::<1>(xor(parity(past(3), past(8), past(14)), past(16)));
        }
        let [a, b, c, d, e] = $state;
        let known = add(add(e, splat($constant)), $schedule[$t % 16]);
        $state = [add(rotate_left::<5>(a), add(known, $mix(b, c, d))), a, rotate_left::<30>(b), c, d];
    )* };
}

macro_rules! side_by_side {
    ($lanes:literal, $vector:ty, $features:literal, [$($feature:tt),+]) => {
        /// Messages hashed at a time.
        pub(crate) const LANES: usize = $lanes;

        type Words = [u32; LANES];

        /// A processor that has these vectors: there is one only where they were found.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) struct Vectors(());

        impl Vectors {
            /// Looks for the vectors.
            pub(crate) fn detect() -> Option<Self> {
                ($(is_x86_feature_detected!($feature))&&+).then_some(Self(()))
            }

            /// Writes the codes of messages, of which it takes the first [`LANES`].
            pub(crate) fn authenticate(self, messages: &[Message<'_>], codes: &mut [[u8; 20]]) {
                // SAFETY: `self` says that `detect` found the features.
                unsafe { authenticate(messages, codes) }
            }
        }

        #[target_feature(enable = $features)]
        fn authenticate(messages: &[Message<'_>], codes: &mut [[u8; 20]]) {
            let messages = &messages[..messages.len().min(LANES)];
            let mut inner = [splat(0); 5];
            let mut outer = inner;
            for (word, (inner, outer)) in inner.iter_mut().zip(&mut outer).enumerate() {
                *inner = load(&gather(messages, |message| message.key.inner[word]));
                *outer = load(&gather(messages, |message| message.key.outer[word]));
            }
            let digests = hash(inner, messages);
            // The digest, one bit, and the length: the block of the key and twenty bytes.
            let mut schedule = [splat(0); 16];
            schedule[..5].copy_from_slice(&digests);
            schedule[5] = splat(1 << 31);
            schedule[15] = splat(8 * (64 + 20));
            let states = compress(outer, schedule).map(|words| store(words));
            for (lane, code) in codes.iter_mut().enumerate().take(messages.len()) {
                *code = to_bytes(states.map(|words| words[lane]));
            }
        }

        /// Hashes whole messages, which may have different numbers of blocks.
        #[target_feature(enable = $features)]
        fn hash(mut states: [$vector; 5], messages: &[Message<'_>]) -> [$vector; 5] {
            let ends: [_; LANES] = std::array::from_fn(|lane| match messages.get(lane) {
                Some(message) => end(message.bytes, &message.trailer).0,
                None => [[0; BLOCK]; 2],
            });
            let blocks = gather(messages, |message| u32::try_from(message.blocks()).unwrap_or(u32::MAX));
            let most = messages.iter().map(Message::blocks).max().unwrap_or(0);
            let least = messages.iter().map(Message::blocks).min().unwrap_or(0);
            for number in 0..most {
                let block = |lane: usize| -> &[u8; BLOCK] {
                    let whole = messages.get(lane).map_or(&[][..], |message| message.bytes.as_chunks().0);
                    whole.get(number).or(ends[lane].get(number - whole.len().min(number))).unwrap_or(&[0; BLOCK])
                };
                let next = compress(states, transposed(block));
                states = if number < least && messages.len() == LANES {
                    next
                } else {
                    where_longer(load(&blocks), u32::try_from(number).unwrap_or(u32::MAX), next, states)
                };
            }
            states
        }

        fn gather(messages: &[Message<'_>], word: impl Fn(&Message<'_>) -> u32) -> Words {
            std::array::from_fn(|lane| messages.get(lane).map_or(0, &word))
        }

        #[target_feature(enable = $features)]
        fn load(words: &Words) -> $vector {
            // SAFETY: the array is as long as the vector, and no alignment is asked for.
            unsafe { load_unaligned(words.as_ptr().cast()) }
        }

        #[target_feature(enable = $features)]
        fn store(vector: $vector) -> Words {
            let mut words = [0; LANES];
            // SAFETY: the array is as long as the vector, and no alignment is asked for.
            unsafe { store_unaligned(words.as_mut_ptr().cast(), vector) };
            words
        }

        /// Adds one block to the state of each lane.
        #[target_feature(enable = $features)]
        #[inline]
        fn compress(states: [$vector; 5], mut schedule: [$vector; 16]) -> [$vector; 5] {
            let mut now = states;
            rounds!(now, schedule, choose, 0x5A82_7999, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
            rounds!(now, schedule, parity, 0x6ED9_EBA1, 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39);
            rounds!(now, schedule, majority, 0x8F1B_BCDC, 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59);
            rounds!(now, schedule, parity, 0xCA62_C1D6, 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79);
            std::array::from_fn(|word| add(states[word], now[word]))
        }
    };
}

/// Sixteen lanes.
pub(crate) mod avx512 {
    use super::*;

    side_by_side!(16, __m512i, "avx512f,avx512bw", ["avx512f", "avx512bw"]);

    use _mm512_add_epi32 as add;
    use _mm512_loadu_si512 as load_unaligned;
    use _mm512_storeu_si512 as store_unaligned;
    use _mm512_xor_si512 as xor;

    #[target_feature(enable = "avx512f")]
    fn rotate_left<const BITS: i32>(x: __m512i) -> __m512i {
        _mm512_rol_epi32::<BITS>(x)
    }

    #[target_feature(enable = "avx512f")]
    fn choose(b: __m512i, c: __m512i, d: __m512i) -> __m512i {
        _mm512_ternarylogic_epi32::<0xCA>(b, c, d)
    }

    #[target_feature(enable = "avx512f")]
    fn parity(b: __m512i, c: __m512i, d: __m512i) -> __m512i {
        _mm512_ternarylogic_epi32::<0x96>(b, c, d)
    }

    #[target_feature(enable = "avx512f")]
    fn majority(b: __m512i, c: __m512i, d: __m512i) -> __m512i {
        _mm512_ternarylogic_epi32::<0xE8>(b, c, d)
    }

    #[target_feature(enable = "avx512f")]
    fn splat(word: u32) -> __m512i {
        _mm512_set1_epi32(word.cast_signed())
    }

    /// Takes `next` in the lanes whose number of blocks is above `number`, else `before`.
    #[target_feature(enable = "avx512f")]
    fn where_longer(blocks: __m512i, number: u32, next: [__m512i; 5], before: [__m512i; 5]) -> [__m512i; 5] {
        let longer = _mm512_cmpgt_epu32_mask(blocks, splat(number));
        std::array::from_fn(|word| _mm512_mask_blend_epi32(longer, before[word], next[word]))
    }

    /// The words of a block of each lane: word by word instead of lane by lane, and big-endian.
    #[target_feature(enable = "avx512f,avx512bw")]
    fn transposed<'a>(block: impl Fn(usize) -> &'a [u8; BLOCK]) -> [__m512i; 16] {
        let swap = _mm512_set4_epi32(0x0C0D_0E0F, 0x0809_0A0B, 0x0405_0607, 0x0001_0203);
        let mut rows = [splat(0); 16];
        for (lane, row) in rows.iter_mut().enumerate() {
            // SAFETY: the block is as long as the vector, and no alignment is asked for.
            *row = _mm512_shuffle_epi8(unsafe { _mm512_loadu_si512(block(lane).as_ptr().cast()) }, swap);
        }
        // 4 x 4 words, within the quarters of each row.
        let mut quads = [splat(0); 16];
        for four in 0..4 {
            let [p, q, r, s] = [rows[4 * four], rows[4 * four + 1], rows[4 * four + 2], rows[4 * four + 3]];
            let (low_pq, high_pq) = (_mm512_unpacklo_epi32(p, q), _mm512_unpackhi_epi32(p, q));
            let (low_rs, high_rs) = (_mm512_unpacklo_epi32(r, s), _mm512_unpackhi_epi32(r, s));
            quads[four] = _mm512_unpacklo_epi64(low_pq, low_rs);
            quads[4 + four] = _mm512_unpackhi_epi64(low_pq, low_rs);
            quads[8 + four] = _mm512_unpacklo_epi64(high_pq, high_rs);
            quads[12 + four] = _mm512_unpackhi_epi64(high_pq, high_rs);
        }
        // 4 x 4 quarters.
        let mut words = [splat(0); 16];
        for word in 0..4 {
            let [p, q, r, s] = [quads[4 * word], quads[4 * word + 1], quads[4 * word + 2], quads[4 * word + 3]];
            let (even_pq, odd_pq) = (_mm512_shuffle_i32x4::<0x88>(p, q), _mm512_shuffle_i32x4::<0xDD>(p, q));
            let (even_rs, odd_rs) = (_mm512_shuffle_i32x4::<0x88>(r, s), _mm512_shuffle_i32x4::<0xDD>(r, s));
            words[word] = _mm512_shuffle_i32x4::<0x88>(even_pq, even_rs);
            words[4 + word] = _mm512_shuffle_i32x4::<0x88>(odd_pq, odd_rs);
            words[8 + word] = _mm512_shuffle_i32x4::<0xDD>(even_pq, even_rs);
            words[12 + word] = _mm512_shuffle_i32x4::<0xDD>(odd_pq, odd_rs);
        }
        words
    }
}

/// Eight lanes.
pub(crate) mod avx2 {
    use super::*;

    side_by_side!(8, __m256i, "avx2", ["avx2"]);

    use _mm256_add_epi32 as add;
    use _mm256_loadu_si256 as load_unaligned;
    use _mm256_storeu_si256 as store_unaligned;
    use _mm256_xor_si256 as xor;

    #[target_feature(enable = "avx2")]
    fn rotate_left<const BITS: i32>(x: __m256i) -> __m256i {
        let count = |bits| _mm_cvtsi32_si128(bits);
        _mm256_or_si256(_mm256_sll_epi32(x, count(BITS)), _mm256_srl_epi32(x, count(32 - BITS)))
    }

    #[target_feature(enable = "avx2")]
    fn choose(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
        xor(d, _mm256_and_si256(b, xor(c, d)))
    }

    #[target_feature(enable = "avx2")]
    fn parity(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
        xor(xor(b, c), d)
    }

    #[target_feature(enable = "avx2")]
    fn majority(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
        _mm256_or_si256(_mm256_and_si256(b, c), _mm256_and_si256(d, _mm256_or_si256(b, c)))
    }

    #[target_feature(enable = "avx2")]
    fn splat(word: u32) -> __m256i {
        _mm256_set1_epi32(word.cast_signed())
    }

    /// Takes `next` in the lanes whose number of blocks is above `number`, else `before`.
    #[target_feature(enable = "avx2")]
    fn where_longer(blocks: __m256i, number: u32, next: [__m256i; 5], before: [__m256i; 5]) -> [__m256i; 5] {
        let longer = _mm256_cmpgt_epi32(blocks, splat(number)); // signed: a datagram has at most 1,025 blocks
        std::array::from_fn(|word| _mm256_blendv_epi8(before[word], next[word], longer))
    }

    /// The words of a block of each lane: word by word instead of lane by lane, and big-endian.
    #[target_feature(enable = "avx2")]
    fn transposed<'a>(block: impl Fn(usize) -> &'a [u8; BLOCK]) -> [__m256i; 16] {
        let mut words = [splat(0); 16];
        for (half, words) in words.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            *words = transposed_half(|lane| &block(lane).as_chunks::<32>().0[half]);
        }
        words
    }

    #[target_feature(enable = "avx2")]
    fn transposed_half<'a>(block: impl Fn(usize) -> &'a [u8; BLOCK / 2]) -> [__m256i; 8] {
        let swap = _mm256_broadcastsi128_si256(_mm_set_epi32(0x0C0D_0E0F, 0x0809_0A0B, 0x0405_0607, 0x0001_0203));
        let mut rows = [splat(0); 8];
        for (lane, row) in rows.iter_mut().enumerate() {
            // SAFETY: half a block is as long as the vector, and no alignment is asked for.
            *row = _mm256_shuffle_epi8(unsafe { _mm256_loadu_si256(block(lane).as_ptr().cast()) }, swap);
        }
        // 4 x 4 words, within the halves of each row.
        let mut quads = [splat(0); 8];
        for four in 0..2 {
            let [p, q, r, s] = [rows[4 * four], rows[4 * four + 1], rows[4 * four + 2], rows[4 * four + 3]];
            let (low_pq, high_pq) = (_mm256_unpacklo_epi32(p, q), _mm256_unpackhi_epi32(p, q));
            let (low_rs, high_rs) = (_mm256_unpacklo_epi32(r, s), _mm256_unpackhi_epi32(r, s));
            quads[four] = _mm256_unpacklo_epi64(low_pq, low_rs);
            quads[2 + four] = _mm256_unpackhi_epi64(low_pq, low_rs);
            quads[4 + four] = _mm256_unpacklo_epi64(high_pq, high_rs);
            quads[6 + four] = _mm256_unpackhi_epi64(high_pq, high_rs);
        }
        // 2 x 2 halves.
        let mut words = [splat(0); 8];
        for word in 0..4 {
            words[word] = _mm256_permute2x128_si256::<0x20>(quads[2 * word], quads[2 * word + 1]);
            words[4 + word] = _mm256_permute2x128_si256::<0x31>(quads[2 * word], quads[2 * word + 1]);
        }
        words
    }
}
