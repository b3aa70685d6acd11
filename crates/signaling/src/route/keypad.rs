//! Addresses dialled on a keypad: two digits for each octet, which is their value plus 30; or, after `99`, three digits
//! for each, which are its value. `677875697134788169677874818586` is nobody's number, but
//! some phones have no other keys.

/// The text that digits spell; nothing where they spell none.
pub(super) fn spelled(digits: &str) -> Option<String> {
    let (octets, width, offset) = match digits.strip_prefix("99") {
        Some(rest) => (rest, 3, 0),
        None => (digits, 2, 30),
    };
    if octets.is_empty() || octets.len() % width != 0 || !octets.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let octet = |digits: &[u8]| {
        let value = digits.iter().fold(0_u16, |value, digit| value * 10 + u16::from(digit - b'0'));
        u8::try_from(value + offset).ok()
    };
    let octets: Option<Vec<u8>> = octets.as_bytes().chunks(width).map(octet).collect();
    String::from_utf8(octets?).ok().filter(|text| !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_spell_an_address() {
        let pairs: String = "alice@localhost".bytes().map(|octet| format!("{:02}", octet - 30)).collect();
        assert_eq!(pairs, "677875697134788169677874818586");
        assert_eq!(spelled(&pairs).as_deref(), Some("alice@localhost"));
        let triples: String = "zoë@b".bytes().map(|octet| format!("{octet:03}")).collect();
        assert_eq!(spelled(&format!("99{triples}")).as_deref(), Some("zoë@b"));
        for none in ["", "99", "1", "123", "9997", "99256", "99255", "99010", "00", "6x"] {
            assert_eq!(spelled(none), None, "{none}");
        }
    }
}
