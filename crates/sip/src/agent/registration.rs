//! Keeps a registration at a trunk (RFC 3261 §10.2).

use std::sync::Arc;
use std::time::Duration;

use rsipstack::sip::{Method, Request, Response as WireResponse, Uri, Version};
use tokio::sync::watch;

use super::digest::Credentials;
use super::dispatch::credentials;
use super::endpoint::{Destination, Endpoint, is_local};
use super::transaction::{Outgoing, exchange};
use super::trunk::Known;
use super::wire::{self, header};
use super::{StartError, Trunk};
use crate::address::{escape_user, parse_name_addr};

/// What we ask for, in seconds.
const EXPIRES: u32 = 3_600;
/// The longest wait after failures (RFC 5626 §4.5).
const MAX_BACKOFF: Duration = Duration::from_secs(1_800);
const BACKOFF: Duration = Duration::from_secs(30);
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
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = stop.wait_for(|stop| *stop) => {}
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
            let response = exchange(&self.endpoint, &outgoing).await;
            let again = match response.status_code.code() {
                401 | 407 => self.credentials.as_mut().is_some_and(|own| own.take(&response.headers)),
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
        // Whether it answers OPTIONS is beside the point.
        let destination = Destination { trunk: None, ..Destination::of_trunk(&self.trunk) };
        Outgoing { request, destination, contact: Some(self.user.clone()) }
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
