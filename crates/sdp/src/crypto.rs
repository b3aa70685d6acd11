//! `a=crypto` (RFC 4568 §9.1): SRTP keys in the description.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use model::{Crypto, Secret, SrtpSuite};

/// Reads the value of an `a=crypto`. The error says why the line must be ignored.
pub(super) fn read(value: &str) -> Result<Crypto, &'static str> {
    let mut words = value.split_whitespace();
    let tag = words.next().filter(|tag| (1..=9).contains(&tag.len())).and_then(|tag| tag.parse().ok());
    let tag = tag.ok_or("no tag")?;
    let suite: SrtpSuite = words.next().unwrap_or_default().parse().map_err(|_| "unknown suite")?;
    let mut crypto = read_key(words.next().unwrap_or_default(), tag, suite)?;
    for parameter in words {
        if parameter == Crypto::UNENCRYPTED_SRTCP {
            crypto.unencrypted_srtcp = true;
        } else if !is_harmless_parameter(parameter) {
            return Err("session parameter we cannot honour");
        }
    }
    Ok(crypto)
}

/// `inline:key[|lifetime][|MKI:length]`. More than one key needs an MKI in each; we use the first.
fn read_key(word: &str, tag: u32, suite: SrtpSuite) -> Result<Crypto, &'static str> {
    let first = word.split(';').next().unwrap_or_default();
    let mut parts = first.strip_prefix("inline:").ok_or("no inline key")?.split('|');
    let text = parts.next().unwrap_or_default();
    let key = STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).map_err(|_| "key is no base64")?;
    if key.len() != suite.key_length() + suite.salt_length() {
        return Err("key of a wrong length");
    }
    let mut crypto = Crypto::new(tag, suite, Secret::new(key));
    for part in parts {
        match part.split_once(':') {
            Some((number, length)) => {
                let length = length.parse().ok().filter(|length| (1..=128).contains(length));
                crypto.mki = Some(number.parse().ok().zip(length).ok_or("MKI we cannot use")?);
            }
            None => crypto.lifetime = Some(part.parse().map_err(|_| "lifetime we cannot use")?),
        }
    }
    Ok(crypto)
}

/// Says whether a session parameter (RFC 4568 §6.3) leaves our SRTP as it is. Unknown ones are optional behind a `-`.
fn is_harmless_parameter(parameter: &str) -> bool {
    parameter.starts_with('-')
        || parameter == "KDR=0"
        || ["WSH=", "FEC_ORDER=", "FEC_KEY="].iter().any(|known| parameter.starts_with(known))
}

/// Writes the value of an `a=crypto`, its key with the padding of base64 or without.
pub(super) fn write(crypto: &Crypto, padding: bool) -> String {
    let engine = if padding { &STANDARD } else { &STANDARD_NO_PAD };
    let key = engine.encode(crypto.key_and_salt.reveal());
    let lifetime = crypto.lifetime.map(|lifetime| format!("|{lifetime}")).unwrap_or_default();
    let mki = crypto.mki.map(|(number, length)| format!("|{number}:{length}")).unwrap_or_default();
    let mut line = format!("{} {} inline:{key}{lifetime}{mki}", crypto.tag, crypto.suite.as_str());
    if crypto.unencrypted_srtcp {
        line = format!("{line} {}", Crypto::UNENCRYPTED_SRTCP);
    }
    line
}
