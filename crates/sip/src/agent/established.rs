//! An answered call (RFC 3261 §12.2, §14, §15), until both sides know that it is over.

mod change;
mod transfer;

use std::collections::HashMap;

use rsipstack::sip::{Header, Headers, Method, Request, Response as WireResponse};
use rsipstack::transport::SipConnection;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::change::Ours;
use self::transfer::Transfers;
use super::call::{Input, Leg, destination};
use super::dialog::Dialog;
use super::early::{Descriptions, Early};
use super::endpoint::{Stage, count};
use super::session::{Session, Timer};
use super::transaction::{Outgoing, Server, acknowledge};
use super::wire::{self, ALLOW, SDP, SUPPORTED, header};
use crate::message::{DialogId, FromAgent, InDialogId, PeerSupport, Reason, Response, ToAgent};

/// Requests of the peer that may wait for the translator at once.
const MAX_SERVED: usize = 8;
/// ACKs that are kept to be sent again.
const MAX_ACKS: usize = 16;

/// An answered call.
pub(super) struct Established {
    leg: Leg,
    dialog: Dialog,
    /// The stream connection it was made on, if it was one.
    flow: Option<SipConnection>,
    /// Our INVITE, while other branches may answer it too.
    invite: Option<Outgoing>,
    /// The ACKs of our INVITEs, by To tag and number, for copies of their 2xx (RFC 3261 §13.2.2.4). `None`: the answer it
    /// must carry is not known yet.
    acks: HashMap<(String, u32), Option<Outgoing>>,
    /// The last ACK, while it is being sent: a BYE must not overtake it.
    ack: Option<JoinHandle<()>>,
    /// A re-INVITE or UPDATE of ours that runs.
    ours: Option<Ours>,
    descriptions: Descriptions,
    peer: PeerSupport,
    /// We sent the first INVITE.
    began: bool,
    /// Requests of the peer that wait for the translator.
    served: Vec<Server>,
    /// A 2xx of ours to an INVITE, without its ACK.
    unacknowledged: Option<u64>,
    /// The call shall end as soon as that ACK has come (RFC 3261 §15).
    ending: Option<Vec<Reason>>,
    /// Our BYE.
    bye: Option<u64>,
    over: bool,
    /// Copies of a 2xx may come until then (RFC 6026 §8.4: Timer M).
    linger: Instant,
    session: Option<Session>,
    transfers: Transfers,
}

impl Established {
    /// A call of ours was answered. Delayed: the translator has to give the answer that the ACK carries.
    pub(super) fn answered(
        mut leg: Leg,
        dialog: Dialog,
        invite: Outgoing,
        (connection, response): (SipConnection, &WireResponse),
        early: Early,
        delayed: bool,
    ) -> Self {
        leg.half_open = None;
        let linger = Instant::now() + 64 * leg.endpoint.config.timers.t1;
        let number = wire::cseq(&invite.request.headers).map_or(1, |(number, _)| number);
        let timer = leg.endpoint.config.session.agreed(&response.headers, None);
        let mut call = Self::new(leg, dialog, Some(connection), early, linger);
        call.session = timer.map(|timer| Session::refreshed(timer, Instant::now()));
        call.peer = wire::peer_support(&response.headers);
        call.began = true;
        call.invite = Some(invite);
        if delayed {
            call.acks.insert((call.dialog.remote_tag.clone(), number), None);
        } else {
            call.acknowledge(&call.dialog.clone(), number, None, None);
        }
        call
    }

    /// We answered a call; its ACK is to come.
    pub(super) fn accepted(mut leg: Leg, dialog: Dialog, server: &Server, early: Early, timer: Option<Timer>) -> Self {
        leg.half_open = None;
        let mut call = Self::new(leg, dialog, server.connection.clone(), early, Instant::now());
        call.unacknowledged = Some(server.number);
        call.session = timer.map(|timer| Session::refreshed(timer, Instant::now()));
        call.peer = wire::peer_support(&server.request.headers);
        call
    }

    fn new(leg: Leg, dialog: Dialog, flow: Option<SipConnection>, early: Early, linger: Instant) -> Self {
        leg.listing.note(Stage::Answered { remote: dialog.remote_tag.clone() });
        let Early { theirs, ours, descriptions } = early;
        let served = theirs.into_iter().collect();
        let ours = ours.map(|(number, outgoing)| Ours::early_update(number, outgoing));
        Self {
            leg,
            dialog,
            flow,
            invite: None,
            acks: HashMap::new(),
            ack: None,
            ours,
            descriptions,
            peer: PeerSupport::default(),
            began: false,
            served,
            unacknowledged: None,
            ending: None,
            bye: None,
            over: false,
            linger,
            session: None,
            transfers: Transfers::default(),
        }
    }

    /// Runs the call to its end.
    pub(super) async fn run(mut self) {
        loop {
            let finished = self.over && self.bye.is_none() && self.transfers.is_idle();
            if finished && Instant::now() >= self.linger {
                return;
            }
            match self.leg.next(self.deadline(finished)).await {
                Some(input) => self.on_input(input).await,
                None => self.on_deadline().await,
            }
        }
    }

    fn deadline(&self, finished: bool) -> Option<Instant> {
        let linger = finished.then_some(self.linger);
        let session = self.session.as_ref().filter(|_| !self.over).and_then(Session::deadline);
        [linger, session, self.transfers.deadline()].into_iter().flatten().min()
    }

    async fn on_deadline(&mut self) {
        self.expire_transfers().await;
        let Some(session) = self.session.filter(|_| !self.over) else { return };
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= Instant::now());
        if is_due(session.expires_at) {
            count(&self.leg.endpoint.counters.session_expired);
            self.end("session not refreshed", 408).await;
        } else if is_due(session.refresh_at) {
            self.refresh();
        }
    }

    async fn on_input(&mut self, input: Input) {
        match input {
            Input::Command(command) => self.on_command(command).await,
            Input::Response { number, response } => self.on_response(number, &response).await,
            Input::Answered { response, connection } => self.on_answer(&response, &connection).await,
            Input::Request(transaction) => {
                let server = self.leg.serve(*transaction);
                self.on_request(server).await;
            }
            Input::Acked { number, request } => self.on_ack(number, &request).await,
            Input::Unacknowledged { number } if self.unacknowledged == Some(number) => {
                self.unacknowledged = None;
                match self.ending.take() {
                    Some(reason) => self.send_bye(&reason),
                    None => self.end("no ACK", 408).await,
                }
            }
            Input::Stop => {
                self.hang_up(Vec::new());
                self.transfers.clear();
                if self.ending.is_none() {
                    self.linger = Instant::now();
                }
            }
            // A re-INVITE is answered at once, so that its CANCEL comes too late.
            Input::Cancelled { .. } | Input::Unacknowledged { .. } => {}
        }
    }

    pub(super) async fn tell(&self, news: FromAgent) {
        self.leg.tell(news).await;
    }

    const fn id(&self) -> DialogId {
        self.leg.id
    }

    async fn on_command(&mut self, command: ToAgent) {
        match command {
            ToAgent::Bye { reason, .. } | ToAgent::Cancel { reason, .. } => self.hang_up(reason),
            ToAgent::Reinvite { sdp, .. } => self.reinvite(sdp).await,
            ToAgent::Update { sdp, .. } => self.update(sdp).await,
            ToAgent::Ack { sdp, .. } => self.on_delayed_answer(sdp),
            ToAgent::Info { content_type, body, .. } => self.inform(&content_type, body),
            ToAgent::Refer { refer_to, replaces, referred_by, .. } => self.refer(refer_to, replaces, referred_by).await,
            ToAgent::Notify { subscription, status, phrase, terminated, .. } => {
                self.on_progress(subscription, status, phrase, terminated);
            }
            ToAgent::RespondInDialog { request, response, .. } => self.on_translated(request, &response),
            ToAgent::Invite(_) | ToAgent::Respond { .. } => tracing::debug!("the call is answered already"),
        }
    }

    /// Sends an INFO (RFC 6086 §9).
    fn inform(&mut self, content_type: &str, body: String) {
        let user_agent = self.leg.endpoint.config.user_agent.clone();
        let made = if self.over { None } else { self.dialog.request(Method::Info, &user_agent) };
        let Some((mut request, next_hop)) = made else { return };
        request.headers.push(header("Content-Type", content_type));
        request.body = body.into_bytes();
        self.leg.authorise(&mut request);
        let destination = destination(next_hop, self.flow.as_ref());
        self.leg.send(Outgoing { request, destination, contact: None });
    }

    /// Ends the call from our side.
    pub(super) fn hang_up(&mut self, reason: Vec<Reason>) {
        if self.over {
            return;
        }
        self.is_over();
        self.on_delayed_answer(String::new());
        for mut server in std::mem::take(&mut self.served) {
            self.leg.refuse(&mut server, 487);
        }
        if let Some(ours) = self.ours.take() {
            ours.finish();
        }
        if self.unacknowledged.is_some() {
            self.ending = Some(reason);
            // Until then the task must not think that all is done.
            self.linger = self.linger.max(Instant::now() + 65 * self.leg.endpoint.config.timers.t1);
        } else {
            self.send_bye(&reason);
        }
    }

    fn is_over(&mut self) {
        self.over = true;
        self.leg.listing.note(Stage::Over { remote: self.dialog.remote_tag.clone() });
    }

    fn send_bye(&mut self, reason: &[Reason]) {
        let user_agent = self.leg.endpoint.config.user_agent.clone();
        let Some((mut request, next_hop)) = self.dialog.request(Method::Bye, &user_agent) else {
            return;
        };
        request.headers.extend(wire::reason_headers(reason));
        self.leg.authorise(&mut request);
        let destination = destination(next_hop, self.flow.as_ref());
        let bye = Outgoing { request, destination, contact: None };
        self.bye = Some(self.leg.send_after(bye, self.ack.take()));
    }

    /// Ends the call because the peer does not keep to the rules.
    async fn end(&mut self, text: &str, cause: u16) {
        if self.over {
            return;
        }
        let reason = vec![Reason { protocol: "SIP".to_owned(), cause, text: Some(text.to_owned()) }];
        self.hang_up(reason.clone());
        self.tell(FromAgent::Ended { dialog: self.id(), reason }).await;
    }

    fn is_offer_pending(&self) -> bool {
        self.served.iter().any(|server| matches!(server.request.method, Method::Invite | Method::Update))
    }

    /// A response to our BYE, INFO or re-INVITE, or to a BYE for a branch that lost.
    async fn on_response(&mut self, number: u64, response: &WireResponse) {
        if self.ours.as_ref().is_some_and(|ours| ours.is_invite(number)) {
            if response.status_code.code() >= 200 {
                self.on_reinvite_failed(response).await;
            }
            return;
        }
        let Some(outgoing) = self.leg.sent.remove(&number) else {
            return;
        };
        let method = outgoing.request.method;
        // A BYE for a branch that lost has a dialog of its own.
        let own = wire::tag(&outgoing.request.headers, "To").as_ref() == Some(&self.dialog.remote_tag);
        let mut other = wire::cseq(&outgoing.request.headers).map_or(0, |(number, _)| number);
        let sequence = if own { &mut self.dialog.local_seq } else { &mut other };
        let again = self.leg.again(outgoing, response, sequence).map(|again| self.leg.send(again));
        if self.bye == Some(number) {
            self.bye = again;
        }
        match method {
            Method::Refer => self.on_referred(number, again, response).await,
            Method::Notify => self.on_notified(number, again, response),
            Method::Update => self.on_updated(number, again, response).await,
            Method::Ack
            | Method::Bye
            | Method::Cancel
            | Method::Info
            | Method::Invite
            | Method::Message
            | Method::Options
            | Method::PRack
            | Method::Publish
            | Method::Register
            | Method::Subscribe => {}
        }
    }

    /// A 2xx to an INVITE of ours, or a copy of one.
    async fn on_answer(&mut self, response: &WireResponse, connection: &SipConnection) {
        let key = wire::tag(&response.headers, "To").zip(wire::cseq(&response.headers).map(|(number, _)| number));
        let Some(key) = key else {
            count(&self.leg.endpoint.counters.responses_dropped);
            return;
        };
        match self.acks.get(&key) {
            Some(Some(ack)) => {
                acknowledge(&self.leg.endpoint, ack.clone());
                return;
            }
            Some(None) => return,
            None => {}
        }
        if key.0 != self.dialog.remote_tag {
            self.on_fork(response, connection, key.1);
            return;
        }
        let Some(ours) = self.ours.take_if(|ours| ours.is_answered_by(key.1)) else {
            count(&self.leg.endpoint.counters.responses_dropped);
            return;
        };
        self.dialog.refresh(&response.headers);
        self.acknowledge(&self.dialog.clone(), key.1, Some(ours.outgoing()), None);
        self.on_changed(ours, response).await;
    }

    /// Another branch answered too: it is acknowledged and ended (RFC 3261 §13.2.2.4).
    fn on_fork(&mut self, response: &WireResponse, connection: &SipConnection, number: u32) {
        let invite = self.invite.as_ref().filter(|_| Instant::now() < self.linger);
        let dialog = invite.and_then(|invite| Dialog::of_response(&invite.request, response));
        let Some(mut dialog) = dialog else {
            count(&self.leg.endpoint.counters.responses_dropped);
            return;
        };
        self.acknowledge(&dialog, number, None, None);
        let user_agent = self.leg.endpoint.config.user_agent.clone();
        if let Some((mut request, next_hop)) = dialog.request(Method::Bye, &user_agent) {
            self.leg.authorise(&mut request);
            let destination = destination(next_hop, Some(connection));
            self.leg.send_after(Outgoing { request, destination, contact: None }, self.ack.take());
        }
    }

    /// Sends the ACK of a 2xx to an INVITE, the first one unless another is named, and keeps it for copies.
    fn acknowledge(&mut self, dialog: &Dialog, number: u32, invite: Option<&Outgoing>, sdp: Option<String>) {
        let user_agent = &self.leg.endpoint.config.user_agent;
        let Some((mut request, next_hop)) = dialog.ack(number, user_agent) else {
            return;
        };
        if let Some(sdp) = sdp {
            request.headers.push(header("Content-Type", SDP));
            request.body = sdp.into_bytes();
        }
        // It cannot be challenged, and repeats the answers that the INVITE gave (RFC 3261 §22.1).
        let answers = invite.or(self.invite.as_ref());
        let answers = answers.into_iter().flat_map(|outgoing| outgoing.request.headers.iter());
        let is_answer = |own: &&Header| matches!(own, Header::Authorization(_) | Header::ProxyAuthorization(_));
        request.headers.extend(answers.filter(is_answer).cloned().collect());
        let ack = Outgoing { request, destination: destination(next_hop, self.flow.as_ref()), contact: None };
        self.ack = Some(acknowledge(&self.leg.endpoint, ack.clone()));
        if self.acks.len() >= MAX_ACKS {
            self.acks.retain(|(tag, sequence), _| *tag != self.dialog.remote_tag || sequence + 2 > number);
        }
        if self.acks.len() < MAX_ACKS {
            self.acks.insert((dialog.remote_tag.clone(), number), Some(ack));
        }
    }

    /// The translator answers the offer that a 2xx carried.
    fn on_delayed_answer(&mut self, sdp: String) {
        let waiting = self.acks.iter().find(|(_, ack)| ack.is_none()).map(|((_, number), _)| *number);
        if let Some(number) = waiting {
            let sdp = Some(sdp).filter(|sdp| !sdp.is_empty());
            self.descriptions.local.clone_from(&sdp);
            self.acknowledge(&self.dialog.clone(), number, None, sdp);
        }
    }

    async fn on_ack(&mut self, number: u64, request: &Request) {
        if self.unacknowledged != Some(number) {
            return;
        }
        self.unacknowledged = None;
        if let Some(reason) = self.ending.take() {
            self.linger = Instant::now();
            self.send_bye(&reason);
            return;
        }
        let sdp = wire::sdp(&request.headers, &request.body).unwrap_or_default();
        if sdp.is_some() {
            self.descriptions.remote.clone_from(&sdp);
        }
        self.tell(FromAgent::Acknowledged { dialog: self.id(), sdp }).await;
    }

    /// A request of the peer.
    async fn on_request(&mut self, mut server: Server) {
        let headers = &server.request.headers;
        let known = wire::tag(headers, "From").as_ref() == Some(&self.dialog.remote_tag);
        if !known || (self.over && !matches!(server.request.method, Method::Bye | Method::Notify)) {
            self.leg.refuse(&mut server, 481);
            return;
        }
        if !self.dialog.take_number(headers) {
            self.leg.refuse(&mut server, 500);
            return;
        }
        if let Some(unsupported) = wire::unsupported(headers) {
            self.leg.reply(&mut server, &Response::new(420), vec![unsupported]);
            return;
        }
        match server.request.method {
            Method::Bye => self.on_bye(&mut server).await,
            Method::Invite => self.on_reinvite(server).await,
            Method::Update => self.on_update(server).await,
            Method::Info => self.on_info(server).await,
            Method::Options => self.leg.reply(&mut server, &Response::new(200), wire::capabilities()),
            Method::Refer => self.on_refer(server).await,
            Method::Notify => self.on_notify(&mut server).await,
            Method::PRack | Method::Ack | Method::Cancel => self.leg.refuse(&mut server, 481),
            Method::Subscribe | Method::Publish => self.leg.refuse(&mut server, 489),
            Method::Message | Method::Register => {
                self.leg.reply(&mut server, &Response::new(405), wire::capabilities());
            }
        }
    }

    async fn on_bye(&mut self, server: &mut Server) {
        self.leg.refuse(server, 200);
        if self.over {
            return;
        }
        self.is_over();
        self.unacknowledged = None;
        for mut waiting in std::mem::take(&mut self.served) {
            self.leg.refuse(&mut waiting, 487);
        }
        if let Some(ours) = self.ours.take() {
            ours.finish();
        }
        let reason = wire::reasons(&server.request.headers);
        self.tell(FromAgent::Ended { dialog: self.id(), reason }).await;
    }

    /// A re-INVITE (RFC 3261 §14.2).
    async fn on_reinvite(&mut self, mut server: Server) {
        let ours = self.ours.as_ref();
        if server.request.body.is_empty() && ours.is_some_and(Ours::is_update) {
            // It would have to offer what our offer may change (RFC 3311 §5.2).
            let busy = Response { retry_after: Some(retry_after()), ..Response::new(500) };
            self.leg.reply(&mut server, &busy, Vec::new());
            return;
        }
        let crosses = ours.is_some_and(Ours::is_exchange);
        if crosses || self.unacknowledged.is_some() || self.acks.values().any(Option::is_none) {
            self.leg.refuse(&mut server, 491);
            return;
        }
        self.leg.refuse(&mut server, 100);
        self.hand_over(server).await;
    }

    /// An UPDATE (RFC 3311 §5.2). One without an offer only refreshes the session, and is answered here.
    async fn on_update(&mut self, mut server: Server) {
        if wire::sdp(&server.request.headers, &server.request.body) == Ok(None) {
            match self.too_short(&server.request) {
                Some((response, headers)) => self.leg.reply(&mut server, &response, headers),
                None => self.agree(&mut server, &Response::new(200)),
            }
            return;
        }
        if self.ours.as_ref().is_some_and(Ours::is_exchange) || self.acks.values().any(Option::is_none) {
            self.leg.refuse(&mut server, 491);
            return;
        }
        self.hand_over(server).await;
    }

    /// Why a request that would change the call cannot.
    fn objection(&self, request: &Request) -> Option<(Response, Vec<Header>)> {
        if self.is_offer_pending() {
            return Some((Response { retry_after: Some(retry_after()), ..Response::new(500) }, Vec::new()));
        }
        if let Some(refusal) = self.too_short(request) {
            return Some(refusal);
        }
        let problem = wire::sdp(&request.headers, &request.body).err()?;
        Some((Response::new(415), vec![problem.accept()]))
    }

    /// The refusal of a session timer that is too short for us (RFC 4028 §9).
    fn too_short(&self, request: &Request) -> Option<(Response, Vec<Header>)> {
        let session = &self.leg.endpoint.config.session;
        if !session.refuses(&request.headers) {
            return None;
        }
        count(&self.leg.endpoint.counters.session_too_short);
        Some((Response::new(422), vec![session.min_se()]))
    }

    /// Lets the translator decide about a change.
    async fn hand_over(&mut self, mut server: Server) {
        if let Some((response, headers)) = self.objection(&server.request) {
            self.leg.reply(&mut server, &response, headers);
            return;
        }
        let request = InDialogId(server.number);
        let sdp = wire::sdp(&server.request.headers, &server.request.body).unwrap_or_default();
        self.served.push(server);
        self.tell(FromAgent::Reinvited { dialog: self.id(), request, sdp }).await;
    }

    async fn on_info(&mut self, mut server: Server) {
        let headers = &server.request.headers;
        if server.request.body.is_empty() {
            self.leg.refuse(&mut server, 200);
        } else if wire::value(headers, "Info-Package").is_some() {
            // RFC 6086 §4.2.2: we take no packages, only INFO as it was before them.
            self.leg.reply(&mut server, &Response::new(469), vec![header("Recv-Info", "")]);
        } else if self.served.len() >= MAX_SERVED {
            self.leg.reply(&mut server, &Response { retry_after: Some(1), ..Response::new(500) }, Vec::new());
        } else {
            let content_type = wire::media_type(wire::value(headers, "Content-Type").unwrap_or_default());
            let (request, body) = (InDialogId(server.number), server.request.body.clone());
            self.served.push(server);
            self.tell(FromAgent::Info { dialog: self.id(), request, content_type, body }).await;
        }
    }

    /// The translator answers a request of the peer.
    fn on_translated(&mut self, request: InDialogId, response: &Response) {
        let Some(index) = self.served.iter().position(|server| InDialogId(server.number) == request) else {
            tracing::debug!("that request is answered already");
            return;
        };
        if response.status < 200 {
            // Nobody waits for the progress of a change.
            return;
        }
        let mut server = self.served.swap_remove(index);
        if response.status >= 300 || server.request.method == Method::Info {
            self.leg.reply(&mut server, response, Vec::new());
            return;
        }
        if server.request.method == Method::Refer {
            self.accept_refer(&mut server, response);
            return;
        }
        if server.request.method == Method::Invite {
            self.unacknowledged = Some(server.number);
        }
        self.agree(&mut server, response);
    }

    /// Answers a re-INVITE or UPDATE by 2xx: the target and the session are refreshed.
    fn agree(&mut self, server: &mut Server, response: &Response) {
        let headers = server.request.headers.clone();
        self.dialog.refresh(&headers);
        self.learn(&headers);
        if let Ok(Some(offer)) = wire::sdp(&headers, &server.request.body) {
            self.descriptions.remote = Some(offer);
        }
        if response.sdp.is_some() {
            self.descriptions.local.clone_from(&response.sdp);
        }
        let mut more = vec![header("Allow", ALLOW), header("Supported", SUPPORTED)];
        more.extend(self.leg.contact(server, &self.dialog.local_tag));
        let session = self.leg.endpoint.config.session.accept(&headers);
        self.session = session.as_ref().map(|(_, timer)| Session::refreshed(*timer, Instant::now()));
        more.extend(session.into_iter().flat_map(|(headers, _)| headers));
        self.leg.reply(server, response, more);
    }

    /// Learns what the peer can do, where it says so.
    fn learn(&mut self, headers: &Headers) {
        if wire::value(headers, "Allow").is_some() {
            self.peer = wire::peer_support(headers);
        }
    }
}

/// Up to ten seconds (RFC 3261 §14.2).
fn retry_after() -> u32 {
    let mut octet = [0];
    getrandom::fill(&mut octet).expect("the system has random numbers");
    u32::from(octet[0] % 11)
}
