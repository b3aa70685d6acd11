//! A call's task: what reaches it, and what both kinds of call have in common.
//!
//! A call of ours is [`outgoing`](super::outgoing) until it is answered, one that arrived is
//! [`incoming`](super::incoming) until we answer it; then both are [`established`](super::established).

use std::collections::HashMap;
use std::sync::Arc;

use rsipstack::sip::{Header, Request, Response as WireResponse};
use rsipstack::transaction::Transaction;
use rsipstack::transport::SipConnection;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::digest::Credentials;
use super::endpoint::{Destination, Endpoint, Listing, Stage};
use super::session;
use super::transaction::{Outgoing, Server, exchange, sleep_until};
use super::wire::{self, header};
use crate::message::{DialogId, Failure, FromAgent, Response, ToAgent};

/// Messages that a call may have waiting; one that cannot keep up loses the rest.
pub(super) const QUEUE: usize = 128;

/// How often the interval of the session timer is raised at the wish of others, in the life of a call.
const MAX_LENGTHENED: u8 = 4;

/// What reaches a call.
pub(super) enum Input {
    /// The translator wants something.
    Command(ToAgent),
    /// A response to a request of ours, but not the 2xx of an INVITE.
    Response {
        /// The request's number.
        number: u64,
        response: Box<WireResponse>,
    },
    /// A 2xx to an INVITE of ours, each copy of it.
    Answered { response: Box<WireResponse>, connection: SipConnection },
    /// A request in the dialog.
    Request(Box<Transaction>),
    /// The ACK of a 2xx of ours.
    Acked { number: u64, request: Box<Request> },
    /// A CANCEL of an INVITE that arrived; it has been answered.
    Cancelled { request: Box<Request> },
    /// No ACK came.
    Unacknowledged { number: u64 },
    /// The agent stops.
    Stop,
}

/// What all states of a call need.
pub(super) struct Leg {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) id: DialogId,
    inbox: mpsc::Receiver<Input>,
    pub(super) events: mpsc::Sender<Input>,
    pub(super) listing: Listing,
    pub(super) credentials: Option<Credentials>,
    /// Held until the call is answered.
    pub(super) half_open: Option<OwnedSemaphorePermit>,
    numbers: u64,
    /// How often a peer wanted a longer interval between refreshes.
    lengthened: u8,
    /// Requests of ours that wait for their response.
    pub(super) sent: HashMap<u64, Outgoing>,
}

impl Leg {
    /// Enters a call into the directory.
    pub(super) fn new(
        endpoint: &Arc<Endpoint>,
        id: DialogId,
        call_id: &str,
        tag: &str,
        stage: Stage,
        half_open: OwnedSemaphorePermit,
    ) -> Self {
        let (events, inbox) = mpsc::channel(QUEUE);
        let listing = endpoint.directory.list(id, call_id, tag, stage, events.clone());
        Self {
            endpoint: Arc::clone(endpoint),
            id,
            inbox,
            events,
            listing,
            credentials: None,
            half_open: Some(half_open),
            numbers: 0,
            lengthened: 0,
            sent: HashMap::new(),
        }
    }

    /// The next thing that happens; `None`: the deadline passed.
    pub(super) async fn next(&mut self, deadline: Option<Instant>) -> Option<Input> {
        tokio::select! {
            biased;
            input = self.inbox.recv() => input,
            () = sleep_until(deadline) => None,
        }
    }

    pub(super) async fn tell(&self, news: FromAgent) {
        self.endpoint.tell(news).await;
    }

    /// A number for a transaction.
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Sends a request other than INVITE; its final response comes as [`Input::Response`].
    pub(super) fn send(&mut self, outgoing: Outgoing) -> u64 {
        self.send_after(outgoing, None)
    }

    /// Sends a request as soon as another one is on its way.
    pub(super) fn send_after(&mut self, outgoing: Outgoing, before: Option<JoinHandle<()>>) -> u64 {
        let number = self.number();
        self.sent.insert(number, outgoing.clone());
        let (endpoint, events) = (Arc::clone(&self.endpoint), self.events.clone());
        self.endpoint.spawn(async move {
            if let Some(before) = before {
                // Broken or not, it is over.
                let _ = before.await;
            }
            let response = Box::new(exchange(&endpoint, &outgoing).await);
            // The call has ended: nobody asks any more.
            let _ = events.send(Input::Response { number, response }).await;
        });
        number
    }

    /// Puts the answers to challenges that came before on a request.
    pub(super) fn authorise(&mut self, request: &mut Request) {
        if let Some(credentials) = &mut self.credentials {
            let answers =
                credentials.headers(&request.method.to_string(), &wire::uri_text(&request.uri), &request.body);
            request.headers.extend(answers);
        }
    }

    /// Makes the request again that a response refused, with what that asks for, a password (401, 407) or a longer
    /// interval (422), and with the next number. `None`: we have no such answer, or gave it before.
    pub(super) fn again(
        &mut self,
        mut outgoing: Outgoing,
        response: &WireResponse,
        sequence: &mut u32,
    ) -> Option<Outgoing> {
        match response.status_code.code() {
            401 | 407 if self.credentials.as_mut()?.take(&response.headers) => {}
            422 if self.lengthened < MAX_LENGTHENED => {
                self.lengthened += 1;
                session::lengthen(&mut outgoing.request.headers, &response.headers)?;
            }
            _ => return None,
        }
        *sequence += 1;
        let request = &mut outgoing.request;
        let method = request.method;
        request
            .headers
            .retain(|own| !matches!(own, Header::CSeq(_) | Header::Authorization(_) | Header::ProxyAuthorization(_)));
        request.headers.push(header("CSeq", format!("{sequence} {method}")));
        self.authorise(request);
        Some(outgoing)
    }

    /// Takes over a request that arrived.
    pub(super) fn serve(&mut self, transaction: Transaction) -> Server {
        let number = self.number();
        Server::start(&self.endpoint, transaction, number, self.events.clone())
    }

    /// Answers a request in the dialog with a status.
    pub(super) fn refuse(&self, server: &mut Server, status: u16) {
        self.reply(server, &Response::new(status), Vec::new());
    }

    /// Answers the INVITE that made the call with a status.
    pub(super) fn refuse_invite(&self, server: &mut Server, status: u16, local_tag: &str) {
        server.send(self.endpoint.respond(&server.request, Some(local_tag), &Response::new(status)));
    }

    /// Answers a request in the dialog.
    pub(super) fn reply(&self, server: &mut Server, response: &Response, headers: Vec<Header>) {
        let mut response = self.endpoint.respond(&server.request, None, response);
        response.headers.extend(headers);
        server.send(response);
    }

    /// The Contact for a response.
    pub(super) fn contact(&self, server: &Server, user: &str) -> Option<Header> {
        self.endpoint.contact(user, &server.request, server.connection.as_ref())
    }
}

/// Where the requests of a dialog go.
pub(super) fn destination(next_hop: String, flow: Option<&SipConnection>) -> Destination {
    let flow = flow.filter(|flow| flow.is_reliable()).cloned();
    Destination { flow, any_size: true, ..Destination::of_uri(next_hop) }
}

/// How a final response other than 2xx is told.
pub(super) fn failure(response: &WireResponse) -> Failure {
    let contacts = wire::list(&response.headers, "Contact");
    let contacts = contacts.iter().filter_map(|contact| crate::address::parse_name_addr(contact));
    Failure {
        status: response.status_code.code(),
        phrase: wire::phrase(response),
        local: super::endpoint::is_local(response),
        reason: wire::reasons(&response.headers),
        contacts: contacts.map(|(_, uri, _)| uri.to_owned()).collect(),
        retry_after: wire::number(&response.headers, "Retry-After"),
    }
}
