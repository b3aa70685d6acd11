//! G.711 µ-law: eight bits of sound for fourteen (ITU-T G.711, RFC 3551 §4.5.14).

/// Encodes one sample of 16-bit linear sound.
pub fn encode_ulaw(sample: i16) -> u8 {
    const BIAS: u16 = 0x84;
    const CLIP: u16 = 32_635;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = sample.unsigned_abs().min(CLIP) + BIAS;
    let exponent = 8 - (magnitude.leading_zeros().min(8));
    let mantissa = (magnitude >> (exponent + 3)) & 0x0F;
    let [_, exponent] = (exponent as u16).to_be_bytes();
    let [_, mantissa] = mantissa.to_be_bytes();
    !(sign | exponent << 4 | mantissa)
}

/// Decodes one byte to 16-bit linear sound.
pub const fn decode_ulaw(byte: u8) -> i16 {
    DECODED[byte as usize]
}

const DECODED: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = !(code as u8);
        let magnitude = ((((bits & 0x0F) as i16) << 3) + 0x84 << ((bits >> 4) & 7)) - 0x84;
        table[code] = if bits & 0x80 == 0 { magnitude } else { -magnitude };
        code += 1;
    }
    table
};
