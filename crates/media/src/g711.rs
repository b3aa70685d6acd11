//! G.711 µ-law: eight bits of sound for fourteen (ITU-T G.711, RFC 3551 §4.5.14).

/// What silence is encoded as.
pub const ULAW_SILENCE: u8 = 0xFF;

/// What silence is encoded as by A-law, the other kind of G.711.
pub const ALAW_SILENCE: u8 = 0xD5;

/// Added to every magnitude, so that the first segment looks like the others.
const BIAS: u16 = 0x84;

/// Encodes one sample of 16-bit linear sound.
pub const fn encode_ulaw(sample: i16) -> u8 {
    const LOUDEST: u16 = 0x7FFF - BIAS;
    let magnitude = sample.unsigned_abs();
    let biased = BIAS + if magnitude > LOUDEST { LOUDEST } else { magnitude };
    // The highest bit set is one of 7 to 14: it gives the segment, the four bits behind it the step.
    let segment = 8 - biased.leading_zeros();
    let [_, step] = (biased >> (segment + 3) & 0x0F).to_be_bytes();
    let [.., segment] = segment.to_be_bytes();
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | segment << 4 | step)
}

/// Decodes one byte to 16-bit linear sound.
pub const fn decode_ulaw(byte: u8) -> i16 {
    DECODED[byte as usize]
}

const DECODED: [i16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    loop {
        table[byte as usize] = expand(byte);
        if byte == u8::MAX {
            break table;
        }
        byte += 1;
    }
};

const fn expand(byte: u8) -> i16 {
    let bits = !byte;
    let segment = bits >> 4 & 7;
    let magnitude = ((((bits & 0x0F) as u16) << 3) + BIAS) << segment;
    let magnitude = (magnitude - BIAS).cast_signed();
    if bits & 0x80 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_are_those_of_g_711() {
        // ITU-T G.711, table 2a, scaled from 14 to 16 bits.
        for (byte, sample) in
            [(0x80, 32_124), (0x00, -32_124), (0xFF, 0), (0x7F, 0), (0xFE, 8), (0x8F, 16_764), (0xEF, 132)]
        {
            assert_eq!(decode_ulaw(byte), sample, "{byte:#x}");
        }
        assert_eq!(encode_ulaw(0), ULAW_SILENCE);
        assert_eq!((encode_ulaw(i16::MAX), encode_ulaw(i16::MIN)), (0x80, 0x00));
    }

    #[test]
    fn every_byte_survives_decoding_and_encoding() {
        for byte in 0..=255 {
            let again = encode_ulaw(decode_ulaw(byte));
            assert!(again == byte || byte == 0x7F && again == 0xFF, "{byte:#x}: there are two zeros");
        }
    }

    #[test]
    fn the_error_is_small_beside_the_sample() {
        for sample in i16::MIN..=i16::MAX {
            let error = (i32::from(decode_ulaw(encode_ulaw(sample))) - i32::from(sample)).abs();
            assert!(error <= (i32::from(sample.unsigned_abs()) + i32::from(BIAS)) / 32, "{sample}");
        }
    }
}
