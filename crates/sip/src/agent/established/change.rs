//! What we change in an answered call, and what we repeat to keep it: re-INVITE (RFC 3261 §14.1), UPDATE (RFC 3311), and
//! the refreshing of the session (RFC 4028 §10).
//!
//! ```text
//! we                     peer
//!  | UPDATE               |   a refresh, where the peer takes UPDATE
//!  |--------------------->|
//!  |          200         |
//!  |<---------------------|
//!  | INVITE               |   a change; or a refresh, with our last description as it was
//!  |--------------------->|
//!  |          200         |
//!  |<---------------------|
//!  | ACK                  |
//!  |--------------------->|
//! ```

use std::time::Duration;

use rsipstack::sip::{Method, Response as WireResponse};
use tokio::time::Instant;

use super::Established;
use crate::agent::call::{destination, failure};
use crate::agent::endpoint::count;
use crate::agent::session::{Refresher, Session};
use crate::agent::transaction::{InviteClient, Outgoing};
use crate::agent::wire::{self, ALLOW, SDP, header};
use crate::message::{Failure, FromAgent};

/// When a refresh is tried again that something else was in the way of.
const BUSY: Duration = Duration::from_secs(1);
/// When one is tried again that failed for no good reason.
const AGAIN: Duration = Duration::from_secs(10);

/// A change or a refresh of ours that waits for its response; one at a time.
pub(super) struct Ours {
    way: Way,
    outgoing: Outgoing,
    purpose: Purpose,
}

enum Way {
    Invite(InviteClient),
    /// Its transaction.
    Update(u64),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Purpose {
    Change,
    Refresh,
}

impl Ours {
    /// An UPDATE with an offer, sent before the call was answered.
    pub(super) const fn early_update(number: u64, outgoing: Outgoing) -> Self {
        Self { way: Way::Update(number), outgoing, purpose: Purpose::Change }
    }

    pub(super) fn is_invite(&self, number: u64) -> bool {
        matches!(&self.way, Way::Invite(client) if client.number == number)
    }

    /// Says whether it is a re-INVITE of a number in the dialog.
    pub(super) fn is_answered_by(&self, sequence: u32) -> bool {
        let own = wire::cseq(&self.outgoing.request.headers).map(|(number, _)| number);
        matches!(self.way, Way::Invite(_)) && own == Some(sequence)
    }

    /// Says whether the peer has something to answer that would cross an offer of its own.
    pub(super) fn is_exchange(&self) -> bool {
        matches!(self.way, Way::Invite(_)) || !self.outgoing.request.body.is_empty()
    }

    /// Says whether it is an offer that came by UPDATE.
    pub(super) fn is_update(&self) -> bool {
        matches!(self.way, Way::Update(_)) && !self.outgoing.request.body.is_empty()
    }

    pub(super) const fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    /// Gives it up.
    pub(super) fn finish(self) {
        if let Way::Invite(client) = self.way {
            client.finish();
        }
    }
}

impl Established {
    /// Changes the call. Refused where an exchange is under way (RFC 3261 §14.1).
    pub(super) async fn reinvite(&mut self, sdp: String) {
        self.change(Method::Invite, sdp).await;
    }

    /// Changes the call by UPDATE (RFC 3311 §5.1).
    pub(super) async fn update(&mut self, sdp: String) {
        self.change(Method::Update, sdp).await;
    }

    async fn change(&mut self, method: Method, sdp: String) {
        let refusal = if self.is_busy() {
            Some(Failure::local(491, "Request Pending"))
        } else if method == Method::Update && !self.peer.update {
            Some(Failure::local(405, "Method Not Allowed"))
        } else if self.start(method, Some(sdp), Purpose::Change) {
            None
        } else {
            Some(Failure::local(503, "No way to the peer"))
        };
        if let Some(failure) = refusal {
            self.tell(FromAgent::ReinviteFailed { dialog: self.id(), failure }).await;
        }
    }

    fn is_busy(&self) -> bool {
        self.over
            || self.ours.is_some()
            || self.unacknowledged.is_some()
            || self.is_offer_pending()
            || self.acks.values().any(Option::is_none)
    }

    /// Sends a re-INVITE or UPDATE. False: the peer's Contact is no URI.
    fn start(&mut self, method: Method, sdp: Option<String>, purpose: Purpose) -> bool {
        let user_agent = self.leg.endpoint.config.user_agent.clone();
        let Some((mut request, next_hop)) = self.dialog.request(method, &user_agent) else {
            return false;
        };
        request.headers.push(header("Allow", ALLOW));
        if let Some(session) = &self.session {
            request.headers.push(session.timer.as_header());
            request.headers.push(self.leg.endpoint.config.session.min_se());
        }
        if let Some(sdp) = sdp {
            request.headers.extend(vec![header("Accept", SDP), header("Content-Type", SDP)]);
            request.body = sdp.into_bytes();
        }
        self.leg.authorise(&mut request);
        let contact = Some(self.dialog.local_tag.clone());
        let outgoing = Outgoing { request, destination: destination(next_hop, self.flow.as_ref()), contact };
        self.send_ours(outgoing, purpose);
        true
    }

    fn send_ours(&mut self, outgoing: Outgoing, purpose: Purpose) {
        let way = if outgoing.request.method == Method::Invite {
            let (number, events) = (self.leg.number(), self.leg.events.clone());
            Way::Invite(InviteClient::start(&self.leg.endpoint, outgoing.clone(), number, events))
        } else {
            Way::Update(self.leg.send(outgoing.clone()))
        };
        self.ours = Some(Ours { way, outgoing, purpose });
    }

    /// Refreshes the session: by UPDATE, which needs no description, or by our last one once more (RFC 4028 §7.4).
    pub(super) fn refresh(&mut self) {
        let started = match &self.descriptions.local {
            _ if self.peer.update && self.ours.is_none() => self.start(Method::Update, None, Purpose::Refresh),
            Some(sdp) if !self.peer.update && !self.is_busy() => {
                let sdp = sdp.clone();
                self.start(Method::Invite, Some(sdp), Purpose::Refresh)
            }
            Some(_) | None => false,
        };
        if let Some(session) = &mut self.session {
            session.refresh_at = (!started).then(|| Instant::now() + BUSY);
        }
    }

    /// Our UPDATE was answered; or sent again with what its refusal asked for.
    pub(super) async fn on_updated(&mut self, number: u64, again: Option<u64>, response: &WireResponse) {
        let is_it = |ours: &mut Ours| matches!(ours.way, Way::Update(own) if own == number);
        let Some(ours) = self.ours.take_if(is_it) else { return };
        if let Some(again) = again {
            self.ours = Some(Ours { way: Way::Update(again), ..ours });
        } else if (200..300).contains(&response.status_code.code()) {
            self.on_changed(ours, response).await;
        } else {
            self.on_change_failed(ours, response).await;
        }
    }

    /// Our re-INVITE was refused.
    pub(super) async fn on_reinvite_failed(&mut self, response: &WireResponse) {
        let Some(ours) = self.ours.take() else { return };
        match self.leg.again(ours.outgoing.clone(), response, &mut self.dialog.local_seq) {
            Some(again) => self.send_ours(again, ours.purpose),
            None => self.on_change_failed(ours, response).await,
        }
    }

    /// A 2xx came to our re-INVITE, which has been acknowledged, or to our UPDATE.
    pub(super) async fn on_changed(&mut self, ours: Ours, response: &WireResponse) {
        self.dialog.refresh(&response.headers);
        self.learn(&response.headers);
        let before = self.session.map(|session| session.timer);
        let timer = self.leg.endpoint.config.session.agreed(&response.headers, before);
        self.session = timer.map(|timer| Session::refreshed(timer, Instant::now()));
        let sdp = wire::sdp(&response.headers, &response.body).unwrap_or_default();
        let offer = String::from_utf8_lossy(&ours.outgoing.request.body);
        if !offer.is_empty() {
            self.descriptions.local = Some(offer.into_owned());
        }
        let is_news = match (ours.purpose, &sdp, &self.descriptions.remote) {
            (Purpose::Change, ..) => true,
            (Purpose::Refresh, Some(new), Some(old)) => !is_same(new, old),
            (Purpose::Refresh, Some(_), None) => true,
            (Purpose::Refresh, None, _) => false,
        };
        if sdp.is_some() {
            self.descriptions.remote.clone_from(&sdp);
        }
        if is_news {
            self.tell(FromAgent::ReinviteAnswered { dialog: self.id(), sdp }).await;
        }
    }

    async fn on_change_failed(&mut self, ours: Ours, response: &WireResponse) {
        let failure = failure(response);
        let status = failure.status;
        // RFC 3261 §12.2.1.2, §14.1, RFC 4028 §10.
        let dead = matches!(status, 408 | 481);
        if ours.purpose == Purpose::Change {
            self.tell(FromAgent::ReinviteFailed { dialog: self.id(), failure }).await;
            if dead {
                self.end("dialog lost", 481).await;
            }
            return;
        }
        if dead {
            count(&self.leg.endpoint.counters.session_expired);
            self.end("session not refreshed", status).await;
            return;
        }
        let by_update = matches!(ours.way, Way::Update(_));
        if by_update && matches!(status, 405 | 501) {
            // It says so, but does not take it.
            self.peer.update = false;
        }
        let wait = match status {
            405 | 501 if by_update => Duration::ZERO,
            491 => self.until_next_try(),
            _ => AGAIN,
        };
        if let Some(session) = &mut self.session {
            let alone = session.timer.refresher == Refresher::UsAlone;
            // Who knows no timers, and answers, is there.
            let wait =
                if alone && wait == AGAIN { Duration::from_secs(session.timer.interval.into()) / 2 } else { wait };
            session.refresh_at = Some(Instant::now() + wait);
        }
    }

    /// How long to wait after a 491 (RFC 3261 §14.1): who has not begun the call goes first.
    fn until_next_try(&self) -> Duration {
        let mut octet = [0];
        getrandom::fill(&mut octet).expect("the system has random numbers");
        let (least, range) = if self.began { (2_100, 1_900) } else { (0, 2_000) };
        Duration::from_millis(least + range * u64::from(octet[0]) / 2_550 * 10)
    }
}

/// Says whether two descriptions differ in nothing but their version.
fn is_same(one: &str, other: &str) -> bool {
    let lines = |sdp: &'_ str| -> Vec<String> {
        sdp.lines().filter(|line| !line.starts_with("o=")).map(|line| line.trim_end().to_owned()).collect()
    };
    lines(one) == lines(other)
}
