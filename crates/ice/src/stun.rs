//! The little of STUN that is needed around the checks (RFC 8489).

use is::{DefaultSha1HmacProvider, Sha1HmacProvider};

const HEADER: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const FINGERPRINT_XOR: u32 = 0x5354_554e;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
const FINGERPRINT: u16 = 0x8028;

/// The attributes below 0x8000 that a check may carry: not knowing any other refuses the request (RFC 8489 §6.3.1).
const UNDERSTOOD: [u16; 12] = [
    0x0001, // MAPPED-ADDRESS
    USERNAME,
    MESSAGE_INTEGRITY,
    ERROR_CODE,
    UNKNOWN_ATTRIBUTES,
    0x0014, // REALM
    0x0015, // NONCE
    MESSAGE_INTEGRITY_SHA256,
    0x001d, // PASSWORD-ALGORITHM
    0x0020, // XOR-MAPPED-ADDRESS
    0x0024, // PRIORITY
    0x0025, // USE-CANDIDATE
];

/// Names a transaction (RFC 8489 §5).
pub type TransactionId = [u8; 12];

/// The class of a message (RFC 8489 §5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Class {
    Request,
    Indication,
    Success,
    Failure,
}

/// A Binding message whose framing is right; nothing is said about who sent it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) class: Class,
    pub(crate) transaction: TransactionId,
    attributes: &'a [u8],
}

/// Why a datagram is no Binding message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ParseError {
    /// Header, lengths, or FINGERPRINT are wrong.
    Malformed,
    /// It has another method.
    OtherMethod,
}

impl<'a> Message<'a> {
    pub(crate) fn parse(datagram: &'a [u8]) -> Result<Self, ParseError> {
        let message = Self::frame(datagram)?;
        message.check_attributes(datagram)?;
        let message_type = u16::from_be_bytes([datagram[0], datagram[1]]);
        if message_type & !0x0110 != 0x0001 {
            return Err(ParseError::OtherMethod);
        }
        Ok(message)
    }

    /// Reads the header only.
    fn frame(datagram: &'a [u8]) -> Result<Self, ParseError> {
        let (header, attributes) = datagram.split_at_checked(HEADER).ok_or(ParseError::Malformed)?;
        let message_type = u16::from_be_bytes([header[0], header[1]]);
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let transaction = header[8..].try_into().map_err(|_| ParseError::Malformed)?;
        if message_type & 0xc000 != 0 || header[4..8] != MAGIC_COOKIE || length != attributes.len() || length % 4 != 0 {
            return Err(ParseError::Malformed);
        }
        let class = match message_type & 0x0110 {
            0x0000 => Class::Request,
            0x0010 => Class::Indication,
            0x0100 => Class::Success,
            _ => Class::Failure,
        };
        Ok(Self { class, transaction, attributes })
    }

    /// Every attribute fits, and FINGERPRINT, if there is one, is last and right (RFC 8489 §14.7).
    fn check_attributes(&self, datagram: &[u8]) -> Result<(), ParseError> {
        let mut rest = self.attributes;
        while !rest.is_empty() {
            let (attribute, value, after) = split_attribute(rest).ok_or(ParseError::Malformed)?;
            if attribute == FINGERPRINT {
                let covered = &datagram[..datagram.len() - rest.len()];
                if !after.is_empty() || value != fingerprint(covered) {
                    return Err(ParseError::Malformed);
                }
            }
            rest = after;
        }
        Ok(())
    }

    /// The attributes before MESSAGE-INTEGRITY, which is where a reader stops (RFC 8489 §14.5), and that one.
    fn protected(&self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = Some(self.attributes);
        std::iter::from_fn(move || {
            let (attribute, value, after) = split_attribute(rest?)?;
            rest = (attribute != MESSAGE_INTEGRITY).then_some(after);
            Some((attribute, value))
        })
    }

    /// The value of an attribute.
    fn attribute(&self, wanted: u16) -> Option<&'a [u8]> {
        self.protected().find(|(attribute, _)| *attribute == wanted).map(|(_, value)| value)
    }

    /// Our half of USERNAME, and the sender's (RFC 8445 §7.2.2).
    pub(crate) fn ufrags(&self) -> Option<(&'a str, &'a str)> {
        std::str::from_utf8(self.attribute(USERNAME)?).ok()?.split_once(':')
    }

    /// Says whether MESSAGE-INTEGRITY is there at all.
    pub(crate) fn has_integrity(&self) -> bool {
        self.attribute(MESSAGE_INTEGRITY).is_some()
    }

    /// The attributes that we would have to understand and do not.
    pub(crate) fn unknown_attributes(&self) -> Vec<u16> {
        self.protected()
            .map(|(attribute, _)| attribute)
            .filter(|attribute| *attribute < 0x8000 && !UNDERSTOOD.contains(attribute))
            .take(8)
            .collect()
    }
}

/// Which of many agents behind one socket a STUN message is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Addressee<'a> {
    /// A request is for the agent of this user name fragment: the first half of USERNAME (RFC 8445 §7.2.2).
    Ufrag(&'a str),
    /// A response is for the agent that began this transaction.
    Transaction(TransactionId),
    /// An indication names nobody; it is for the agent whose peer is where it comes from.
    Source,
}

/// Says which agent a STUN message is for, without a look at anything else: whether the message is good is for the
/// agent to say. `None`: for nobody.
pub fn addressee(datagram: &[u8]) -> Option<Addressee<'_>> {
    let message = Message::frame(datagram).ok()?;
    match message.class {
        Class::Request => message.ufrags().map(|(local, _)| Addressee::Ufrag(local)),
        Class::Success | Class::Failure => Some(Addressee::Transaction(message.transaction)),
        Class::Indication => Some(Addressee::Source),
    }
}

/// The transaction of a request that an agent wants sent; `None` if it is no request.
pub fn transaction_of_request(datagram: &[u8]) -> Option<TransactionId> {
    let message = Message::frame(datagram).ok().filter(|message| message.class == Class::Request)?;
    Some(message.transaction)
}

/// Writes an error response (RFC 8489 §6.3.4), without a reason phrase so that it is smaller than what it answers.
pub(crate) fn error_response(request: &Message<'_>, code: u8, unknown: &[u16], password: Option<&str>) -> Vec<u8> {
    let mut message = vec![0x01, 0x11, 0, 0];
    message.extend(MAGIC_COOKIE);
    message.extend(request.transaction);
    // Codes are all of class 4: 400 to 499.
    write_attribute(&mut message, ERROR_CODE, &[0, 0, 4, code]);
    if !unknown.is_empty() {
        let types: Vec<u8> = unknown.iter().flat_map(|attribute| attribute.to_be_bytes()).collect();
        write_attribute(&mut message, UNKNOWN_ATTRIBUTES, &types);
    }
    if let Some(password) = password {
        set_length(&mut message, 24);
        let integrity = DefaultSha1HmacProvider.sha1_hmac(password.as_bytes(), &[&message]);
        write_attribute(&mut message, MESSAGE_INTEGRITY, &integrity);
    }
    set_length(&mut message, 8);
    let crc = fingerprint(&message);
    write_attribute(&mut message, FINGERPRINT, &crc);
    message
}

/// Checks MESSAGE-INTEGRITY against a password (RFC 8489 §9.1.3).
pub(crate) fn verify(message: &is::stun::StunMessage<'_>, password: &str) -> bool {
    message.verify(password.as_bytes(), |key, parts| DefaultSha1HmacProvider.sha1_hmac(key, parts))
}

/// Writes a success response to a check (RFC 8445 §7.3.1.2).
pub(crate) fn success_response(
    request: &is::stun::StunMessage<'_>,
    mapped: std::net::SocketAddr,
    password: &str,
) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 128];
    let length = is::stun::StunMessage::binding_reply(request.trans_id(), mapped)
        .to_bytes(Some(password.as_bytes()), &mut bytes, |key, parts| DefaultSha1HmacProvider.sha1_hmac(key, parts))
        .ok()?;
    bytes.truncate(length);
    Some(bytes)
}

fn split_attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (header, rest) = bytes.split_at_checked(4)?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let (value, _) = rest.split_at_checked(length)?;
    let (_, after) = rest.split_at_checked(length.next_multiple_of(4))?;
    Some((u16::from_be_bytes([header[0], header[1]]), value, after))
}

fn write_attribute(message: &mut Vec<u8>, attribute: u16, value: &[u8]) {
    message.extend(attribute.to_be_bytes());
    let length = u16::try_from(value.len()).expect("attributes written here have at most 20 bytes");
    message.extend(length.to_be_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// Sets the length field as it will be with `more` bytes of attributes.
fn set_length(message: &mut [u8], more: usize) {
    let length = u16::try_from(message.len() - HEADER + more).expect("messages written here are short");
    message[2..4].copy_from_slice(&length.to_be_bytes());
}

/// CRC-32 of ITU V.42 over the message before FINGERPRINT, whose length field already counts it (RFC 8489 §14.7).
fn fingerprint(covered: &[u8]) -> [u8; 4] {
    let crc = covered.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    });
    (!crc ^ FINGERPRINT_XOR).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5769 §2: the password of all three vectors.
    const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";
    /// RFC 5769 §2.1.
    const REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74\
        002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3\
        f249c1b571a280280004e57a3bcf";
    /// RFC 5769 §2.2.
    const RESPONSE_V4: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001\
        a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96";
    /// RFC 5769 §2.3.
    const RESPONSE_V6: &str = "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002\
        a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c";

    #[test]
    fn the_sample_request_of_rfc_5769_is_read_and_verified() {
        let bytes = hex(REQUEST);
        let message = Message::parse(&bytes).expect("the vector is well-formed");
        assert_eq!(message.class, Class::Request);
        assert_eq!(message.ufrags(), Some(("evtj", "h6vY")));
        assert!(message.has_integrity() && message.unknown_attributes().is_empty());
        assert_eq!(addressee(&bytes), Some(Addressee::Ufrag("evtj")));
        assert_eq!(transaction_of_request(&bytes), Some(message.transaction));
        let message = is::stun::StunMessage::parse(&bytes).expect("the vector is a check");
        assert!(verify(&message, PASSWORD) && !verify(&message, "VOkJxbRl1RmTxUk/WvJxBT"));
        assert_eq!((message.prio(), message.ice_controlled()), (Some(0x6e00_01ff), Some(0x932f_f9b1_5126_3b36)));
    }

    #[test]
    fn the_sample_responses_of_rfc_5769_are_read_and_verified() {
        for (vector, mapped) in
            [(RESPONSE_V4, "192.0.2.1:32853"), (RESPONSE_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")]
        {
            let bytes = hex(vector);
            assert_eq!(Message::parse(&bytes).map(|message| message.class), Ok(Class::Success));
            let transaction = bytes[8..20].try_into().expect("twelve bytes");
            assert_eq!(addressee(&bytes), Some(Addressee::Transaction(transaction)));
            assert_eq!(transaction_of_request(&bytes), None);
            let message = is::stun::StunMessage::parse(&bytes).expect("the vector is a response");
            assert!(verify(&message, PASSWORD));
            assert_eq!(message.mapped_address(), mapped.parse().ok());
        }
    }

    #[test]
    fn fingerprint_notices_every_flipped_bit_of_ids_and_values() {
        let bytes = hex(REQUEST);
        for bit in (8 * 8..20 * 8)
            .chain((bytes.len() - 28) * 8..(bytes.len() - 8) * 8)
            .chain(bytes.len() * 8 - 32..bytes.len() * 8)
        {
            let mut broken = bytes.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(Message::parse(&broken).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_truncation_is_malformed() {
        let bytes = hex(REQUEST);
        for length in 0..bytes.len() {
            assert_eq!(Message::parse(&bytes[..length]).err(), Some(ParseError::Malformed), "length {length}");
        }
    }

    #[test]
    fn an_error_response_reads_back_and_is_smaller_than_a_check() {
        let bytes = hex(REQUEST);
        let request = Message::parse(&bytes).expect("the vector is well-formed");
        for (code, unknown, password) in [(0, vec![], None), (20, vec![0x7001_u16, 0x7002], Some(PASSWORD))] {
            let response = error_response(&request, code, &unknown, password);
            assert!(response.len() < bytes.len());
            let message = Message::parse(&response).expect("our own message");
            assert_eq!((message.class, message.transaction), (Class::Failure, request.transaction));
            let message = is::stun::StunMessage::parse(&response).expect("our own message");
            assert_eq!(message.error_code(), Some((400 + u16::from(code), "")));
            assert_eq!(verify(&message, PASSWORD), password.is_some());
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("hexadecimal is ASCII"), 16);
        digits.chunks(2).map(|digits| pair(digits).expect("the vector is hexadecimal")).collect()
    }
}
