//! Hands what arrives to the call it belongs to, starts calls, and answers what belongs to none.

use std::net::SocketAddr;
use std::sync::Arc;

use rsipstack::sip::{Header, Method, Request};
use rsipstack::transaction::{Transaction, TransactionReceiver};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::Instrument;

use super::call::{Input, Leg};
use super::dialog::Dialog;
use super::digest::Credentials;
use super::endpoint::{Destination, Endpoint, Stage, count, source_of};
use super::gate::{Admission, Gate};
use super::transaction::{Server, answer};
use super::{Trunk, incoming, outgoing, wire};
use crate::address::{SipUri, parse_name_addr};
use crate::message::{DialogId, Failure, FromAgent, IncomingInvite, OutgoingInvite, Replaced, Response, ToAgent};
use crate::transfer::Replaces;

/// The hops of a request that does not say (RFC 3261 §20.22).
const MAX_FORWARDS: u8 = 70;
/// What we tell those who come when there are too many.
const RETRY_AFTER: u32 = 5;

/// The dispatcher: one task.
pub(super) struct Dispatcher {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) arriving: TransactionReceiver,
    pub(super) commands: mpsc::Receiver<ToAgent>,
    pub(super) stop: oneshot::Receiver<()>,
    gate: Gate,
    half_open: Arc<Semaphore>,
    calls: JoinSet<()>,
    next_dialog: u64,
    stopping: bool,
}

impl Dispatcher {
    pub(super) fn new(
        endpoint: Arc<Endpoint>,
        arriving: TransactionReceiver,
        commands: mpsc::Receiver<ToAgent>,
        stop: oneshot::Receiver<()>,
    ) -> Self {
        let half_open = Arc::new(Semaphore::new(endpoint.config.max_half_open.min(Semaphore::MAX_PERMITS)));
        let gate = Gate::new(&endpoint.config);
        Self {
            endpoint,
            arriving,
            commands,
            stop,
            gate,
            half_open,
            calls: JoinSet::new(),
            next_dialog: 1,
            stopping: false,
        }
    }

    /// Runs until it is told to stop, and then until the last call has ended.
    pub(super) async fn run(mut self) {
        let mut open = true;
        loop {
            if self.stopping && self.calls.is_empty() {
                return;
            }
            tokio::select! {
                Some(transaction) = self.arriving.recv() => self.on_request(transaction).await,
                command = self.commands.recv(), if open => match command {
                    Some(command) => self.on_command(command).await,
                    None => {
                        // The translator has gone: nobody could answer for a call.
                        open = false;
                        self.stop_calls();
                    }
                },
                _ = &mut self.stop, if !self.stopping => self.stop_calls(),
                Some(ended) = self.calls.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "the task of a call broke");
                    }
                }
            }
        }
    }

    fn stop_calls(&mut self) {
        self.stopping = true;
        for call in self.endpoint.directory.all() {
            // Full: it is busy ending, or beyond help.
            let _ = call.try_send(Input::Stop);
        }
    }

    async fn on_command(&mut self, command: ToAgent) {
        let dialog = match &command {
            ToAgent::Invite(invite) => return self.call(invite.clone()).await,
            ToAgent::Respond { dialog, .. }
            | ToAgent::Cancel { dialog, .. }
            | ToAgent::Bye { dialog, .. }
            | ToAgent::Reinvite { dialog, .. }
            | ToAgent::Update { dialog, .. }
            | ToAgent::Ack { dialog, .. }
            | ToAgent::Info { dialog, .. }
            | ToAgent::Refer { dialog, .. }
            | ToAgent::Notify { dialog, .. }
            | ToAgent::RespondInDialog { dialog, .. } => *dialog,
        };
        match self.endpoint.directory.by_id(dialog) {
            Some(call) if call.try_send(Input::Command(command)).is_err() => {
                count(&self.endpoint.counters.call_overrun);
            }
            Some(_) => {}
            None => tracing::debug!(?dialog, "the call has ended already"),
        }
    }

    /// Makes a call.
    async fn call(&mut self, invite: OutgoingInvite) {
        let trunk = match &invite.trunk {
            Some(name) => match self.endpoint.trunks.by_name(name) {
                Some(known) => Some(known.trunk.clone()),
                None => return self.fail(&invite, 404, "No such trunk").await,
            },
            None => None,
        };
        if self.stopping {
            return self.fail(&invite, 503, "Stopping").await;
        }
        let Ok(half_open) = Arc::clone(&self.half_open).try_acquire_owned() else {
            count(&self.endpoint.counters.refused_busy);
            return self.fail(&invite, 503, "Too many calls").await;
        };
        count(&self.endpoint.counters.calls_out);
        let (call_id, local_tag) = (wire::random(16), wire::random(8));
        let stage = Stage::Calling { remotes: Vec::new() };
        let mut leg = Leg::new(&self.endpoint, invite.dialog, &call_id, &local_tag, stage, half_open);
        leg.credentials = trunk.as_ref().and_then(credentials);
        let destination = match &trunk {
            Some(trunk) => Destination::of_trunk(trunk),
            None => Destination::of_uri(invite.to.clone()),
        };
        let span = tracing::info_span!("sip", dialog = invite.dialog.0, call_id);
        self.calls.spawn(outgoing::run(leg, invite, call_id, local_tag, destination).instrument(span));
    }

    async fn fail(&self, invite: &OutgoingInvite, status: u16, phrase: &str) {
        let failure = Failure::local(status, phrase);
        self.endpoint.tell(FromAgent::Failed { dialog: invite.dialog, failure }).await;
    }

    async fn on_request(&mut self, transaction: Transaction) {
        let request = &transaction.original;
        let Some(tag) = wire::tag(&request.headers, "To") else {
            return self.on_initial(transaction).await;
        };
        let call = wire::call_id(&request.headers).and_then(|id| self.endpoint.directory.by_tag(id, &tag));
        let Some(call) = call else {
            if self.is_ignored(&transaction) {
                return;
            }
            count(&self.endpoint.counters.unknown_dialog);
            return self.refuse(transaction, &Response::new(481), Vec::new());
        };
        if let Err(error) = call.try_send(Input::Request(Box::new(transaction))) {
            count(&self.endpoint.counters.call_overrun);
            if let Input::Request(transaction) = error.into_inner() {
                let busy = Response { retry_after: Some(RETRY_AFTER), ..Response::new(500) };
                self.refuse(*transaction, &busy, Vec::new());
            }
        }
    }

    /// A request outside of any dialog.
    async fn on_initial(&mut self, transaction: Transaction) {
        if self.is_ignored(&transaction) {
            return;
        }
        let headers = &transaction.original.headers;
        if let Some(unsupported) = wire::unsupported(headers) {
            return self.refuse(transaction, &Response::new(420), vec![unsupported]);
        }
        let packaged = wire::value(headers, "Info-Package").is_some();
        match transaction.original.method {
            Method::Invite => self.on_invite(transaction).await,
            // As a call would be answered (RFC 3261 §11.2).
            Method::Options if self.stopping || self.half_open.available_permits() == 0 => {
                let busy = Response { retry_after: Some(RETRY_AFTER), ..Response::new(503) };
                self.refuse(transaction, &busy, wire::capabilities());
            }
            Method::Options => self.refuse(transaction, &Response::new(200), wire::capabilities()),
            Method::Bye | Method::PRack | Method::Update | Method::Notify | Method::Ack | Method::Cancel => {
                self.refuse(transaction, &Response::new(481), Vec::new());
            }
            // RFC 3515 §2.4.1: that subscription is made by REFER alone.
            Method::Subscribe if wire::is_event(headers, "refer") => {
                self.refuse(transaction, &Response::new(403), Vec::new());
            }
            Method::Subscribe | Method::Publish => self.refuse(transaction, &Response::new(489), Vec::new()),
            Method::Info if packaged => {
                self.refuse(transaction, &Response::new(469), vec![wire::header("Recv-Info", "")]);
            }
            // Nobody is known who could ask for that.
            Method::Refer => {
                count(&self.endpoint.counters.transfers_refused);
                self.refuse(transaction, &Response::new(403), Vec::new());
            }
            Method::Info | Method::Message | Method::Register => {
                self.refuse(transaction, &Response::new(405), wire::capabilities());
            }
        }
    }

    fn refuse(&self, transaction: Transaction, response: &Response, headers: Vec<Header>) {
        let tag = wire::random(8);
        let mut response = self.endpoint.respond(&transaction.original, Some(&tag), response);
        response.headers.extend(headers);
        answer(&self.endpoint, transaction, response);
    }

    /// Says whether a request gets no answer, because a stranger sent it.
    fn is_ignored(&self, transaction: &Transaction) -> bool {
        let headers = &transaction.original.headers;
        let trunk = |source| self.endpoint.trunks.of_request(source, wire::value(headers, "Via"));
        let ignored = self.gate.ignores_strangers() && source_of(headers).and_then(trunk).is_none();
        if ignored {
            count(&self.endpoint.counters.strangers_ignored);
        }
        ignored
    }

    /// The trunk of a call, `None` for a stranger who may call; or the refusal, `None` where there is none.
    fn admit(&mut self, request: &Request, source: SocketAddr) -> Result<Option<Trunk>, Option<(u16, Vec<Header>)>> {
        let counters = &self.endpoint.counters;
        let trunk = self.endpoint.trunks.of_request(source, wire::value(&request.headers, "Via"));
        let admission = self.gate.admit(request, source, trunk);
        let (counter, status, stale) = match admission {
            Admission::Granted(trunk) => {
                return Ok(trunk.and_then(|place| self.endpoint.trunks.by_place(place)).cloned());
            }
            Admission::Challenged { stale } => (&counters.challenged, 401, stale),
            Admission::Wrong => (&counters.password_wrong, 401, false),
            Admission::Throttled => (&counters.password_throttled, 403, false),
            Admission::Refused => (&counters.strangers_refused, 403, false),
            Admission::Ignored => {
                count(&counters.strangers_ignored);
                return Err(None);
            }
        };
        count(counter);
        if !matches!(admission, Admission::Challenged { .. }) {
            tracing::info!(%source, ?admission, "a call was not let in");
        }
        let challenge = if status == 401 { self.gate.challenge(source.ip(), stale) } else { Vec::new() };
        Err(Some((status, challenge)))
    }

    /// Somebody calls.
    async fn on_invite(&mut self, transaction: Transaction) {
        if let Some((response, headers)) = self.objection(&transaction.original) {
            return self.refuse(transaction, &response, headers);
        }
        let request = &transaction.original;
        let Some(source) = source_of(&request.headers) else {
            return self.refuse(transaction, &Response::new(400), Vec::new());
        };
        let trunk = match self.admit(request, source) {
            Ok(trunk) => trunk,
            Err(Some((status, headers))) => return self.refuse(transaction, &Response::new(status), headers),
            Err(None) => return,
        };
        let request = &transaction.original;
        let replaces = match self.replaced(request) {
            Ok(replaces) => replaces,
            Err(status) => {
                count(&self.endpoint.counters.transfers_refused);
                return self.refuse(transaction, &Response::new(status), Vec::new());
            }
        };
        let local_tag = wire::random(8);
        let Some(dialog) = Dialog::of_request(request, &local_tag) else {
            return self.refuse(transaction, &Response::new(400), Vec::new());
        };
        let number = dialog.remote_seq.unwrap_or_default();
        let served = (dialog.call_id.clone(), dialog.remote_tag.clone(), number);
        if !self.endpoint.directory.serve(&served) {
            return self.refuse(transaction, &Response::new(482), Vec::new());
        }
        let id = DialogId(self.next_dialog);
        self.next_dialog = (self.next_dialog + 1) & (u64::MAX >> 1);
        let invite = IncomingInvite {
            dialog: id,
            trunk: trunk.as_ref().map(|trunk| trunk.name.clone()),
            source,
            request_uri: wire::uri_text(&request.uri),
            sip_call_id: dialog.call_id.clone(),
            replaces,
            ..described(request)
        };
        let Ok(half_open) = Arc::clone(&self.half_open).try_acquire_owned() else {
            count(&self.endpoint.counters.refused_busy);
            self.endpoint.directory.forget(&served);
            let busy = Response { retry_after: Some(RETRY_AFTER), ..Response::new(503) };
            return self.refuse(transaction, &busy, Vec::new());
        };
        count(&self.endpoint.counters.calls_in);
        let stage = Stage::Called { remote: dialog.remote_tag.clone() };
        let mut leg = Leg::new(&self.endpoint, id, &dialog.call_id, &local_tag, stage, half_open);
        leg.listing.served = Some(served);
        leg.credentials = trunk.as_ref().and_then(credentials);
        let server: Server = leg.serve(transaction);
        let span = tracing::info_span!("sip", dialog = id.0, call_id = invite.sip_call_id);
        self.calls.spawn(incoming::run(leg, server, dialog, invite).instrument(span));
    }

    /// The call that an INVITE would replace (RFC 3891 §3).
    fn replaced(&self, request: &Request) -> Result<Option<Replaced>, u16> {
        let mut values = wire::values(&request.headers, "Replaces");
        let Some(first) = values.next() else { return Ok(None) };
        if values.next().is_some() || wire::value(&request.headers, "Join").is_some() {
            return Err(400);
        }
        let replaces = Replaces::parse(first).ok_or(400_u16)?;
        let dialog = self.endpoint.directory.replaced(&replaces)?;
        Ok(Some(Replaced { dialog, early_only: replaces.early_only }))
    }

    /// What can be wrong with an INVITE before anybody is asked.
    fn objection(&self, request: &Request) -> Option<(Response, Vec<Header>)> {
        let headers = &request.headers;
        if SipUri::parse(&wire::uri_text(&request.uri)).is_err() {
            return Some((Response::new(416), Vec::new()));
        }
        if wire::value(headers, "Max-Forwards") == Some("0") {
            return Some((Response::new(483), Vec::new()));
        }
        if let Err(problem) = wire::sdp(headers, &request.body) {
            return Some((Response::new(415), vec![problem.accept()]));
        }
        let session = &self.endpoint.config.session;
        if session.refuses(headers) {
            count(&self.endpoint.counters.session_too_short);
            return Some((Response::new(422), vec![session.min_se()]));
        }
        self.stopping.then(|| (Response { retry_after: Some(60), ..Response::new(503) }, Vec::new()))
    }
}

/// What an INVITE says about the call itself.
fn described(request: &Request) -> IncomingInvite {
    let headers = &request.headers;
    let from = wire::value(headers, "From").and_then(parse_name_addr);
    let (from_display, from) = from.map_or((None, String::new()), |(name, uri, _)| (name, uri.to_owned()));
    let hops = wire::value(headers, "Max-Forwards").and_then(|hops| hops.parse().ok());
    IncomingInvite {
        dialog: DialogId(0),
        trunk: None,
        source: std::net::SocketAddr::from(([0, 0, 0, 0], 0)),
        request_uri: String::new(),
        from,
        from_display,
        asserted_identity: wire::uri(headers, "P-Asserted-Identity"),
        sdp: wire::sdp(headers, &request.body).unwrap_or_default(),
        max_forwards: hops.unwrap_or(MAX_FORWARDS),
        sip_call_id: String::new(),
        private: wire::values(headers, "Privacy").flat_map(|value| value.split(';')).any(hides_caller),
        replaces: None,
        referred_by: wire::value(headers, "Referred-By").map(str::to_owned),
        peer: wire::peer_support(headers),
    }
}

/// The kinds of privacy under which a caller's name is nobody's business (RFC 3323 §4.2, RFC 3325 §9.3).
fn hides_caller(kind: &str) -> bool {
    ["id", "user", "header"].iter().any(|own| kind.trim().eq_ignore_ascii_case(own))
}

/// A trunk's password, if it has one.
pub(super) fn credentials(trunk: &Trunk) -> Option<Credentials> {
    Some(Credentials::new(trunk.username.clone()?, trunk.password.clone()?))
}
