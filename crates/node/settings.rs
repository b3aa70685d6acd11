//! From the checked configuration to what each part is told at its construction.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use signaling::{RouteTable, Users};
use sip::agent::Config as AgentConfig;
use xmpp::component::Config as ComponentConfig;

use crate::config::{CertificateLife, Config, ConfigError, Relay, RelayConfig, Trunk};

/// The relay's part.
///
/// # Errors
///
/// No certificate could be made.
pub(crate) fn relay(relay: &Relay, max_calls: usize) -> anyhow::Result<netio::Config> {
    let ports = relay::PortShare { range: relay.ports.clone(), number: 0, of: 1 };
    let certificates = match relay.certificate {
        CertificateLife::Process => relay::CertificatePolicy::PerProcess(Arc::new(dtls::Certificate::generate()?)),
        CertificateLife::Call => relay::CertificatePolicy::PerCall,
    };
    Ok(netio::Config {
        workers: NonZeroUsize::new(relay.workers),
        tos: relay.dscp << 2,
        video_tos: relay.dscp_video << 2,
        longest_wait: relay.longest_wait,
        ..netio::Config::new(relay::Config {
            ice_port: relay.ice_port,
            port_quarantine: relay.port_quarantine,
            max_calls,
            max_streams: relay.max_streams,
            max_wrong_packets: relay.max_wrong_packets,
            media_timeout: relay.media_timeout,
            silent_timeout: relay.silent_timeout,
            ..relay::Config::new(relay.addresses.clone(), ports, certificates)
        })
    })
}

/// The part of those who drive the relay by the ng protocol.
pub(crate) fn calls(config: &RelayConfig) -> control::calls::Config {
    let names = config.relay.addresses.iter().filter_map(|address| address.name.clone());
    let aliases = config.ng.aliases.iter().map(|(alias, name)| (alias.clone(), name.clone()));
    control::calls::Config {
        max_calls: config.max_calls,
        delete_delay: config.ng.delete_delay,
        offer_timeout: config.ng.offer_timeout,
        endpoint_learning: config.ng.endpoint_learning,
        usual_interface: config.relay.addresses.first().and_then(|address| address.name.clone()),
        interfaces: names.map(|name| (name.clone(), name)).chain(aliases).collect(),
    }
}

/// The SIP user agent's part.
pub(crate) fn agent(config: &Config) -> AgentConfig {
    let trunks = config.sip.trunks.iter().map(|(name, trunk)| sip::agent::Trunk {
        name: name.clone(),
        uri: trunk.uri.clone(),
        further: trunk.further.clone(),
        keep_alive: trunk.keep_alive,
        username: trunk.credentials.as_ref().map(|credentials| credentials.username.clone()),
        password: trunk.credentials.as_ref().map(|credentials| credentials.password.clone()),
        register: trunk.register,
        outbound: trunk.outbound,
        challenge: trunk
            .challenge
            .as_ref()
            .map(|user| sip::agent::User { username: user.username.clone(), password: user.password.clone() }),
    });
    AgentConfig {
        advertise: config.sip.advertise,
        trunks: trunks.collect(),
        tls: config.sip.tls.clone(),
        session: config.sip.session,
        strangers: config.sip.strangers,
        realm: config.xmpp.component.clone(),
        max_half_open: config.call.max_calls,
        ..AgentConfig::new(config.sip.listen.clone())
    }
}

/// The translator's part.
///
/// # Errors
///
/// A row of the address table, or a trunk's URI, makes no sense.
pub(crate) fn translator(config: &Config) -> Result<signaling::Config, ConfigError> {
    let mut problems = Vec::new();
    let mut trunks = BTreeMap::new();
    for (name, trunk) in &config.sip.trunks {
        match signaling::Trunk::new(&trunk.uri, trunk.media) {
            Ok(known) => {
                let known = signaling::Trunk {
                    unencrypted_srtcp: trunk.unencrypted_srtcp,
                    learning: trunk.learning,
                    address: trunk.address.clone(),
                    caller: trunk.caller,
                    number: trunk.number.clone(),
                    assert_identity: trunk.assert_identity,
                    numbers: trunk.numbers.clone(),
                    user_phone: trunk.user_phone,
                    max_calls: trunk.max_calls,
                    max_attempts: trunk.max_attempts,
                    ..known
                };
                trunks.insert(name.clone(), known);
            }
            Err(error) => problems.push(format!("sip.trunk.{name}.uri = {:?}: {error}", trunk.uri)),
        }
    }
    let names: Vec<_> = config.sip.trunks.keys().map(String::as_str).collect();
    let routes = RouteTable::new(&config.routes, &names).unwrap_or_else(|errors| {
        problems.extend(errors.iter().map(ToString::to_string));
        RouteTable::default()
    });
    problems.extend(strange_alternatives(&routes, &config.sip.trunks));
    let users = Users::new(&config.users).unwrap_or_else(|errors| {
        problems.extend(errors.iter().map(ToString::to_string));
        Users::default()
    });
    if !problems.is_empty() {
        return Err(ConfigError(problems));
    }
    let routes = routes.with_emergency(config.call.emergency_numbers.clone());
    Ok(signaling::Config {
        trunks,
        users,
        jmi: config.call.jmi,
        caller: config.call.caller,
        video: config.call.video,
        suites: config.relay.suites.clone(),
        reporting: config.relay.rtcp,
        jingle_address: config.xmpp.address.clone(),
        allow_plain_jingle: config.call.allow_plain_jingle,
        global_failures: config.call.global_failures,
        follow_redirects: config.call.follow_redirects,
        privacy_reasons: config.call.privacy_reasons,
        ring_timeout: config.call.ring_timeout,
        max_calls: config.call.max_calls,
        max_calls_per_user: config.call.max_calls_per_user,
        max_attempts_per_user: config.call.max_attempts_per_user,
        ..signaling::Config::new(&config.xmpp.component, routes)
    })
}

/// Trunks of one row get the same offer, one after the other, so that their media has to be treated the same way.
fn strange_alternatives(routes: &RouteTable, trunks: &BTreeMap<String, Trunk>) -> Vec<String> {
    let media = |name: &str| {
        trunks.get(name).map(|trunk| (trunk.media, trunk.unencrypted_srtcp, trunk.learning, trunk.address.as_deref()))
    };
    let strange = |(row, names): (usize, Vec<&str>)| {
        let first = *names.first()?;
        let other = names.iter().find(|name| media(name) != media(first))?;
        Some(format!(
            "route {row}: trunk {other:?} cannot stand in for {first:?}: media, unencrypted_srtcp, learning and address \
             have to be the same"
        ))
    };
    routes.alternatives().filter_map(strange).collect()
}

/// The component stream's part.
pub(crate) fn component(config: &Config) -> ComponentConfig {
    ComponentConfig::new(config.xmpp.server.clone(), config.xmpp.component.clone(), config.xmpp.secret.clone())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::{Learning, Reporting, SrtpSuite};
    use signaling::{CallerForm, JmiMode, NumberFormat, NumberPlan, TrunkMedia};
    use sip::agent::{Listen, Transport};

    use super::*;

    /// Every key with a value that is not its default.
    const EVERYTHING: &str = r#"
[xmpp]
component = "gw.example.org"
server = "xmpp.example.org:5348"
secret = "s3cret"
address = "outside"
[sip]
listen = ["udp:127.0.0.2:5070", "tcp:[::1]:5071", "tls:127.0.0.2:5061", "ws:127.0.0.2:80", "wss:127.0.0.2:443"]
advertise = "192.0.2.1"
session_expires = "20m"
min_se = "2m"
strangers = "challenge"
[sip.tls]
certificate = "/a.crt"
key = "/a.key"
authorities = "/ca.crt"
[sip.trunk.one]
uri = ["sip:one.example.org:5080;transport=tcp", "sip:two.example.org"]
keep_alive = "20s"
challenge = { username = "one", password = "secret" }
username = "user"
password = "pass"
register = true
outbound = true
media = "sdes"
unencrypted_srtcp = true
learning = "any"
address = "inside"
caller = "number"
number = "+4930123450"
assert_identity = true
country_code = "49"
international_prefix = "000"
national_prefix = "01"
number_format = "national"
user_phone = true
max_calls = 13
max_attempts = 14
[relay]
addresses = [{ name = "inside", bind = "10.0.0.1" }, { name = "outside", bind = "10.0.0.2", advertise = "192.0.2.2" }]
ports = "20000-20999"
port_quarantine = "6s"
ice_port = 3478
workers = 3
certificate = "call"
suites = ["AES_CM_128_HMAC_SHA1_32"]
media_timeout = "7s"
silent_timeout = "8m"
longest_wait = "0ms"
rtcp = "terminate"
dscp = 26
dscp_video = 27
max_streams = 28
max_wrong_packets = 29
[http]
listen = "127.0.0.1:9999"
[call]
jmi = "early-accept"
caller = "domain"
emergency_numbers = ["999"]
video = true
ring_timeout = "9s"
stop_timeout = "1500ms"
max_calls = 11
max_calls_per_user = 12
max_attempts_per_user = 15
allow_plain_jingle = true
global_failures = true
follow_redirects = false
privacy_reasons = true
[log]
level = "debug"
format = "json"
[records]
file = "/calls.jsonl"
url = "http://localhost:8080/calls"
[[route]]
from = "xmpp"
caller = '.*@staff\.example'
domain = "gw.example.org"
user = '.*'
keypad = true
emergency = true
to = ["trunk:one/100", "sip:101@example.org"]
[[user]]
jid = "alice@example.org"
numbers = ["+4930123456"]
name = "Alice"
anonymous = true
"#;

    fn everything() -> Config {
        Config::parse(EVERYTHING).expect("the text is right")
    }

    #[test]
    fn every_setting_of_the_relay_reaches_it() {
        let Config { relay: settings, call, .. } = everything();
        let netio = relay(&settings, call.max_calls).expect("certificates can be made");
        assert_eq!((netio.workers, netio.tos), (NonZeroUsize::new(3), 26 << 2));
        assert_eq!((netio.video_tos, netio.longest_wait), (27 << 2, Duration::ZERO));
        let relay = netio.relay;
        let [inside, outside] = relay.addresses.as_slice() else { panic!("two addresses") };
        assert_eq!((inside.name.as_deref(), inside.advertise), (Some("inside"), None));
        assert_eq!((outside.bind, outside.advertise), ([10, 0, 0, 2].into(), Some([192, 0, 2, 2].into())));
        assert_eq!((relay.ports.range, relay.port_quarantine), (20000..=20999, Duration::from_secs(6)));
        assert_eq!(relay.ice_port, Some(3478));
        assert!(matches!(relay.certificates, relay::CertificatePolicy::PerCall));
        assert_eq!((relay.max_calls, relay.max_streams, relay.max_wrong_packets), (11, 28, 29));
        assert_eq!(relay.media_timeout, Duration::from_secs(7));
        assert_eq!(relay.silent_timeout, Duration::from_secs(8 * 60));
    }

    #[test]
    fn every_setting_of_the_sip_side_reaches_it() {
        let agent = agent(&everything());
        let listen = [
            (Transport::Udp, "127.0.0.2:5070"),
            (Transport::Tcp, "[::1]:5071"),
            (Transport::Tls, "127.0.0.2:5061"),
            (Transport::Ws, "127.0.0.2:80"),
            (Transport::Wss, "127.0.0.2:443"),
        ];
        let listen =
            listen.map(|(transport, address)| Listen { transport, address: address.parse().expect("an address") });
        assert_eq!(agent.listen, listen);
        assert_eq!(agent.advertise, Some([192, 0, 2, 1].into()));
        assert_eq!(agent.tls.certificate.as_deref(), Some("/a.crt".as_ref()));
        assert_eq!(agent.tls.key.as_deref(), Some("/a.key".as_ref()));
        assert_eq!(agent.tls.authorities.as_deref(), Some("/ca.crt".as_ref()));
        assert_eq!(agent.session.expires, Duration::from_secs(1_200));
        assert_eq!(agent.session.min_se, Duration::from_secs(120));
        assert_eq!((agent.strangers, agent.realm.as_str()), (sip::agent::Strangers::Challenge, "gw.example.org"));
        let [trunk] = agent.trunks.as_slice() else { panic!("one trunk") };
        assert_eq!((trunk.name.as_str(), trunk.register, trunk.outbound), ("one", true, true));
        assert_eq!(trunk.uri, "sip:one.example.org:5080;transport=tcp");
        assert_eq!(
            (trunk.further.as_slice(), trunk.keep_alive),
            (&["sip:two.example.org".to_owned()][..], Duration::from_secs(20))
        );
        assert_eq!(trunk.username.as_deref(), Some("user"));
        let challenge = trunk.challenge.as_ref().map(|user| (user.username.as_str(), user.password.reveal().as_str()));
        assert_eq!(challenge, Some(("one", "secret")));
        assert_eq!(trunk.password.as_ref().map(|password| password.reveal().as_str()), Some("pass"));
    }

    #[test]
    fn every_setting_of_the_translator_reaches_it() {
        let translator = translator(&everything()).expect("the table is right");
        assert_eq!(translator.component, "gw.example.org");
        let trunk = &translator.trunks["one"];
        assert_eq!(
            (trunk.media, trunk.learning, trunk.address.as_deref()),
            (TrunkMedia::Sdes, Learning::Any, Some("inside"))
        );
        assert!(trunk.unencrypted_srtcp && trunk.assert_identity && trunk.user_phone);
        assert_eq!((trunk.caller, trunk.number.as_deref()), (Some(CallerForm::Number), Some("+4930123450")));
        let numbers = NumberPlan {
            country_code: Some("49".into()),
            international_prefix: "000".into(),
            national_prefix: "01".into(),
            format: NumberFormat::National,
        };
        assert_eq!(trunk.numbers, numbers);
        assert_eq!((translator.jmi, translator.caller), (JmiMode::EarlyAccept, CallerForm::Domain));
        assert_eq!(translator.suites, [SrtpSuite::AesCm128Sha1_32]);
        assert_eq!(translator.reporting, Reporting::Terminated);
        assert_eq!(translator.jingle_address.as_deref(), Some("outside"));
        assert!(translator.video && translator.allow_plain_jingle && translator.global_failures);
        assert!(!translator.follow_redirects);
        assert!(translator.privacy_reasons);
        assert_eq!(translator.ring_timeout, Duration::from_secs(9));
        assert_eq!((translator.max_calls, translator.max_calls_per_user), (11, 12));
        assert_eq!((trunk.max_calls, trunk.max_attempts, translator.max_attempts_per_user), (13, 14, 15));
        let routes = format!("{:?}", translator.routes);
        for part in ["gw.example.org", "staff", "keypad: true", "emergency: true", "101", "\"999\""] {
            assert!(routes.contains(part), "{part} in {routes}");
        }
        let users = format!("{:?}", translator.users);
        for part in ["alice", "+4930123456", "\"Alice\"", "anonymous: true"] {
            assert!(users.contains(part), "{part} in {users}");
        }
    }

    #[test]
    fn a_trunk_stands_in_only_for_one_of_its_like() {
        let two = |media: &str| {
            let second = format!("[sip.trunk.two]\nuri = \"sip:two.example.org\"\nmedia = {media:?}\n[relay]");
            let text = EVERYTHING.replace("[relay]", &second).replace("sip:101@example.org", "trunk:two/100");
            let text = text.replace("unencrypted_srtcp = true\nlearning = \"any\"\naddress = \"inside\"\n", "");
            translator(&Config::parse(&text).expect("the text is right"))
        };
        assert!(two("sdes").is_ok());
        let error = two("rtp").expect_err("they differ").to_string();
        assert!(error.contains("route 1: trunk \"two\" cannot stand in for \"one\""), "{error}");
    }

    #[test]
    fn every_other_setting_is_read() {
        let config = everything();
        let component = component(&config);
        assert_eq!((component.server.as_str(), component.domain.as_str()), ("xmpp.example.org:5348", "gw.example.org"));
        assert_eq!(component.secret.reveal(), "s3cret");
        assert_eq!(config.http, Some(([127, 0, 0, 1], 9999).into()));
        assert_eq!(config.call.stop_timeout, Duration::from_millis(1500));
        assert_eq!((config.log.level.as_str(), config.log.json), ("debug", true));
        assert_eq!(config.records.file.as_deref(), Some("/calls.jsonl".as_ref()));
        assert_eq!(config.records.url, "http://localhost:8080/calls".parse().ok());
    }
}
