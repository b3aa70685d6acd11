//! User name fragments, passwords and tie-breakers.

use model::{IceParameters, Secret};
use thiserror::Error;

/// The ice-chars (RFC 8839 §5.4) without `+` and `/`: 62 of them, so one is 5.95 bits.
const ICE_CHARS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Characters of our user name fragments, 47 bits; at least 24 are asked for (RFC 8445 §5.3).
const UFRAG_LENGTH: usize = 8;
/// Characters of our passwords, 154 bits; at least 128 are asked for (RFC 8445 §5.3).
const PWD_LENGTH: usize = 26;
/// The longest ufrag of a peer that leaves room for ours in a USERNAME of 128 bytes, the most the STUN writer takes.
const MAX_REMOTE_UFRAG: usize = 128 - 1 - UFRAG_LENGTH;

/// Why a peer's credentials cannot be used.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The user name fragment is not 4 to 119 characters (RFC 8839 §5.4 allows 256, and asks for no more than 32), or
    /// has one that a USERNAME cannot carry. Characters outside the ice-chars are let pass: they do no harm.
    #[error("ICE user name fragment is not 4 to 119 visible characters without a colon")]
    Ufrag,
    /// The password is not 22 to 256 visible characters.
    #[error("ICE password is not 22 to 256 visible characters")]
    Pwd,
    /// One of the two changed and the other did not: neither the old session nor a restart (RFC 8445 §9).
    #[error("ICE user name fragment and password did not change together")]
    HalfChanged,
    /// Both changed without a restart of ours, which must come first.
    #[error("ICE credentials changed without a restart")]
    NotRestarted,
}

/// Draws fresh credentials of a full agent.
///
/// # Panics
///
/// The system has no random source.
pub fn new_credentials() -> IceParameters {
    IceParameters { ufrag: random_text(UFRAG_LENGTH), pwd: Secret::new(random_text(PWD_LENGTH)), lite: false }
}

/// Draws the number that settles a role conflict, one per ICE session (RFC 8445 §16.1).
///
/// # Panics
///
/// The system has no random source.
pub fn new_tie_breaker() -> u64 {
    getrandom::u64().expect("a system that runs this program has a random source")
}

/// Says whether a peer's credentials are well-formed.
///
/// # Errors
///
/// Which of them is not.
pub fn check(remote: &IceParameters) -> Result<(), CredentialsError> {
    let pwd = remote.pwd.reveal();
    if !(4..=MAX_REMOTE_UFRAG).contains(&remote.ufrag.len()) || !is_visible(&remote.ufrag) {
        return Err(CredentialsError::Ufrag);
    }
    if !(22..=256).contains(&pwd.len()) || !is_visible(pwd) {
        return Err(CredentialsError::Pwd);
    }
    Ok(())
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
}

fn random_text(length: usize) -> String {
    let mut text = String::new();
    let mut bytes = [0; 64];
    while text.len() < length {
        getrandom::fill(&mut bytes).expect("a system that runs this program has a random source");
        // What is above 61 is thrown away, so that each character is as likely as any other.
        let drawn = bytes.iter().filter_map(|byte| ICE_CHARS.get(usize::from(byte & 63)));
        text.extend(drawn.map(|char| char::from(*char)).take(length - text.len()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_credentials_pass_our_own_check_and_never_repeat() {
        let (first, second) = (new_credentials(), new_credentials());
        assert_eq!(check(&first), Ok(()));
        assert_eq!((first.ufrag.len(), first.pwd.reveal().len()), (8, 26));
        assert!(first.pwd.reveal().chars().all(|char| char.is_ascii_alphanumeric()));
        assert_ne!(first.ufrag, second.ufrag);
        assert_ne!(first.pwd.reveal(), second.pwd.reveal());
    }

    #[test]
    fn malformed_credentials_are_refused() {
        let with = |ufrag: &str, pwd: &str| IceParameters {
            ufrag: ufrag.to_owned(),
            pwd: Secret::new(pwd.to_owned()),
            lite: false,
        };
        let pwd = "x".repeat(22);
        assert_eq!(check(&with("abcd", &pwd)), Ok(()));
        assert_eq!(check(&with("abc", &pwd)), Err(CredentialsError::Ufrag));
        assert_eq!(check(&with(&"a".repeat(120), &pwd)), Err(CredentialsError::Ufrag));
        assert_eq!(check(&with("ab:cd", &pwd)), Err(CredentialsError::Ufrag));
        assert_eq!(check(&with("abcd", "short")), Err(CredentialsError::Pwd));
    }
}
