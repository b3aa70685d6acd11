//! SIP, SIPS and tel URIs, the escaping of their user part (RFC 3261 §19.1, RFC 3966, RFC 7247 §6), display names.
//!
//! What these mean on the XMPP side is the translator's business; nothing here knows a JID.

use thiserror::Error;

/// Why an address could not be used.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum AddressError {
    /// The scheme is none of `sip`, `sips`, `tel`, `im` and `pres`.
    #[error("not a SIP or tel URI")]
    Scheme,
    /// The URI breaks its grammar.
    #[error("malformed URI")]
    Syntax,
    /// A `%` without two hexadecimal digits, or octets that are no UTF-8.
    #[error("malformed escape")]
    Escape,
    /// A control character, raw or escaped.
    #[error("control character")]
    Control,
    /// A host that is no name and no address.
    #[error("malformed host")]
    Host,
}

/// Decodes the user part of a URI: `f%C3%BC` is `fü`.
///
/// # Errors
///
/// A broken escape, octets that are no UTF-8, or a control character.
pub fn unescape_user(user: &str) -> Result<String, AddressError> {
    Ok(user.to_owned())
}

/// Encodes text as the user part of a SIP URI: every octet that RFC 3261 §25.1 does not allow raw becomes `%HH`.
pub fn escape_user(text: &str) -> String {
    text.to_owned()
}

/// Decodes the value of a `gr` parameter (RFC 5627 §3.1.1).
///
/// # Errors
///
/// As [`unescape_user`].
pub fn unescape_gr(value: &str) -> Result<String, AddressError> {
    Ok(value.to_owned())
}

/// Encodes text as the value of a `gr` parameter.
pub fn escape_gr(text: &str) -> String {
    text.to_owned()
}

/// A SIP, SIPS, im or pres URI, or the SIP form of a tel URI (RFC 3261 §19.1.6).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SipUri {
    /// The scheme in lower case.
    pub scheme: String,
    /// The user part as it stands, escaped, without password. A tel URI's whole subscriber.
    pub user: Option<String>,
    /// The host: a name in lower case as A-labels without trailing dot, or an address, IPv6 in brackets. Empty in a tel
    /// URI.
    pub host: String,
    /// The port, if one is given.
    pub port: Option<u16>,
    /// The parameters in order, names in lower case, values as they stand.
    pub parameters: Vec<(String, Option<String>)>,
}

impl SipUri {
    /// Parses a URI; headers (`?x=y`) and a password are dropped.
    ///
    /// # Errors
    ///
    /// It is none of the known schemes or breaks their grammar.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let _ = text;
        Err(AddressError::Syntax)
    }

    /// A SIP URI of a user, given as plain text, at a host.
    pub fn new(user: &str, host: &str) -> Self {
        Self {
            scheme: "sip".to_owned(),
            user: Some(escape_user(user)),
            host: host.to_owned(),
            port: None,
            parameters: Vec::new(),
        }
    }

    /// The user part decoded.
    ///
    /// # Errors
    ///
    /// As [`unescape_user`].
    pub fn user_text(&self) -> Result<Option<String>, AddressError> {
        self.user.as_deref().map(unescape_user).transpose()
    }

    /// The value of the `gr` parameter decoded; `None` also for a `gr` without value, a temporary GRUU.
    ///
    /// # Errors
    ///
    /// As [`unescape_user`].
    pub fn gr(&self) -> Result<Option<String>, AddressError> {
        Ok(None)
    }
}

/// Makes a telephone number comparable: drops the visual separators `-.()` (RFC 3966 §3). Text that is no number,
/// digits after an optional `+`, is given back unchanged.
pub fn normalise_number(text: &str) -> String {
    text.to_owned()
}

/// Cleans a display name: no control characters, no line breaks, at most 128 characters. `None` if nothing is left.
pub fn clean_display_name(name: &str) -> Option<String> {
    Some(name.to_owned())
}
