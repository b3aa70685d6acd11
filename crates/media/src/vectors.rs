//! Packets and keys that the tests of several modules share.

/// RTP: sequence number 0x1234, SSRC cafebabe, sixteen bytes of payload (the packet of libsrtp's validation test).
pub(crate) const RTP: &str = "800f1234decafbadcafebabeabababababababababababababababab";

/// RTCP of the same SSRC and payload; its length word means nothing.
pub(crate) const RTCP: &str = "81c8000bcafebabeabababababababababababababababab";

/// Reads hexadecimal digits.
pub(crate) fn unhex(digits: &str) -> Vec<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let byte = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    digits.as_bytes().chunks_exact(2).map(|pair| byte(pair).expect("hexadecimal digits")).collect()
}
