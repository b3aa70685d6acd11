//! `stox check`: reads the configuration and tries what the machine has to give for it.

use std::fmt::Display;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::path::Path;
use std::process::ExitCode;

use sip::agent::{Listen, Transport};

use crate::config::{Config, Purpose, Relay, RelayConfig};
use crate::{records, settings};

/// Says what is wrong, or that nothing is. Exit code 2 when something is.
pub(crate) fn check(path: &Path) -> ExitCode {
    let problems = match Purpose::read(path) {
        Ok(Purpose::Gateway(config)) => obstacles(&config),
        Ok(Purpose::Relay(config)) => {
            println!("{}: for `stox relay`, since it has neither [xmpp] nor [sip]", path.display());
            obstacles_of_relay(&config)
        }
        Err(error) => error.0,
    };
    if problems.is_empty() {
        println!("{}: nothing stands in the way", path.display());
        return ExitCode::SUCCESS;
    }
    for problem in &problems {
        println!("{}: {problem}", path.display());
    }
    ExitCode::from(2)
}

/// What would keep a right configuration from working on this machine.
fn obstacles(config: &Config) -> Vec<String> {
    let mut problems = settings::translator(config).err().map(|error| error.0).unwrap_or_default();
    for listen in &config.sip.listen {
        if let Err(error) = bind(listen) {
            problems.push(format!("sip.listen {}: cannot listen there: {error}", listen.address));
        }
    }
    if let Some(address) = config.http
        && let Err(error) = TcpListener::bind(address)
    {
        problems.push(format!("http.listen = \"{address}\": cannot listen there: {error}"));
    }
    problems.extend(config.records.file.as_deref().and_then(unwritable));
    if let Err(error) = config.xmpp.server.to_socket_addrs() {
        problems.push(format!("xmpp.server = {:?}: {error}", config.xmpp.server));
    }
    if let Err(error) = config.sip.tls.check() {
        problems.push(format!("sip.tls: {error}"));
    }
    problems.extend(obstacles_of_media(&config.relay, config.call.max_calls));
    problems
}

/// Why records cannot be written to a file. It is not made here, where somebody else would own it.
fn unwritable(path: &Path) -> Option<String> {
    let problem = |error: &dyn Display| Some(format!("records.file = \"{}\": {error}", path.display()));
    match path.parent() {
        _ if path.exists() => records::open(path).err().and_then(|error| problem(&error)),
        Some(directory) if !directory.as_os_str().is_empty() && !directory.is_dir() => {
            problem(&format!("there is no directory {}", directory.display()))
        }
        Some(_) | None => None,
    }
}

/// The same for a relay alone.
fn obstacles_of_relay(config: &RelayConfig) -> Vec<String> {
    let mut problems = Vec::new();
    for listen in &config.ng.listen {
        if let Err(error) = listen.try_open() {
            problems.push(format!("ng.listen \"{listen}\": cannot listen there: {error}"));
        }
    }
    if let Some(Err(error)) = config.ng.tls.as_ref().map(|tls| tls.acceptor(None)) {
        problems.push(format!("ng.tls: {error}"));
    }
    problems.extend(obstacles_of_media(&config.relay, config.max_calls));
    problems
}

fn obstacles_of_media(relay: &Relay, max_calls: usize) -> Vec<String> {
    let mut problems = Vec::new();
    for address in &relay.addresses {
        if let Err(error) = UdpSocket::bind((address.bind, 0)) {
            problems
                .push(format!("relay.addresses bind = \"{}\": not an address of this machine: {error}", address.bind));
        }
    }
    let shared = relay.ice_port.map(|first| (first..).take(relay.workers));
    for port in shared.into_iter().flatten() {
        for address in &relay.addresses {
            if let Err(error) = UdpSocket::bind((address.bind, port)) {
                problems.push(format!("relay.ice_port: cannot open port {port} of {}: {error}", address.bind));
            }
        }
    }
    problems.extend(descriptors(relay, max_calls));
    problems.extend(shared_buffer(relay, max_calls));
    problems
}

fn bind(listen: &Listen) -> std::io::Result<()> {
    let address: SocketAddr = listen.address;
    match listen.transport {
        Transport::Udp => UdpSocket::bind(address).map(drop),
        Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => TcpListener::bind(address).map(drop),
    }
}

/// A shared port holds what arrives for all calls while its worker is elsewhere: as a rule of thumb a KiB for each, which
/// is ten milliseconds of it.
fn shared_buffer(relay: &Relay, max_calls: usize) -> Option<String> {
    const USEFUL: usize = 4 << 20;
    relay.ice_port?;
    let needed = (max_calls * 1024).min(USEFUL);
    let path = "/proc/sys/net/core/rmem_max";
    let allowed: usize = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
    (allowed < needed).then(|| {
        format!(
            "relay.ice_port: {allowed} bytes are few for what arrives for call.max_calls = {} on one port: \
             raise net.core.rmem_max to {needed}",
            max_calls
        )
    })
}

/// Every port of a call in progress is an open file. A call holds four, on one address; with a shared ICE port two, and
/// a third until it is known that RTCP is muxed.
fn descriptors(relay: &Relay, max_calls: usize) -> Option<String> {
    const OTHERS: usize = 64;
    let per_call = if relay.ice_port.is_some() { 3 } else { 4 };
    let needed = max_calls * per_call * relay.addresses.len() + OTHERS;
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    let hard: usize = line.split_whitespace().nth(4)?.parse().ok()?;
    (hard < needed).then(|| {
        format!("call.max_calls = {} needs {needed} open files, the limit is {hard}: raise it (ulimit -n)", max_calls)
    })
}
