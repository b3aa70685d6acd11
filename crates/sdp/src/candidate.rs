//! `a=candidate` (RFC 8839 §5.1).

use std::net::{IpAddr, SocketAddr};

use model::{Candidate, Component};

/// Reads a UDP candidate with an IP address; others are of no use here: TCP, and `.local` names (mDNS).
pub(super) fn read(value: &str) -> Option<Candidate> {
    let mut words = value.split_whitespace();
    let foundation = words.next().filter(|word| (1..=32).contains(&word.len()))?.to_owned();
    let component = Component::from_number(words.next()?.parse().ok()?)?;
    words.next().filter(|transport| transport.eq_ignore_ascii_case("udp"))?;
    let priority = words.next()?.parse().ok().filter(|priority| (1..=0x7fff_ffff).contains(priority))?;
    let address = SocketAddr::new(read_address(words.next()?)?, read_port(words.next()?)?);
    words.next().filter(|word| *word == "typ")?;
    let kind = words.next()?.parse().ok()?;
    let mut related_address = None;
    let mut related_port = None;
    let mut generation = 0;
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        match name {
            "raddr" => related_address = read_address(value),
            "rport" => related_port = value.parse().ok(),
            "generation" => generation = value.parse().ok()?,
            _ => {}
        }
    }
    let related = related_address.zip(related_port).map(|(address, port)| SocketAddr::new(address, port));
    Some(Candidate { foundation, component, priority, address, kind, related, generation })
}

/// An address one can send to.
fn read_address(word: &str) -> Option<IpAddr> {
    word.parse().ok()
}

fn read_port(word: &str) -> Option<u16> {
    word.parse().ok().filter(|port| *port != 0)
}

/// Writes a candidate as the value of an attribute.
pub(super) fn write(candidate: &Candidate) -> String {
    let Candidate { foundation, component, priority, address, kind, related, generation } = candidate;
    let (component, ip, port) = (component.number(), address.ip(), address.port());
    let mut value = format!("{foundation} {component} UDP {priority} {ip} {port} typ {}", kind.as_str());
    if let Some(related) = related {
        value.push_str(&format!(" raddr {} rport {}", related.ip(), related.port()));
    }
    if *generation != 0 {
        value.push_str(&format!(" generation {generation}"));
    }
    value
}
