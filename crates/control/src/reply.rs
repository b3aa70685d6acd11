//! How a request went.

use thiserror::Error;

use crate::Dictionary;

/// What a relay says to a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply<'a> {
    /// It is done; the rest of the dictionary says what came of it.
    Done(&'a Dictionary<'a>),
    /// To `ping`.
    Pong,
    /// It is refused, and why.
    Error(&'a str),
    /// The relay takes no more calls, in its words.
    LoadLimit(&'a str),
}

/// A dictionary that is no reply.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("a reply without a result that is known: {0:?}")]
pub struct ReplyError(String);

impl<'a> Reply<'a> {
    /// Reads a reply.
    ///
    /// # Errors
    ///
    /// It has no `result`, or none that is known.
    pub fn of(dictionary: &'a Dictionary<'a>) -> Result<Self, ReplyError> {
        let said = |name| dictionary.text(name).unwrap_or("no reason given");
        match dictionary.text("result") {
            Some("ok") => Ok(Self::Done(dictionary)),
            Some("pong") => Ok(Self::Pong),
            Some("error") => Ok(Self::Error(said("error-reason"))),
            Some("load limit") => Ok(Self::LoadLimit(said("message"))),
            result => Err(ReplyError(result.unwrap_or_default().to_owned())),
        }
    }

    /// Writes the reply that refuses a request.
    pub fn error(reason: &'a str) -> Dictionary<'a> {
        Dictionary::new().with("result", "error").with("error-reason", reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_is_told_apart() {
        let done = Dictionary::new().with("result", "ok").with("sdp", "v=0");
        assert_eq!(Reply::of(&done), Ok(Reply::Done(&done)));
        assert_eq!(Reply::of(&Reply::error("Unknown call-id")), Ok(Reply::Error("Unknown call-id")));
        let full = Dictionary::new().with("result", "load limit").with("message", "Parallel session limit reached");
        assert_eq!(Reply::of(&full), Ok(Reply::LoadLimit("Parallel session limit reached")));
        assert!(Reply::of(&Dictionary::new()).is_err());
        assert!(Reply::of(&Dictionary::new().with("result", "maybe")).is_err());
    }
}
