//! What a transfer names: the target of a REFER (RFC 3515 §2.1), and the dialog that a call replaces (RFC 3891 §6.1).
//!
//! ```
//! use sip::transfer::ReferTo;
//!
//! let target = ReferTo::parse("<sip:bob@example.org?Replaces=c1%3Bto-tag%3Dt%3Bfrom-tag%3Df>")?;
//! assert_eq!(target.uri, "sip:bob@example.org");
//! assert_eq!(target.replaces.map(|replaces| replaces.call_id).as_deref(), Some("c1"));
//! # Ok::<(), sip::address::AddressError>(())
//! ```

use std::fmt;

use crate::address::{AddressError, SipUri, escape_header, parse_name_addr, unescape_user};

/// A dialog by its identifiers, as the side sees them that is asked to replace it (RFC 3891 §6.1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Replaces {
    /// Its Call-ID.
    pub call_id: String,
    /// The tag of the side that is asked.
    pub to_tag: String,
    /// The tag of its peer.
    pub from_tag: String,
    /// Only as long as it is not answered.
    pub early_only: bool,
}

impl Replaces {
    /// Reads the value of a Replaces header. `None`: it is none; both tags must be there, once.
    pub fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split(';').map(str::trim);
        let call_id = parts.next().filter(|id| !id.is_empty() && !id.contains(char::is_whitespace))?.to_owned();
        let (mut to_tag, mut from_tag, mut early_only) = (None, None, false);
        for part in parts {
            let (name, value) = part.split_once('=').map_or((part, ""), |(name, value)| (name.trim(), value.trim()));
            let tag = match name.to_ascii_lowercase().as_str() {
                "to-tag" => &mut to_tag,
                "from-tag" => &mut from_tag,
                "early-only" => {
                    early_only = true;
                    continue;
                }
                _ => continue,
            };
            if value.is_empty() || tag.replace(value.to_owned()).is_some() {
                return None;
            }
        }
        Some(Self { call_id, to_tag: to_tag?, from_tag: from_tag?, early_only })
    }
}

impl fmt::Display for Replaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};to-tag={};from-tag={}", self.call_id, self.to_tag, self.from_tag)?;
        if self.early_only { f.write_str(";early-only") } else { Ok(()) }
    }
}

/// Who is to be called, by the one who is asked to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReferTo {
    /// The target: a `sip:`, `sips:` or `tel:` URI without headers.
    pub uri: String,
    /// The dialog of the target that the call is to replace: an attended transfer (RFC 5589 §7).
    pub replaces: Option<Replaces>,
}

impl ReferTo {
    /// Reads the value of a Refer-To header. Headers within the URI other than Replaces are dropped, because they are
    /// the referrer's words and would be ours (RFC 3261 §19.1.5).
    ///
    /// # Errors
    ///
    /// Its URI is none, or none that can be called, or the dialog to replace cannot be read.
    pub fn parse(value: &str) -> Result<Self, AddressError> {
        let (_, full, _) = parse_name_addr(value).ok_or(AddressError::Syntax)?;
        let parsed = SipUri::parse(full)?;
        if !matches!(parsed.scheme.as_str(), "sip" | "sips" | "tel") {
            return Err(AddressError::Scheme);
        }
        // A raw `?` before the `@` belongs to the user.
        let host = full.find('@').unwrap_or_default();
        let (uri, headers) = match full.get(host..).and_then(|rest| rest.split_once('?')) {
            Some((before, headers)) => (full.get(..host + before.len()).unwrap_or(full), headers),
            None => (full, ""),
        };
        let named = headers.split('&').filter_map(|header| header.split_once('='));
        let mut replaces = named.filter(|(name, _)| name.eq_ignore_ascii_case("Replaces")).map(|(_, value)| value);
        let first = replaces.next().map(|value| {
            let value = unescape_user(value)?;
            Replaces::parse(&value).ok_or(AddressError::Syntax)
        });
        if replaces.next().is_some() {
            return Err(AddressError::Syntax);
        }
        Ok(Self { uri: uri.to_owned(), replaces: first.transpose()? })
    }
}

impl fmt::Display for ReferTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.replaces {
            Some(replaces) => write!(f, "<{}?Replaces={}>", self.uri, escape_header(&replaces.to_string())),
            None => write!(f, "<{}>", self.uri),
        }
    }
}

/// The first line of a `message/sipfrag` body that is a response (RFC 3420): status and phrase.
pub(crate) fn read_sipfrag(body: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(body);
    let mut words = text.lines().next()?.trim().splitn(3, ' ');
    words.next().filter(|version| version.eq_ignore_ascii_case("SIP/2.0"))?;
    let status = words.next()?.parse().ok().filter(|status| (100..700).contains(status))?;
    Some((status, words.next().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_dialog_to_replace_is_read_and_written() {
        // RFC 3891 §6.1.
        for text in [
            "98732@sip.example.com;from-tag=r33th4x0r;to-tag=ff87ff",
            "12adf2f34456gs5;to-tag=12345;from-tag=54321",
            "87134@171.161.34.23;to-tag=24796;from-tag=0;early-only",
        ] {
            let replaces = Replaces::parse(text).expect(text);
            assert_eq!(Replaces::parse(&replaces.to_string()), Some(replaces));
        }
        for text in ["", ";to-tag=a;from-tag=b", "x;to-tag=a", "x;to-tag=a;to-tag=b;from-tag=c", "x;to-tag=;from-tag=c"]
        {
            assert_eq!(Replaces::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_target_of_a_transfer_is_read() {
        let read = |value| ReferTo::parse(value).map(|target| (target.uri, target.replaces.map(|r| r.call_id)));
        let plain = |uri: &str| Ok((uri.to_owned(), None));
        assert_eq!(read("sip:a@b;transport=tcp"), plain("sip:a@b"));
        assert_eq!(read("\"A\" <sip:a@b;transport=tcp>;x=y"), plain("sip:a@b;transport=tcp"));
        assert_eq!(read("<tel:+1-555>"), plain("tel:+1-555"));
        assert_eq!(read("<sip:a?b@c?Subject=x>"), plain("sip:a?b@c"));
        // RFC 3515 §2.1, RFC 5589 §7.3.
        let attended = "<sip:dave@denver.example.org?Replaces=12345%40192.168.118.3%3B\
                        to-tag%3D12345%3Bfrom-tag%3D5FFE-3994&Require=replaces>";
        let named = Some("12345@192.168.118.3".to_owned());
        assert_eq!(read(attended), Ok(("sip:dave@denver.example.org".to_owned(), named)));
        for (value, error) in [
            ("<http://example.org>", AddressError::Scheme),
            ("<im:a@b>", AddressError::Scheme),
            ("<sip:a@b?Replaces=x>", AddressError::Syntax),
            ("<sip:a@b?Replaces=x%3Bto-tag%3Da%3Bfrom-tag%3Db&replaces=x>", AddressError::Syntax),
            ("<sip:a@b?Replaces=x%0D%0AVia:>", AddressError::Control),
        ] {
            assert_eq!(read(value), Err(error), "{value}");
        }
    }

    #[test]
    fn progress_is_the_status_line_of_a_fragment() {
        assert_eq!(read_sipfrag(b"SIP/2.0 180 Ringing\r\nTo: x"), Some((180, "Ringing".to_owned())));
        assert_eq!(read_sipfrag(b"SIP/2.0 200"), Some((200, String::new())));
        for body in [&b""[..], b"INVITE sip:a@b SIP/2.0", b"SIP/2.0 99 x", b"SIP/2.0 700 x", b"\xff"] {
            assert_eq!(read_sipfrag(body), None);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(call_id in "[!-:<-~]{1,40}", tags in "[a-z0-9.!%*_+`'~-]{1,20}", early_only: bool) {
            let replaces = Replaces { call_id, to_tag: tags.clone(), from_tag: tags, early_only };
            let target = ReferTo { uri: "sip:a@b".to_owned(), replaces: Some(replaces) };
            prop_assert_eq!(ReferTo::parse(&target.to_string()), Ok(target));
        }

        #[test]
        fn no_text_breaks_the_readers(text: String, body: Vec<u8>) {
            let _ = (ReferTo::parse(&text), Replaces::parse(&text), read_sipfrag(&body));
        }
    }
}
