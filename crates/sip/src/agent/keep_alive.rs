//! Watches the addresses of a trunk by OPTIONS (RFC 3261 §11): one that does not answer is left out of calls.

use std::sync::Arc;
use std::time::Duration;

use rsipstack::sip::{Method, Request, Version};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::endpoint::{Endpoint, count};
use super::socket::{Hop, Link};
use super::transaction::transact;
use super::trunk::{Change, Known};
use super::wire::{self, header};
use crate::address::SipUri;

/// Asks the addresses of a trunk for ever whether they are there. The first time, after one interval.
pub(super) async fn watch(endpoint: Arc<Endpoint>, trunk: String) {
    let Some(every) = endpoint.trunks.by_name(&trunk).map(|known| known.trunk.keep_alive) else { return };
    let mut next = Instant::now() + every;
    loop {
        tokio::time::sleep_until(next).await;
        next = Instant::now() + every;
        ask_all(&endpoint, &trunk, every).await;
    }
}

/// Asks each address once, side by side.
async fn ask_all(endpoint: &Arc<Endpoint>, trunk: &str, patience: Duration) {
    let Some(known) = endpoint.trunks.by_name(trunk) else { return };
    let mut asked = JoinSet::new();
    for hop in known.hops() {
        let (endpoint, uri) = (Arc::clone(endpoint), known.uris.first().cloned());
        asked.spawn(async move {
            let answer = tokio::time::timeout(patience, ask(&endpoint, &hop, uri.as_ref())).await;
            (hop, answer.unwrap_or(408))
        });
    }
    while let Some(answered) = asked.join_next().await {
        if let Ok((hop, status)) = answered {
            note(endpoint, known, &hop, status);
        }
    }
}

fn note(endpoint: &Endpoint, known: &Known, hop: &Hop, status: u16) {
    let (trunk, address) = (&known.trunk.name, hop.address);
    match known.note(hop, status) {
        Change::None => {}
        Change::Lost => {
            count(&endpoint.counters.trunk_addresses_lost);
            tracing::warn!(trunk, %address, status, "does not answer OPTIONS: calls go elsewhere");
        }
        Change::Back => {
            count(&endpoint.counters.trunk_addresses_back);
            tracing::info!(trunk, %address, status, "answers again");
        }
    }
}

/// The status that an address answers with; 408: none.
async fn ask(endpoint: &Arc<Endpoint>, hop: &Hop, uri: Option<&SipUri>) -> u16 {
    let Some(link) = endpoint.sockets.open(hop, &endpoint.stack.transport_layer).await else {
        return 408;
    };
    let target = uri.map_or_else(|| hop.host.clone(), |uri| uri.host.clone());
    match options(endpoint, &target, &link) {
        Some(request) => transact(endpoint, request, &link).await.status_code.code(),
        None => 408,
    }
}

fn options(endpoint: &Endpoint, host: &str, link: &Link) -> Option<Request> {
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    let target = format!("sip:{host}");
    let headers = vec![
        header("Max-Forwards", "70"),
        header("From", format!("<sip:stox@{}>;tag={}", link.own, wire::random(8))),
        header("To", format!("<{target}>")),
        header("Call-ID", wire::random(16)),
        header("CSeq", "1 OPTIONS"),
        header("Accept", wire::SDP),
        header("User-Agent", &*endpoint.config.user_agent),
    ];
    let uri = wire::request_uri(&target)?;
    let request =
        Request { method: Method::Options, uri, version: Version::V2, headers: headers.into(), body: Vec::new() };
    Some(endpoint.address(request, link, Some("stox")))
}
