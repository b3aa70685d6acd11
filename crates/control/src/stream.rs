//! Messages over a stream, back to back without anything between them.
//!
//! Each byte is looked at once, however small the pieces are in which a message comes.
//!
//! ```
//! use control::Stream;
//!
//! let mut stream = Stream::new();
//! stream.push(b"1 d7:command4:pinge2 {\"command\"");
//! assert_eq!(stream.next_message(), Ok(Some(&b"1 d7:command4:pinge"[..])));
//! assert_eq!(stream.next_message(), Ok(None));
//! stream.push(b":\"ping\"}");
//! assert_eq!(stream.next_message(), Ok(Some(&b"2 {\"command\":\"ping\"}"[..])));
//! ```

use thiserror::Error;

use crate::bencode::BencodeError;
use crate::json::JsonError;
use crate::{MAX_MESSAGE, ReadError};

/// What came over a stream and was not taken yet: less than [`MAX_MESSAGE`] bytes and what was pushed last.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    bytes: Vec<u8>,
    /// Where the message begins.
    start: usize,
    /// Up to where its bytes were looked at.
    looked_at: usize,
    place: Place,
}

/// What no further message can be told apart behind. The stream is of no use any more.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum StreamError {
    /// There is no cookie, so there is nobody to answer.
    #[error("no cookie")]
    NoCookie,
    /// A dictionary whose end cannot be found.
    #[error("{error}")]
    Unreadable {
        /// The message, as far as it came.
        message: Vec<u8>,
        /// What is wrong with it.
        error: ReadError,
    },
}

/// What the next byte of a message is part of.
#[derive(Clone, Copy, Debug, Default)]
enum Place {
    /// Nothing yet.
    #[default]
    Between,
    Cookie,
    /// The first byte of the dictionary.
    Payload,
    /// A dictionary in bencode, in so many others.
    Bencode(usize, Token),
    /// A dictionary in JSON, in so many others.
    Json(usize, Text),
}

/// What the next byte of bencode is part of.
#[derive(Clone, Copy, Debug)]
enum Token {
    /// A new value, or the end of a list or dictionary.
    Any,
    Integer,
    /// The length of a string, as far as it was read.
    Length(usize),
    /// A string that has so many bytes more.
    String(usize),
}

/// What the next byte of JSON is part of.
#[derive(Clone, Copy, Debug)]
enum Text {
    Outside,
    String,
    /// The character behind a `\`.
    Escaped,
}

impl Stream {
    /// Nothing has come yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what has come. All messages before it should have been taken out.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.looked_at -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Says whether part of a message has come.
    pub fn is_within_message(&self) -> bool {
        !matches!(self.place, Place::Between)
    }

    /// The next message, if it has come as a whole. Line ends between messages are passed over.
    ///
    /// # Errors
    ///
    /// What has come is not a message, or too long to be one.
    pub fn next_message(&mut self) -> Result<Option<&[u8]>, StreamError> {
        while let Some(byte) = self.bytes.get(self.looked_at).copied() {
            self.looked_at += 1;
            let length = self.looked_at - self.start;
            self.place = match self.place.next(byte) {
                Ok(Some(Place::Between)) => {
                    self.start = self.looked_at;
                    Place::Between
                }
                Ok(Some(place)) if length < MAX_MESSAGE => place,
                Ok(Some(place)) => return Err(self.unreadable(place.too_long())),
                Ok(None) => {
                    let message = self.start..self.looked_at;
                    (self.start, self.place) = (self.looked_at, Place::Between);
                    return Ok(Some(&self.bytes[message]));
                }
                Err(error) => return Err(self.unreadable(error)),
            };
        }
        Ok(None)
    }

    fn unreadable(&self, error: Option<ReadError>) -> StreamError {
        let message = &self.bytes[self.start..];
        error.map_or(StreamError::NoCookie, |error| StreamError::Unreadable { message: message.to_vec(), error })
    }
}

impl Place {
    /// What the byte after this one is part of; nothing if the message ends with this one.
    fn next(self, byte: u8) -> Result<Option<Self>, Option<ReadError>> {
        Ok(Some(match (self, byte) {
            (Self::Between, b'\r' | b'\n') => Self::Between,
            (Self::Between, b' ') => return Err(None),
            (Self::Cookie, b' ') => Self::Payload,
            (Self::Between | Self::Cookie, _) => Self::Cookie,
            (Self::Payload, b'd') => Self::Bencode(0, Token::Any),
            (Self::Payload, b'{') => Self::Json(0, Text::Outside),
            (Self::Payload, _) => return Err(Some(ReadError::UnknownEncoding)),
            (Self::Bencode(depth, token), byte) => match token.next(depth, byte).map_err(ReadError::Bencode)? {
                Some((depth, token)) => Self::Bencode(depth, token),
                None => return Ok(None),
            },
            (Self::Json(0, Text::Outside), b'}' | b']') => return Ok(None),
            (Self::Json(depth, text), byte) => {
                let (depth, text) = text.next(depth, byte);
                Self::Json(depth, text)
            }
        }))
    }

    /// Why a message that is still here after [`MAX_MESSAGE`] bytes cannot be read.
    const fn too_long(self) -> Option<ReadError> {
        match self {
            Self::Between | Self::Cookie => None,
            Self::Payload => Some(ReadError::Empty),
            Self::Bencode(..) => Some(ReadError::Bencode(BencodeError::TooLong)),
            Self::Json(..) => Some(ReadError::Json(JsonError::TooLong)),
        }
    }
}

impl Token {
    fn next(self, depth: usize, byte: u8) -> Result<Option<(usize, Self)>, BencodeError> {
        let digit = || byte.is_ascii_digit().then(|| usize::from(byte - b'0'));
        Ok(Some(match (self, byte) {
            (Self::Any, b'd' | b'l') => (depth + 1, Self::Any),
            (Self::Any, b'e') if depth == 0 => return Ok(None),
            (Self::Any, b'e') => (depth - 1, Self::Any),
            (Self::Any, b'i') => (depth, Self::Integer),
            (Self::Any, _) => (depth, Self::Length(digit().ok_or(BencodeError::Malformed)?)),
            (Self::Integer, b'e') => (depth, Self::Any),
            (Self::Integer, b'-' | b'0'..=b'9') => (depth, Self::Integer),
            (Self::Integer, _) => return Err(BencodeError::Malformed),
            (Self::Length(length), _) if length > MAX_MESSAGE => return Err(BencodeError::TooLong),
            (Self::Length(0), b':') | (Self::String(1), _) => (depth, Self::Any),
            (Self::Length(length), b':') => (depth, Self::String(length)),
            (Self::Length(length), _) => (depth, Self::Length(10 * length + digit().ok_or(BencodeError::Malformed)?)),
            (Self::String(length), _) => (depth, Self::String(length - 1)),
        }))
    }
}

impl Text {
    const fn next(self, depth: usize, byte: u8) -> (usize, Self) {
        match (self, byte) {
            (Self::Outside, b'{' | b'[') => (depth + 1, self),
            // The outermost end was seen by the caller.
            (Self::Outside, b'}' | b']') => (depth.saturating_sub(1), self),
            (Self::Outside, b'"') => (depth, Self::String),
            (Self::String, b'"') => (depth, Self::Outside),
            (Self::String, b'\\') => (depth, Self::Escaped),
            (Self::Escaped, _) => (depth, Self::String),
            (Self::Outside | Self::String, _) => (depth, self),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::tests::any_text_value;
    use crate::{Dictionary, Encoding, Frame};

    /// All messages in some bytes, and the error they end with.
    fn read(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Option<StreamError>) {
        let (mut stream, mut messages) = (Stream::new(), Vec::new());
        for piece in pieces {
            stream.push(piece);
            loop {
                match stream.next_message() {
                    Ok(Some(message)) => messages.push(message.to_vec()),
                    Ok(None) => break,
                    Err(error) => return (messages, Some(error)),
                }
            }
        }
        (messages, None)
    }

    proptest! {
        #[test]
        fn what_is_written_is_parted_again_however_it_comes(
            values in prop::collection::vec((any_text_value(), any::<bool>(), "[!-~]{1,8}"), 0..5),
            cut in 1usize..20,
        ) {
            let messages: Vec<_> = values.into_iter().map(|(value, is_json, cookie)| {
                let encoding = if is_json { Encoding::Json } else { Encoding::Bencode };
                Frame::write(cookie.as_bytes(), encoding, &Dictionary::new().with("key", value))
            }).collect();
            let whole = messages.concat();
            let pieces: Vec<_> = whole.chunks(cut).collect();
            prop_assert_eq!(read(&pieces), (messages.clone(), None));
            prop_assert_eq!(read(&[&whole]), (messages, None));
        }

        #[test]
        fn no_bytes_panic(noise in prop::collection::vec(prop::sample::select(b"1 0123456789ilde:-x{}[]\"\\".to_vec()), 0..64)) {
            read(&[&[b"1 d", noise.as_slice()].concat()]);
            read(&[&[b"1 {", noise.as_slice()].concat()]);
            read(&[&noise]);
        }
    }

    #[test]
    fn line_ends_may_part_messages() {
        let (messages, error) = read(&[b"1 de\r\n\n2 {}\n3"]);
        assert_eq!((messages, error), (vec![b"1 de".to_vec(), b"2 {}".to_vec()], None));
    }

    fn refusal(bytes: &[u8]) -> Option<String> {
        match read(&[bytes]) {
            (messages, Some(StreamError::Unreadable { message, error })) => {
                assert_eq!((messages.len(), message), (1, bytes[4..].to_vec()));
                Some(error.to_string())
            }
            (_, Some(StreamError::NoCookie)) => None,
            (_, None) => panic!("it is a message"),
        }
    }

    #[test]
    fn what_no_message_can_be_found_behind_is_told() {
        assert_eq!(refusal(b"1 de ").as_deref(), None);
        assert_eq!(refusal(b"1 de2 x").as_deref(), Some("Invalid NG data format"));
        for wrong in ["dx", "d1x", "di1xe", "d999999:", "d99999999999999999999999999:"] {
            let refusal = refusal(format!("1 de2 {wrong}").as_bytes());
            assert_eq!(refusal.as_deref(), Some("Could not decode bencode dictionary"), "{wrong}");
        }
    }

    #[test]
    fn what_is_too_long_is_told_once_it_is() {
        let padded = |prefix: &[u8], length: usize| [prefix, &vec![b'x'; length - prefix.len()]].concat();
        for (prefix, refused) in [
            (&b"2 d262144:"[..], Some("Could not decode bencode dictionary")),
            (b"2 {\"", Some("Failed to parse JSON document")),
            (b"", None),
        ] {
            assert_eq!(read(&[&padded(prefix, MAX_MESSAGE - 1)]), (vec![], None));
            let long = [b"1 de", padded(prefix, MAX_MESSAGE).as_slice()].concat();
            assert_eq!(refusal(&long).as_deref(), refused);
        }
    }
}
