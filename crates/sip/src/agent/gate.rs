//! Who may call: trunks by their address, or by a password (digest, RFC 7616, RFC 8760), and what strangers get.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use model::Secret;
use rsipstack::sip::{Header, Request};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::digest::{self, Shown};
use super::wire::{self, header};
use super::{Config, Strangers, Trunk};

/// How long a nonce is good for.
const NONCE_LIFE: Duration = Duration::from_secs(300);
/// Nonces in use that are remembered.
const MAX_NONCES: usize = 10_000;
/// Wrong passwords that a source may show in a minute.
const MAX_FAILURES: u32 = 10;
const MINUTE: Duration = Duration::from_secs(60);
/// Sources of wrong passwords that are remembered.
const MAX_SOURCES: usize = 10_000;
/// Bytes of a nonce: when it was made, what makes it unique, and the proof that it is ours for that source.
const TIME: usize = 8;
const UNIQUE: usize = 8;
const PROOF: usize = 32;

/// The gate that calls come through.
pub(super) struct Gate {
    realm: String,
    strangers: Strangers,
    users: Vec<User>,
    secret: [u8; 32],
    started: Instant,
    /// The last count of each nonce that a right answer used, and when the nonce is over.
    used: HashMap<String, (u32, Instant)>,
    failures: HashMap<IpAddr, Failures>,
}

struct User {
    name: String,
    password: Secret<String>,
    trunk: usize,
}

struct Failures {
    since: Instant,
    count: u32,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Admission {
    /// It comes from a trunk, by its place in the configuration, or from a stranger.
    Granted(Option<usize>),
    /// 401: a password is wanted. Stale: the right one was shown with a nonce that is over.
    Challenged { stale: bool },
    /// 401 once more: it was a wrong password.
    Wrong,
    /// 403: too many wrong passwords came from there.
    Throttled,
    /// 403: strangers may not call.
    Refused,
    /// No answer: strangers are not even told so.
    Ignored,
}

impl Gate {
    pub(super) fn new(config: &Config) -> Self {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("the system has random numbers");
        let users = config.trunks.iter().enumerate().filter_map(|(trunk, Trunk { challenge, .. })| {
            let challenge = challenge.as_ref()?;
            Some(User { name: challenge.username.clone(), password: challenge.password.clone(), trunk })
        });
        Self {
            realm: config.realm.clone(),
            strangers: config.strangers,
            users: users.collect(),
            secret,
            started: Instant::now(),
            used: HashMap::new(),
            failures: HashMap::new(),
        }
    }

    /// Says whether a stranger gets no answer at all.
    pub(super) const fn ignores_strangers(&self) -> bool {
        matches!(self.strangers, Strangers::Drop)
    }

    /// Decides about a call. `trunk`: the one of the address it came from.
    pub(super) fn admit(&mut self, request: &Request, source: SocketAddr, trunk: Option<usize>) -> Admission {
        let asked = |user: &&User| trunk.is_none_or(|trunk| user.trunk == trunk);
        match (trunk, self.strangers) {
            (Some(_), _) if !self.users.iter().any(|user| asked(&user)) => return Admission::Granted(trunk),
            (Some(_), _) | (None, Strangers::Challenge) => {}
            (None, Strangers::Route) => return Admission::Granted(None),
            (None, Strangers::Refuse) => return Admission::Refused,
            (None, Strangers::Drop) => return Admission::Ignored,
        }
        let shown = wire::values(&request.headers, "Authorization").filter_map(digest::shown);
        let Some(shown) = shown.into_iter().find(|shown| shown.realm == self.realm) else {
            return Admission::Challenged { stale: false };
        };
        let now = Instant::now();
        if self.is_throttled(source.ip(), now) {
            return Admission::Throttled;
        }
        // One that nobody knows takes as long.
        let nobody = Secret::new(String::new());
        let user = self.users.iter().filter(asked).find(|user| user.name == shown.username);
        let password = user.map_or(&nobody, |user| &user.password);
        let right = shown.is_right(password.reveal(), &request.method.to_string());
        let fits = shown.uri == wire::uri_text(&request.uri);
        match user.map(|user| user.trunk).filter(|_| right && fits) {
            Some(trunk) if self.take_nonce(&shown, source.ip(), now) => Admission::Granted(Some(trunk)),
            Some(_) => Admission::Challenged { stale: true },
            None => {
                self.failed(source.ip(), now);
                Admission::Wrong
            }
        }
    }

    /// The challenges of a 401: the better algorithm first (RFC 8760 §2.3).
    pub(super) fn challenge(&self, source: IpAddr, stale: bool) -> Vec<Header> {
        let nonce = self.nonce(source);
        let stale = if stale { ", stale=true" } else { "" };
        let of = |algorithm| {
            let value = format!(
                "Digest realm=\"{}\", nonce=\"{nonce}\", qop=\"auth\", algorithm={algorithm}{stale}",
                self.realm
            );
            header("WWW-Authenticate", value)
        };
        vec![of("SHA-256"), of("MD5")]
    }

    fn nonce(&self, source: IpAddr) -> String {
        let mut octets = self.started.elapsed().as_secs().to_be_bytes().to_vec();
        let mut unique = [0; UNIQUE];
        getrandom::fill(&mut unique).expect("the system has random numbers");
        octets.extend(unique);
        octets.extend(self.proof(&octets, source));
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    fn proof(&self, nonce: &[u8], source: IpAddr) -> [u8; PROOF] {
        let source = source.to_string();
        hmac_sha256(&self.secret, &[nonce, source.as_bytes()].concat())
    }

    /// Says whether a nonce is ours, for that source, not over, and used with a count it was not used with before
    /// (RFC 7616 §3.4.5); notes the count.
    fn take_nonce(&mut self, shown: &Shown, source: IpAddr, now: Instant) -> bool {
        let Some(octets) = unhex(&shown.nonce).filter(|octets| octets.len() == TIME + UNIQUE + PROOF) else {
            return false;
        };
        let (head, proof) = octets.split_at(TIME + UNIQUE);
        let Some(time) = head.first_chunk::<TIME>() else { return false };
        let until = self.started + Duration::from_secs(u64::from_be_bytes(*time).min(u32::MAX.into())) + NONCE_LIFE;
        if !is_equal(proof, &self.proof(head, source)) || until <= now {
            return false;
        }
        let last = self.used.get(&shown.nonce).map_or(0, |(count, _)| *count);
        if shown.count <= last {
            return false;
        }
        if self.used.len() >= MAX_NONCES {
            self.used.retain(|_, (_, until)| *until > now);
        }
        if self.used.len() >= MAX_NONCES && last == 0 {
            return false;
        }
        self.used.insert(shown.nonce.clone(), (shown.count, until));
        true
    }

    fn is_throttled(&mut self, source: IpAddr, now: Instant) -> bool {
        let source = prefix(source);
        if self.failures.len() >= MAX_SOURCES {
            self.failures.retain(|_, failures| now - failures.since < MINUTE);
        }
        match self.failures.get(&source) {
            Some(failures) if now - failures.since < MINUTE => failures.count >= MAX_FAILURES,
            // Nobody could keep count of this one.
            None => self.failures.len() >= MAX_SOURCES,
            Some(_) => false,
        }
    }

    fn failed(&mut self, source: IpAddr, now: Instant) {
        let failures = self.failures.entry(prefix(source)).or_insert(Failures { since: now, count: 0 });
        if now - failures.since >= MINUTE {
            *failures = Failures { since: now, count: 0 };
        }
        failures.count += 1;
    }
}

/// Who counts as one source: an address, or a network of IPv6.
fn prefix(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// HMAC (RFC 2104) with SHA-256; the key is no longer than a block.
fn hmac_sha256(key: &[u8; 32], message: &[u8]) -> [u8; PROOF] {
    let pad =
        |fill: u8| -> [u8; 64] { std::array::from_fn(|index| key.get(index).copied().unwrap_or_default() ^ fill) };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

/// Compares without telling by the time where they differ.
pub(super) fn is_equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 §4.2, §4.3: keys shorter than ours are filled up with zeros all the same.
    #[test]
    fn the_hmac_is_that_of_the_rfc() {
        let of = |key: &[u8], message: &[u8]| {
            let mut padded = [0; 32];
            padded[..key.len()].copy_from_slice(key);
            hmac_sha256(&padded, message).iter().map(|octet| format!("{octet:02x}")).collect::<String>()
        };
        assert_eq!(of(&[0x0b; 20], b"Hi There"), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
        assert_eq!(
            of(b"Jefe", b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let same = |a: &str, b: &str| {
            let address = |text: &str| text.parse::<IpAddr>().expect("an address");
            prefix(address(a)) == prefix(address(b))
        };
        assert!(same("2001:db8::1", "2001:db8::ffff:1") && !same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
    }

    #[test]
    fn octets_are_read_from_their_digits() {
        assert_eq!(unhex("00fF"), Some(vec![0, 255]));
        assert_eq!((unhex("0"), unhex("0g"), unhex("é")), (None, None, None));
    }
}
