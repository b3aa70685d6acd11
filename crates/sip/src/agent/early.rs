//! Changes of a call before it is answered, by UPDATE (RFC 3311 §5): possible once a reliable provisional response has
//! carried the answer to the first offer.

use rsipstack::sip::{Method, Response as WireResponse};
use rsipstack::transport::SipConnection;

use super::call::{Leg, destination, failure};
use super::dialog::Dialog;
use super::transaction::{Outgoing, Server};
use super::wire::{self, ALLOW, SDP, SUPPORTED, header};
use crate::message::{Failure, FromAgent, InDialogId, Response};

/// What was changed in an early dialog, and what is under way there; handed on when the call is answered.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// The UPDATE of the peer that waits for the translator.
    pub(super) theirs: Option<Server>,
    /// Our own, with its transaction.
    pub(super) ours: Option<(u64, Outgoing)>,
    pub(super) descriptions: Descriptions,
}

/// What both sides described last, as it was sent.
#[derive(Debug, Default)]
pub(super) struct Descriptions {
    pub(super) local: Option<String>,
    pub(super) remote: Option<String>,
}

impl Early {
    /// Takes an UPDATE of the peer with an offer, for the translator to answer, or refuses it.
    pub(super) async fn take(&mut self, leg: &Leg, mut server: Server) {
        let sdp = wire::sdp(&server.request.headers, &server.request.body);
        let refusal = match &sdp {
            _ if self.ours.is_some() => Some((Response::new(491), Vec::new())),
            _ if self.theirs.is_some() => Some((Response { retry_after: Some(5), ..Response::new(500) }, Vec::new())),
            Err(problem) => Some((Response::new(415), vec![problem.accept()])),
            Ok(_) => None,
        };
        if let Some((response, headers)) = refusal {
            leg.reply(&mut server, &response, headers);
            return;
        }
        let request = InDialogId(server.number);
        self.theirs = Some(server);
        leg.tell(FromAgent::Reinvited { dialog: leg.id, request, sdp: sdp.unwrap_or_default() }).await;
    }

    /// The translator answers it.
    pub(super) fn answer(&mut self, leg: &Leg, dialog: &mut Dialog, request: InDialogId, response: &Response) {
        let is_it = |server: &mut Server| InDialogId(server.number) == request && response.status >= 200;
        let Some(mut server) = self.theirs.take_if(is_it) else { return };
        if response.status >= 300 {
            leg.reply(&mut server, response, Vec::new());
            return;
        }
        let headers = &server.request.headers;
        dialog.refresh(headers);
        self.descriptions.remote = wire::sdp(headers, &server.request.body).unwrap_or_default();
        self.descriptions.local.clone_from(&response.sdp);
        let mut more = vec![header("Allow", ALLOW), header("Supported", SUPPORTED)];
        more.extend(leg.contact(&server, &dialog.local_tag));
        leg.reply(&mut server, response, more);
    }

    /// Sends an UPDATE with an offer, if nothing else is under way.
    pub(super) async fn update(
        &mut self,
        leg: &mut Leg,
        dialog: &mut Dialog,
        flow: Option<&SipConnection>,
        sdp: String,
    ) {
        let user_agent = leg.endpoint.config.user_agent.clone();
        let busy = self.ours.is_some() || self.theirs.is_some();
        let made = if busy { None } else { dialog.request(Method::Update, &user_agent) };
        let Some((mut request, next_hop)) = made else {
            return refuse(leg, 491, "Request Pending").await;
        };
        request.headers.extend(vec![header("Allow", ALLOW), header("Accept", SDP), header("Content-Type", SDP)]);
        request.body = sdp.into_bytes();
        leg.authorise(&mut request);
        let contact = Some(dialog.local_tag.clone());
        let outgoing = Outgoing { request, destination: destination(next_hop, flow), contact };
        self.ours = Some((leg.send(outgoing.clone()), outgoing));
    }

    /// A response came, perhaps to our UPDATE.
    pub(super) async fn on_response(
        &mut self,
        leg: &mut Leg,
        dialog: &mut Dialog,
        number: u64,
        response: &WireResponse,
    ) {
        let Some((_, outgoing)) = self.ours.take_if(|(own, _)| *own == number) else { return };
        leg.sent.remove(&number);
        if let Some(again) = leg.again(outgoing.clone(), response, &mut dialog.local_seq) {
            self.ours = Some((leg.send(again.clone()), again));
            return;
        }
        if !(200..300).contains(&response.status_code.code()) {
            leg.tell(FromAgent::ReinviteFailed { dialog: leg.id, failure: failure(response) }).await;
            return;
        }
        dialog.refresh(&response.headers);
        let sdp = wire::sdp(&response.headers, &response.body).unwrap_or_default();
        self.descriptions.local = Some(String::from_utf8_lossy(&outgoing.request.body).into_owned());
        self.descriptions.remote.clone_from(&sdp);
        leg.tell(FromAgent::ReinviteAnswered { dialog: leg.id, sdp }).await;
    }
}

/// Tells the translator that its UPDATE was not even sent.
pub(super) async fn refuse(leg: &Leg, status: u16, phrase: &str) {
    leg.tell(FromAgent::ReinviteFailed { dialog: leg.id, failure: Failure::local(status, phrase) }).await;
}
