//! SRTP keys in the description (XEP-0167 §7, RFC 4568 §9.1).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use minidom::Element;
use model::{Crypto, Secret, SrtpSuite};

use super::rtp::NS;
use crate::xml::{element, value};

/// The lines that we understand in full. A line with anything else must not be used (RFC 4568 §6.3).
pub(super) fn parse(encryption: &Element) -> Vec<Crypto> {
    encryption.children().filter(|child| child.is("crypto", NS)).filter_map(parse_crypto).collect()
}

/// Says whether the media is to be encrypted with keys from here; a ZRTP hash alone is only an invitation.
pub(super) fn is_demanded(encryption: &Element) -> bool {
    let required = matches!(encryption.attr("required"), Some("1" | "true"));
    required || encryption.children().any(|child| child.is("crypto", NS))
}

fn parse_crypto(crypto: &Element) -> Option<Crypto> {
    let suite: SrtpSuite = value(crypto, "crypto-suite")?.parse().ok()?;
    let parameters = || crypto.attr("session-params").unwrap_or_default().split_whitespace();
    if !parameters().all(|parameter| is_harmless(parameter) || parameter == Crypto::UNENCRYPTED_SRTCP) {
        return None;
    }
    let unencrypted_srtcp = parameters().any(|parameter| parameter == Crypto::UNENCRYPTED_SRTCP);
    // inline:BASE64[|lifetime][|MKI:length]; a list of keys, joined by semicolons, fails at the base64.
    let mut fields = value(crypto, "key-params")?.strip_prefix("inline:")?.split('|');
    let key_and_salt =
        decode(fields.next()?).filter(|bytes| bytes.len() == suite.key_length() + suite.salt_length())?;
    let (mut mki, mut lifetime) = (None, None);
    for field in fields {
        match field.split_once(':') {
            Some((value, length)) => mki = Some(parse_mki(value, length)?),
            None => lifetime = Some(field.parse().ok()?),
        }
    }
    let tag = value(crypto, "tag")?.parse().ok()?;
    let key = Crypto::new(tag, suite, Secret::new(key_and_salt));
    Some(Crypto { mki, lifetime, unencrypted_srtcp, ..key })
}

/// Session parameters that change nothing for us (RFC 4568 §6.3): no key derivation rate, a hint for the replay window,
/// and any that say of themselves that they may be ignored.
fn is_harmless(parameter: &str) -> bool {
    parameter == "KDR=0" || parameter.starts_with("WSH=") || parameter.starts_with('-')
}

fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()
}

fn parse_mki(value: &str, length: &str) -> Option<(u64, u8)> {
    Some((value.parse().ok()?, length.parse().ok().filter(|length| (1..=128).contains(length))?))
}

/// Writes the keys, if there are any. They are `required` where there is nothing to choose in their place.
pub(super) fn to_element(keys: &[Crypto], required: bool) -> Option<Element> {
    if keys.is_empty() {
        return None;
    }
    let mut encryption = element!("encryption", NS, "required" = required.then_some("1"));
    for crypto in keys {
        encryption.append_child(element!(
            "crypto",
            NS,
            "tag" = crypto.tag,
            "crypto-suite" = crypto.suite.as_str(),
            "key-params" = key_params(crypto),
            "session-params" = crypto.unencrypted_srtcp.then_some(Crypto::UNENCRYPTED_SRTCP),
        ));
    }
    Some(encryption)
}

fn key_params(crypto: &Crypto) -> String {
    let key = STANDARD.encode(crypto.key_and_salt.reveal());
    let lifetime = crypto.lifetime.map(|lifetime| format!("|{lifetime}")).unwrap_or_default();
    let mki = crypto.mki.map(|(value, length)| format!("|{value}:{length}")).unwrap_or_default();
    format!("inline:{key}{lifetime}{mki}")
}
