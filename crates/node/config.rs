//! The configuration: file and environment to [`Config`], which is checked and typed.
//!
//! [`raw`] mirrors the file. Everything that can be wrong is found here, and all of it is reported at once; nobody
//! asks for a setting later than at construction.

mod flags;
mod raw;
mod rtpengine;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use control::request::EndpointLearning;
use model::{Learning, Reporting, Secret, SrtpSuite};
use signaling::{CallerForm, JmiMode, NumberPlan, RouteRow, TrunkMedia, UserRow};
use sip::agent::{Listen, SessionTimers, Strangers, Tls};

pub(crate) use self::flags::RelayFlags;
pub(crate) use self::rtpengine::Imported;
use crate::{ng, records};

/// Everything that can be set, checked.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) xmpp: Xmpp,
    pub(crate) sip: Sip,
    pub(crate) relay: Relay,
    /// Where `/healthz` and `/metrics` are served, if anywhere.
    pub(crate) http: Option<SocketAddr>,
    pub(crate) call: Call,
    pub(crate) log: Log,
    pub(crate) records: records::Settings,
    /// The address table, in order.
    pub(crate) routes: Vec<RouteRow>,
    /// What is known of single users.
    pub(crate) users: Vec<UserRow>,
}

/// The XMPP side: an XEP-0114 component.
#[derive(Clone, Debug)]
pub(crate) struct Xmpp {
    /// Our domain on the XMPP side.
    pub(crate) component: String,
    /// `host:port` of the server's component listener.
    pub(crate) server: String,
    pub(crate) secret: Secret<String>,
    /// The name of the relay address that its media uses; all where it is absent.
    pub(crate) address: Option<String>,
}

/// The SIP side.
#[derive(Clone, Debug)]
pub(crate) struct Sip {
    pub(crate) listen: Vec<Listen>,
    /// The address that SIP peers reach us at, where it is not the one we listen on.
    pub(crate) advertise: Option<IpAddr>,
    pub(crate) session: SessionTimers,
    pub(crate) strangers: Strangers,
    pub(crate) tls: Tls,
    pub(crate) trunks: BTreeMap<String, Trunk>,
}

/// A SIP peer that we call through and are called from.
#[derive(Clone, Debug)]
pub(crate) struct Trunk {
    pub(crate) uri: String,
    /// Where else it is, in order.
    pub(crate) further: Vec<String>,
    /// How often it is asked whether it is there; zero: never.
    pub(crate) keep_alive: Duration,
    pub(crate) credentials: Option<Credentials>,
    /// What its own calls have to show.
    pub(crate) challenge: Option<Credentials>,
    pub(crate) register: bool,
    /// By outbound (RFC 5626).
    pub(crate) outbound: bool,
    pub(crate) media: TrunkMedia,
    /// An SDES key of its is taken also where it wants RTCP in clear with it (RFC 4568 §6.3.2).
    pub(crate) unencrypted_srtcp: bool,
    pub(crate) learning: Learning,
    /// The name of the relay address its media uses; any where it is absent.
    pub(crate) address: Option<String>,
    /// How it sees an XMPP caller; as `call.caller` says where it is absent.
    pub(crate) caller: Option<CallerForm>,
    /// The number of callers that have none of their own.
    pub(crate) number: Option<String>,
    /// It is told who calls by P-Asserted-Identity.
    pub(crate) assert_identity: bool,
    pub(crate) numbers: NumberPlan,
    /// `;user=phone` is written behind numbers.
    pub(crate) user_phone: bool,
    pub(crate) max_calls: usize,
    /// Calls attempted in a minute.
    pub(crate) max_attempts: usize,
}

/// What a digest challenge is answered with.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) password: Secret<String>,
}

/// The packet relay.
#[derive(Clone, Debug)]
pub(crate) struct Relay {
    pub(crate) addresses: Vec<relay::Address>,
    pub(crate) ports: RangeInclusive<u16>,
    pub(crate) port_quarantine: Duration,
    /// The first of the ports that ICE legs share, one for each worker.
    pub(crate) ice_port: Option<u16>,
    pub(crate) workers: usize,
    pub(crate) certificate: CertificateLife,
    pub(crate) rtcp: Reporting,
    pub(crate) suites: Vec<SrtpSuite>,
    pub(crate) media_timeout: Duration,
    pub(crate) silent_timeout: Duration,
    pub(crate) longest_wait: Duration,
    pub(crate) dscp: u8,
    pub(crate) dscp_video: u8,
    pub(crate) max_streams: usize,
    pub(crate) max_wrong_packets: u32,
}

/// How long a DTLS certificate is used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CertificateLife {
    Process,
    Call,
}

/// What relay addresses are called by gateways where the file has no name for them, as rtpengine calls them.
pub(crate) const DEFAULT_INTERFACE: &str = "default";

/// Everything that can be set for `stox relay`, checked.
#[derive(Clone, Debug)]
pub(crate) struct RelayConfig {
    pub(crate) relay: Relay,
    pub(crate) ng: Ng,
    pub(crate) max_calls: usize,
    pub(crate) log: Log,
}

/// What a file is for.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// `stox run`.
    Gateway(Box<Config>),
    /// `stox relay`: there is nothing in it about XMPP and SIP.
    Relay(Box<RelayConfig>),
}

impl Purpose {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// As for [`Config::read`].
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let raw = parse(&read(path)?)?;
        if raw.is_for_relay() {
            return raw.check_relay().map(|config| Self::Relay(Box::new(config)));
        }
        raw.check().map(|config| Self::Gateway(Box::new(config)))
    }
}

/// How other people's gateways drive the relay.
#[derive(Clone, Debug)]
pub(crate) struct Ng {
    pub(crate) listen: Vec<ng::Listen>,
    /// Whose requests are taken.
    pub(crate) peers: Vec<ng::Prefix>,
    /// Who we say we are over TLS.
    pub(crate) tls: Option<ng::Tls>,
    /// What requests over HTTP and TCP have to show.
    pub(crate) token: Option<Secret<String>>,
    /// Other names of relay addresses, and which they stand for.
    pub(crate) aliases: BTreeMap<String, String>,
    /// How addresses are learnt where an offer says nothing.
    pub(crate) endpoint_learning: EndpointLearning,
    /// How long a deleted call may still be revived where its `delete` says nothing.
    pub(crate) delete_delay: Duration,
    /// How long an offer may stay without an answer.
    pub(crate) offer_timeout: Duration,
    /// How often each of them may ask; as often as it likes without.
    pub(crate) rate: Option<ng::Rate>,
    /// Connections over TCP and HTTP, together.
    pub(crate) max_connections: usize,
}

/// How calls are treated.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) jmi: JmiMode,
    pub(crate) caller: CallerForm,
    /// Numbers that only rows made for them take.
    pub(crate) emergency_numbers: Vec<String>,
    pub(crate) video: bool,
    pub(crate) ring_timeout: Duration,
    pub(crate) stop_timeout: Duration,
    pub(crate) max_calls: usize,
    pub(crate) max_calls_per_user: usize,
    /// In a minute.
    pub(crate) max_attempts_per_user: usize,
    pub(crate) allow_plain_jingle: bool,
    pub(crate) global_failures: bool,
    pub(crate) follow_redirects: bool,
    pub(crate) privacy_reasons: bool,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    /// A filter as `RUST_LOG` takes it.
    pub(crate) level: String,
    pub(crate) json: bool,
}

/// What is wrong with a configuration: one sentence each.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ConfigError(pub(crate) Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is no TOML, or says something that cannot be.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&read(path)?)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// As for [`Config::read`].
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        parse(text)?.check()
    }
}

impl RelayConfig {
    /// Reads the file that the command line names, if it names one, and then what else the command line says.
    ///
    /// # Errors
    ///
    /// As for [`Config::read`], also for what the command line says.
    pub(crate) fn read(flags: RelayFlags) -> Result<Self, ConfigError> {
        let text = flags.config.as_deref().map(read).transpose()?;
        Self::parse(&text.unwrap_or_default(), flags)
    }

    /// The same, where the file was imported.
    ///
    /// # Errors
    ///
    /// As for [`RelayConfig::read`].
    pub(crate) fn of(imported: &Imported, flags: RelayFlags) -> Result<Self, ConfigError> {
        Self::parse(&imported.toml, flags)
    }

    fn parse(text: &str, flags: RelayFlags) -> Result<Self, ConfigError> {
        let mut raw = parse(text)?;
        raw.overrule(flags);
        raw.check_relay()
    }
}

impl Imported {
    /// Reads an `rtpengine.conf`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or lines of it cannot.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        rtpengine::import(&read(path)?).map_err(|error| {
            ConfigError(error.0.iter().map(|problem| format!("{}: {problem}", path.display())).collect())
        })
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let problem = |error| ConfigError(vec![format!("cannot read {}: {error}", path.display())]);
    std::fs::read_to_string(path).map_err(problem)
}

fn parse(text: &str) -> Result<raw::Config, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError(vec![at_line(text, &error)]))
}

/// Says where the file is wrong without showing the line, which may hold a secret.
fn at_line(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    match line {
        Some(line) => format!("line {line}: {}", error.message()),
        None => error.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str = r#"
[xmpp]
component = "sip.localhost"
server = "127.0.0.1:5347"
secret = "s3cret"
[sip]
listen = ["udp:127.0.0.1:5060"]
[sip.trunk.phones]
uri = "sip:127.0.0.1:5081"
media = "rtp"
[relay]
addresses = [{ bind = "127.0.0.1" }]
[[route]]                       # first match wins; `user` is a regular expression on the whole unescaped local part
from = "xmpp"                   # a call from the XMPP side to <user>@sip.localhost
user = '(\+?[0-9]+)'
to = "trunk:phones/{1}"         # INVITE sip:{1}@… through that trunk
[[route]]
from = "trunk:phones"           # a call that arrives from that trunk
user = '(.+)'
to = "xmpp:{1}@localhost"
"#;

    const SAMPLE: &str = include_str!("../../deploy/stox.toml");

    const TRUNK_SAMPLE: &str = include_str!("../../deploy/sip-trunk.toml");

    fn wrong(text: &str) -> String {
        Config::parse(text).expect_err("the text is wrong").to_string()
    }

    #[test]
    fn the_sample_of_a_provider_s_trunk_is_right() {
        let config = Config::parse(TRUNK_SAMPLE).expect("the sample is right");
        assert_eq!(config.sip.trunks["provider"].media, TrunkMedia::Sdes);
        assert_eq!(config.relay.addresses.len(), 2);
        let translator = crate::settings::translator(&config).expect("the table is right");
        let test = |from: &str, to: &str, trunk: Option<&str>| {
            let verdict = signaling::route_test::route_test(&translator, from, to, trunk).expect("addresses are right");
            (verdict.made, verdict.to_string())
        };
        let (made, text) = test("alice@example.org", "030-987654@sip.example.org", None);
        assert!(made && text.contains("sip:4930987654@sip.provider.example\n"), "{text}");
        assert!(text.contains("\"Alice\" <sip:4930123451@sip.provider.example>"), "{text}");
        for (to, made) in
            [("112", true), ("911", false), ("+499005555555", false), ("09005555555", false), ("200", true)]
        {
            assert_eq!(test("bob@example.org", &format!("{to}@sip.example.org"), None).0, made, "{to}");
        }
        for (to, callee) in [("4930123452", "bob@example.org"), ("030123450", "alice@example.org")] {
            let (_, text) = test("sip:030987654@provider.example", &format!("sip:{to}@192.0.2.10"), Some("provider"));
            assert!(text.contains(callee) && text.contains("+4930987654@sip.example.org/sip"), "{text}");
        }
    }

    #[test]
    fn the_smallest_useful_file_is_enough() {
        let config = Config::parse(SMALLEST).expect("the smallest file is right");
        assert_eq!(config.relay.ports, 30000..=39999);
        assert_eq!(config.sip.trunks["phones"].media, TrunkMedia::Rtp);
        assert_eq!(config.sip.trunks["phones"].learning, Learning::Off);
        assert!(!config.sip.trunks["phones"].unencrypted_srtcp);
        assert_eq!(config.routes.len(), 2);
        assert_eq!(config.http, None);
    }

    #[test]
    fn the_readme_shows_the_smallest_useful_file() {
        let readme: Vec<_> = include_str!("../../README.md").lines().map(str::trim).collect();
        assert!(readme.join("\n").contains(SMALLEST.trim()));
    }

    #[test]
    fn the_sample_file_parses_with_and_without_its_optional_keys() {
        Config::parse(SAMPLE).expect("the sample file is right");
        Config::parse(&uncommented()).expect("the sample file with every optional key set is right");
        for text in [SAMPLE, &uncommented()] {
            RelayConfig::parse(text, RelayFlags::default()).expect("it is right for a relay alone, too");
        }
    }

    #[test]
    fn a_relay_alone_needs_nothing_but_an_address() {
        let config = RelayConfig::parse("[relay]\naddresses = [{ bind = \"127.0.0.1\" }]", RelayFlags::default());
        assert_eq!(config.expect("it is enough").ng.listen, ["udp:127.0.0.1:2223".parse().expect("it is one")]);
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let text = |text: &str| Some(text.to_owned());
        let flags = RelayFlags {
            ng: vec!["tcp:127.0.0.1:1".to_owned(), "http:[::1]:2".to_owned()],
            peer: vec!["192.0.2.0/24".to_owned()],
            tls_certificate: Some("/a.crt".into()),
            tls_key: Some("/a.key".into()),
            max_requests: Some(7),
            max_burst: Some(9),
            address: ["in/10.0.0.1!192.0.2.1", "2001:db8::1", "internal=in"].map(str::to_owned).to_vec(),
            ports: text("20000-20099"),
            workers: Some(3),
            endpoint_learning: text("off"),
            ..RelayFlags::default()
        };
        let config = RelayConfig::parse(&uncommented(), flags).expect("it is right");
        assert_eq!(
            config.ng.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["tcp:127.0.0.1:1", "http:[::1]:2"]
        );
        let number = |number| std::num::NonZeroU32::new(number).expect("it is not 0");
        assert_eq!(config.ng.rate, Some(ng::Rate { per_second: number(7), burst: number(9) }));
        assert_eq!(config.ng.tls, Some(ng::Tls { certificate: "/a.crt".into(), key: "/a.key".into() }));
        assert_eq!(config.ng.peers, ["192.0.2.0/24".parse().expect("it is one")]);
        let address = |name: Option<&str>, bind: &str, advertise: Option<&str>| relay::Address {
            name: name.map(str::to_owned),
            bind: bind.parse().expect("it is one"),
            advertise: advertise.map(|text| text.parse().expect("it is one")),
        };
        let addresses =
            [address(Some("in"), "10.0.0.1", Some("192.0.2.1")), address(Some("default"), "2001:db8::1", None)];
        assert_eq!(config.relay.addresses, addresses);
        assert_eq!(config.ng.aliases, [("internal".to_owned(), "in".to_owned())].into());
        assert_eq!((config.relay.ports, config.relay.workers), (20000..=20099, 3));
        assert_eq!(config.ng.endpoint_learning, EndpointLearning::Off);
    }

    #[test]
    fn everything_that_is_wrong_with_a_relay_is_said_at_once() {
        let text = "[ng]\npeers = [\"10.0.0.0/33\"]\ntoken = \"\"\nmax_connections = 0\nmax_requests = 5\nmax_burst = 0\naliases = { out = \"in\" }";
        let some = |text: &str| vec![text.to_owned()];
        let flags = RelayFlags { ng: some("sctp:1"), address: some("in/10.0.0.1!::1"), ..RelayFlags::default() };
        let message = RelayConfig::parse(text, flags).expect_err("it is wrong").to_string();
        for part in ["ng.listen", "ng.peers", "ng.token", "ng.max_connections", "ng.max_burst", "one family"] {
            assert!(message.contains(part), "{part} in {message}");
        }
        let aliases =
            "[relay]\naddresses = [{ bind = \"10.0.0.1\", name = \"a\" }]\n[ng.aliases]\na = \"a\"\nb = \"c\"";
        let message = RelayConfig::parse(aliases, RelayFlags::default()).expect_err("it is wrong").to_string();
        assert_eq!(message.lines().count(), 2, "{message}");
    }

    /// The sample with every `# key = value` and `# [table]` line made an active one.
    fn uncommented() -> String {
        SAMPLE
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(active) if active.starts_with('[') || active.split(' ').nth(1) == Some("=") => active,
                _ => line,
            })
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn every_value_in_the_sample_file_is_its_default() {
        let both = |text: &str| {
            let (gateway, mut relay) = (Config::parse(text)?, RelayConfig::parse(text, RelayFlags::default())?);
            // A relay alone takes as many as it has ports for.
            relay.max_calls = 0;
            Ok::<_, ConfigError>(format!("{gateway:?} {relay:?}"))
        };
        let whole = both(SAMPLE).expect("the sample file is right");
        let mut defaults = 0;
        for (number, line) in SAMPLE.lines().enumerate() {
            if line.starts_with('#') || !line.contains(" = ") {
                continue;
            }
            let rest: Vec<_> =
                SAMPLE.lines().enumerate().filter(|(other, _)| *other != number).map(|(_, l)| l).collect();
            match both(&rest.join("\n")) {
                Ok(without) => {
                    assert_eq!(without, whole, "the default of {line}");
                    defaults += 1;
                }
                Err(error) => {
                    let is_needed =
                        ["missing field", "relay.addresses is empty"].map(|why| error.to_string().contains(why));
                    assert!(is_needed.contains(&true), "{line}: {error}");
                }
            }
        }
        assert!(defaults > 15, "only {defaults} defaults were tried");
    }

    #[test]
    fn the_sample_file_shows_every_key() {
        let sample = uncommented();
        let name = |header: &str| header.split(']').next().map(str::to_owned);
        let mut headers: Vec<_> = sample.lines().filter(|line| line.starts_with('[')).collect();
        headers.dedup_by_key(|header| name(header));
        for header in headers {
            let message = wrong(&sample.replacen(header, &format!("{header}\nzzz = 1"), 1));
            // serde lists the keys it knows: "unknown field `zzz`, expected one of `a`, `b`".
            let known: Vec<_> = message.split('`').skip(1).step_by(2).filter(|key| *key != "zzz").collect();
            assert!(!known.is_empty(), "{message}");
            let table = sample.split_once(header).expect("the header is there").1;
            let table = table.split("\n[").next().expect("there is always a first part");
            for key in known {
                let shown = table.contains(&format!("\n{key} = ")) || sample.contains(&format!("\n[sip.{key}"));
                assert!(shown, "{header} {key} is missing in the sample");
            }
        }
    }

    #[test]
    fn a_trunk_has_one_address_or_several() {
        let of = |uri: &str| SMALLEST.replace("uri = \"sip:127.0.0.1:5081\"", &format!("uri = {uri}"));
        let config = Config::parse(&of("[\"sip:a.example\", \"sips:b.example\"]")).expect("a list is right");
        let trunk = &config.sip.trunks["phones"];
        assert_eq!(
            (trunk.uri.as_str(), trunk.further.as_slice()),
            ("sip:a.example", &["sips:b.example".to_owned()][..])
        );
        assert_eq!(trunk.keep_alive, Duration::from_secs(30));
        let wrong_list = wrong(&of("[\"sip:a.example\", \"b.example\"]"));
        assert!(wrong_list.contains("sip.trunk.phones.uri = \"b.example\": expected \"sip:host\""), "{wrong_list}");
        assert!(wrong(&of("[]")).contains("sip.trunk.phones.uri: expected one to 8"));
        assert!(wrong(&of("7")).contains("expected \"sip:host\", or a list of them"));
    }

    #[test]
    fn strangers_are_challenged_only_for_a_password_that_there_is() {
        let text = SMALLEST.replace("[sip]", "[sip]\nstrangers = \"challenge\"");
        assert!(wrong(&text).contains("sip.strangers = \"challenge\" needs a trunk with a challenge"));
        let with = |user: &str| text.replace("media = \"rtp\"", &format!("challenge = {user}"));
        let config = Config::parse(&with("{ username = \"pbx\", password = \"p\" }")).expect("now there is one");
        assert_eq!(config.sip.strangers, Strangers::Challenge);
        let outbound = SMALLEST.replace("media = \"rtp\"", "outbound = true");
        assert!(wrong(&outbound).contains("sip.trunk.phones.outbound = true needs register = true"));
        assert!(wrong(&with("{ username = \"pbx\", password = \"\" }")).contains("may be empty"));
        assert!(wrong(&SMALLEST.replace("[sip]", "[sip]\nstrangers = \"shoot\"")).contains("sip.strangers"));
    }

    #[test]
    fn session_timers_are_those_that_there_can_be() {
        let of = |keys: &str| SMALLEST.replace("[sip]", &format!("[sip]\n{keys}"));
        assert!(wrong(&of("min_se = \"89s\"")).contains("sip.min_se = 89s: expected at least \"90s\""));
        assert!(
            wrong(&of("session_expires = \"1m\"")).contains("sip.session_expires = 60s: expected sip.min_se (90s)")
        );
        let off = Config::parse(&of("session_expires = \"0s\"")).expect("that turns it off");
        assert!(off.sip.session.expires.is_zero());
        let usual = Config::parse(SMALLEST).expect("the smallest is right");
        assert_eq!(usual.sip.session, SessionTimers::default());
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let text = SMALLEST.replace("[relay]", "[relay]\nport = \"1-2\"");
        let message = wrong(&text);
        assert!(message.contains("unknown field `port`"), "{message}");
        assert!(message.starts_with("line "), "{message}");
    }

    #[test]
    fn a_secret_never_appears_in_an_error() {
        for bad in [
            "secret = \"hunter2\" x",
            "secret = [\"hunter2\"]",
            "secret = { files = \"hunter2\" }",
            "secret = { file = \"/nonexistent\" }\npassword = \"hunter2\"",
        ] {
            let message = wrong(&SMALLEST.replace("secret = \"s3cret\"", bad));
            assert!(!message.contains("hunter2"), "{message}");
        }
        assert!(!format!("{:?}", Config::parse(SMALLEST)).contains("s3cret"));
    }

    #[test]
    fn a_secret_may_come_from_a_file_or_the_environment() {
        let file = std::env::temp_dir().join(format!("stox-secret-{}", std::process::id()));
        std::fs::write(&file, "from-file\n").expect("the temporary directory is writable");
        let text = SMALLEST.replace("\"s3cret\"", &format!("{{ file = {:?} }}", file.display().to_string()));
        let config = Config::parse(&text).expect("the file exists");
        assert_eq!(config.xmpp.secret.reveal(), "from-file");
        std::fs::remove_file(file).expect("the file was written above");
        // PATH is always set, and this test only needs a variable that is.
        let config = Config::parse(&SMALLEST.replace("\"s3cret\"", "{ env = \"PATH\" }")).expect("PATH is set");
        assert_eq!(*config.xmpp.secret.reveal(), std::env::var("PATH").expect("PATH is set"));
        assert!(wrong(&SMALLEST.replace("\"s3cret\"", "{ env = \"STOX_NOT_SET\" }")).contains("STOX_NOT_SET"));
        assert!(wrong(&SMALLEST.replace("s3cret", "")).contains("xmpp.secret is empty"));
    }

    #[test]
    fn rtcp_in_clear_is_for_trunks_with_keys_in_the_sdp() {
        let of = |media| SMALLEST.replace("media = \"rtp\"", &format!("media = {media:?}\nunencrypted_srtcp = true"));
        let config = Config::parse(&of("sdes")).expect("it goes with SDES");
        assert!(config.sip.trunks["phones"].unencrypted_srtcp);
        for media in ["rtp", "dtls"] {
            assert!(wrong(&of(media)).contains("sip.trunk.phones.unencrypted_srtcp = true needs media"), "{media}");
        }
    }

    #[test]
    fn what_is_wrong_with_numbers_and_records_is_named() {
        let trunk = |line: &str| SMALLEST.replace("media = \"rtp\"", &format!("media = \"rtp\"\n{line}"));
        for (text, part) in [
            (trunk("country_code = \"+49\""), "sip.trunk.phones.country_code = \"+49\": expected one to three digits"),
            (trunk("country_code = \"0\""), "sip.trunk.phones.country_code"),
            (trunk("international_prefix = \"+\""), "sip.trunk.phones.international_prefix = \"+\": expected digits"),
            (trunk("national_prefix = \"x\""), "sip.trunk.phones.national_prefix"),
            (trunk("number_format = \"e164\""), "\"national\""),
            (trunk("number = \"030 12\""), "sip.trunk.phones.number = \"030 12\": expected \"+\""),
            (
                trunk("caller = \"me\""),
                "sip.trunk.phones.caller = \"me\": expected \"escaped\", \"domain\" or \"number\"",
            ),
            (
                format!("{SMALLEST}[records]\nurl = \"https://x\""),
                "records.url = \"https://x\": expected \"http://host",
            ),
            (format!("{SMALLEST}[[user]]\njid = \"a@b\"\nnumber = \"1\""), "unknown field `number`"),
        ] {
            let message = wrong(&text);
            assert!(message.contains(part), "{part} in {message}");
        }
        Config::parse(&trunk("national_prefix = \"\"")).expect("some countries have none");
    }

    #[test]
    fn every_worker_has_ports_for_a_call() {
        let of = |ports| SMALLEST.replace("[relay]", &format!("[relay]\nports = \"{ports}\"\nworkers = 4"));
        Config::parse(&of("30000-30015")).expect("four ports for each");
        assert!(wrong(&of("30000-30011")).contains("expected at least 16 ports"));
    }

    #[test]
    fn the_shared_ports_are_apart_from_the_others() {
        let of = |first: u16| SMALLEST.replace("[relay]", &format!("[relay]\nworkers = 3\nice_port = {first}"));
        for right in [1024, 29_997, 40_000, 65_533] {
            assert_eq!(Config::parse(&of(right)).expect("it is apart").relay.ice_port, Some(right));
        }
        for wrong_one in [0, 80, 29_998, 30_000, 39_999, 65_534] {
            assert!(wrong(&of(wrong_one)).contains("relay.ice_port"), "{wrong_one}");
        }
    }

    #[test]
    fn some_suite_has_to_be_one_of_dtls() {
        let of = |suites| SMALLEST.replace("[relay]", &format!("[relay]\nsuites = {suites}"));
        Config::parse(&of("[\"AES_256_CM_HMAC_SHA1_80\", \"AEAD_AES_128_GCM\"]")).expect("one of them is");
        for none in ["[]", "[\"AES_256_CM_HMAC_SHA1_80\"]"] {
            assert!(wrong(&of(none)).contains("none that DTLS can agree on"), "{none}");
        }
        assert!(wrong(&of("[\"ROT13\"]")).contains("AEAD_AES_256_GCM"));
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let text = SMALLEST
            .replace("udp:127.0.0.1:5060", "sctp:127.0.0.1:5060")
            .replace("media = \"rtp\"", "media = \"zrtp\"")
            .replace("addresses = [{ bind = \"127.0.0.1\" }]", "addresses = []\nports = \"9-1\"");
        let message = wrong(&text);
        for part in ["sctp", "zrtp", "addresses", "9-1"] {
            assert!(message.contains(part), "{part} in {message}");
        }
    }
}
