//! A call that arrived, until we answer it (RFC 3261 §13.3).
//!
//! ```text
//! peer                   we
//!  | INVITE               |
//!  |--------------------->|
//!  |          100         |   at once
//!  |<---------------------|
//!  |          180, 183    |   reliably where the peer requires it, or supports it and there is SDP (RFC 3262)
//!  |<---------------------|
//!  |          200         |   resent by the transaction until the ACK comes
//!  |<---------------------|
//!  | ACK                  |   then: established
//!  |--------------------->|
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use rsipstack::sip::{Header, Method, Response as WireResponse};
use tokio::time::Instant;

use super::call::{Input, Leg};
use super::dialog::Dialog;
use super::early::{self, Descriptions, Early};
use super::endpoint::count;
use super::established::Established;
use super::transaction::Server;
use super::wire::{self, ALLOW, SUPPORTED, header};
use crate::message::{FromAgent, IncomingInvite, Reason, Response, ToAgent};

/// Proxies give up a call that is silent for three minutes (RFC 3261 §13.3.1.1).
const REPEAT: Duration = Duration::from_secs(60);
/// The translator has its own, shorter patience; this is for one that forgot the call.
const GIVE_UP: Duration = Duration::from_secs(15 * 60);
/// Responses that wait for a PRACK.
const MAX_QUEUED: usize = 8;

/// Runs a call that arrived, to its end.
pub(super) async fn run(leg: Leg, server: Server, dialog: Dialog, invite: IncomingInvite) {
    let reliability = Reliability::of(&server);
    let now = Instant::now();
    let mut ringing = Ringing {
        leg,
        server,
        dialog,
        reliability,
        offered: invite.sdp.is_some(),
        answered_early: false,
        early: Early { descriptions: Descriptions { local: None, remote: invite.sdp.clone() }, ..Early::default() },
        sequence: 0,
        pending: None,
        queue: VecDeque::new(),
        last: None,
        repeat_at: now + REPEAT,
        give_up_at: now + GIVE_UP,
    };
    ringing.leg.refuse(&mut ringing.server, 100);
    ringing.leg.tell(FromAgent::Invite(invite)).await;
    if let Some(established) = ringing.run().await {
        established.run().await;
    }
}

/// What the peer thinks of reliable provisional responses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reliability {
    None,
    Supported,
    Required,
}

impl Reliability {
    fn of(server: &Server) -> Self {
        let has = |name| wire::tokens(&server.request.headers, name).iter().any(|option| option == "100rel");
        if has("Require") {
            Self::Required
        } else if has("Supported") {
            Self::Supported
        } else {
            Self::None
        }
    }
}

struct Ringing {
    leg: Leg,
    server: Server,
    dialog: Dialog,
    reliability: Reliability,
    /// The INVITE carried an offer.
    offered: bool,
    /// A reliable response carried the answer.
    answered_early: bool,
    /// What both changed since, and what is under way.
    early: Early,
    /// Number of the last reliable response.
    sequence: u32,
    pending: Option<Pending>,
    queue: VecDeque<Response>,
    /// The last provisional response, to be repeated.
    last: Option<WireResponse>,
    repeat_at: Instant,
    give_up_at: Instant,
}

/// A reliable response without its PRACK.
struct Pending {
    response: WireResponse,
    sequence: u32,
    interval: Duration,
    resend_at: Instant,
    give_up_at: Instant,
}

/// How the ringing ended.
enum Outcome {
    Refused,
    Accepted(Response),
}

impl Ringing {
    async fn run(mut self) -> Option<Established> {
        loop {
            let outcome = match self.leg.next(Some(self.deadline())).await {
                None => self.on_deadline().await,
                Some(Input::Command(ToAgent::Respond { response, .. })) => self.respond(response),
                Some(Input::Command(ToAgent::Bye { .. } | ToAgent::Cancel { .. })) => self.respond(Response::new(480)),
                Some(Input::Stop) => self.respond(Response { retry_after: Some(60), ..Response::new(503) }),
                Some(Input::Cancelled { request }) => {
                    self.leg.refuse_invite(&mut self.server, 487, &self.dialog.local_tag);
                    self.tell_cancelled(wire::reasons(&request.headers)).await;
                    Some(Outcome::Refused)
                }
                Some(Input::Request(transaction)) => {
                    let server = self.leg.serve(*transaction);
                    self.on_request(server).await
                }
                Some(Input::Command(ToAgent::Update { sdp, .. })) => {
                    self.update(sdp).await;
                    None
                }
                Some(Input::Command(ToAgent::RespondInDialog { request, response, .. })) => {
                    self.early.answer(&self.leg, &mut self.dialog, request, &response);
                    None
                }
                Some(Input::Response { number, response }) => {
                    self.early.on_response(&mut self.leg, &mut self.dialog, number, &response).await;
                    None
                }
                Some(
                    Input::Command(_) | Input::Answered { .. } | Input::Acked { .. } | Input::Unacknowledged { .. },
                ) => None,
            };
            match outcome {
                Some(Outcome::Refused) => return None,
                Some(Outcome::Accepted(response)) => return Some(self.accept(&response)),
                None => {}
            }
        }
    }

    fn deadline(&self) -> Instant {
        let resend = self.pending.as_ref().map(|pending| pending.resend_at.min(pending.give_up_at));
        let repeat = self.last.as_ref().filter(|_| self.pending.is_none()).map(|_| self.repeat_at);
        [resend, repeat].into_iter().flatten().fold(self.give_up_at, Instant::min)
    }

    async fn on_deadline(&mut self) -> Option<Outcome> {
        let now = Instant::now();
        if now >= self.give_up_at {
            return self.give_up(480, "no answer").await;
        }
        if let Some(pending) = &mut self.pending {
            if now >= pending.give_up_at {
                return self.give_up(504, "no PRACK").await;
            }
            pending.interval *= 2;
            pending.resend_at = now + pending.interval;
            self.server.send(pending.response.clone());
        } else if let Some(last) = &self.last {
            self.server.send(last.clone());
            self.repeat_at = now + REPEAT;
        }
        None
    }

    async fn give_up(&mut self, status: u16, text: &str) -> Option<Outcome> {
        self.leg.refuse_invite(&mut self.server, status, &self.dialog.local_tag);
        let reason = Reason { protocol: "SIP".to_owned(), cause: status, text: Some(text.to_owned()) };
        self.tell_cancelled(vec![reason]).await;
        Some(Outcome::Refused)
    }

    async fn tell_cancelled(&self, reason: Vec<Reason>) {
        self.leg.tell(FromAgent::Cancelled { dialog: self.leg.id, reason }).await;
    }

    /// The translator answers.
    fn respond(&mut self, response: Response) -> Option<Outcome> {
        match response.status {
            0..=100 => None,
            101..=199 => {
                self.provisional(response);
                None
            }
            200..=299 if self.pending.is_some() => {
                self.enqueue(response);
                None
            }
            200..=299 => Some(Outcome::Accepted(response)),
            _ => {
                let refusal = self.leg.endpoint.respond(&self.server.request, Some(&self.dialog.local_tag), &response);
                self.server.send(refusal);
                Some(Outcome::Refused)
            }
        }
    }

    fn enqueue(&mut self, response: Response) {
        if self.queue.len() < MAX_QUEUED {
            self.queue.push_back(response);
        } else {
            tracing::debug!(status = response.status, "too many responses wait for a PRACK");
        }
    }

    fn provisional(&mut self, mut response: Response) {
        if !self.offered {
            // A first description of ours would be an offer, and its answer would come in the PRACK; ours comes in the
            // 2xx (RFC 3261 §13.2.1).
            response.sdp = None;
            if self.reliability == Reliability::Required {
                return;
            }
        }
        if self.answered_early {
            response.sdp = None;
        }
        let reliable = match self.reliability {
            Reliability::None => false,
            Reliability::Supported => response.sdp.is_some(),
            Reliability::Required => true,
        };
        if reliable && self.pending.is_some() {
            self.enqueue(response);
            return;
        }
        let message = self.message(&response);
        if reliable {
            self.send_reliably(message, response.sdp.is_some());
        } else {
            self.server.send(message.clone());
            self.last = Some(message);
            self.repeat_at = Instant::now() + REPEAT;
        }
    }

    /// RFC 3262 §3.
    fn send_reliably(&mut self, mut response: WireResponse, has_sdp: bool) {
        self.sequence = if self.sequence == 0 { first_sequence() } else { self.sequence + 1 };
        response.headers.push(header("Require", "100rel"));
        response.headers.push(header("RSeq", self.sequence.to_string()));
        self.answered_early |= has_sdp;
        if has_sdp {
            self.early.descriptions.local = Some(String::from_utf8_lossy(&response.body).into_owned());
        }
        let t1 = self.leg.endpoint.config.timers.t1;
        let now = Instant::now();
        self.server.send(response.clone());
        self.pending = Some(Pending {
            response,
            sequence: self.sequence,
            interval: t1,
            resend_at: now + t1,
            give_up_at: now + 64 * t1,
        });
    }

    /// A response that makes, or belongs to, the dialog.
    fn message(&self, response: &Response) -> WireResponse {
        let tag = &self.dialog.local_tag;
        let mut message = self.leg.endpoint.respond(&self.server.request, Some(tag), response);
        let routes = self.server.request.headers.iter().filter(|own| matches!(own, Header::RecordRoute(_)));
        message.headers.extend(routes.cloned().collect());
        message.headers.extend(self.leg.contact(&self.server, tag).into_iter().collect());
        message.headers.push(header("Allow", ALLOW));
        message.headers.push(header("Supported", SUPPORTED));
        message
    }

    fn accept(mut self, response: &Response) -> Established {
        let mut response = response.clone();
        if self.answered_early {
            response.sdp = None;
        }
        let mut message = self.message(&response);
        if response.sdp.is_some() {
            self.early.descriptions.local.clone_from(&response.sdp);
        }
        let session = self.leg.endpoint.config.session.accept(&self.server.request.headers);
        let timer = session.as_ref().map(|(_, timer)| *timer);
        message.headers.extend(session.into_iter().flat_map(|(headers, _)| headers).collect());
        self.server.send(message);
        Established::accepted(self.leg, self.dialog, &self.server, self.early, timer)
    }

    /// A request in the early dialog.
    async fn on_request(&mut self, mut served: Server) -> Option<Outcome> {
        let server = &mut served;
        let headers = &server.request.headers;
        if wire::tag(headers, "From").as_ref() != Some(&self.dialog.remote_tag) {
            self.leg.refuse(server, 481);
            return None;
        }
        if !self.dialog.take_number(headers) {
            self.leg.refuse(server, 500);
            return None;
        }
        if let Some(unsupported) = wire::unsupported(headers) {
            self.leg.reply(server, &Response::new(420), vec![unsupported]);
            return None;
        }
        let sdp = wire::sdp(headers, &server.request.body);
        match server.request.method {
            Method::PRack => return self.on_prack(server, sdp == Ok(None)),
            Method::Bye => {
                self.leg.refuse(server, 200);
                self.leg.refuse_invite(&mut self.server, 487, &self.dialog.local_tag);
                self.tell_cancelled(wire::reasons(&server.request.headers)).await;
                return Some(Outcome::Refused);
            }
            Method::Options => self.leg.reply(server, &Response::new(200), wire::capabilities()),
            Method::Update if sdp == Ok(None) => {
                self.dialog.refresh(headers);
                let contact = self.leg.contact(server, &self.dialog.local_tag);
                self.leg.reply(server, &Response::new(200), contact.into_iter().collect());
            }
            Method::Info if server.request.body.is_empty() => self.leg.refuse(server, 200),
            Method::Update if self.is_settled() => self.early.take(&self.leg, served).await,
            // The first INVITE, and its offer, are not answered yet (RFC 3261 §14.2, RFC 3311 §5.2).
            Method::Update | Method::Invite | Method::Info => {
                let busy = Response { retry_after: Some(5), ..Response::new(500) };
                self.leg.reply(server, &busy, Vec::new());
            }
            Method::Notify | Method::Ack | Method::Cancel => self.leg.refuse(server, 481),
            Method::Refer => {
                count(&self.leg.endpoint.counters.transfers_refused);
                self.leg.refuse(server, 403);
            }
            Method::Message | Method::Publish | Method::Register | Method::Subscribe => {
                self.leg.reply(server, &Response::new(405), wire::capabilities());
            }
        }
        None
    }

    /// We change the call before it is answered.
    async fn update(&mut self, sdp: String) {
        if !wire::peer_support(&self.server.request.headers).update {
            early::refuse(&self.leg, 405, "Method Not Allowed").await;
        } else if self.is_settled() {
            let flow = self.server.connection.as_ref();
            self.early.update(&mut self.leg, &mut self.dialog, flow, sdp).await;
        } else {
            early::refuse(&self.leg, 491, "Request Pending").await;
        }
    }

    /// The first offer has its answer, and the peer knows it.
    const fn is_settled(&self) -> bool {
        self.answered_early && self.pending.is_none()
    }

    /// RFC 3262 §3: the PRACK names the response and the INVITE.
    fn on_prack(&mut self, server: &mut Server, plain: bool) -> Option<Outcome> {
        let rack = wire::value(&server.request.headers, "RAck").map(str::to_owned).unwrap_or_default();
        let mut words = rack.split_whitespace();
        let named: (Option<u32>, Option<u32>) =
            (words.next().and_then(|w| w.parse().ok()), words.next().and_then(|w| w.parse().ok()));
        let invite = wire::cseq(&self.server.request.headers).map(|(number, _)| number);
        let expected = self.pending.as_ref().map(|pending| pending.sequence);
        if expected.is_none() || named != (expected, invite) {
            self.leg.refuse(server, 481);
            return None;
        }
        self.pending = None;
        // An offer in a PRACK is more than we take; the call itself stays as it is (RFC 6337 §2.2).
        self.leg.refuse(server, if plain { 200 } else { 488 });
        while self.pending.is_none() {
            let next = self.queue.pop_front()?;
            if let Some(outcome) = self.respond(next) {
                return Some(outcome);
            }
        }
        None
    }
}

/// RFC 3262 §3: between 1 and 2^31 - 1; small enough never to get there.
fn first_sequence() -> u32 {
    let mut octets = [0; 2];
    getrandom::fill(&mut octets).expect("the system has random numbers");
    u32::from(u16::from_be_bytes(octets)) + 1
}
