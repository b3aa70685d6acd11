//! Transactions, each run by a task of its own: requests we make, and requests that arrive.

use std::sync::Arc;

use rsipstack::sip::{Method, Request, Response as WireResponse, SipMessage};
use rsipstack::transaction::Transaction;
use rsipstack::transaction::key::{TransactionKey, TransactionRole};
use rsipstack::transaction::transaction::TransactionEvent;
use rsipstack::transport::{SipAddr, SipConnection};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::call::Input;
use super::endpoint::{Destination, Endpoint, is_local};
use super::socket::Link;
use super::wire::{self, header};
use crate::message::{Reason, Response};

/// A request on its way out; Via and Contact depend on the way it takes, and are still missing.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) request: Request,
    pub(super) destination: Destination,
    /// The user part of the Contact, if the request needs one.
    pub(super) contact: Option<String>,
}

/// Sends a request other than INVITE and ACK, and waits for its final response.
pub(super) async fn exchange(endpoint: &Arc<Endpoint>, outgoing: &Outgoing) -> WireResponse {
    let mut last = endpoint.made_up(&outgoing.request, 503);
    for attempt in endpoint.attempts(&outgoing.destination, size(&outgoing.request)).await {
        let Some(link) = endpoint.open(&attempt).await else {
            continue;
        };
        let request = endpoint.address(outgoing.request.clone(), &link, outgoing.contact.as_deref());
        last = transact(endpoint, request, &link).await;
        endpoint.overloaded(&outgoing.destination, &attempt, &last);
        if !is_local(&last) && last.status_code.code() != 503 {
            return last;
        }
    }
    last
}

pub(super) async fn transact(endpoint: &Arc<Endpoint>, request: Request, link: &Link) -> WireResponse {
    let Some(mut transaction) = client(endpoint, request.clone(), link) else {
        return endpoint.made_up(&request, 503);
    };
    if transaction.send().await.is_err() {
        return endpoint.made_up(&request, 503);
    }
    while let Some(message) = transaction.receive().await {
        match message {
            SipMessage::Response(response) if response.status_code.code() >= 200 => return response,
            SipMessage::Response(_) | SipMessage::Request(_) => {}
        }
    }
    endpoint.made_up(&request, 408)
}

fn client(endpoint: &Arc<Endpoint>, request: Request, link: &Link) -> Option<Transaction> {
    let key = TransactionKey::from_request(&request, TransactionRole::Client).ok()?;
    let stack = Arc::clone(&endpoint.stack);
    let mut transaction = Transaction::new_client(key, request, stack, Some(link.connection.clone()));
    transaction.destination = Some(SipAddr::new(link.transport.wire(), link.peer.into()));
    Some(transaction)
}

/// Some bytes more than the request will have: what is still missing is below two hundred.
fn size(request: &Request) -> usize {
    request.to_bytes().len() + 200
}

/// Sends an ACK of a 2xx: a request of its own, without response and without transaction.
pub(super) fn acknowledge(endpoint: &Arc<Endpoint>, outgoing: Outgoing) -> JoinHandle<()> {
    let own = Arc::clone(endpoint);
    endpoint.spawn(async move {
        let endpoint = own;
        for attempt in endpoint.attempts(&outgoing.destination, size(&outgoing.request)).await {
            let Some(link) = endpoint.open(&attempt).await else {
                continue;
            };
            let request = endpoint.address(outgoing.request.clone(), &link, None);
            let to = SipAddr::new(link.transport.wire(), link.peer.into());
            match link.connection.send(SipMessage::Request(request), Some(&to)).await {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "cannot send an ACK"),
            }
        }
    })
}

/// What a call may tell the task of its INVITE.
enum InviteCommand {
    Cancel(Vec<Reason>),
    Finish,
}

/// An INVITE of ours that runs. When this is dropped, the transaction ends.
#[derive(Debug)]
pub(super) struct InviteClient {
    pub(super) number: u64,
    commands: mpsc::Sender<InviteCommand>,
}

impl InviteClient {
    /// Sends an INVITE. Its responses come as [`Input::Response`] with the number, those of 2xx as
    /// [`Input::Answered`].
    pub(super) fn start(
        endpoint: &Arc<Endpoint>,
        outgoing: Outgoing,
        number: u64,
        events: mpsc::Sender<Input>,
    ) -> Self {
        let (commands, received) = mpsc::channel(4);
        let runner = InviteRunner {
            endpoint: Arc::clone(endpoint),
            outgoing,
            number,
            events,
            commands: received,
            heard: false,
            cancel: Cancel::Not,
        };
        endpoint.spawn(runner.run());
        Self { number, commands }
    }

    /// Cancels it, as soon as that is allowed.
    pub(super) fn cancel(&self, reason: Vec<Reason>) {
        // Full: it was cancelled before. Closed: it is over.
        let _ = self.commands.try_send(InviteCommand::Cancel(reason));
    }

    /// Ends the transaction: a 2xx came.
    pub(super) fn finish(&self) {
        let _ = self.commands.try_send(InviteCommand::Finish);
    }
}

enum Cancel {
    Not,
    /// Waits for a provisional response (RFC 3261 §9.1).
    Wanted(Vec<Reason>),
    /// Sent; the INVITE is given up at that time.
    Sent(Instant),
}

struct InviteRunner {
    endpoint: Arc<Endpoint>,
    outgoing: Outgoing,
    number: u64,
    events: mpsc::Sender<Input>,
    commands: mpsc::Receiver<InviteCommand>,
    /// A response came from the address that is being tried.
    heard: bool,
    cancel: Cancel,
}

impl InviteRunner {
    async fn run(mut self) {
        let endpoint = Arc::clone(&self.endpoint);
        let mut last = endpoint.made_up(&self.outgoing.request, 503);
        let attempts = endpoint.attempts(&self.outgoing.destination, size(&self.outgoing.request)).await;
        let count = attempts.len();
        for (index, attempt) in attempts.into_iter().enumerate() {
            let Some(link) = endpoint.open(&attempt).await else {
                continue;
            };
            let request = endpoint.address(self.outgoing.request.clone(), &link, self.outgoing.contact.as_deref());
            let Some(response) = self.attempt(request, &link).await else {
                return;
            };
            // RFC 3263 §4.3: the next address is for those that do not answer, or cannot.
            let next = !self.heard || response.status_code.code() == 503;
            endpoint.overloaded(&self.outgoing.destination, &attempt, &response);
            last = response;
            if !next || !matches!(self.cancel, Cancel::Not) || index + 1 == count {
                break;
            }
        }
        self.report(last).await;
    }

    /// Runs one transaction up to its final response; `None`: the call wants no more of it.
    async fn attempt(&mut self, request: Request, link: &Link) -> Option<WireResponse> {
        let Some(mut transaction) = client(&self.endpoint, request.clone(), link) else {
            return Some(self.endpoint.made_up(&request, 503));
        };
        self.heard = false;
        if transaction.send().await.is_err() {
            return Some(self.endpoint.made_up(&request, 503));
        }
        loop {
            let give_up = match self.cancel {
                Cancel::Sent(at) => Some(at),
                Cancel::Not | Cancel::Wanted(_) => None,
            };
            tokio::select! {
                message = transaction.receive() => match message {
                    Some(SipMessage::Response(response)) if response.status_code.code() / 100 == 2 => {
                        self.answered(response, &mut transaction, link).await;
                        return None;
                    }
                    Some(SipMessage::Response(response)) if response.status_code.code() >= 300 => {
                        if is_local(&response) && self.heard && matches!(self.cancel, Cancel::Not) {
                            // Our patience is over, theirs is not.
                            self.send_cancel(&request, link, &[]);
                        }
                        self.heard |= !is_local(&response);
                        return Some(response);
                    }
                    Some(SipMessage::Response(response)) => {
                        self.heard = true;
                        if let Cancel::Wanted(reason) = &self.cancel {
                            let reason = reason.clone();
                            self.send_cancel(&request, link, &reason);
                        }
                        self.report(response).await;
                    }
                    Some(SipMessage::Request(_)) => {}
                    None => return Some(self.endpoint.made_up(&request, 408)),
                },
                command = self.commands.recv() => match command {
                    Some(InviteCommand::Cancel(reason)) if self.heard => self.send_cancel(&request, link, &reason),
                    Some(InviteCommand::Cancel(reason)) => self.cancel = Cancel::Wanted(reason),
                    Some(InviteCommand::Finish) | None => return None,
                },
                () = sleep_until(give_up) => return Some(self.endpoint.made_up(&request, 487)),
            }
        }
    }

    /// Hands over a 2xx, and those of other branches that came right behind it; the transaction is over.
    async fn answered(&self, response: WireResponse, transaction: &mut Transaction, link: &Link) {
        let mut next = Some(response);
        while let Some(response) = next {
            let input = Input::Answered { response: Box::new(response), connection: link.connection.clone() };
            // The call has ended: nobody asks any more.
            let _ = self.events.send(input).await;
            next = std::iter::from_fn(|| transaction.tu_receiver.try_recv().ok()).find_map(|event| match event {
                TransactionEvent::Received(SipMessage::Response(response), _)
                    if response.status_code.code() / 100 == 2 =>
                {
                    Some(response)
                }
                TransactionEvent::Received(..)
                | TransactionEvent::Timer(_)
                | TransactionEvent::Respond(_)
                | TransactionEvent::Terminate(_) => None,
            });
        }
    }

    async fn report(&self, response: WireResponse) {
        let input = Input::Response { number: self.number, response: Box::new(response) };
        // The call has ended: nobody asks any more.
        let _ = self.events.send(input).await;
    }

    /// Sends a CANCEL: the INVITE's Via, addresses, Call-ID and Route (RFC 3261 §9.1).
    fn send_cancel(&mut self, invite: &Request, link: &Link, reason: &[Reason]) {
        if matches!(self.cancel, Cancel::Sent(_)) {
            return;
        }
        self.cancel = Cancel::Sent(Instant::now() + 64 * self.endpoint.config.timers.t1);
        let kept = ["Via", "From", "To", "Call-ID", "Route", "Max-Forwards"];
        let mut headers: Vec<_> = invite.headers.iter().filter(|own| kept.contains(&own.name())).cloned().collect();
        let number = wire::cseq(&invite.headers).map_or(0, |(number, _)| number);
        headers.push(header("CSeq", format!("{number} CANCEL")));
        headers.extend(wire::reason_headers(reason));
        headers.push(header("Content-Length", "0"));
        let cancel = Request { method: Method::Cancel, headers: headers.into(), body: Vec::new(), ..invite.clone() };
        let (endpoint, link) = (Arc::clone(&self.endpoint), link.clone());
        self.endpoint.spawn(async move {
            let response = transact(&endpoint, cancel, &link).await;
            tracing::debug!(status = response.status_code.code(), "CANCEL answered");
        });
    }
}

/// Waits until a time, or for ever.
pub(super) async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// A request that arrived and waits for our responses. Dropped without a final one, it is answered by 500.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) number: u64,
    pub(super) request: Request,
    /// What it came on.
    pub(super) connection: Option<SipConnection>,
    responses: mpsc::Sender<WireResponse>,
    answered: bool,
}

impl Server {
    /// Takes a request over. What happens to it comes as [`Input::Acked`], [`Input::Cancelled`] and
    /// [`Input::Unacknowledged`] with the number.
    pub(super) fn start(
        endpoint: &Arc<Endpoint>,
        transaction: Transaction,
        number: u64,
        events: mpsc::Sender<Input>,
    ) -> Self {
        let (responses, received) = mpsc::channel(32);
        let request = transaction.original.clone();
        let connection = transaction.connection.clone();
        endpoint.spawn(serve(Arc::clone(endpoint), transaction, number, events, received));
        Self { number, request, connection, responses, answered: false }
    }

    /// Sends a response. After a final one nothing more is sent.
    pub(super) fn send(&mut self, response: WireResponse) {
        if self.answered {
            return;
        }
        self.answered = response.status_code.code() >= 200;
        // Full: so many provisional responses are repetitions. Closed: the transaction is over.
        let _ = self.responses.try_send(response);
    }
}

async fn serve(
    endpoint: Arc<Endpoint>,
    mut transaction: Transaction,
    number: u64,
    events: mpsc::Sender<Input>,
    mut responses: mpsc::Receiver<WireResponse>,
) {
    let is_invite = transaction.original.method == Method::Invite;
    let mut last = 0;
    let mut acked = false;
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            response = responses.recv(), if open => {
                let response = response.unwrap_or_else(|| {
                    open = false;
                    endpoint.respond(&transaction.original, Some(&wire::random(8)), &Response::new(500))
                });
                if last >= 200 {
                    continue;
                }
                last = response.status_code.code();
                if let Err(error) = transaction.respond(response).await {
                    tracing::debug!(%error, "cannot send a response");
                    if last >= 200 {
                        break;
                    }
                }
            }
            message = transaction.receive() => {
                let request = match message {
                    Some(SipMessage::Request(request)) => Box::new(request),
                    Some(SipMessage::Response(_)) => continue,
                    None => break,
                };
                let input = if request.method == Method::Ack {
                    acked = true;
                    Input::Acked { number, request }
                } else {
                    Input::Cancelled { request }
                };
                if last < 300 {
                    // The call has ended: nobody asks any more.
                    let _ = events.send(input).await;
                }
            }
        }
    }
    if is_invite && (200..300).contains(&last) && !acked {
        let _ = events.send(Input::Unacknowledged { number }).await;
    }
}

/// Answers a request that belongs to no call, and stays until its transaction is over.
pub(super) fn answer(endpoint: &Endpoint, mut transaction: Transaction, response: WireResponse) {
    endpoint.spawn(async move {
        if let Err(error) = transaction.respond(response).await {
            tracing::debug!(%error, "cannot send a response");
            return;
        }
        while transaction.receive().await.is_some() {}
    });
}
