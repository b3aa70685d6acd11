//! What `stox relay` is told by the file and on its command line.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;

use control::request::{EndpointLearning, Words};
use serde::Deserialize;

use super::{Address, Config, Problems, Secret, duration};
use crate::config::{ConfigError, DEFAULT_INTERFACE, RelayConfig, RelayFlags};
use crate::ng::{Listen, Prefix, Rate};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ng {
    listen: Option<Vec<String>>,
    peers: Option<Vec<String>>,
    tls: Option<Tls>,
    token: Option<Secret>,
    aliases: Option<BTreeMap<String, String>>,
    endpoint_learning: Option<String>,
    delete_delay: Option<String>,
    offer_timeout: Option<String>,
    max_connections: Option<usize>,
    max_requests: Option<u32>,
    max_burst: Option<u32>,
}

/// Of `ng.tls`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tls {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Config {
    /// Lets the command line win over the file.
    pub(in crate::config) fn overrule(&mut self, flags: RelayFlags) {
        let (aliases, addresses): (Vec<_>, Vec<_>) = flags.address.into_iter().partition(|text| text.contains('='));
        let relay = self.relay.get_or_insert_default();
        if !addresses.is_empty() {
            relay.addresses = Some(addresses.iter().map(|text| Address::from_flag(text)).collect());
        }
        relay.ports = flags.ports.or(relay.ports.take());
        relay.workers = flags.workers.or(relay.workers);
        if !aliases.is_empty() {
            let pair = |text: String| text.split_once('=').map(|(alias, name)| (alias.to_owned(), name.to_owned()));
            self.ng.aliases = Some(aliases.into_iter().filter_map(pair).collect());
        }
        let unless_empty = |flags: Vec<String>| (!flags.is_empty()).then_some(flags);
        self.ng.listen = unless_empty(flags.ng).or(self.ng.listen.take());
        self.ng.peers = unless_empty(flags.peer).or(self.ng.peers.take());
        self.ng.max_requests = flags.max_requests.or(self.ng.max_requests);
        self.ng.max_burst = flags.max_burst.or(self.ng.max_burst);
        if flags.tls_certificate.is_some() || flags.tls_key.is_some() {
            let tls = self.ng.tls.get_or_insert_default();
            tls.certificate = flags.tls_certificate.or(tls.certificate.take());
            tls.key = flags.tls_key.or(tls.key.take());
        }
        self.ng.endpoint_learning = flags.endpoint_learning.or(self.ng.endpoint_learning.take());
    }

    /// Says whether there is nothing that a relay alone would not read.
    pub(in crate::config) const fn is_for_relay(&self) -> bool {
        self.xmpp.is_none() && self.sip.is_none() && self.route.is_empty()
    }

    /// Checks what a relay alone needs of the file, and fills in defaults.
    pub(in crate::config) fn check_relay(self) -> Result<RelayConfig, ConfigError> {
        let problems = &mut Problems::default();
        let relay = self.relay.unwrap_or_default();
        let max_calls = self.call.max_calls.unwrap_or_else(|| relay.most_calls());
        let mut relay = relay.check(problems, max_calls);
        for address in relay.iter_mut().flat_map(|relay| &mut relay.addresses) {
            address.name.get_or_insert_with(|| DEFAULT_INTERFACE.to_owned());
        }
        let ng = self.ng.check(problems, relay.as_ref().map(|relay| relay.addresses.as_slice()).unwrap_or_default());
        let log = self.log.check(problems);
        match (relay, ng, log) {
            (Some(relay), Some(ng), Some(log)) if problems.0.is_empty() => {
                Ok(RelayConfig { relay, ng, max_calls, log })
            }
            _ => Err(ConfigError(std::mem::take(&mut problems.0))),
        }
    }
}

impl Address {
    /// `[NAME/]BIND[!ADVERTISED]`, as rtpengine writes them.
    fn from_flag(text: &str) -> Self {
        let (name, addresses) = text.split_once('/').map_or((None, text), |(name, rest)| (Some(name), rest));
        let (bind, advertise) = addresses.split_once('!').map_or((addresses, None), |(bind, rest)| (bind, Some(rest)));
        Self { name: name.map(str::to_owned), bind: bind.to_owned(), advertise: advertise.map(str::to_owned) }
    }
}

impl Ng {
    fn check(self, problems: &mut Problems, addresses: &[relay::Address]) -> Option<crate::config::Ng> {
        let listen = self.listen.unwrap_or_else(|| vec!["udp:127.0.0.1:2223".to_owned()]);
        if listen.is_empty() {
            problems.0.push("ng.listen is empty: expected at least one \"udp:address:port\"".to_owned());
        }
        let accepted = "\"udp:address:port\", or tcp:, tls:, http: or https: in the place of udp:";
        let listen: Option<Vec<Listen>> = listen
            .iter()
            .map(|text| problems.value("ng.listen", Some(text), "", |text| text.parse().ok(), accepted))
            .collect();
        let peers = self.peers.unwrap_or_else(|| vec!["127.0.0.0/8".to_owned(), "::1".to_owned()]);
        let accepted = "an IP address, or a network such as \"10.0.0.0/8\"";
        let peers: Option<Vec<Prefix>> = peers
            .iter()
            .map(|text| problems.value("ng.peers", Some(text), "", |text| text.parse().ok(), accepted))
            .collect();
        let tls = self.tls.and_then(|tls| tls.check(problems));
        if tls.is_none() && listen.iter().flatten().any(Listen::is_secure) {
            problems
                .0
                .push("ng.listen has a tls: or https: address, which needs ng.tls with certificate and key".to_owned());
        }
        let token = self.token.map(|token| problems.secret("ng.token", token));
        let aliases = self.aliases.unwrap_or_default();
        let has_name = |name: &str| addresses.iter().any(|address| address.name.as_deref() == Some(name));
        for (alias, name) in &aliases {
            if !has_name(name) {
                problems.0.push(format!("ng.aliases {alias} = {name:?}: no relay address has that name"));
            }
            if alias.is_empty() || has_name(alias) {
                problems.0.push(format!("ng.aliases {alias:?}: expected a name that no relay address has"));
            }
        }
        let learning = problems.value(
            "ng.endpoint_learning",
            self.endpoint_learning.as_deref(),
            "heuristic",
            EndpointLearning::find,
            "\"heuristic\", \"delayed\", \"immediate\" or \"off\"",
        );
        let delete_delay = duration(problems, "ng.delete_delay", self.delete_delay.as_deref(), "30s");
        let offer_timeout = duration(problems, "ng.offer_timeout", self.offer_timeout.as_deref(), "1h");
        let max_connections = self.max_connections.unwrap_or(256);
        if max_connections == 0 {
            problems.0.push("ng.max_connections = 0: expected at least 1".to_owned());
        }
        let per_second = NonZeroU32::new(self.max_requests.unwrap_or_default());
        if self.max_burst == Some(0) {
            problems.0.push("ng.max_burst = 0: expected at least 1".to_owned());
        }
        let rate = per_second.map(|per_second| {
            let burst = self.max_burst.and_then(NonZeroU32::new).unwrap_or(per_second);
            Rate { per_second, burst }
        });
        Some(crate::config::Ng {
            listen: listen?,
            peers: peers?,
            tls,
            token,
            aliases,
            endpoint_learning: learning?,
            delete_delay: delete_delay?,
            offer_timeout: offer_timeout?,
            rate,
            max_connections,
        })
    }
}

impl Tls {
    fn check(self, problems: &mut Problems) -> Option<crate::ng::Tls> {
        match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => Some(crate::ng::Tls { certificate, key }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                problems.0.push("ng.tls: certificate and key go together".to_owned());
                None
            }
        }
    }
}
