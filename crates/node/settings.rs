//! From the checked configuration to what each part is told at its construction.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use signaling::RouteTable;
use sip::agent::Config as AgentConfig;
use xmpp::component::Config as ComponentConfig;

use crate::config::{CertificateLife, Config, ConfigError};

/// The relay's part.
///
/// # Errors
///
/// No certificate could be made.
pub(crate) fn relay(config: &Config) -> anyhow::Result<netio::Config> {
    let relay = &config.relay;
    let address = |address: &crate::config::RelayAddress| relay::Address {
        name: address.name.clone(),
        bind: address.bind,
        advertise: address.advertise,
    };
    Ok(netio::Config {
        workers: NonZeroUsize::new(relay.workers),
        tos: relay.dscp << 2,
        ..netio::Config::new(relay::Config {
            addresses: relay.addresses.iter().map(address).collect(),
            ports: relay::PortShare { range: relay.ports.clone(), number: 0, of: 1 },
            certificates: match relay.certificate {
                CertificateLife::Process => {
                    relay::CertificatePolicy::PerProcess(Arc::new(dtls::Certificate::generate()?))
                }
                CertificateLife::Call => relay::CertificatePolicy::PerCall,
            },
            max_calls: config.call.max_calls,
            media_timeout: relay.media_timeout,
            silent_timeout: relay.silent_timeout,
        })
    })
}

/// The SIP user agent's part.
pub(crate) fn agent(config: &Config) -> AgentConfig {
    let trunks = config.sip.trunks.iter().map(|(name, trunk)| sip::agent::Trunk {
        name: name.clone(),
        uri: trunk.uri.clone(),
        username: trunk.credentials.as_ref().map(|credentials| credentials.username.clone()),
        password: trunk.credentials.as_ref().map(|credentials| credentials.password.clone()),
        register: trunk.register,
    });
    AgentConfig {
        advertise: config.sip.advertise,
        trunks: trunks.collect(),
        tls: config.sip.tls.clone(),
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
                let (learning, address) = (trunk.learning, trunk.address.clone());
                trunks.insert(name.clone(), signaling::Trunk { learning, address, ..known });
            }
            Err(error) => problems.push(format!("sip.trunk.{name}.uri = {:?}: {error}", trunk.uri)),
        }
    }
    let names: Vec<_> = config.sip.trunks.keys().map(String::as_str).collect();
    let routes = RouteTable::new(&config.routes, &names).unwrap_or_else(|errors| {
        problems.extend(errors.iter().map(ToString::to_string));
        RouteTable::default()
    });
    if !problems.is_empty() {
        return Err(ConfigError(problems));
    }
    Ok(signaling::Config {
        trunks,
        jmi: config.call.jmi,
        suites: config.relay.suites.clone(),
        allow_plain_jingle: config.call.allow_plain_jingle,
        global_failures: config.call.global_failures,
        ring_timeout: config.call.ring_timeout,
        max_calls: config.call.max_calls,
        max_calls_per_user: config.call.max_calls_per_user,
        ..signaling::Config::new(&config.xmpp.component, routes)
    })
}

/// The component stream's part.
pub(crate) fn component(config: &Config) -> ComponentConfig {
    ComponentConfig::new(config.xmpp.server.clone(), config.xmpp.component.clone(), config.xmpp.secret.clone())
}
