//! Keeps a registration at a trunk (RFC 3261 §10.2), and with it, where that is wanted, the connection on which calls
//! come back (RFC 5626).

use std::sync::Arc;
use std::time::Duration;

use rsipstack::sip::{Method, Request, Response as WireResponse, Uri, Version};
use rsipstack::transport::SipConnection;
use rsipstack::transport::stream::StreamConnection;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;

use super::digest::Credentials;
use super::dispatch::credentials;
use super::endpoint::{Destination, Endpoint, contact_of, is_local};
use super::transaction::{Outgoing, transact};
use super::trunk::Known;
use super::wire::{self, header};
use super::{StartError, Trunk};
use crate::address::{escape_user, parse_name_addr};

/// What keeps a connection open (RFC 5626 §3.5.1).
const PING: &[u8] = b"\r\n\r\n";
/// What we ask for, in seconds.
const EXPIRES: u32 = 3_600;
/// The longest wait after failures (RFC 5626 §4.5).
const MAX_BACKOFF: Duration = Duration::from_secs(1_800);
const BACKOFF: Duration = Duration::from_secs(30);
/// A connection that lasted so long may be opened again at once.
const STEADY: Duration = Duration::from_secs(60);
/// The wait where the registrar will not have us: somebody has to change the configuration.
const FORBIDDEN: Duration = Duration::from_secs(600);
/// How often one REGISTER is sent again with what its refusal asked for.
const MAX_TRIES: usize = 4;

/// A trunk's registration.
pub(super) struct Registration {
    endpoint: Arc<Endpoint>,
    trunk: Trunk,
    registrar: Uri,
    /// The address of record.
    own: String,
    user: String,
    call_id: String,
    tag: String,
    sequence: u32,
    expires: u32,
    credentials: Option<Credentials>,
    /// It knows connections by a number of ours (RFC 5626 §4.2), as far as it did not say otherwise.
    outbound: bool,
    /// The connection it was told on.
    flow: Option<SipConnection>,
}

impl Registration {
    pub(super) fn new(endpoint: &Arc<Endpoint>, known: &Known) -> Result<Self, StartError> {
        let Known { trunk, uris, .. } = known;
        let problem = || StartError::Trunk { trunk: trunk.name.clone(), problem: "cannot register there".to_owned() };
        let uri = uris.first().ok_or_else(problem)?;
        let user = escape_user(trunk.username.as_deref().ok_or_else(problem)?);
        let registrar = wire::request_uri(&format!("{}:{}", uri.scheme, uri.host)).ok_or_else(problem)?;
        Ok(Self {
            endpoint: Arc::clone(endpoint),
            trunk: trunk.clone(),
            registrar,
            own: format!("{}:{user}@{}", uri.scheme, uri.host),
            user,
            call_id: wire::random(16),
            tag: wire::random(8),
            sequence: 0,
            expires: EXPIRES,
            credentials: credentials(trunk),
            outbound: trunk.outbound,
            flow: None,
        })
    }

    /// Registers and refreshes until told to stop; then withdraws.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut failures = 0;
        let mut registered = false;
        while !*stop.borrow() {
            let response = self.register(self.expires).await;
            let status = response.status_code.code();
            let wait = if (200..300).contains(&status) {
                failures = 0;
                registered = true;
                let granted = self.granted(&response);
                tracing::info!(trunk = self.trunk.name, granted, "registered");
                // Between 80 and 90 % of the time, so that not all refresh at once.
                Duration::from_secs(u64::from(granted)) * (80 + u32::from(random_percent(10))) / 100
            } else {
                failures += 1;
                tracing::warn!(trunk = self.trunk.name, status, local = is_local(&response), "registration failed");
                if matches!(status, 403 | 404) { FORBIDDEN } else { backoff(failures) }
            };
            let flow = self.flow.clone().filter(|_| self.outbound && (200..300).contains(&status));
            let ping_every = ping_every(&response);
            let since = Instant::now();
            let gone = tokio::select! {
                () = tokio::time::sleep(wait) => false,
                () = lost(flow, ping_every) => true,
                _ = stop.wait_for(|stop| *stop) => false,
            };
            if gone {
                tracing::warn!(trunk = self.trunk.name, "the connection of the registration is gone");
                // One that never lasts is not opened again and again (RFC 5626 §4.5).
                let pause = if since.elapsed() < STEADY { backoff(1) } else { Duration::from_millis(100) };
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
            }
        }
        if registered {
            let response = self.register(0).await;
            tracing::info!(trunk = self.trunk.name, status = response.status_code.code(), "registration withdrawn");
        }
    }

    /// Sends a REGISTER, and again with what the registrar asks for: a password, a longer time.
    async fn register(&mut self, expires: u32) -> WireResponse {
        let mut expires = expires;
        let mut tries = 0;
        loop {
            tries += 1;
            let outgoing = self.outgoing(expires);
            let response = self.exchange(&outgoing).await;
            let again = match response.status_code.code() {
                401 | 407 if tries == 1 => {
                    // The nonce of the last time may be over, whether it says so or not.
                    self.credentials = credentials(&self.trunk);
                    self.credentials.as_mut().is_some_and(|own| own.take(&response.headers))
                }
                401 | 407 => self.credentials.as_mut().is_some_and(|own| own.take(&response.headers)),
                // First Hop Lacks Outbound Support (RFC 5626 §11.6).
                439 if self.outbound => {
                    self.outbound = false;
                    true
                }
                423 => match wire::number(&response.headers, "Min-Expires") {
                    Some(least) if least > expires && expires > 0 => {
                        expires = least;
                        self.expires = least;
                        true
                    }
                    Some(_) | None => false,
                },
                _ => false,
            };
            if !again || tries == MAX_TRIES {
                return response;
            }
        }
    }

    fn outgoing(&mut self, expires: u32) -> Outgoing {
        self.sequence += 1;
        let mut headers = vec![
            header("Max-Forwards", "70"),
            header("From", format!("<{}>;tag={}", self.own, self.tag)),
            header("To", format!("<{}>", self.own)),
            header("Call-ID", &*self.call_id),
            header("CSeq", format!("{} REGISTER", self.sequence)),
            header("Expires", expires.to_string()),
            header("User-Agent", &*self.endpoint.config.user_agent),
        ];
        if let Some(credentials) = &mut self.credentials {
            headers.extend(credentials.headers("REGISTER", &self.registrar.to_string(), b""));
        }
        let request = Request {
            method: Method::Register,
            uri: self.registrar.clone(),
            version: Version::V2,
            headers: headers.into(),
            body: Vec::new(),
        };
        let destination = Destination::of_trunk(&self.trunk);
        Outgoing { request, destination, contact: None }
    }

    /// Sends a REGISTER, and keeps the connection that it went by.
    async fn exchange(&mut self, outgoing: &Outgoing) -> WireResponse {
        let endpoint = Arc::clone(&self.endpoint);
        let mut last = endpoint.made_up(&outgoing.request, 503);
        let mut attempts = endpoint.attempts(&outgoing.destination, 0).await;
        if attempts.is_empty() {
            // None of its addresses answered OPTIONS; a registration is worth one more try.
            let all = Destination { trunk: None, ..outgoing.destination.clone() };
            attempts = endpoint.attempts(&all, 0).await;
        }
        for attempt in attempts {
            let Some(link) = endpoint.open(&attempt).await else {
                continue;
            };
            let mut request = outgoing.request.clone();
            let mut contact = contact_of(&self.user, link.transport, link.own);
            if self.outbound {
                contact.push_str(&format!(";reg-id=1;+sip.instance=\"<urn:uuid:{}>\"", self.instance()));
                request.headers.push(header("Supported", "path, outbound"));
            }
            request.headers.push(header("Contact", contact));
            let request = endpoint.address(request, &link, None);
            last = transact(&endpoint, request, &link).await;
            self.flow = Some(link.connection).filter(SipConnection::is_reliable);
            if !is_local(&last) && last.status_code.code() != 503 {
                break;
            }
        }
        last
    }

    /// What names us there, also after a restart (RFC 5626 §4.1): made from what the configuration says of us.
    fn instance(&self) -> String {
        let text = format!("{} {} {}", self.endpoint.config.realm, self.trunk.name, self.own);
        let hex: String = Sha256::digest(text).iter().map(|octet| format!("{octet:02x}")).collect();
        // Version 8 is of no particular making (RFC 9562 §5.8).
        let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
        format!("{}-{}-8{}-8{}-{}", part(0..8), part(8..12), part(13..16), part(17..20), part(20..32))
    }

    /// The seconds granted to our Contact, else to all of them, else what we asked for.
    fn granted(&self, response: &WireResponse) -> u32 {
        let prefix = format!("sip:{}@", self.user);
        let contacts = wire::list(&response.headers, "Contact");
        let own = contacts.iter().filter_map(|contact| parse_name_addr(contact)).find(|c| c.1.starts_with(&prefix));
        let granted = own.and_then(|(_, _, parameters)| wire::parameter(parameters, "expires")?.parse().ok());
        let granted = granted.or_else(|| wire::number(&response.headers, "Expires")).unwrap_or(self.expires);
        granted.clamp(10, 24 * 3_600)
    }
}

/// How often the connection is used, at least: as the registrar wants, else every two minutes (RFC 5626 §4.4.1).
fn ping_every(response: &WireResponse) -> Duration {
    let seconds = wire::number(&response.headers, "Flow-Timer").unwrap_or(120).clamp(10, 3_600);
    Duration::from_secs(seconds.into()) * (80 + u32::from(random_percent(20))) / 100
}

/// Sends keep-alives along a connection, until it is gone. Without one, for ever.
async fn lost(flow: Option<SipConnection>, every: Duration) {
    let Some(gone) = flow.as_ref().and_then(SipConnection::cancel_token) else {
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            () = gone.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        let sent = match &flow {
            Some(SipConnection::Tcp(connection)) => connection.send_raw(PING).await,
            Some(SipConnection::Tls(connection)) => connection.send_raw(PING).await,
            Some(_) | None => Ok(()),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// RFC 5626 §4.5: doubling, between half and all of it.
fn backoff(failures: u32) -> Duration {
    let longest = BACKOFF.saturating_mul(1 << failures.min(10)).min(MAX_BACKOFF);
    longest * (50 + u32::from(random_percent(50))) / 100
}

/// A random number from 0 up to a bound.
fn random_percent(bound: u8) -> u8 {
    let mut octet = [0];
    getrandom::fill(&mut octet).expect("the system has random numbers");
    octet[0] % (bound + 1)
}
