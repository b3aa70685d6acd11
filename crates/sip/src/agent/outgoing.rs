//! A call of ours until it is answered (RFC 3261 §13.2).
//!
//! ```text
//! we                     peer
//!  | INVITE               |
//!  |--------------------->|
//!  |     100, 180, 183    |   each To tag is an early dialog of its own
//!  |<---------------------|
//!  | PRACK                |   if it came reliably (RFC 3262)
//!  |--------------------->|
//!  |               200    |
//!  |<---------------------|
//!  | ACK                  |   then: established
//!  |--------------------->|
//! ```

use std::collections::{BTreeMap, HashMap};

use rsipstack::sip::{Method, Request, Response as WireResponse, Version};
use rsipstack::transport::SipConnection;

use super::call::{Input, Leg, destination, failure};
use super::dialog::Dialog;
use super::early::{self, Descriptions, Early};
use super::endpoint::{Destination, Stage, count};
use super::established::Established;
use super::transaction::{InviteClient, Outgoing, Server};
use super::wire::{self, ALLOW, SDP, SUPPORTED, header};
use crate::address::{SipUri, write_name_addr};
use crate::message::{Failure, FromAgent, OutgoingInvite, Response, ToAgent};

/// Branches of a fork that are followed; a 2xx is taken from any.
const MAX_BRANCHES: usize = 8;
/// Reliable responses kept until those before them come.
const MAX_WAITING: usize = 4;

/// Runs a call from its INVITE to its end.
pub(super) async fn run(leg: Leg, invite: OutgoingInvite, call_id: String, local_tag: String, to: Destination) {
    if let Some(established) = Calling::start(leg, invite, call_id, local_tag, to).await {
        established.run().await;
    }
}

struct Calling {
    leg: Leg,
    outgoing: Outgoing,
    sequence: u32,
    client: InviteClient,
    branches: HashMap<String, Branch>,
    /// The branch that gave the last answer before the call was answered.
    settled: Option<String>,
    cancelled: bool,
}

/// An early dialog.
struct Branch {
    dialog: Dialog,
    /// Number of the last reliable response (RFC 3262 §4).
    last: Option<u32>,
    waiting: BTreeMap<u32, WireResponse>,
    /// A reliable response carried the answer.
    answered: bool,
    /// It takes UPDATE.
    update: bool,
    early: Early,
}

impl Calling {
    async fn start(
        mut leg: Leg,
        invite: OutgoingInvite,
        call_id: String,
        local_tag: String,
        to: Destination,
    ) -> Option<Established> {
        let user_agent = leg.endpoint.config.user_agent.clone();
        let Some(mut request) = request(&invite, &call_id, &local_tag, &user_agent) else {
            let failure = Failure::local(404, "Not a SIP URI");
            leg.tell(FromAgent::Failed { dialog: leg.id, failure }).await;
            return None;
        };
        request.headers.extend(leg.endpoint.config.session.request());
        let outgoing = Outgoing { request, destination: to, contact: Some(local_tag) };
        let number = leg.number();
        let client = InviteClient::start(&leg.endpoint, outgoing.clone(), number, leg.events.clone());
        Self { leg, outgoing, sequence: 1, client, branches: HashMap::new(), settled: None, cancelled: false }
            .run()
            .await
    }

    async fn run(mut self) -> Option<Established> {
        loop {
            match self.leg.next(None).await? {
                Input::Response { number, response } if number == self.client.number => {
                    let status = response.status_code.code();
                    if status < 200 {
                        self.on_provisional(&response).await;
                    } else if !self.retry(&response) {
                        let mut failure = failure(&response);
                        if self.cancelled {
                            failure.status = 487;
                        }
                        self.leg.tell(FromAgent::Failed { dialog: self.leg.id, failure }).await;
                        return None;
                    }
                }
                Input::Response { number, response } => self.on_other_response(number, &response).await,
                Input::Answered { response, connection } => match self.dialog_of(&response) {
                    Some(dialog) => return Some(self.establish(dialog, &response, connection).await),
                    None => count(&self.leg.endpoint.counters.responses_dropped),
                },
                Input::Command(ToAgent::Cancel { reason, .. } | ToAgent::Bye { reason, .. }) => {
                    self.cancelled = true;
                    self.client.cancel(reason);
                }
                Input::Command(ToAgent::Update { sdp, .. }) => self.update(sdp).await,
                Input::Command(ToAgent::RespondInDialog { request, response, .. }) => {
                    for branch in self.branches.values_mut() {
                        branch.early.answer(&self.leg, &mut branch.dialog, request, &response);
                    }
                }
                Input::Command(_) => tracing::debug!("the call is not answered yet"),
                Input::Stop => {
                    self.cancelled = true;
                    self.client.cancel(Vec::new());
                }
                Input::Request(transaction) => {
                    let server = self.leg.serve(*transaction);
                    self.on_request(server).await;
                }
                Input::Acked { .. } | Input::Cancelled { .. } | Input::Unacknowledged { .. } => {}
            }
        }
    }

    /// Sends the INVITE again with the answer to a challenge.
    fn retry(&mut self, response: &WireResponse) -> bool {
        let again = self.leg.again(self.outgoing.clone(), response, &mut self.sequence);
        let Some(again) = again.filter(|_| !self.cancelled) else {
            return false;
        };
        self.outgoing = again;
        let number = self.leg.number();
        self.client = InviteClient::start(&self.leg.endpoint, self.outgoing.clone(), number, self.leg.events.clone());
        self.branches.clear();
        self.settled = None;
        true
    }

    async fn on_provisional(&mut self, response: &WireResponse) {
        let (headers, status) = (&response.headers, response.status_code.code());
        let tag = wire::tag(headers, "To").filter(|_| status > 100);
        let Some(tag) = tag else {
            return;
        };
        let reliable = wire::tokens(headers, "Require").iter().any(|option| option == "100rel");
        let number = wire::number(headers, "RSeq").filter(|_| reliable);
        if !self.branches.contains_key(&tag) {
            // Without a Contact there is no dialog to send a PRACK in, but the ringing is worth telling.
            match Dialog::of_response(&self.outgoing.request, response) {
                Some(dialog) if self.branches.len() < MAX_BRANCHES => {
                    let branch = Branch {
                        dialog,
                        last: None,
                        waiting: BTreeMap::new(),
                        answered: false,
                        update: false,
                        early: Early::default(),
                    };
                    self.branches.insert(tag.clone(), branch);
                    let remotes = self.branches.keys().cloned().collect();
                    self.leg.listing.note(Stage::Calling { remotes });
                }
                Some(_) => {
                    count(&self.leg.endpoint.counters.responses_dropped);
                    return;
                }
                None => {}
            }
        }
        match (number, self.branches.get_mut(&tag)) {
            (Some(number), Some(branch)) => {
                if branch.last.is_some_and(|last| number <= last) {
                    return;
                }
                if branch.waiting.len() < MAX_WAITING || branch.waiting.contains_key(&number) {
                    branch.waiting.insert(number, response.clone());
                } else {
                    count(&self.leg.endpoint.counters.responses_dropped);
                }
                self.acknowledge_in_order(&tag).await;
            }
            (Some(_), None) => count(&self.leg.endpoint.counters.responses_dropped),
            (None, _) => self.tell_provisional(response, &tag, false).await,
        }
    }

    /// Sends a PRACK for each reliable response whose turn it is (RFC 3262 §4).
    async fn acknowledge_in_order(&mut self, tag: &str) {
        loop {
            let Some(branch) = self.branches.get_mut(tag) else {
                return;
            };
            let next = branch.waiting.keys().next().copied();
            let Some(number) = next.filter(|number| branch.last.is_none_or(|last| *number == last.wrapping_add(1)))
            else {
                return;
            };
            let Some(response) = branch.waiting.remove(&number) else {
                return;
            };
            branch.last = Some(number);
            branch.update |= wire::peer_support(&response.headers).update;
            if let Ok(Some(answer)) = wire::sdp(&response.headers, &response.body)
                && !branch.answered
            {
                branch.answered = true;
                branch.early.descriptions.remote = Some(answer);
                branch.early.descriptions.local =
                    Some(String::from_utf8_lossy(&self.outgoing.request.body).into_owned());
                self.settled = Some(tag.to_owned());
            }
            let user_agent = &self.leg.endpoint.config.user_agent;
            if let Some((mut request, next_hop)) = branch.dialog.request(Method::PRack, user_agent) {
                request.headers.push(header("RAck", format!("{number} {} INVITE", self.sequence)));
                self.leg.authorise(&mut request);
                self.leg.send(Outgoing { request, destination: destination(next_hop, None), contact: None });
            }
            self.tell_provisional(&response, tag, true).await;
        }
    }

    async fn tell_provisional(&self, response: &WireResponse, tag: &str, reliable: bool) {
        if self.cancelled {
            return;
        }
        let news = FromAgent::Provisional {
            dialog: self.leg.id,
            status: response.status_code.code(),
            to_tag: tag.to_owned(),
            reliable,
            sdp: wire::sdp(&response.headers, &response.body).unwrap_or_default(),
        };
        self.leg.tell(news).await;
    }

    /// A response to a PRACK or an UPDATE.
    async fn on_other_response(&mut self, number: u64, response: &WireResponse) {
        let Some(outgoing) = self.leg.sent.remove(&number) else {
            return;
        };
        let tag = wire::tag(&outgoing.request.headers, "To").unwrap_or_default();
        let Some(Branch { dialog, early, .. }) = self.branches.get_mut(&tag) else {
            return;
        };
        if outgoing.request.method == Method::Update {
            early.on_response(&mut self.leg, dialog, number, response).await;
        } else if let Some(again) = self.leg.again(outgoing, response, &mut dialog.local_seq) {
            self.leg.send(again);
        }
    }

    /// We change the call before it is answered, in the branch that gave its answer.
    async fn update(&mut self, sdp: String) {
        let branch = self.settled.as_ref().and_then(|tag| self.branches.get_mut(tag));
        match branch.filter(|_| !self.cancelled) {
            Some(Branch { update: false, .. }) => early::refuse(&self.leg, 405, "Method Not Allowed").await,
            Some(Branch { dialog, early, .. }) => early.update(&mut self.leg, dialog, None, sdp).await,
            None => early::refuse(&self.leg, 491, "Request Pending").await,
        }
    }

    /// A request in an early dialog. Unless a branch has given its answer already, nothing can be changed: our offer is
    /// on its way.
    async fn on_request(&mut self, mut served: Server) {
        let server = &mut served;
        let headers = &server.request.headers;
        let tag = wire::tag(headers, "From").unwrap_or_default();
        let Some(branch) = self.branches.get_mut(&tag) else {
            self.leg.refuse(server, 481);
            return;
        };
        if !branch.dialog.take_number(headers) {
            self.leg.refuse(server, 500);
            return;
        }
        let sdp = wire::sdp(headers, &server.request.body);
        match server.request.method {
            Method::Options => self.leg.reply(server, &Response::new(200), wire::capabilities()),
            Method::Update if sdp == Ok(None) => {
                branch.dialog.refresh(headers);
                let contact = self.leg.contact(server, &branch.dialog.local_tag);
                self.leg.reply(server, &Response::new(200), contact.into_iter().collect());
            }
            Method::Update if branch.answered => branch.early.take(&self.leg, served).await,
            Method::Update | Method::Invite => self.leg.refuse(server, 491),
            Method::Info if server.request.body.is_empty() => self.leg.refuse(server, 200),
            Method::Info => {
                let busy = Response { retry_after: Some(1), ..Response::new(500) };
                self.leg.reply(server, &busy, Vec::new());
            }
            Method::Bye | Method::PRack | Method::Notify | Method::Ack | Method::Cancel => {
                self.leg.refuse(server, 481);
            }
            Method::Refer => {
                count(&self.leg.endpoint.counters.transfers_refused);
                self.leg.refuse(server, 403);
            }
            Method::Message | Method::Publish | Method::Register | Method::Subscribe => {
                self.leg.reply(server, &Response::new(405), wire::capabilities());
            }
        }
    }

    /// The dialog of a 2xx, if that answers the last INVITE and makes one.
    fn dialog_of(&self, response: &WireResponse) -> Option<Dialog> {
        wire::cseq(&response.headers).filter(|(number, _)| *number == self.sequence)?;
        Dialog::of_response(&self.outgoing.request, response)
    }

    /// The call is answered.
    async fn establish(
        mut self,
        mut dialog: Dialog,
        response: &WireResponse,
        connection: SipConnection,
    ) -> Established {
        self.client.finish();
        let branch = self.branches.remove(&dialog.remote_tag);
        let answered_early = branch.as_ref().is_some_and(|branch| branch.answered);
        let mut early = Early::default();
        if let Some(branch) = branch {
            dialog.local_seq = dialog.local_seq.max(branch.dialog.local_seq);
            dialog.remote_seq = branch.dialog.remote_seq;
            early = branch.early;
        }
        let sdp = wire::sdp(&response.headers, &response.body).unwrap_or_default().filter(|_| !answered_early);
        let to_tag = dialog.remote_tag.clone();
        let (id, peer) = (self.leg.id, wire::peer_support(&response.headers));
        let delayed = self.outgoing.request.body.is_empty();
        if !answered_early {
            let offer = String::from_utf8_lossy(&self.outgoing.request.body).into_owned();
            early.descriptions = Descriptions { local: Some(offer).filter(|_| !delayed), remote: sdp.clone() };
        }
        let delayed = delayed && !self.cancelled;
        let answer = (connection, response);
        let mut established = Established::answered(self.leg, dialog, self.outgoing, answer, early, delayed);
        if self.cancelled {
            established.hang_up(Vec::new());
            let failure = Failure { status: 487, phrase: "Request Terminated".to_owned(), ..failure(response) };
            established.tell(FromAgent::Failed { dialog: id, failure }).await;
        } else {
            established.tell(FromAgent::Answered { dialog: id, to_tag, sdp, peer }).await;
        }
        established
    }
}

/// Makes the INVITE, without what depends on the way it takes. `None`: one of the addresses is no SIP URI.
fn request(invite: &OutgoingInvite, call_id: &str, local_tag: &str, user_agent: &str) -> Option<Request> {
    SipUri::parse(&invite.from).ok()?;
    let uri = wire::request_uri(&invite.to)?;
    let from = write_name_addr(invite.from_display.as_deref(), &invite.from);
    let mut headers = vec![
        header("Max-Forwards", invite.max_forwards.to_string()),
        header("From", format!("{from};tag={local_tag}")),
        header("To", format!("<{}>", invite.to)),
        header("Call-ID", call_id),
        header("CSeq", "1 INVITE"),
        header("Allow", ALLOW),
        header("Accept", SDP),
        header("User-Agent", user_agent),
    ];
    if let Some(identity) = &invite.asserted_identity {
        headers.push(header("P-Asserted-Identity", format!("<{identity}>")));
    }
    if invite.private {
        headers.push(header("Privacy", "id"));
    }
    if let Some(replaces) = &invite.replaces {
        // A callee that does not know it would let the call ring beside the one it is for (RFC 3891 §4).
        headers.push(header("Require", "replaces"));
        headers.push(header("Replaces", replaces.to_string()));
    }
    if let Some(referrer) = &invite.referred_by {
        headers.push(header("Referred-By", &**referrer));
    }
    let body = invite.sdp.clone().unwrap_or_default().into_bytes();
    if body.is_empty() {
        headers.push(header("Supported", "replaces, timer"));
    } else {
        // Without an offer of ours, a reliable response would have to carry one, and its PRACK the answer.
        headers.push(header("Supported", SUPPORTED));
        headers.push(header("Content-Type", SDP));
    }
    Some(Request { method: Method::Invite, uri, version: Version::V2, headers: headers.into(), body })
}
