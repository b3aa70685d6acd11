//! Local parts, domains and names fit to be shown: XEP-0106 escaping and preparation.
//!
//! Preparation is that of the `jid` crate: nodeprep (RFC 6122) for localparts, which folds case and width as PRECIS
//! UsernameCaseMapped does (RFC 7622 §3.3), but knows only the characters of Unicode 3.2; IDNA (UTS 46) for domains.
//! Its own unescaping is not used: it panics on a localpart that ends in a backslash.

use jid::{DomainPart, NodePart};
use thiserror::Error;

/// Why a text is no part of an address.
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

/// The characters that are escaped, and how (XEP-0106 §4.1). The backslash comes last: it is escaped only where it
/// would otherwise start one of these.
const ESCAPES: [(char, &str); 10] = [
    (' ', "\\20"),
    ('"', "\\22"),
    ('&', "\\26"),
    ('\'', "\\27"),
    ('/', "\\2f"),
    (':', "\\3a"),
    ('<', "\\3c"),
    ('>', "\\3e"),
    ('@', "\\40"),
    ('\\', "\\5c"),
];

/// Escapes and prepares any text as a localpart (XEP-0106 §4, RFC 7622 §3.3).
///
/// ```
/// use xmpp::address::to_localpart;
///
/// assert_eq!(to_localpart("a@b.example").as_deref(), Ok("a\\40b.example"));
/// ```
///
/// # Errors
///
/// The text has no localpart.
pub fn to_localpart(text: &str) -> Result<String, AddressError> {
    if text.starts_with(' ') || text.ends_with(' ') {
        return Err(AddressError::Space);
    }
    let escaped = escape(text);
    let prepared = NodePart::new(&escaped).map_err(|_| AddressError::Localpart)?;
    // Folding may make an escape out of what was none, such as a full-width backslash before two digits.
    if count_escapes(prepared.as_str()) != count_escapes(&escaped) {
        return Err(AddressError::Localpart);
    }
    Ok(prepared.as_str().to_owned())
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        let escape = ESCAPES.iter().find(|(known, _)| *known == character);
        match escape.filter(|_| character != '\\' || leading_escape(&text[at..]).is_some()) {
            Some((_, sequence)) => escaped.push_str(sequence),
            None => escaped.push(character),
        }
    }
    escaped
}

/// Undoes the escaping of a localpart (XEP-0106 §4.3). What is no escape stays as it is.
pub fn unescape(localpart: &str) -> String {
    let mut plain = String::with_capacity(localpart.len());
    let mut rest = localpart;
    while let Some(first) = rest.chars().next() {
        let (character, length) = leading_escape(rest).map_or((first, first.len_utf8()), |(escaped, _)| (escaped, 3));
        plain.push(character);
        rest = &rest[length..];
    }
    plain
}

/// The escape that a text starts with. Case does not matter, because preparation folds it.
fn leading_escape(text: &str) -> Option<(char, &'static str)> {
    let start = text.get(..3)?;
    ESCAPES.into_iter().find(|(_, sequence)| start.eq_ignore_ascii_case(sequence))
}

fn count_escapes(text: &str) -> usize {
    text.match_indices('\\').filter(|(at, _)| leading_escape(&text[*at..]).is_some()).count()
}

/// Writes a domain as SIP has it: in ASCII, lower case, without a last dot (RFC 5891 §4). An IP address stays as it is.
///
/// # Errors
///
/// It is no domain.
pub fn domain_to_ascii(domain: &str) -> Result<String, AddressError> {
    let prepared = DomainPart::new(domain).map_err(|_| AddressError::Domain)?;
    if prepared.as_str().starts_with('[') {
        return Ok(prepared.as_str().to_owned());
    }
    idna::domain_to_ascii_strict(prepared.as_str()).map_err(|_| AddressError::Domain)
}

/// Writes a domain as XMPP has it: in Unicode (RFC 7622 §3.2). An IP address stays as it is.
///
/// # Errors
///
/// It is no domain.
pub fn domain_to_unicode(domain: &str) -> Result<String, AddressError> {
    let ascii = domain_to_ascii(domain)?;
    let (unicode, valid) = idna::domain_to_unicode(&ascii);
    if ascii.starts_with('[') || valid.is_err() { Ok(ascii) } else { Ok(unicode) }
}

/// Most characters of a display name.
const DISPLAY_NAME_LENGTH: usize = 256;

/// Makes a name, or another text of a line, fit to be shown: no control characters, no line breaks, nothing that turns the direction of writing, at
/// most 256 characters.
pub fn display_name(text: &str) -> String {
    let shown = text.chars().filter(|character| !character.is_control() && !is_hidden(*character));
    shown.take(DISPLAY_NAME_LENGTH).collect::<String>().trim().to_owned()
}

/// Line separators, and marks that turn the direction of writing (Unicode UAX 9 §2), with which a name could pretend
/// to be another.
const fn is_hidden(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Text, its localpart, and what that unescapes to (XEP-0106 §5 and RFC 7247 §6.2).
    const VECTORS: [(&str, &str, &str); 23] = [
        ("fü", "fü", "fü"),
        ("o'malley", "o\\27malley", "o'malley"),
        ("AT&T", "at\\26t", "at&t"),
        ("a@b.example", "a\\40b.example", "a@b.example"),
        ("space cadet", "space\\20cadet", "space cadet"),
        ("x:y", "x\\3ay", "x:y"),
        ("bob/desk", "bob\\2fdesk", "bob/desk"),
        ("c:\\5commas", "c\\3a\\5c5commas", "c:\\5commas"),
        ("c:\\net", "c\\3a\\net", "c:\\net"),
        ("\\27", "\\5c27", "\\27"),
        ("\\2F", "\\5c2f", "\\2f"),
        ("café\\bar", "café\\bar", "café\\bar"),
        ("100%", "100%", "100%"),
        ("call me \"ishmael\"", "call\\20me\\20\\22ishmael\\22", "call me \"ishmael\""),
        ("at&t guy", "at\\26t\\20guy", "at&t guy"),
        ("d'artagnan", "d\\27artagnan", "d'artagnan"),
        ("/.fanboy", "\\2f.fanboy", "/.fanboy"),
        ("::foo::", "\\3a\\3afoo\\3a\\3a", "::foo::"),
        ("<foo>", "\\3cfoo\\3e", "<foo>"),
        ("user@host", "user\\40host", "user@host"),
        ("\\2plus\\2is\\4", "\\2plus\\2is\\4", "\\2plus\\2is\\4"),
        ("foob\\41r", "foob\\41r", "foob\\41r"),
        ("c:\\cool stuff", "c\\3a\\cool\\20stuff", "c:\\cool stuff"),
    ];

    #[test]
    fn the_vectors_hold_both_ways() {
        for (text, localpart, back) in VECTORS {
            assert_eq!(to_localpart(text).as_deref(), Ok(localpart), "{text}");
            assert_eq!(unescape(localpart), back, "{localpart}");
        }
    }

    #[test]
    fn a_text_that_is_no_localpart_is_refused() {
        for text in [" x", "x ", " "] {
            assert_eq!(to_localpart(text), Err(AddressError::Space), "{text:?}");
        }
        for text in ["", "\0", "a\u{7}b", "a\nb", "＠", &"x".repeat(1024)] {
            assert_eq!(to_localpart(text), Err(AddressError::Localpart), "{text:?}");
        }
    }

    #[test]
    fn folding_cannot_make_an_escape() {
        for text in ["＼27", "\\２７", "＼２７"] {
            assert_eq!(to_localpart(text), Err(AddressError::Localpart), "{text}");
        }
    }

    #[test]
    fn a_trailing_backslash_is_no_escape() {
        assert_eq!(unescape("foo\\"), "foo\\");
        assert_eq!(unescape("foo\\2"), "foo\\2");
        assert_eq!(unescape("foo\\é"), "foo\\é");
    }

    #[test]
    fn a_domain_is_ascii_for_sip_and_unicode_for_xmpp() {
        assert_eq!(domain_to_ascii("BÜCHER.example.").as_deref(), Ok("xn--bcher-kva.example"));
        assert_eq!(domain_to_unicode("xn--bcher-kva.EXAMPLE").as_deref(), Ok("bücher.example"));
        for address in ["192.0.2.1", "[2001:db8::1]"] {
            assert_eq!(domain_to_ascii(address).as_deref(), Ok(address));
            assert_eq!(domain_to_unicode(address).as_deref(), Ok(address));
        }
        for wrong in ["", "a b", "a/b", "-a.example", "a..b"] {
            assert_eq!(domain_to_ascii(wrong), Err(AddressError::Domain), "{wrong:?}");
        }
    }

    #[test]
    fn a_display_name_cannot_inject_a_header() {
        assert_eq!(display_name(" Alice\r\nVia: evil\u{0}\u{202e} "), "AliceVia: evil");
        assert_eq!(display_name(&"é".repeat(300)).chars().count(), 256);
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back_folded(text in "[ -~]{1,40}") {
            if let Ok(localpart) = to_localpart(&text) {
                prop_assert_eq!(unescape(&localpart), text.to_lowercase());
            } else {
                prop_assert!(text.starts_with(' ') || text.ends_with(' '));
            }
        }

        #[test]
        fn any_text_is_escaped_or_refused(text in any::<String>()) {
            if let Ok(localpart) = to_localpart(&text) {
                prop_assert!(NodePart::new(&localpart).is_ok());
            }
            unescape(&text);
            let _ = domain_to_unicode(&text);
            prop_assert!(!display_name(&text).contains(char::is_control));
        }
    }
}
