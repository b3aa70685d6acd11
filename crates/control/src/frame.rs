//! A message: cookie, space, dictionary.

use thiserror::Error;

use crate::bencode::BencodeError;
use crate::json::JsonError;
use crate::{Dictionary, Value, bencode, json};

/// How a dictionary is written.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Encoding {
    /// [`bencode`].
    Bencode,
    /// [`json`].
    Json,
}

impl Encoding {
    /// How the reply to a payload is written, whether or not it can be read.
    pub fn of(payload: &[u8]) -> Self {
        if payload.first() == Some(&b'{') { Self::Json } else { Self::Bencode }
    }

    /// Writes a dictionary.
    pub fn write(self, dictionary: &Dictionary<'_>, output: &mut Vec<u8>) {
        match self {
            Self::Bencode => bencode::write_dictionary(dictionary, output),
            Self::Json => json::write_dictionary(dictionary, output),
        }
    }
}

/// A message whose dictionary was not read yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame<'a> {
    /// What ties a reply to its request: at least one byte, no space. A request that is repeated keeps it.
    pub cookie: &'a [u8],
    /// The dictionary, as it is written.
    pub payload: &'a [u8],
}

/// There is no cookie, so there is nobody to answer: such a message is dropped.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("no cookie")]
pub struct FrameError;

/// Why a payload could not be read. The texts are those that others know.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ReadError {
    /// There is none.
    #[error("Invalid data (no payload)")]
    Empty,
    /// It begins as neither encoding does.
    #[error("Invalid NG data format")]
    UnknownEncoding,
    /// It is not bencode.
    #[error("Could not decode bencode dictionary")]
    Bencode(#[source] BencodeError),
    /// It is not JSON.
    #[error("Failed to parse JSON document")]
    Json(#[source] JsonError),
}

impl<'a> Frame<'a> {
    /// Parts the cookie from the payload.
    ///
    /// # Errors
    ///
    /// There is no space, or nothing before it.
    pub fn split(message: &'a [u8]) -> Result<Self, FrameError> {
        let space = message.iter().position(|byte| *byte == b' ').filter(|at| *at > 0).ok_or(FrameError)?;
        Ok(Self { cookie: &message[..space], payload: &message[space + 1..] })
    }

    /// Reads the dictionary, and says how it was written: its reply is to be written the same way.
    ///
    /// # Errors
    ///
    /// It is neither bencode nor JSON, or none that we take.
    pub fn read(&self) -> Result<(Encoding, Dictionary<'a>), ReadError> {
        let (encoding, value) = match self.payload.first() {
            None => return Err(ReadError::Empty),
            Some(b'd') => (Encoding::Bencode, bencode::parse(self.payload).map_err(ReadError::Bencode)?),
            Some(b'{') => (Encoding::Json, json::parse(self.payload).map_err(ReadError::Json)?),
            Some(_) => return Err(ReadError::UnknownEncoding),
        };
        match value {
            Value::Dictionary(dictionary) => Ok((encoding, dictionary)),
            // Neither encoding begins another value as it begins a dictionary.
            Value::Integer(_) | Value::Bytes(_) | Value::List(_) => Err(ReadError::UnknownEncoding),
        }
    }

    /// Writes a message.
    pub fn write(cookie: &[u8], encoding: Encoding, dictionary: &Dictionary<'_>) -> Vec<u8> {
        let mut message = cookie.to_vec();
        message.push(b' ');
        encoding.write(dictionary, &mut message);
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_written_as_its_request_was() {
        for request in [&b"5323_1 d7:command4:pinge"[..], br#"5323_1 {"command":"ping"}"#] {
            let frame = Frame::split(request).expect("it has a cookie");
            let (encoding, dictionary) = frame.read().expect("it is a request");
            assert_eq!((frame.cookie, dictionary.text("command")), (&b"5323_1"[..], Some("ping")));
            assert_eq!(Encoding::of(frame.payload), encoding);
            assert_eq!(Frame::write(frame.cookie, encoding, &dictionary), request);
        }
    }

    #[test]
    fn a_message_without_a_cookie_is_nobodys() {
        for message in [&b""[..], b" d4:pinge", b"d7:command4:pinge"] {
            assert_eq!(Frame::split(message), Err(FrameError));
        }
    }

    #[test]
    fn what_is_no_dictionary_is_refused_in_words_that_others_know() {
        let refusal = |message: &[u8]| {
            let error = Frame::split(message).expect("it has a cookie").read().expect_err("it is no request");
            error.to_string()
        };
        assert_eq!(refusal(b"1 "), "Invalid data (no payload)");
        assert_eq!(refusal(b"1 x"), "Invalid NG data format");
        assert_eq!(refusal(b"1 d7:command"), "Could not decode bencode dictionary");
        assert_eq!(refusal(b"1 {\"command\"}"), "Failed to parse JSON document");
    }
}
