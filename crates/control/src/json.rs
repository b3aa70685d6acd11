//! JSON: numbers for integers, strings for bytes.

use std::borrow::Cow;

use serde_json::Value as Json;
use thiserror::Error;

use crate::{Dictionary, MAX_DEPTH, MAX_MESSAGE, Value};

/// Why a text is not a value.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum JsonError {
    /// It breaks the grammar of RFC 8259.
    #[error("it is not JSON")]
    Malformed,
    /// A fraction, a number beyond 64 bits, or `null`, for which bencode has no form.
    #[error("it holds what is neither number nor string")]
    Unsupported,
    /// Lists and dictionaries lie deeper in each other than [`MAX_DEPTH`].
    #[error("it is nested too deeply")]
    TooDeep,
    /// It is longer than [`MAX_MESSAGE`].
    #[error("it is too long")]
    TooLong,
}

/// Reads a text that is one value and nothing else. `true` and `false` are 1 and 0.
///
/// # Errors
///
/// It is not.
pub fn parse(text: &[u8]) -> Result<Value<'static>, JsonError> {
    if text.len() > MAX_MESSAGE {
        return Err(JsonError::TooLong);
    }
    // Its own bound on nesting keeps the stack; ours is below it.
    let json: Json = serde_json::from_slice(text).map_err(|_| JsonError::Malformed)?;
    from_json(json, MAX_DEPTH)
}

/// Writes a value. Bytes that are not UTF-8, which JSON cannot hold, become U+FFFD.
pub fn write(value: &Value<'_>, output: &mut Vec<u8>) {
    serde_json::to_writer(output, &to_json(value)).expect("memory takes every write");
}

/// Writes a dictionary.
pub fn write_dictionary(dictionary: &Dictionary<'_>, output: &mut Vec<u8>) {
    serde_json::to_writer(output, &object(dictionary)).expect("memory takes every write");
}

fn from_json(json: Json, depth: usize) -> Result<Value<'static>, JsonError> {
    let inner = || depth.checked_sub(1).ok_or(JsonError::TooDeep);
    Ok(match json {
        Json::Null => return Err(JsonError::Unsupported),
        Json::Bool(truth) => Value::Integer(truth.into()),
        Json::Number(number) => Value::Integer(number.as_i64().ok_or(JsonError::Unsupported)?),
        Json::String(text) => Value::from(text),
        Json::Array(members) => {
            let depth = inner()?;
            Value::List(members.into_iter().map(|member| from_json(member, depth)).collect::<Result<_, _>>()?)
        }
        Json::Object(members) => {
            let depth = inner()?;
            let mut dictionary = Dictionary::new();
            for (name, member) in members {
                dictionary.insert(Cow::Owned(name.into_bytes()), from_json(member, depth)?);
            }
            Value::Dictionary(dictionary)
        }
    })
}

fn to_json(value: &Value<'_>) -> Json {
    match value {
        Value::Integer(number) => Json::from(*number),
        Value::Bytes(bytes) => Json::String(text(bytes)),
        Value::List(members) => Json::Array(members.iter().map(to_json).collect()),
        Value::Dictionary(dictionary) => object(dictionary),
    }
}

fn object(dictionary: &Dictionary<'_>) -> Json {
    Json::Object(dictionary.iter().map(|(name, value)| (text(name), to_json(value))).collect())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::tests::any_text_value;

    #[test]
    fn what_bencode_has_no_form_for_is_refused() {
        for text in ["null", "1.5", "9223372036854775808", "[null]"] {
            assert_eq!(parse(text.as_bytes()), Err(JsonError::Unsupported), "{text}");
        }
        assert_eq!(parse(b"[true, 2]"), Ok(Value::from(vec![1, 2])));
        assert_eq!(parse(b"{"), Err(JsonError::Malformed));
    }

    #[test]
    fn what_lies_too_deep_or_is_too_long_is_refused() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(parse(&nested(MAX_DEPTH + 1)), Err(JsonError::TooDeep));
        assert_eq!(parse(&nested(100_000)), Err(JsonError::Malformed));
        assert_eq!(parse(&vec![b' '; MAX_MESSAGE + 1]), Err(JsonError::TooLong));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in any_text_value()) {
            let mut text = Vec::new();
            write(&value, &mut text);
            prop_assert_eq!(parse(&text), Ok(value));
        }

        #[test]
        fn no_text_panics(text in "[\\[\\]{}:,\"\\\\tfn0-9.e-]{0,64}") {
            let _ = parse(text.as_bytes());
        }
    }
}
