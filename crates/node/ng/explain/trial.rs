//! Requests carried out by a relay without sockets, which shows what would become of their SDP.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use control::calls::{Calls, Config, Ticket};
use control::request::{Action, EndpointLearning};
use control::{Dictionary, Request};
use model::FromRelay;
use relay::{Address, CertificatePolicy, OpenError, PortShare, Relay, SocketId, Sockets, Traffic};

use crate::config::DEFAULT_INTERFACE as DEFAULT;
use crate::gateway::{now, since_1970};

/// The relay's addresses, of those that are for documentation (RFC 5737, 3849).
pub(super) const ADDRESSES: [&str; 2] = ["203.0.113.1", "2001:db8::1"];

/// Offers of typical senders.
pub(super) const PHONES: [(&str, &str); 3] = [
    (
        "a phone with RTP in clear",
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 9 8 0 101\r\n\
         a=rtpmap:101 telephone-event/8000\r\n",
    ),
    (
        "a phone with keys in its SDP (SDES)",
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 9 8 0 101\r\n\
         a=rtpmap:101 telephone-event/8000\r\n\
         a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd\r\n",
    ),
    (
        "a browser",
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 9 0 8 110\r\n\
         c=IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
         a=ice-options:trickle\r\na=setup:actpass\r\na=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:\
         10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:110 telephone-event/48000\r\n",
    ),
];

/// What came of a request.
pub(super) enum Outcome {
    /// The SDP for the other party.
    Rewritten(String),
    /// It was done, and there is no SDP in the reply.
    WithoutSdp,
    /// It was not done, for this reason.
    Refused(String),
}

/// A relay without sockets.
pub(super) struct Trial {
    calls: Calls,
    relay: Relay,
    tickets: u64,
}

/// Every port can be opened.
struct Nowhere;

impl Sockets for Nowhere {
    fn open(&mut self, _: SocketId, _: SocketAddr, _: Traffic) -> Result<(), OpenError> {
        Ok(())
    }

    fn close(&mut self, _: SocketId) {}
}

impl Trial {
    /// A relay that has every interface that the requests ask for.
    ///
    /// # Errors
    ///
    /// No certificate could be made.
    pub(super) fn new<'a>(requests: impl IntoIterator<Item = &'a Dictionary<'static>>) -> anyhow::Result<Self> {
        let names: BTreeSet<String> = requests.into_iter().flat_map(interfaces).collect();
        let every = [DEFAULT]
            .into_iter()
            .chain(names.iter().map(String::as_str))
            .flat_map(|name| ADDRESSES.map(|address| (Some(name.to_owned()), address)));
        let addresses: Result<Vec<_>, _> =
            every.map(|(name, bind)| Ok(Address { name, bind: bind.parse()?, advertise: None })).collect();
        let addresses = addresses.map_err(|error: std::net::AddrParseError| error)?;
        let ports = PortShare { range: 30_000..=30_999, number: 0, of: 1 };
        let certificates = CertificatePolicy::PerProcess(Arc::new(dtls::Certificate::generate()?));
        // What it makes up protects nothing: nobody but the reader sees it.
        let random = |bytes: &mut [u8]| getrandom::fill(bytes).unwrap_or_default();
        let config = Config {
            max_calls: 1000,
            delete_delay: Duration::from_secs(30),
            offer_timeout: Duration::from_secs(3600),
            endpoint_learning: EndpointLearning::Heuristic,
            usual_interface: Some(DEFAULT.to_owned()),
            interfaces: names.into_iter().map(|name| (name.clone(), name)).collect(),
        };
        let relay = Relay::new(relay::Config::new(addresses, ports, certificates), Box::new(random));
        Ok(Self { calls: Calls::new(config, now(), since_1970()), relay, tickets: 0 })
    }

    /// Carries out one request.
    pub(super) fn carry_out(&mut self, request: &Dictionary<'_>) -> Outcome {
        let request = match Request::read(request) {
            Ok(request) => request,
            Err(error) => return Outcome::Refused(error.to_string()),
        };
        self.tickets += 1;
        self.calls.handle_request(Ticket(self.tickets), request, now());
        while let Some(model::Request { id, command }) = self.calls.poll_command() {
            let outcome = self.relay.handle_command(command, now(), &mut Nowhere);
            self.calls.handle_relay(FromRelay::Reply { id, outcome }, now());
        }
        let Some((_, reply)) = self.calls.poll_reply() else { return Outcome::WithoutSdp };
        match (reply.text("sdp"), reply.text("error-reason").or(reply.text("message"))) {
            (Some(sdp), _) => Outcome::Rewritten(sdp.to_owned()),
            (None, Some(reason)) => Outcome::Refused(reason.to_owned()),
            (None, None) => Outcome::WithoutSdp,
        }
    }
}

/// The interfaces that a request asks for.
fn interfaces(request: &Dictionary<'static>) -> Vec<String> {
    let asked = match Request::read(request).map(|request| request.action) {
        Ok(Action::Offer { exchange, .. } | Action::Answer { exchange, .. }) => exchange.options.interfaces,
        Ok(_) | Err(_) => return Vec::new(),
    };
    [asked.from, asked.to].into_iter().flatten().collect()
}
