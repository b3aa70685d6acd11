//! SIP, SIPS and tel URIs, the escaping of their user part (RFC 3261 §19.1, RFC 3966, RFC 7247 §6), display names.
//!
//! What these mean on the XMPP side is the translator's business; nothing here knows a JID.

use std::fmt::{self, Write as _};
use std::net::Ipv6Addr;

use thiserror::Error;

/// Longer URIs are refused; the longest honest one holds a JID of 1023 octets, all escaped.
const MAX_BYTES: usize = 4 * 1024;
/// Longer display names are cut.
const MAX_NAME_CHARS: usize = 128;

/// What RFC 3261 §25.1 calls `mark`.
const MARK: &[u8] = b"-_.!~*'()";
/// What a `user` may hold raw besides letters, digits and `mark` (`user-unreserved`).
const USER: &[u8] = b"&=+$,;?/";
/// What a parameter may hold raw besides letters, digits and `mark` (`param-unreserved`).
const PARAMETER: &[u8] = b"[]/:&+$";
/// What the value of a header within a URI may hold raw besides those (`hnv-unreserved`).
const HEADER: &[u8] = b"[]/?:+$";

/// The parameters of a number that come before all others (RFC 3966 §3).
const FIRST_PARAMETERS: [&str; 3] = ["isub", "ext", "phone-context"];

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
    let mut octets = Vec::with_capacity(user.len());
    let mut rest = user.bytes();
    while let Some(byte) = rest.next() {
        octets.push(if byte == b'%' {
            let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
            let (high, low) = digit(rest.next()).zip(digit(rest.next())).ok_or(AddressError::Escape)?;
            u8::try_from(high * 16 + low).map_err(|_| AddressError::Escape)?
        } else {
            byte
        });
    }
    let text = String::from_utf8(octets).map_err(|_| AddressError::Escape)?;
    if text.chars().any(char::is_control) { Err(AddressError::Control) } else { Ok(text) }
}

/// Encodes text as the user part of a SIP URI: every octet that RFC 3261 §25.1 does not allow raw becomes `%HH`.
pub fn escape_user(text: &str) -> String {
    escape(text, USER)
}

/// Decodes the value of a `gr` parameter (RFC 5627 §3.1.1).
///
/// # Errors
///
/// As [`unescape_user`].
pub fn unescape_gr(value: &str) -> Result<String, AddressError> {
    unescape_user(value)
}

/// Encodes text as the value of a `gr` parameter.
pub fn escape_gr(text: &str) -> String {
    escape(text, PARAMETER)
}

/// Encodes text as the value of a header within a URI.
pub(crate) fn escape_header(text: &str) -> String {
    escape(text, HEADER)
}

fn escape(text: &str, raw: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || MARK.contains(&byte) || raw.contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    escaped
}

/// A SIP, SIPS, im or pres URI, or a tel URI.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SipUri {
    /// The scheme in lower case.
    pub scheme: String,
    /// The user part as it stands, escaped, without password. Of a tel URI all that follows the scheme.
    pub user: Option<String>,
    /// The host: a name in lower case without trailing dot, or an address, IPv6 in brackets. Empty in a tel URI.
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
        if text.len() > MAX_BYTES {
            return Err(AddressError::Syntax);
        }
        let (scheme, rest) = text.trim().split_once(':').ok_or(AddressError::Scheme)?;
        let scheme = scheme.to_ascii_lowercase();
        match scheme.as_str() {
            "sip" | "sips" | "im" | "pres" => Self::parse_hosted(scheme, rest),
            "tel" => Self::parse_tel(scheme, rest),
            _ => Err(AddressError::Scheme),
        }
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

    /// `user[:password]@host[:port];parameters?headers`. The user may hold raw `;` and `?`, but no `@`.
    fn parse_hosted(scheme: String, rest: &str) -> Result<Self, AddressError> {
        let (user, rest) = match rest.split_once('@') {
            Some((user, rest)) => {
                let user = user.split_once(':').map_or(user, |(user, _password)| user);
                if user.is_empty() || !is_escaped(user, USER) {
                    return Err(AddressError::Syntax);
                }
                (Some(user.to_owned()), rest)
            }
            None => (None, rest),
        };
        let rest = rest.split_once('?').map_or(rest, |(rest, _headers)| rest);
        let mut parts = rest.split(';');
        let (host, port) = parse_host_and_port(parts.next().unwrap_or_default())?;
        Ok(Self { scheme, user, host, port, parameters: parse_parameters(parts)? })
    }

    /// `subscriber;parameters` (RFC 3966 §3). A local number needs a context, which is the dial plan's business.
    fn parse_tel(scheme: String, rest: &str) -> Result<Self, AddressError> {
        let mut parts = rest.split(';');
        let number = normalise_number(parts.next().unwrap_or_default());
        let digits = number.strip_prefix('+').unwrap_or(&number);
        let global = number.starts_with('+');
        let dialled = |c: char| c.is_ascii_digit() || (!global && (c.is_ascii_hexdigit() || "*#".contains(c)));
        if digits.is_empty() || !digits.chars().all(dialled) {
            return Err(AddressError::Syntax);
        }
        let parameters = parse_parameters(parts)?;
        if parameters.iter().any(|(name, _)| name.starts_with("m-")) {
            return Err(AddressError::Syntax);
        }
        let mut user = escape_user(&number);
        for (name, value) in &parameters {
            write_parameter(&mut user, name, value.as_deref()).expect("writing to a string cannot fail");
        }
        Ok(Self { scheme, user: Some(user), host: String::new(), port: None, parameters: Vec::new() })
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
        self.parameter("gr").map(unescape_gr).transpose()
    }

    /// The value of a parameter; the name in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(own, _)| own == name)?.1.as_deref()
    }
}

impl fmt::Display for SipUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme)?;
        match &self.user {
            Some(user) if self.host.is_empty() => f.write_str(user)?,
            Some(user) => write!(f, "{user}@{}", self.host)?,
            None => f.write_str(&self.host)?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        self.parameters.iter().try_for_each(|(name, value)| write_parameter(f, name, value.as_deref()))
    }
}

fn write_parameter(out: &mut impl fmt::Write, name: &str, value: Option<&str>) -> fmt::Result {
    match value {
        Some(value) => write!(out, ";{name}={value}"),
        None => write!(out, ";{name}"),
    }
}

/// Says whether a part of a URI holds nothing that it must not hold raw.
fn is_escaped(part: &str, raw: &[u8]) -> bool {
    part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'%' || MARK.contains(&b) || raw.contains(&b))
        && unescape_user(part) != Err(AddressError::Escape)
}

fn parse_parameters<'a>(parts: impl Iterator<Item = &'a str>) -> Result<Vec<(String, Option<String>)>, AddressError> {
    parts
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').map_or((part, None), |(name, value)| (name, Some(value)));
            if name.is_empty() || !is_escaped(name, PARAMETER) || !value.is_none_or(|v| is_escaped(v, PARAMETER)) {
                return Err(AddressError::Syntax);
            }
            Ok((name.to_ascii_lowercase(), value.map(str::to_owned)))
        })
        .collect()
}

fn parse_host_and_port(text: &str) -> Result<(String, Option<u16>), AddressError> {
    let (host, port) = if text.starts_with('[') {
        let end = text.find(']').ok_or(AddressError::Host)?;
        let (host, rest) = text.split_at(end + 1);
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(AddressError::Host)?) })
    } else {
        text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
    };
    let port = port.map(|port| port.parse().ok().filter(|port| *port != 0).ok_or(AddressError::Host)).transpose()?;
    Ok((normalise_host(host)?, port))
}

/// Lower case, no trailing dot; a name of letters, digits and hyphens, or an address.
fn normalise_host(host: &str) -> Result<String, AddressError> {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let address: Ipv6Addr = address.parse().map_err(|_| AddressError::Host)?;
        return Ok(format!("[{address}]"));
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    // An underscore is no part of a host name, but occurs in names of containers.
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if host.len() <= 253 && host.split('.').all(is_label) { Ok(host) } else { Err(AddressError::Host) }
}

/// Writes a domain as SIP wants it, with A-labels: `bücher.example` is `xn--bcher-kva.example`. Addresses stay as they are.
///
/// # Errors
///
/// It is no name that IDNA knows, and no address.
pub fn host_to_ascii(host: &str) -> Result<String, AddressError> {
    if host.is_ascii() {
        return normalise_host(host);
    }
    normalise_host(&idna::domain_to_ascii(host).map_err(|_| AddressError::Host)?)
}

/// Writes a domain as XMPP wants it, with U-labels.
pub fn host_to_unicode(host: &str) -> String {
    if host.starts_with('[') {
        return host.to_owned();
    }
    let (unicode, valid) = idna::domain_to_unicode(host);
    if valid.is_ok() { unicode } else { host.to_owned() }
}

/// Makes a telephone number comparable: drops the visual separators `-.()`, and orders its parameters (RFC 3966 §3), in
/// lower case. Text that is no number, digits after an optional `+`, is given back unchanged.
pub fn normalise_number(text: &str) -> String {
    let mut parts = text.split(';');
    let bare: String = parts.next().unwrap_or_default().chars().filter(|c| !"-.()".contains(*c)).collect();
    let digits = bare.strip_prefix('+').unwrap_or(&bare);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.to_owned();
    }
    let mut parameters: Vec<String> = parts.filter(|part| !part.is_empty()).map(str::to_ascii_lowercase).collect();
    parameters.sort_by_key(|parameter| {
        let name = parameter.split('=').next().unwrap_or_default();
        (FIRST_PARAMETERS.iter().position(|first| *first == name).unwrap_or(FIRST_PARAMETERS.len()), parameter.clone())
    });
    std::iter::once(bare).chain(parameters).collect::<Vec<_>>().join(";")
}

/// Cleans a display name: no control characters, no line breaks, at most 128 characters. `None` if nothing is left.
pub fn clean_display_name(name: &str) -> Option<String> {
    let clean: String = name.chars().filter(|c| !c.is_control() && !is_invisible(*c)).take(MAX_NAME_CHARS).collect();
    let clean = clean.trim();
    (!clean.is_empty()).then(|| clean.to_owned())
}

/// Line and paragraph separators, and the marks that turn the direction of writing around.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes a name-addr: `"Alice \"A\"" <sip:alice@example.org>`, or `<sip:…>` where there is no name.
pub fn write_name_addr(name: Option<&str>, uri: &str) -> String {
    match name.and_then(clean_display_name) {
        Some(name) => format!("\"{}\" <{uri}>", name.replace('\\', "\\\\").replace('"', "\\\"")),
        None => format!("<{uri}>"),
    }
}

/// Splits the value of a From, To, Contact or P-Asserted-Identity into name, URI and what follows, its parameters
/// (RFC 3261 §20.10). `None`: it is none.
pub fn parse_name_addr(value: &str) -> Option<(Option<String>, &str, &str)> {
    let value = value.trim();
    let (name, rest) = match value.strip_prefix('"') {
        Some(quoted) => {
            let (name, rest) = parse_quoted(quoted)?;
            (clean_display_name(&name), rest.trim_start())
        }
        None => {
            let Some(start) = value.find('<') else {
                // An addr-spec; what follows a `;` belongs to the header.
                let end = value.find([';', ',', ' ']).unwrap_or(value.len());
                let (uri, rest) = value.split_at(end);
                return (!uri.is_empty()).then_some((None, uri, rest));
            };
            let (name, rest) = value.split_at(start);
            (clean_display_name(name), rest)
        }
    };
    let (uri, rest) = rest.strip_prefix('<')?.split_once('>')?;
    Some((name, uri.trim(), rest))
}

/// Reads up to the closing quote.
fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((name, text.get(index + 1..)?)),
            '\\' => name.push(characters.next()?.1),
            _ => name.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// SIP user, plain text, back to SIP.
    const USERS: &[(&str, &str, &str)] = &[
        ("f%C3%BC", "fü", "f%C3%BC"),
        ("o'malley", "o'malley", "o'malley"),
        ("AT&T", "AT&T", "AT&T"),
        ("a%40b.example", "a@b.example", "a%40b.example"),
        ("space%20cadet", "space cadet", "space%20cadet"),
        ("x%3Ay", "x:y", "x%3Ay"),
        ("bob%2Fdesk", "bob/desk", "bob/desk"),
        ("c%3A%5C5commas", "c:\\5commas", "c%3A%5C5commas"),
        ("%5C27", "\\27", "%5C27"),
        ("%5C2F", "\\2F", "%5C2F"),
        ("caf%C3%A9%5Cbar", "café\\bar", "caf%C3%A9%5Cbar"),
        ("100%25", "100%", "100%25"),
        ("%23x", "#x", "%23x"),
        ("%7Bx%7D", "{x}", "%7Bx%7D"),
        ("per%25cent", "per%cent", "per%25cent"),
    ];

    #[test]
    fn a_user_part_is_decoded_and_encoded_as_rfc_7247_wants() {
        for (sip, plain, back) in USERS {
            assert_eq!(unescape_user(sip).as_deref(), Ok(*plain), "{sip}");
            assert_eq!(escape_user(plain), *back, "{plain}");
        }
    }

    #[test]
    fn a_user_part_that_is_no_text_is_refused() {
        assert_eq!(unescape_user("%00"), Err(AddressError::Control));
        assert_eq!(unescape_user("a%0D%0Ab"), Err(AddressError::Control));
        for broken in ["%FF", "%4", "%", "%zz", "%+1"] {
            assert_eq!(unescape_user(broken), Err(AddressError::Escape), "{broken}");
        }
    }

    #[test]
    fn a_gruu_is_encoded_as_a_parameter() {
        for (plain, value) in [("bar", "bar"), ("my phone", "my%20phone"), ("a@b%c", "a%40b%25c")] {
            assert_eq!(escape_gr(plain), value);
            assert_eq!(unescape_gr(value).as_deref(), Ok(plain));
        }
        assert_eq!(escape_gr("tél;1=2"), "t%C3%A9l%3B1%3D2");
        let uri = SipUri::parse("sip:foo@sip.example;gr=my%20phone").expect("a GRUU");
        assert_eq!(uri.gr(), Ok(Some("my phone".to_owned())));
        assert_eq!(SipUri::parse("sip:foo@sip.example;gr").expect("a temporary GRUU").gr(), Ok(None));
    }

    #[test]
    fn a_uri_is_taken_apart() {
        let uri = SipUri::parse("SIP:Alice:secret@Example.ORG.:5070;transport=TCP;lr?Subject=x").expect("a URI");
        assert_eq!((uri.user.as_deref(), uri.host.as_str(), uri.port), (Some("Alice"), "example.org", Some(5070)));
        assert_eq!(uri.parameter("transport"), Some("TCP"));
        assert_eq!(uri.to_string(), "sip:Alice@example.org:5070;transport=TCP;lr");
        let six = SipUri::parse("sip:[2001:DB8::1]:5061").expect("a URI");
        assert_eq!((six.host.as_str(), six.port, six.user), ("[2001:db8::1]", Some(5061), None));
        let number = SipUri::parse("sip:+1-555;ext=12@gw.example;user=phone").expect("a URI");
        assert_eq!(number.user.as_deref(), Some("+1-555;ext=12"));
    }

    #[test]
    fn a_uri_that_is_none_is_refused() {
        for (text, error) in [
            ("mailto:a@b", AddressError::Scheme),
            ("alice", AddressError::Scheme),
            ("sip:@host", AddressError::Syntax),
            ("sip:a b@host", AddressError::Syntax),
            ("sip:a%4@host", AddressError::Syntax),
            ("sip:a@", AddressError::Host),
            ("sip:a@b..c", AddressError::Host),
            ("sip:a@host:0", AddressError::Host),
            ("sip:a@[::1", AddressError::Host),
            ("sip:a@host\r\nX: y", AddressError::Host),
            ("tel:+1555;m-x=1", AddressError::Syntax),
            ("tel:", AddressError::Syntax),
        ] {
            assert_eq!(SipUri::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_host_has_letters_of_its_own_world() {
        assert_eq!(host_to_ascii("Bücher.Example.").as_deref(), Ok("xn--bcher-kva.example"));
        assert_eq!(host_to_unicode("xn--bcher-kva.example"), "bücher.example");
        assert_eq!(host_to_ascii("[2001:DB8::1]").as_deref(), Ok("[2001:db8::1]"));
        assert_eq!(host_to_ascii("a b"), Err(AddressError::Host));
    }

    #[test]
    fn a_telephone_number_loses_its_separators() {
        assert_eq!(normalise_number("+1-(555).123-4567"), "+15551234567");
        let ordered = "+1555;isub=1;ext=7;phone-context=+44;a=b;z";
        assert_eq!(normalise_number("+1-555;Z;phone-context=+44;A=B;EXT=7;isub=1"), ordered);
        assert_eq!(normalise_number("jean-luc;EXT=1"), "jean-luc;EXT=1");
        assert_eq!(normalise_number("jean-luc"), "jean-luc");
        assert_eq!(normalise_number("-"), "-");
        let tel = SipUri::parse("tel:+1-555;ext=12").expect("a tel URI");
        assert_eq!(tel.user_text(), Ok(Some("+1555;ext=12".to_owned())));
        assert_eq!(
            SipUri::parse("tel:*21#;phone-context=example.org").expect("local").to_string(),
            "tel:*21%23;phone-context=example.org"
        );
    }

    #[test]
    fn a_display_name_cannot_smuggle_a_header() {
        assert_eq!(clean_display_name("Eve\r\nVia: x").as_deref(), Some("EveVia: x"));
        assert_eq!(clean_display_name("\u{202e}\r\n "), None);
        let written = write_name_addr(Some("A \"B\" \\ C"), "sip:a@b");
        assert_eq!(written, "\"A \\\"B\\\" \\\\ C\" <sip:a@b>");
        assert_eq!(parse_name_addr(&written), Some((Some("A \"B\" \\ C".to_owned()), "sip:a@b", "")));
    }

    #[test]
    fn a_name_addr_comes_in_three_forms() {
        assert_eq!(parse_name_addr("sip:a@b;tag=1"), Some((None, "sip:a@b", ";tag=1")));
        assert_eq!(parse_name_addr("<sip:a@b;lr>;tag=1"), Some((None, "sip:a@b;lr", ";tag=1")));
        assert_eq!(parse_name_addr("Alice A <sip:a@b>"), Some((Some("Alice A".to_owned()), "sip:a@b", "")));
        assert_eq!(parse_name_addr("\"x > y\" <sip:a@b>"), Some((Some("x > y".to_owned()), "sip:a@b", "")));
        for broken in ["", "\"open <sip:a@b>", "<sip:a@b", "\"a\" sip:a@b"] {
            assert_eq!(parse_name_addr(broken), None, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(text in "\\PC*") {
            prop_assume!(!text.chars().any(char::is_control));
            prop_assert_eq!(unescape_user(&escape_user(&text)), Ok(text.clone()));
            prop_assert_eq!(unescape_gr(&escape_gr(&text)), Ok(text.clone()));
            if !text.is_empty() {
                let uri = SipUri::new(&text, "example.org");
                prop_assert_eq!(SipUri::parse(&uri.to_string()), Ok(uri));
            }
        }

        #[test]
        fn a_name_comes_back_as_it_can_be_shown(name in "\\PC{0,40}") {
            let written = format!("{};tag=1", write_name_addr(Some(&name), "sip:a@b;lr"));
            prop_assert_eq!(parse_name_addr(&written), Some((clean_display_name(&name), "sip:a@b;lr", ";tag=1")));
        }

        #[test]
        fn no_text_breaks_the_parsers(text in "(sip:|tel:|\"|<)?\\PC*") {
            if let Ok(uri) = SipUri::parse(&text) {
                prop_assert_eq!(SipUri::parse(&uri.to_string()), Ok(uri));
            }
            let _ = parse_name_addr(&text);
        }
    }
}
