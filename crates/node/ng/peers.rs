//! Whose requests are taken.

use std::net::IpAddr;
use std::str::FromStr;

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Prefix {
    address: IpAddr,
    /// How many bits count.
    bits: u32,
}

impl Prefix {
    /// Says whether an address begins like these.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        // What is shifted out of all bits is none of them.
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).checked_shr(32 - self.bits).is_none_or(|rest| rest == 0)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).checked_shr(128 - self.bits).is_none_or(|rest| rest == 0)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Prefix {
    type Err = ();

    /// Reads `address` or `address/bits`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(all), |bits| bits.parse().map_err(|_| ()))?;
        if bits <= all { Ok(Self { address, bits }) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_holds_what_begins_like_it() {
        for (prefix, inside, outside) in [
            ("127.0.0.0/8", "127.255.255.255", "128.0.0.0"),
            ("192.0.2.128/25", "192.0.2.255", "192.0.2.127"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.0"),
            ("0.0.0.0/0", "255.0.0.1", "::1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"),
            ("::1", "::1", "127.0.0.1"),
            ("::/0", "ffff::", "0.0.0.1"),
        ] {
            let (holds, address) =
                (prefix.parse::<Prefix>().expect(prefix), |text: &str| text.parse().expect("it is one"));
            assert!(holds.contains(address(inside)), "{inside} in {prefix}");
            assert!(!holds.contains(address(outside)), "{outside} in {prefix}");
        }
        for wrong in ["127.0.0.1/33", "::1/129", "localhost", "127.0.0.1/", "127.0.0.1/-1", ""] {
            assert_eq!(wrong.parse::<Prefix>(), Err(()), "{wrong}");
        }
    }
}
