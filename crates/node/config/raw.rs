//! The configuration file as it is written, and the one place where it is checked and defaults are filled in.

mod dial_plan;
mod ng;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use model::{Learning, Reporting, SrtpSuite};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use signaling::{JmiMode, RouteRow, RouteTable, TrunkMedia, UserRow};
use sip::agent::{Listen, SessionTimers, Strangers, Transport};

use self::dial_plan::{Numbers, Route, User};
use self::ng::Ng;
use super::{CertificateLife, ConfigError, Credentials};
use crate::records;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    xmpp: Option<Xmpp>,
    sip: Option<Sip>,
    relay: Option<Relay>,
    #[serde(default)]
    ng: Ng,
    #[serde(default)]
    http: Http,
    #[serde(default)]
    call: Call,
    #[serde(default)]
    log: Log,
    #[serde(default)]
    records: Records,
    #[serde(default)]
    route: Vec<Route>,
    #[serde(default)]
    user: Vec<User>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Xmpp {
    component: String,
    server: Option<String>,
    secret: Secret,
    address: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sip {
    listen: Option<Vec<String>>,
    advertise: Option<String>,
    session_expires: Option<String>,
    min_se: Option<String>,
    strangers: Option<String>,
    tls: Option<Tls>,
    #[serde(default)]
    trunk: BTreeMap<String, Trunk>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tls {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    authorities: Option<PathBuf>,
}

/// Proxies of one trunk.
const MAX_URIS: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trunk {
    uri: Uris,
    keep_alive: Option<String>,
    username: Option<String>,
    password: Option<Secret>,
    register: Option<bool>,
    outbound: Option<bool>,
    challenge: Option<Challenge>,
    media: Option<String>,
    unencrypted_srtcp: Option<bool>,
    learning: Option<String>,
    address: Option<String>,
    caller: Option<String>,
    number: Option<String>,
    assert_identity: Option<bool>,
    country_code: Option<String>,
    international_prefix: Option<String>,
    national_prefix: Option<String>,
    number_format: Option<String>,
    user_phone: Option<bool>,
    max_calls: Option<usize>,
    max_attempts: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Relay {
    addresses: Option<Vec<Address>>,
    ports: Option<String>,
    port_quarantine: Option<String>,
    ice_port: Option<u16>,
    workers: Option<usize>,
    certificate: Option<String>,
    suites: Option<Vec<String>>,
    media_timeout: Option<String>,
    silent_timeout: Option<String>,
    longest_wait: Option<String>,
    rtcp: Option<String>,
    dscp: Option<u8>,
    dscp_video: Option<u8>,
    max_streams: Option<usize>,
    max_wrong_packets: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Address {
    name: Option<String>,
    bind: String,
    advertise: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    listen: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    jmi: Option<String>,
    ring_timeout: Option<String>,
    stop_timeout: Option<String>,
    max_calls: Option<usize>,
    max_calls_per_user: Option<usize>,
    max_attempts_per_user: Option<usize>,
    caller: Option<String>,
    emergency_numbers: Option<Vec<String>>,
    video: Option<bool>,
    allow_plain_jingle: Option<bool>,
    global_failures: Option<bool>,
    follow_redirects: Option<bool>,
    privacy_reasons: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    level: Option<String>,
    format: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Records {
    file: Option<PathBuf>,
    url: Option<String>,
}

/// A secret: the value itself, or where it is.
enum Secret {
    Value(String),
    File(PathBuf),
    Environment(String),
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;

        // Every other form gets a message of our own, because serde's would show the value.
        const EXPECTED: &str = "a secret is a string, { file = \"path\" } or { env = \"NAME\" }";

        impl<'de> Visitor<'de> for Forms {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Secret, E> {
                Ok(Secret::Value(value.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
                match map.next_entry::<String, String>()? {
                    Some((key, path)) if key == "file" => Ok(Secret::File(path.into())),
                    Some((key, name)) if key == "env" => Ok(Secret::Environment(name)),
                    _ => Err(de::Error::custom(EXPECTED)),
                }
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Secret, E> {
                Err(E::custom(EXPECTED))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Secret, E> {
                Err(E::custom(EXPECTED))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secret, E> {
                Err(E::custom(EXPECTED))
            }
        }

        deserializer.deserialize_any(Forms)
    }
}

/// Collects what is wrong, so that all of it can be said at once.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    /// Parses a value of a key, or its default where it is absent, or notes why it cannot be.
    fn value<T>(
        &mut self,
        key: &str,
        text: Option<&str>,
        default: &str,
        parse: impl Fn(&str) -> Option<T>,
        accepted: &str,
    ) -> Option<T> {
        let text = text.unwrap_or(default);
        let value = parse(text);
        if value.is_none() {
            self.0.push(format!("{key} = {text:?}: expected {accepted}"));
        }
        value
    }

    fn secret(&mut self, key: &str, secret: Secret) -> model::Secret<String> {
        let value = match secret {
            Secret::Value(value) => Ok(value),
            Secret::File(path) => std::fs::read_to_string(&path)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|error| format!("{key}: cannot read {}: {error}", path.display())),
            Secret::Environment(name) => {
                std::env::var(&name).map_err(|_| format!("{key}: environment variable {name} is not set"))
            }
        };
        let value = value.and_then(|value| if value.is_empty() { Err(format!("{key} is empty")) } else { Ok(value) });
        model::Secret::new(value.unwrap_or_else(|problem| {
            self.0.push(problem);
            String::new()
        }))
    }
}

impl Config {
    /// Checks the file and fills in defaults.
    pub(super) fn check(self) -> Result<super::Config, ConfigError> {
        let problems = &mut Problems::default();
        let (Some(xmpp), Some(sip), Some(relay)) = (self.xmpp, self.sip, self.relay) else {
            return Err(ConfigError(vec![
                "[xmpp], [sip] or [relay] is missing: a gateway needs all of them".to_owned(),
            ]));
        };
        let xmpp = super::Xmpp {
            component: xmpp.component,
            server: xmpp.server.unwrap_or_else(|| "127.0.0.1:5347".to_owned()),
            secret: problems.secret("xmpp.secret", xmpp.secret),
            address: xmpp.address,
        };
        if xmpp.component.is_empty() || xmpp.component.contains(['@', '/', ' ']) {
            problems.0.push(format!("xmpp.component = {:?}: expected a domain", xmpp.component));
        }
        if port_of(&xmpp.server).is_none() {
            problems.0.push(format!("xmpp.server = {:?}: expected host:port", xmpp.server));
        }
        let relay = relay.check(problems, self.call.max_calls.unwrap_or(MAX_CALLS));
        let names = relay.as_ref().map(|relay| relay.addresses.as_slice()).unwrap_or_default();
        check_name(problems, "xmpp.address", xmpp.address.as_deref(), names);
        let sip = sip.check(problems, names);
        let http = self.http.listen.as_deref().and_then(|listen| {
            problems.value("http.listen", Some(listen), "", |text| SocketAddr::from_str(text).ok(), "address:port")
        });
        let call = self.call.check(problems);
        let log = self.log.check(problems);
        let url = self.records.url.as_deref().and_then(|url| {
            problems.value("records.url", Some(url), "", |text| text.parse().ok(), "\"http://host:port/path\"")
        });
        let records = records::Settings { file: self.records.file, url };
        let routes: Vec<_> = self.route.into_iter().map(RouteRow::from).collect();
        let users = self.user.into_iter().map(UserRow::from).collect();
        if routes.is_empty() {
            problems.0.push("there is no [[route]], so no call could go anywhere".to_owned());
        }
        match (sip, relay, call, log) {
            (Some(sip), Some(relay), Some(call), Some(log)) if problems.0.is_empty() => {
                Ok(super::Config { xmpp, sip, relay, http, call, log, records, routes, users })
            }
            _ => Err(ConfigError(std::mem::take(&mut problems.0))),
        }
    }
}

impl Sip {
    fn check(self, problems: &mut Problems, addresses: &[relay::Address]) -> Option<super::Sip> {
        let listen = self.listen.unwrap_or_else(|| vec!["udp:127.0.0.1:5060".to_owned()]);
        if listen.is_empty() {
            problems.0.push("sip.listen is empty: expected at least one \"udp:address:port\"".to_owned());
        }
        let listen: Option<Vec<_>> = listen
            .iter()
            .map(|text| {
                let accepted = "\"udp:address:port\", or tcp:, tls:, ws: or wss: instead of udp:";
                problems.value("sip.listen", Some(text), "", parse_listen, accepted)
            })
            .collect();
        if self.tls.as_ref().is_none_or(|tls| tls.certificate.is_none())
            && listen.iter().flatten().any(|listen| listen.transport.is_secure())
        {
            problems
                .0
                .push("sip.listen has a tls: or wss: address, which needs [sip.tls] certificate and key".to_owned());
        }
        let advertise = self.advertise.as_deref().and_then(|text| {
            problems.value("sip.advertise", Some(text), "", |text| IpAddr::from_str(text).ok(), "an IP address")
        });
        let tls = self.tls.map_or_else(Default::default, |tls| sip::agent::Tls {
            certificate: tls.certificate,
            key: tls.key,
            authorities: tls.authorities,
        });
        if tls.certificate.is_some() != tls.key.is_some() {
            problems.0.push("sip.tls: certificate and key go together".to_owned());
        }
        let trunks: Option<BTreeMap<_, _>> = self
            .trunk
            .into_iter()
            .map(|(name, trunk)| trunk.check(&name, problems, addresses).map(|trunk| (name, trunk)))
            .collect();
        let session = check_session(problems, self.session_expires.as_deref(), self.min_se.as_deref());
        let strangers = problems.value(
            "sip.strangers",
            self.strangers.as_deref(),
            "route",
            |text| match text {
                "route" => Some(Strangers::Route),
                "challenge" => Some(Strangers::Challenge),
                "refuse" => Some(Strangers::Refuse),
                "drop" => Some(Strangers::Drop),
                _ => None,
            },
            "\"route\", \"challenge\", \"refuse\" or \"drop\"",
        );
        if strangers == Some(Strangers::Challenge)
            && trunks.as_ref().is_some_and(|trunks| trunks.values().all(|trunk| trunk.challenge.is_none()))
        {
            problems.0.push("sip.strangers = \"challenge\" needs a trunk with a challenge".to_owned());
        }
        let (session, strangers) = (session?, strangers?);
        Some(super::Sip { listen: listen?, advertise, session, strangers, tls, trunks: trunks? })
    }
}

/// The session timers: a minute and a half is the shortest there is (RFC 4028 §5).
fn check_session(problems: &mut Problems, expires: Option<&str>, least: Option<&str>) -> Option<SessionTimers> {
    let expires = duration(problems, "sip.session_expires", expires, "30m")?;
    let least = duration(problems, "sip.min_se", least, "90s")?;
    if least < Duration::from_secs(90) {
        problems.0.push(format!("sip.min_se = {least:?}: expected at least \"90s\""));
    }
    if !expires.is_zero() && expires < least {
        problems
            .0
            .push(format!("sip.session_expires = {expires:?}: expected sip.min_se ({least:?}) or more, or \"0s\""));
    }
    Some(SessionTimers { expires, min_se: least })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Challenge {
    username: String,
    password: Secret,
}

/// One URI, or several, best first.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected \"sip:host\", or a list of them")]
enum Uris {
    One(String),
    Several(Vec<String>),
}

impl Trunk {
    fn check(self, name: &str, problems: &mut Problems, addresses: &[relay::Address]) -> Option<super::Trunk> {
        let key = |key: &str| format!("sip.trunk.{name}.{key}");
        let mut further = match self.uri {
            Uris::One(uri) => vec![uri],
            Uris::Several(uris) => uris,
        };
        for uri in further.iter().filter(|uri| !uri.starts_with("sip:") && !uri.starts_with("sips:")) {
            problems.0.push(format!("{} = {uri:?}: expected \"sip:host\" or \"sip:host:port\"", key("uri")));
        }
        if further.is_empty() || further.len() > MAX_URIS {
            problems.0.push(format!("{}: expected one to {MAX_URIS}", key("uri")));
            return None;
        }
        let uri = further.remove(0);
        let keep_alive = duration(problems, &key("keep_alive"), self.keep_alive.as_deref(), "30s");
        let credentials = match (self.username, self.password) {
            (Some(username), Some(password)) => {
                Some(Credentials { username, password: problems.secret(&key("password"), password) })
            }
            (None, None) => None,
            _ => {
                problems.0.push(format!("sip.trunk.{name}: username and password go together"));
                None
            }
        };
        let register = self.register.unwrap_or(false);
        if register && credentials.is_none() {
            problems.0.push(format!("{} = true needs a username and a password", key("register")));
        }
        let outbound = self.outbound.unwrap_or(false);
        if outbound && !register {
            problems.0.push(format!("{} = true needs register = true", key("outbound")));
        }
        let challenge = self.challenge.map(|user| Credentials {
            username: user.username,
            password: problems.secret(&key("challenge.password"), user.password),
        });
        if challenge.as_ref().is_some_and(|user| user.username.is_empty() || user.password.reveal().is_empty()) {
            problems.0.push(format!("{}: neither username nor password may be empty", key("challenge")));
        }
        check_name(problems, &key("address"), self.address.as_deref(), addresses);
        let media = problems.value(
            &key("media"),
            self.media.as_deref(),
            "rtp",
            |text| match text {
                "rtp" => Some(TrunkMedia::Rtp),
                "sdes" => Some(TrunkMedia::Sdes),
                "osrtp" => Some(TrunkMedia::Osrtp),
                "dtls" => Some(TrunkMedia::Dtls),
                _ => None,
            },
            "\"rtp\", \"osrtp\", \"sdes\" or \"dtls\"",
        );
        let unencrypted_srtcp = self.unencrypted_srtcp.unwrap_or(false);
        if unencrypted_srtcp && matches!(media, Some(TrunkMedia::Rtp | TrunkMedia::Dtls)) {
            problems.0.push(format!("{} = true needs media = \"sdes\" or \"osrtp\"", key("unencrypted_srtcp")));
        }
        let learning = problems.value(
            &key("learning"),
            self.learning.as_deref(),
            "off",
            |text| match text {
                "off" => Some(Learning::Off),
                "signalled-address" => Some(Learning::SignalledAddress),
                "any" => Some(Learning::Any),
                _ => None,
            },
            "\"off\", \"signalled-address\" or \"any\"",
        );
        let caller = match &self.caller {
            Some(caller) => Some(dial_plan::caller(problems, &key("caller"), Some(caller))?),
            None => None,
        };
        if let Some(number) = self.number.as_ref().filter(|number| !dial_plan::is_number_or_account(number)) {
            problems.0.push(format!("{} = {number:?}: expected {}", key("number"), dial_plan::NUMBER_OR_ACCOUNT));
        }
        let numbers = Numbers {
            country_code: self.country_code,
            international_prefix: self.international_prefix,
            national_prefix: self.national_prefix,
            number_format: self.number_format,
        };
        let numbers = numbers.check(problems, key);
        Some(super::Trunk {
            caller,
            number: self.number,
            assert_identity: self.assert_identity.unwrap_or(false),
            numbers: numbers?,
            user_phone: self.user_phone.unwrap_or(false),
            max_calls: self.max_calls.unwrap_or(0),
            max_attempts: self.max_attempts.unwrap_or(0),
            uri,
            further,
            keep_alive: keep_alive?,
            challenge,
            outbound,
            credentials,
            register,
            media: media?,
            unencrypted_srtcp,
            learning: learning?,
            address: self.address,
        })
    }
}

impl Relay {
    /// As many calls as there are ports for, four for each.
    fn most_calls(&self) -> usize {
        parse_ports(self.ports.as_deref().unwrap_or(USUAL_PORTS)).map_or(MAX_CALLS, |ports| (ports.len() / 4).max(1))
    }

    fn check(self, problems: &mut Problems, max_calls: usize) -> Option<super::Relay> {
        let addresses = self.addresses.unwrap_or_default();
        if addresses.is_empty() {
            problems.0.push("relay.addresses is empty: expected at least one { bind = \"address\" }".to_owned());
        }
        let addresses: Option<Vec<_>> = addresses
            .iter()
            .map(|address| {
                let mut ip = |key, text: &str| {
                    problems.value(key, Some(text), "", |text| IpAddr::from_str(text).ok(), "an IP address")
                };
                let bind = ip("relay.addresses bind", &address.bind)?;
                let advertise = match &address.advertise {
                    Some(text) => Some(ip("relay.addresses advertise", text)?),
                    None => None,
                };
                if advertise.is_some_and(|advertise| advertise.is_ipv4() != bind.is_ipv4()) {
                    problems.0.push("relay.addresses: bind and advertise must be of one family".to_owned());
                }
                if bind.is_unspecified() {
                    problems
                        .0
                        .push(format!("relay.addresses bind = \"{bind}\": expected one address, not all of them"));
                }
                Some(relay::Address { name: address.name.clone(), bind, advertise })
            })
            .collect();
        let ports = problems.value("relay.ports", self.ports.as_deref(), USUAL_PORTS, parse_ports, PORTS);
        let port_quarantine = duration(problems, "relay.port_quarantine", self.port_quarantine.as_deref(), "5s");
        let certificate = problems.value(
            "relay.certificate",
            self.certificate.as_deref(),
            "process",
            |text| match text {
                "process" => Some(CertificateLife::Process),
                "call" => Some(CertificateLife::Call),
                _ => None,
            },
            "\"process\" or \"call\"",
        );
        let rtcp = problems.value(
            "relay.rtcp",
            self.rtcp.as_deref(),
            "translate",
            |text| match text {
                "translate" => Some(Reporting::Translated),
                "terminate" => Some(Reporting::Terminated),
                _ => None,
            },
            "\"translate\" or \"terminate\"",
        );
        let suites: Option<Vec<_>> = match &self.suites {
            None => Some(SrtpSuite::USUAL.to_vec()),
            Some(names) => names
                .iter()
                .map(|name| {
                    let accepted = SrtpSuite::ALL.map(SrtpSuite::as_str).join(", ");
                    problems.value("relay.suites", Some(name), "", |text| text.parse().ok(), &accepted)
                })
                .collect(),
        };
        // Some have no number in DTLS (RFC 5764 §4.1.2).
        let for_dtls = |suites: &Vec<SrtpSuite>| suites.iter().any(|suite| suite.dtls_id().is_some());
        if suites.as_ref().is_some_and(|suites| !for_dtls(suites)) {
            problems.0.push("relay.suites has none that DTLS can agree on, so no Jingle client could call".to_owned());
        }
        let media_timeout = duration(problems, "relay.media_timeout", self.media_timeout.as_deref(), "60s");
        let silent_timeout = duration(problems, "relay.silent_timeout", self.silent_timeout.as_deref(), "1h");
        let longest_wait = duration(problems, "relay.longest_wait", self.longest_wait.as_deref(), "1ms");
        let (dscp, dscp_video) = (self.dscp.unwrap_or(46), self.dscp_video.unwrap_or(34));
        for (key, dscp) in [("dscp", dscp), ("dscp_video", dscp_video)] {
            if dscp > 63 {
                problems.0.push(format!("relay.{key} = {dscp}: expected 0 to 63"));
            }
        }
        let workers = match self.workers.unwrap_or(0) {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        if let Some(first) = self.ice_port {
            let last = usize::from(first) + workers - 1;
            let is_apart = ports.as_ref().is_none_or(|ports| {
                last < usize::from(*ports.start()) || usize::from(first) > usize::from(*ports.end())
            });
            if first < 1024 || last > usize::from(u16::MAX) || !is_apart {
                problems.0.push(format!(
                    "relay.ice_port = {first}: expected a port from 1024 on that, with one more for each of {workers} \
                     workers, is apart from relay.ports"
                ));
            }
        }
        // A call takes a pair of ports for each side.
        if let Some(ports) = &ports
            && ports.len() / 2 / workers < 2
        {
            problems.0.push(format!(
                "relay.ports = \"{}-{}\" is shared by {workers} workers: expected at least {} ports, four for each",
                ports.start(),
                ports.end(),
                4 * workers
            ));
        }
        Some(super::Relay {
            addresses: addresses?,
            ports: ports?,
            port_quarantine: port_quarantine?,
            ice_port: self.ice_port,
            workers,
            certificate: certificate?,
            rtcp: rtcp?,
            suites: suites?,
            media_timeout: media_timeout?,
            silent_timeout: silent_timeout?,
            longest_wait: longest_wait?,
            dscp,
            dscp_video,
            max_streams: self.max_streams.unwrap_or(STREAMS_PER_CALL * max_calls),
            max_wrong_packets: self.max_wrong_packets.unwrap_or(100),
        })
    }
}

impl Call {
    fn check(self, problems: &mut Problems) -> Option<super::Call> {
        let jmi = problems.value(
            "call.jmi",
            self.jmi.as_deref(),
            "on-answer",
            |text| match text {
                "on-answer" => Some(JmiMode::OnAnswer),
                "early-proceed" => Some(JmiMode::EarlyProceed),
                "early-accept" => Some(JmiMode::EarlyAccept),
                _ => None,
            },
            "\"on-answer\", \"early-proceed\" or \"early-accept\"",
        );
        let caller = dial_plan::caller(problems, "call.caller", self.caller.as_deref());
        let emergency = self.emergency_numbers;
        let ring_timeout = duration(problems, "call.ring_timeout", self.ring_timeout.as_deref(), "180s");
        let stop_timeout = duration(problems, "call.stop_timeout", self.stop_timeout.as_deref(), "5s");
        Some(super::Call {
            jmi: jmi?,
            caller: caller?,
            emergency_numbers: emergency.unwrap_or_else(|| RouteTable::EMERGENCY.map(str::to_owned).to_vec()),
            video: self.video.unwrap_or(false),
            ring_timeout: ring_timeout?,
            stop_timeout: stop_timeout?,
            max_calls: self.max_calls.unwrap_or(MAX_CALLS),
            max_calls_per_user: self.max_calls_per_user.unwrap_or(2),
            max_attempts_per_user: self.max_attempts_per_user.unwrap_or(60),
            allow_plain_jingle: self.allow_plain_jingle.unwrap_or(false),
            global_failures: self.global_failures.unwrap_or(false),
            follow_redirects: self.follow_redirects.unwrap_or(true),
            privacy_reasons: self.privacy_reasons.unwrap_or(false),
        })
    }
}

impl Log {
    fn check(self, problems: &mut Problems) -> Option<super::Log> {
        let level = problems.value(
            "log.level",
            self.level.as_deref(),
            "info",
            |text| text.parse::<tracing_subscriber::EnvFilter>().is_ok().then(|| text.to_owned()),
            "error, warn, info, debug, trace, or a filter such as \"info,signaling=debug\"",
        );
        let json = problems.value(
            "log.format",
            self.format.as_deref(),
            "text",
            |text| match text {
                "text" => Some(false),
                "json" => Some(true),
                _ => None,
            },
            "\"text\" or \"json\"",
        );
        Some(super::Log { level: level?, json: json? })
    }
}

/// Some relay address has to have the name that is asked for.
fn check_name(problems: &mut Problems, key: &str, wanted: Option<&str>, addresses: &[relay::Address]) {
    if let Some(wanted) = wanted
        && !addresses.iter().any(|address| address.name.as_deref() == Some(wanted))
    {
        problems.0.push(format!("{key} = {wanted:?}: no relay address has that name"));
    }
}

const MAX_CALLS: usize = 1000;

const USUAL_PORTS: &str = "30000-39999";

/// Twice those of a call with sound and pictures on both legs.
const STREAMS_PER_CALL: usize = 8;

const PORTS: &str = "\"first-last\", at least four ports from 1024 on";

fn parse_ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?);
    (first >= 1024 && last >= first.saturating_add(3)).then_some(first..=last)
}

fn parse_listen(text: &str) -> Option<Listen> {
    let (transport, address) = text.split_once(':')?;
    let transport = match transport {
        "udp" => Transport::Udp,
        "tcp" => Transport::Tcp,
        "tls" => Transport::Tls,
        "ws" => Transport::Ws,
        "wss" => Transport::Wss,
        _ => return None,
    };
    Some(Listen { transport, address: address.parse().ok()? })
}

fn port_of(server: &str) -> Option<u16> {
    let (host, port) = server.rsplit_once(':')?;
    if host.is_empty() { None } else { port.parse().ok() }
}

fn duration(problems: &mut Problems, key: &str, text: Option<&str>, default: &str) -> Option<Duration> {
    problems.value(key, text, default, parse_duration, "a number with its unit: \"500ms\", \"30s\", \"5m\" or \"1h\"")
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    match &text[digits..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_its_unit() {
        assert_eq!(parse_duration("1500ms"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2h"), Some(Duration::from_secs(7200)));
        for wrong in ["30", "s", "-1s", "1d", "99999999999999999999s", ""] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_port_range_has_room_for_a_call() {
        assert_eq!(parse_ports("30000-39999"), Some(30000..=39999));
        for wrong in ["30000", "9-1", "80-90", "40000-40001", "1-70000"] {
            assert_eq!(parse_ports(wrong), None, "{wrong}");
        }
    }
}
