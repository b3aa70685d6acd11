//! Digest authentication (RFC 7616, RFC 8760, RFC 3261 §22): our answers to challenges, and what others show us.

use md5::Md5;
use model::Secret;
use rsipstack::sip::{Header, Headers};
use sha2::{Digest, Sha256, Sha512_256};

use super::gate::is_equal;
use super::wire::{self, header};

/// What we know about those who ask for our password, over the life of a call or registration.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    username: String,
    password: Secret<String>,
    answered: Vec<Answered>,
}

/// A challenge that we answer in each further request.
#[derive(Clone, Debug)]
struct Answered {
    challenge: Challenge,
    /// How often the nonce was used.
    count: u32,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Challenge {
    /// Asked by a proxy (407), not by the peer (401).
    proxy: bool,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    /// The word as the challenge wrote it, repeated in the answer.
    algorithm_word: Option<String>,
    qop: Qop,
    stale: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Qop {
    /// As in RFC 2069.
    None,
    Auth,
    AuthInt,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Algorithm {
    hash: Hash,
    session: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Hash {
    Md5,
    Sha256,
    Sha512_256,
}

impl Hash {
    fn hex(self, text: &str) -> String {
        let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect();
        match self {
            Self::Md5 => hex(&Md5::digest(text)),
            Self::Sha256 => hex(&Sha256::digest(text)),
            Self::Sha512_256 => hex(&Sha512_256::digest(text)),
        }
    }
}

impl Credentials {
    pub(super) fn new(username: String, password: Secret<String>) -> Self {
        Self { username, password, answered: Vec::new() }
    }

    /// Takes the challenges of a 401 or 407. False: none of them can be answered, or our answer was refused.
    pub(super) fn take(&mut self, headers: &Headers) -> bool {
        let mut progress = false;
        for challenge in challenges(headers) {
            let before = self
                .answered
                .iter()
                .position(|a| a.challenge.proxy == challenge.proxy && a.challenge.realm == challenge.realm);
            match before {
                // Only a stale nonce says that the password itself was right (RFC 7616 §3.3).
                Some(index) if challenge.stale && self.answered[index].challenge.nonce != challenge.nonce => {
                    self.answered[index] = Answered { challenge, count: 0 };
                    progress = true;
                }
                Some(_) => {}
                None => {
                    self.answered.push(Answered { challenge, count: 0 });
                    progress = true;
                }
            }
        }
        progress
    }

    /// The headers of a request that answer what was taken so far.
    pub(super) fn headers(&mut self, method: &str, uri: &str, body: &[u8]) -> Vec<Header> {
        let Self { username, password, answered } = self;
        answered
            .iter_mut()
            .map(|answered| {
                answered.count = answered.count.saturating_add(1);
                let given = Given { username, password: password.reveal(), method, uri, body };
                let name = if answered.challenge.proxy { "Proxy-Authorization" } else { "Authorization" };
                header(name, given.answer(&answered.challenge, answered.count, &wire::random(8)))
            })
            .collect()
    }
}

/// The challenges we can answer: per realm the first of a known algorithm (RFC 8760 §2.4).
fn challenges(headers: &Headers) -> Vec<Challenge> {
    let mut usable: Vec<Challenge> = Vec::new();
    for (name, proxy) in [("WWW-Authenticate", false), ("Proxy-Authenticate", true)] {
        for challenge in wire::values(headers, name).filter_map(|value| challenge(value, proxy)) {
            if usable.iter().all(|other| other.proxy != proxy || other.realm != challenge.realm) {
                usable.push(challenge);
            }
        }
    }
    usable
}

fn challenge(value: &str, proxy: bool) -> Option<Challenge> {
    let (scheme, rest) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Digest") {
        return None;
    }
    let fields = fields(rest);
    let field = |name: &str| fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
    let algorithm_word = field("algorithm");
    let qop = match field("qop") {
        None => Qop::None,
        Some(offered) => {
            let offers = |word: &str| offered.split(',').any(|own| own.trim().eq_ignore_ascii_case(word));
            if offers("auth") {
                Qop::Auth
            } else if offers("auth-int") {
                Qop::AuthInt
            } else {
                return None;
            }
        }
    };
    Some(Challenge {
        proxy,
        realm: field("realm")?,
        nonce: field("nonce")?,
        opaque: field("opaque"),
        algorithm: algorithm(algorithm_word.as_deref().unwrap_or("MD5"))?,
        algorithm_word,
        qop,
        stale: field("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
    })
}

fn algorithm(word: &str) -> Option<Algorithm> {
    let word = word.to_ascii_lowercase();
    let (name, session) = word.strip_suffix("-sess").map_or((word.as_str(), false), |name| (name, true));
    let hash = match name {
        "md5" => Hash::Md5,
        "sha-256" => Hash::Sha256,
        "sha-512-256" => Hash::Sha512_256,
        _ => return None,
    };
    Some(Algorithm { hash, session })
}

/// `name=value, name="value", …`
fn fields(text: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', '\t', ',']).to_ascii_lowercase();
        let after = after.trim_start();
        let value;
        (value, rest) = match after.strip_prefix('"') {
            Some(quoted) => {
                let mut text = String::new();
                let mut characters = quoted.char_indices();
                let mut end = quoted.len();
                while let Some((index, character)) = characters.next() {
                    match character {
                        '"' => {
                            end = index + 1;
                            break;
                        }
                        '\\' => text.extend(characters.next().map(|(_, character)| character)),
                        _ => text.push(character),
                    }
                }
                (text, quoted.get(end..).unwrap_or_default())
            }
            None => {
                let (value, rest) = after.split_once(',').unwrap_or((after, ""));
                (value.trim().to_owned(), rest)
            }
        };
        fields.push((name, value));
    }
    fields
}

/// What an Authorization shows that answers a challenge of ours.
pub(super) struct Shown {
    pub(super) username: String,
    pub(super) realm: String,
    pub(super) nonce: String,
    pub(super) uri: String,
    /// How often the nonce was used.
    pub(super) count: u32,
    cnonce: String,
    algorithm: Algorithm,
    response: String,
}

/// Reads an Authorization. `None`: it is no digest, or one without `qop=auth`, which we ask for.
pub(super) fn shown(value: &str) -> Option<Shown> {
    let (scheme, rest) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Digest") {
        return None;
    }
    let fields = fields(rest);
    let field = |name: &str| fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
    field("qop").filter(|qop| qop.eq_ignore_ascii_case("auth"))?;
    let count = field("nc").filter(|count| count.len() == 8)?;
    Some(Shown {
        username: field("username")?,
        realm: field("realm")?,
        nonce: field("nonce")?,
        uri: field("uri")?,
        count: u32::from_str_radix(&count, 16).ok()?,
        cnonce: field("cnonce")?,
        algorithm: algorithm(field("algorithm").as_deref().unwrap_or("MD5"))?,
        response: field("response")?,
    })
}

impl Shown {
    /// Says whether it is the answer of one who knows the password.
    pub(super) fn is_right(&self, password: &str, method: &str) -> bool {
        let Self { username, realm, nonce, uri, count, cnonce, algorithm, response } = self;
        let challenge = Challenge {
            proxy: false,
            realm: realm.clone(),
            nonce: nonce.clone(),
            opaque: None,
            algorithm: *algorithm,
            algorithm_word: None,
            qop: Qop::Auth,
            stale: false,
        };
        let given = Given { username, password, method, uri, body: b"" };
        let expected = given.response(&challenge, *count, cnonce);
        is_equal(expected.as_bytes(), response.to_ascii_lowercase().as_bytes())
    }
}

/// What an answer is computed from, besides the challenge.
struct Given<'a> {
    username: &'a str,
    password: &'a str,
    method: &'a str,
    uri: &'a str,
    body: &'a [u8],
}

impl Given<'_> {
    /// The value of an Authorization (RFC 7616 §3.4).
    fn answer(&self, challenge: &Challenge, count: u32, cnonce: &str) -> String {
        let Challenge { realm, nonce, opaque, algorithm_word, qop, .. } = challenge;
        let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut value = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{}\", response=\"{}\"",
            escape(self.username),
            escape(realm),
            escape(nonce),
            self.uri,
            self.response(challenge, count, cnonce)
        );
        if let Some(word) = algorithm_word {
            value.push_str(&format!(", algorithm={word}"));
        }
        if let Some(opaque) = opaque {
            value.push_str(&format!(", opaque=\"{}\"", escape(opaque)));
        }
        if let Some(qop) = qop.as_str() {
            value.push_str(&format!(", qop={qop}, nc={count:08x}, cnonce=\"{cnonce}\""));
        } else if challenge.algorithm.session {
            value.push_str(&format!(", cnonce=\"{cnonce}\""));
        }
        value
    }

    fn response(&self, challenge: &Challenge, count: u32, cnonce: &str) -> String {
        let Challenge { realm, nonce, algorithm: Algorithm { hash, session }, qop, .. } = challenge;
        let mut secret = hash.hex(&format!("{}:{realm}:{}", self.username, self.password));
        if *session {
            secret = hash.hex(&format!("{secret}:{nonce}:{cnonce}"));
        }
        let mut request = format!("{}:{}", self.method, self.uri);
        if *qop == Qop::AuthInt {
            request = format!("{request}:{}", hash.hex(&String::from_utf8_lossy(self.body)));
        }
        let request = hash.hex(&request);
        match qop.as_str() {
            Some(qop) => hash.hex(&format!("{secret}:{nonce}:{count:08x}:{cnonce}:{qop}:{request}")),
            None => hash.hex(&format!("{secret}:{nonce}:{request}")),
        }
    }
}

impl Qop {
    const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Auth => Some("auth"),
            Self::AuthInt => Some("auth-int"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(challenge_text: &str, given: &Given<'_>, cnonce: &str) -> String {
        challenge(challenge_text, false).map(|challenge| given.response(&challenge, 1, cnonce)).expect("a challenge")
    }

    /// RFC 7616 §3.9.1, RFC 2617 §3.5.
    #[test]
    fn the_answers_of_the_rfcs_come_out() {
        let given = |password| Given { username: "Mufasa", password, method: "GET", uri: "/dir/index.html", body: b"" };
        let fields = "realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
                      nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        assert_eq!(
            response(&format!("Digest {fields}, algorithm=MD5"), &given("Circle of Life"), cnonce),
            "8ca523f5e9506fed4657c9700eebdbec"
        );
        assert_eq!(
            response(&format!("Digest {fields}, algorithm=SHA-256"), &given("Circle of Life"), cnonce),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
        let old =
            "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
        assert_eq!(response(old, &given("Circle Of Life"), "0a4f113b"), "6629fae49393a05397450978507c4ef1");
    }

    #[test]
    fn a_trunk_gets_its_answer_in_every_algorithm() {
        let given =
            Given { username: "gw", password: "s3cret", method: "REGISTER", uri: "sip:trunk.example", body: b"" };
        for (rest, expected) in [
            (", qop=\"auth\", algorithm=MD5", "20435e6f052e5a8b063bc92c8621ea3d"),
            (", qop=\"auth\", algorithm=SHA-256", "1554aa65a59033fe257dc56bd7779fe396236a07c1268b184828e0600b36643a"),
            (
                ", qop=\"auth\", algorithm=SHA-512-256",
                "43881bba7af983f0aef9876356ac7d4c36c814c319d43502d9fb9be30fa2db69",
            ),
            ("", "7a289ec1e75fe221765f7cd8eab0f4ec"),
        ] {
            let challenge = format!("Digest realm=\"trunk.example\", nonce=\"n0nce\"{rest}");
            assert_eq!(response(&challenge, &given, "c0ffee"), expected, "{rest}");
        }
    }

    #[test]
    fn what_is_shown_is_right_or_not() {
        let mut credentials = Credentials::new("gw \"x\"".to_owned(), Secret::new("s3cret".to_owned()));
        for algorithm in ["MD5", "SHA-256", "SHA-512-256", "SHA-256-sess"] {
            let asked = format!("Digest realm=\"{algorithm}\", nonce=\"n\", qop=\"auth\", algorithm={algorithm}");
            assert!(credentials.take(&vec![header("WWW-Authenticate", asked)].into()));
        }
        for answer in credentials.headers("INVITE", "sip:a@b", b"v=0") {
            let shown = shown(answer.value()).expect("an answer");
            assert_eq!((shown.username.as_str(), shown.uri.as_str(), shown.count), ("gw \"x\"", "sip:a@b", 1));
            assert!(shown.is_right("s3cret", "INVITE"), "{}", answer.value());
            assert!(!shown.is_right("s3cre", "INVITE") && !shown.is_right("s3cret", "BYE"));
        }
        let whole =
            "username=\"u\", realm=\"r\", nonce=\"n\", uri=\"x\", response=\"0\", qop=auth, nc=00000001, cnonce=\"c\"";
        assert!(shown(&format!("digest {whole}")).is_some());
        for missing in ["username", "realm", "nonce", "uri", "response", "qop", "nc", "cnonce"] {
            let broken = format!("Digest {}", whole.replace(&format!("{missing}="), "x="));
            assert!(shown(&broken).is_none(), "{broken}");
        }
        for broken in
            ["Basic x", "Digest", "Digest qop=auth", &format!("Digest {whole}, algorithm=X").replace("=X", "=ROT13")]
        {
            assert!(shown(broken).is_none(), "{broken}");
        }
        assert!(shown(&format!("Digest {}", whole.replace("00000001", "1"))).is_none());
    }

    #[test]
    fn a_refused_password_is_not_sent_twice() {
        let mut credentials = Credentials::new("gw".to_owned(), Secret::new("s3cret".to_owned()));
        let challenged = |nonce: &str, stale: &str| -> Headers {
            vec![
                header("WWW-Authenticate", "Basic realm=\"x\""),
                header("WWW-Authenticate", format!("Digest realm=\"r\", nonce=\"{nonce}\", algorithm=SHA-7")),
                header(
                    "WWW-Authenticate",
                    format!("Digest realm=\"r\", nonce=\"{nonce}\", stale={stale}, qop=\"auth\""),
                ),
            ]
            .into()
        };
        assert!(credentials.take(&challenged("1", "false")));
        assert!(!credentials.take(&challenged("2", "false")));
        assert!(credentials.take(&challenged("3", "TRUE")));
        assert!(!credentials.take(&challenged("3", "TRUE")));
        let header = credentials.headers("INVITE", "sip:a@b", b"").remove(0);
        assert!(header.value().contains("nonce=\"3\"") && header.value().contains("qop=auth, nc=00000001, cnonce="));
        assert!(!header.value().contains("s3cret"));
    }

    #[test]
    fn a_peer_and_a_proxy_are_answered_side_by_side() {
        let mut credentials = Credentials::new("gw".to_owned(), Secret::new("s3cret".to_owned()));
        assert!(credentials.take(&vec![header("WWW-Authenticate", "Digest realm=\"a\", nonce=\"1\"")].into()));
        assert!(credentials.take(&vec![header("Proxy-Authenticate", "Digest realm=\"a\", nonce=\"2\"")].into()));
        assert_eq!(credentials.headers("INVITE", "sip:a@b", b"").len(), 2);
    }
}
