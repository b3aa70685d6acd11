//! Bencode: `i<number>e`, `<length>:<bytes>`, `l…e`, `d…e`.
//!
//! Names of a dictionary may come in any order, as Kamailio sends them.

use std::borrow::Cow;

use thiserror::Error;

use crate::{Dictionary, MAX_DEPTH, MAX_MESSAGE, Value};

/// Why bytes are not a value.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum BencodeError {
    /// They end before the value does; over a stream, more may come.
    #[error("it ends too soon")]
    Incomplete,
    /// A byte that cannot stand where it stands.
    #[error("it is not bencode")]
    Malformed,
    /// Lists and dictionaries lie deeper in each other than [`MAX_DEPTH`].
    #[error("it is nested too deeply")]
    TooDeep,
    /// It is longer than [`MAX_MESSAGE`].
    #[error("it is too long")]
    TooLong,
    /// Something follows the value.
    #[error("more than one value")]
    Trailing,
}

/// Reads bytes that are one value and nothing else.
///
/// # Errors
///
/// They are not.
pub fn parse(bytes: &[u8]) -> Result<Value<'_>, BencodeError> {
    let (value, length) = parse_first(bytes)?;
    if length == bytes.len() { Ok(value) } else { Err(BencodeError::Trailing) }
}

/// Reads the value at the beginning of the bytes. Returns its length too.
///
/// # Errors
///
/// There is none, or it has not come as a whole yet ([`BencodeError::Incomplete`]).
pub fn parse_first(bytes: &[u8]) -> Result<(Value<'_>, usize), BencodeError> {
    let window = bytes.get(..MAX_MESSAGE).unwrap_or(bytes);
    let mut reader = Reader { rest: window };
    match reader.value(MAX_DEPTH) {
        Err(BencodeError::Incomplete) if window.len() < bytes.len() => Err(BencodeError::TooLong),
        Err(error) => Err(error),
        Ok(value) => Ok((value, window.len() - reader.rest.len())),
    }
}

/// Writes a value.
pub fn write(value: &Value<'_>, output: &mut Vec<u8>) {
    match value {
        Value::Integer(number) => output.extend_from_slice(format!("i{number}e").as_bytes()),
        Value::Bytes(bytes) => write_bytes(bytes, output),
        Value::List(members) => {
            output.push(b'l');
            members.iter().for_each(|member| write(member, output));
            output.push(b'e');
        }
        Value::Dictionary(dictionary) => write_dictionary(dictionary, output),
    }
}

/// Writes a dictionary.
pub fn write_dictionary(dictionary: &Dictionary<'_>, output: &mut Vec<u8>) {
    output.push(b'd');
    for (name, value) in dictionary.iter() {
        write_bytes(name, output);
        write(value, output);
    }
    output.push(b'e');
}

fn write_bytes(bytes: &[u8], output: &mut Vec<u8>) {
    output.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
    output.extend_from_slice(bytes);
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads a value in which lists and dictionaries lie at most `depth` deep.
    fn value(&mut self, depth: usize) -> Result<Value<'a>, BencodeError> {
        match self.first()? {
            b'i' => {
                self.skip();
                self.number(b'e').map(Value::Integer)
            }
            b'l' => {
                let depth = self.enter(depth)?;
                let mut members = Vec::new();
                while !self.ends()? {
                    members.push(self.value(depth)?);
                }
                Ok(Value::List(members))
            }
            b'd' => {
                let depth = self.enter(depth)?;
                let mut dictionary = Dictionary::new();
                while !self.ends()? {
                    let name = self.bytes()?;
                    dictionary.insert(name, self.value(depth)?);
                }
                Ok(Value::Dictionary(dictionary))
            }
            _ => self.bytes().map(|bytes| Value::Bytes(Cow::Borrowed(bytes))),
        }
    }

    fn enter(&mut self, depth: usize) -> Result<usize, BencodeError> {
        self.skip();
        depth.checked_sub(1).ok_or(BencodeError::TooDeep)
    }

    /// Says whether the list or dictionary ends here.
    fn ends(&mut self) -> Result<bool, BencodeError> {
        let ends = self.first()? == b'e';
        if ends {
            self.skip();
        }
        Ok(ends)
    }

    fn bytes(&mut self) -> Result<&'a [u8], BencodeError> {
        if !self.first()?.is_ascii_digit() {
            return Err(BencodeError::Malformed);
        }
        let length = usize::try_from(self.number(b':')?).map_err(|_| BencodeError::Malformed)?;
        if length > MAX_MESSAGE {
            return Err(BencodeError::TooLong);
        }
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(BencodeError::Incomplete)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Reads a decimal number, and the byte that ends it.
    fn number(&mut self, end: u8) -> Result<i64, BencodeError> {
        /// A sign and the digits of `i64::MIN`.
        const LONGEST: usize = 20;
        let digits = self.rest.iter().take(LONGEST).take_while(|byte| byte.is_ascii_digit() || **byte == b'-');
        let (digits, rest) = self.rest.split_at(digits.count());
        match rest.first() {
            Some(byte) if *byte == end => {}
            Some(_) => return Err(BencodeError::Malformed),
            None => return Err(BencodeError::Incomplete),
        }
        self.rest = rest;
        self.skip();
        let text = std::str::from_utf8(digits).map_err(|_| BencodeError::Malformed)?;
        text.parse().map_err(|_| BencodeError::Malformed)
    }

    fn first(&self) -> Result<u8, BencodeError> {
        self.rest.first().copied().ok_or(BencodeError::Incomplete)
    }

    /// Passes over a byte that was looked at.
    fn skip(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::tests::any_value;

    #[test]
    fn names_may_come_in_any_order_and_twice() {
        let value = parse(b"d3:sdp1:x7:call-id1:13:sdp1:ye").expect("it is bencode");
        let dictionary = value.dictionary().expect("it is one");
        assert_eq!((dictionary.text("sdp"), dictionary.text("call-id")), (Some("y"), Some("1")));
    }

    #[test]
    fn a_number_has_its_whole_range_and_no_more() {
        for number in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(parse(format!("i{number}e").as_bytes()), Ok(Value::Integer(number)));
        }
        for text in ["ie", "i-e", "i1-e", "i--1e", "i+1e", "i9223372036854775808e", "i000000000000000000001e", "ix"] {
            assert_eq!(parse(text.as_bytes()), Err(BencodeError::Malformed), "{text}");
        }
    }

    #[test]
    fn what_lies_too_deep_or_is_too_long_is_refused() {
        let nested = |depth: usize| [vec![b'l'; depth], vec![b'e'; depth]].concat();
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(parse(&nested(MAX_DEPTH + 1)), Err(BencodeError::TooDeep));
        assert_eq!(parse(&vec![b'l'; 1 << 24]), Err(BencodeError::TooDeep));
        assert_eq!(parse(b"262145:"), Err(BencodeError::TooLong));
        assert_eq!(parse(&[b"l262140:", &[b'x'; MAX_MESSAGE][..]].concat()), Err(BencodeError::TooLong));
        assert_eq!(parse(b"-1:"), Err(BencodeError::Malformed));
        assert_eq!(parse(b"9223372036854775807:"), Err(BencodeError::TooLong));
    }

    #[test]
    fn one_value_is_parted_from_what_follows() {
        assert_eq!(parse_first(b"4:pingx 4:p"), Ok((Value::from("ping"), 6)));
        assert_eq!(parse(b"4:pingx"), Err(BencodeError::Trailing));
        assert_eq!(parse(b"i1"), Err(BencodeError::Incomplete));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in any_value()) {
            let mut bytes = Vec::new();
            write(&value, &mut bytes);
            prop_assert_eq!(parse(&bytes), Ok(value.clone()));
            for end in 0..bytes.len() {
                prop_assert_eq!(parse(&bytes[..end]), Err(BencodeError::Incomplete));
            }
        }

        #[test]
        fn no_bytes_panic_and_what_is_read_is_written_and_read_again(
            value in any_value(),
            mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            noise in prop::collection::vec(prop::sample::select(b"0123456789ilde:-x".to_vec()), 0..64),
        ) {
            let mut mutated = Vec::new();
            write(&value, &mut mutated);
            for (place, byte) in mutations {
                let place = place.index(mutated.len());
                mutated[place] = byte;
            }
            for bytes in [mutated, noise] {
                if let Ok(value) = parse(&bytes) {
                    let mut written = Vec::new();
                    write(&value, &mut written);
                    prop_assert_eq!(parse(&written), Ok(value));
                }
            }
        }
    }
}
