//! Transfers within an answered call: a REFER of either side, and the NOTIFYs that tell how it fares (RFC 3515).
//!
//! ```text
//! peer                   we                          we                      peer
//!  | REFER                |                           | REFER                 |
//!  |--------------------->|                           |---------------------->|
//!  |          202         |   the translator's        |          202          |
//!  |<---------------------|                           |<----------------------|
//!  | NOTIFY 100           |   the agent's             | NOTIFY 100, 180, …    |
//!  |<---------------------|                           |<----------------------|
//!  | NOTIFY 180, 200, …   |   the translator's        | NOTIFY 200, the last  |
//!  |<---------------------|                           |<----------------------|
//! ```
//!
//! The subscription that a REFER makes outlives the call: a BYE ends the call alone (RFC 5057 §2).

use std::time::Duration;

use rsipstack::sip::{Header, Method, Response as WireResponse, StatusCode};
use tokio::time::Instant;

use super::{Established, MAX_SERVED};
use crate::address::{AddressError, SipUri};
use crate::agent::call::destination;
use crate::agent::endpoint::count;
use crate::agent::transaction::{Outgoing, Server};
use crate::agent::wire::{self, header};
use crate::message::{DialogId, FromAgent, InDialogId, Response};
use crate::transfer::{ReferTo, read_sipfrag};

/// Transfers of a call that may be under way at once, each way.
const MAX_TRANSFERS: usize = 4;
/// How long one may take: longer than anybody lets a phone ring.
const LONGEST: Duration = Duration::from_secs(300);
/// What NOTIFYs carry (RFC 3420).
const SIPFRAG: &str = "message/sipfrag;version=2.0";

/// What a call knows of its transfers.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    /// REFERs of the peer that we accepted.
    subscriptions: Vec<Subscription>,
    /// Our own.
    referrals: Vec<Referral>,
}

/// The peer is told how the call fares that it asked for.
#[derive(Debug)]
struct Subscription {
    request: InDialogId,
    /// The number of the REFER, which tells it from others (RFC 3515 §2.4.6).
    refer: u32,
    /// The NOTIFY that waits for its response; two at once could overtake each other.
    sent: Option<u64>,
    next: Option<Progress>,
    over: bool,
    expires: Instant,
}

/// What a NOTIFY tells.
#[derive(Debug)]
struct Progress {
    status: u16,
    phrase: Option<String>,
    /// Why nothing follows, if nothing does.
    last: Option<&'static str>,
}

/// A REFER of ours.
#[derive(Debug)]
struct Referral {
    /// Its transaction.
    number: u64,
    /// Its number in the dialog.
    refer: u32,
    /// The last response of the new call that the peer told.
    status: u16,
    /// The translator knows how it ended.
    over: bool,
    expires: Instant,
}

impl Transfers {
    /// Says whether the peer waits for nothing more.
    pub(super) const fn is_idle(&self) -> bool {
        self.subscriptions.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let subscriptions = self.subscriptions.iter().map(|subscription| subscription.expires);
        subscriptions.chain(self.referrals.iter().map(|referral| referral.expires)).min()
    }

    /// Forgets all: the agent stops.
    pub(super) fn clear(&mut self) {
        self.subscriptions.clear();
        self.referrals.clear();
    }
}

impl Established {
    /// The peer asks us to call somebody else.
    pub(super) async fn on_refer(&mut self, mut server: Server) {
        let headers = &server.request.headers;
        let targets: Vec<&str> = wire::values(headers, "Refer-To").collect();
        let refer_to = match targets.as_slice() {
            [one] => ReferTo::parse(one).map_err(|error| if error == AddressError::Scheme { 603 } else { 400 }),
            // RFC 3515 §2.4.2.
            [] | [_, _, ..] => Err(400),
        };
        let refer_to = refer_to.and_then(|target| if is_invite(&target.uri) { Ok(target) } else { Err(603) });
        let busy = self.served.len() >= MAX_SERVED || self.transfers.subscriptions.len() >= MAX_TRANSFERS;
        let response = match &refer_to {
            Err(status) => Some(Response::new(*status)),
            Ok(_) if busy => Some(Response { retry_after: Some(5), ..Response::new(500) }),
            Ok(_) => None,
        };
        if let Some(response) = response {
            count(&self.leg.endpoint.counters.transfers_refused);
            self.leg.reply(&mut server, &response, Vec::new());
            return;
        }
        let Ok(refer_to) = refer_to else { return };
        let directory = &self.leg.endpoint.directory;
        let replaced = refer_to.replaces.as_ref().and_then(|replaces| directory.replaced(replaces).ok());
        let referred_by = wire::value(headers, "Referred-By").map(str::to_owned);
        let request = InDialogId(server.number);
        self.served.push(server);
        self.tell(FromAgent::Refer { dialog: self.id(), request, refer_to, replaced, referred_by }).await;
    }

    /// Accepts a REFER, and begins to tell how it fares, unless the peer does not want to know (RFC 4488 §4).
    pub(super) fn accept_refer(&mut self, server: &mut Server, response: &Response) {
        let headers = &server.request.headers;
        let silent = wire::value(headers, "Refer-Sub").is_some_and(|value| value.eq_ignore_ascii_case("false"));
        let refer = wire::cseq(headers).map_or(0, |(number, _)| number);
        let mut more: Vec<Header> = self.leg.contact(server, &self.dialog.local_tag).into_iter().collect();
        if silent {
            more.push(header("Refer-Sub", "false"));
        }
        self.leg.reply(server, response, more);
        if silent {
            return;
        }
        let request = InDialogId(server.number);
        let expires = Instant::now() + LONGEST;
        let subscription = Subscription { request, refer, sent: None, next: None, over: false, expires };
        self.transfers.subscriptions.push(subscription);
        self.notify(request, Progress { status: 100, phrase: None, last: None });
    }

    /// The translator tells how the new call fares.
    pub(super) fn on_progress(&mut self, request: InDialogId, status: u16, phrase: Option<String>, terminated: bool) {
        self.notify(request, Progress { status, phrase, last: terminated.then_some("noresource") });
    }

    fn notify(&mut self, request: InDialogId, progress: Progress) {
        let subscriptions = &mut self.transfers.subscriptions;
        let Some(subscription) = subscriptions.iter_mut().find(|own| own.request == request && !own.over) else {
            tracing::debug!("nobody waits for the progress of that transfer");
            return;
        };
        subscription.over = progress.last.is_some();
        if subscription.sent.is_some() {
            subscription.next = Some(progress);
        } else {
            self.send_notify(request, &progress);
        }
    }

    fn send_notify(&mut self, request: InDialogId, progress: &Progress) {
        let user_agent = self.leg.endpoint.config.user_agent.clone();
        let Some(index) = self.transfers.subscriptions.iter().position(|own| own.request == request) else { return };
        let Some((mut notify, next_hop)) = self.dialog.request(Method::Notify, &user_agent) else {
            self.transfers.subscriptions.swap_remove(index);
            return;
        };
        let subscription = &mut self.transfers.subscriptions[index];
        let left = subscription.expires.saturating_duration_since(Instant::now()).as_secs();
        let state = match progress.last {
            Some(reason) => format!("terminated;reason={reason}"),
            None => format!("active;expires={left}"),
        };
        let Progress { status, phrase, .. } = progress;
        let usual = StatusCode::from(*status);
        let phrase = phrase.as_deref().unwrap_or(usual.text()).replace(['\r', '\n', '\0'], " ");
        notify.headers.extend(vec![
            header("Event", format!("refer;id={}", subscription.refer)),
            header("Subscription-State", state),
            header("Content-Type", SIPFRAG),
        ]);
        notify.body = format!("SIP/2.0 {status} {phrase}\r\n").into_bytes();
        self.leg.authorise(&mut notify);
        let contact = Some(self.dialog.local_tag.clone());
        let destination = destination(next_hop, self.flow.as_ref());
        let number = self.leg.send(Outgoing { request: notify, destination, contact });
        self.transfers.subscriptions[index].sent = Some(number);
    }

    /// A NOTIFY of ours was answered; or sent again with a password.
    pub(super) fn on_notified(&mut self, number: u64, again: Option<u64>, response: &WireResponse) {
        let subscriptions = &mut self.transfers.subscriptions;
        let Some(index) = subscriptions.iter().position(|own| own.sent == Some(number)) else { return };
        let subscription = &mut subscriptions[index];
        subscription.sent = again;
        if again.is_some() {
            return;
        }
        // Who refuses one does not want the next (RFC 6665 §4.2.2).
        let wanted = response.status_code.code() < 300;
        match subscription.next.take().filter(|_| wanted) {
            Some(progress) => {
                let request = subscription.request;
                self.send_notify(request, &progress);
            }
            None if subscription.over || !wanted => drop(subscriptions.swap_remove(index)),
            None => {}
        }
    }

    /// The translator asks the peer to call somebody else.
    pub(super) async fn refer(&mut self, uri: String, replaces: Option<DialogId>, referred_by: Option<String>) {
        let replaces = replaces.map(|id| self.leg.endpoint.directory.as_replaced(id).ok_or(481_u16)).transpose();
        let full = self.transfers.referrals.len() >= MAX_TRANSFERS;
        let made = match replaces {
            Err(status) => Err(status),
            Ok(_) if self.over => Err(481),
            Ok(_) if full => Err(500),
            Ok(replaces) if SipUri::parse(&uri).is_ok() => Ok(ReferTo { uri, replaces }),
            Ok(_) => Err(404),
        };
        let user_agent = self.leg.endpoint.config.user_agent.clone();
        let made = made.and_then(|target| {
            let (request, next_hop) = self.dialog.request(Method::Refer, &user_agent).ok_or(503_u16)?;
            Ok((target, request, next_hop))
        });
        let (target, mut request, next_hop) = match made {
            Ok(made) => made,
            Err(status) => {
                self.tell(FromAgent::ReferProgress { dialog: self.id(), status, finished: true }).await;
                return;
            }
        };
        request.headers.push(header("Refer-To", target.to_string()));
        request.headers.extend(referred_by.into_iter().map(|referrer| header("Referred-By", referrer)).collect());
        self.leg.authorise(&mut request);
        let contact = Some(self.dialog.local_tag.clone());
        let destination = destination(next_hop, self.flow.as_ref());
        let number = self.leg.send(Outgoing { request, destination, contact });
        let refer = self.dialog.local_seq;
        let expires = Instant::now() + LONGEST;
        self.transfers.referrals.push(Referral { number, refer, status: 202, over: false, expires });
    }

    /// A REFER of ours was answered; or sent again with a password.
    pub(super) async fn on_referred(&mut self, number: u64, again: Option<u64>, response: &WireResponse) {
        let referrals = &mut self.transfers.referrals;
        let Some(index) = referrals.iter().position(|own| own.number == number) else { return };
        if let Some(again) = again {
            referrals[index].number = again;
            referrals[index].refer = self.dialog.local_seq;
            return;
        }
        let status = response.status_code.code();
        let silent = wire::value(&response.headers, "Refer-Sub").is_some_and(|own| own.eq_ignore_ascii_case("false"));
        let finished = status >= 300 || silent;
        // A NOTIFY may have come first.
        let overtaken = referrals[index].over || (referrals[index].status != 202 && !finished);
        if finished {
            referrals.swap_remove(index);
        }
        if !overtaken {
            self.tell(FromAgent::ReferProgress { dialog: self.id(), status, finished }).await;
        }
        if status == 481 {
            // RFC 5057 §5.1: it does not know the dialog.
            self.end("dialog lost", 481).await;
        }
    }

    /// The peer tells how our REFER fares.
    pub(super) async fn on_notify(&mut self, server: &mut Server) {
        let headers = &server.request.headers;
        let event = wire::value(headers, "Event").unwrap_or_default();
        let id = event.split_once(';').and_then(|(_, rest)| wire::parameter(rest, "id")).map(str::parse::<u32>);
        // The first REFER of a dialog may go without its number.
        let fits = |own: &&mut Referral| id.as_ref().is_none_or(|id| *id == Ok(own.refer));
        let referral = self.transfers.referrals.iter_mut().find(fits).filter(|_| wire::is_event(headers, "refer"));
        let Some(referral) = referral else {
            self.leg.refuse(server, 481);
            return;
        };
        let state = wire::value(headers, "Subscription-State").unwrap_or_default();
        let terminated = state.split(';').next().is_some_and(|state| state.trim().eq_ignore_ascii_case("terminated"));
        let said = read_sipfrag(&server.request.body).map(|(status, _)| status);
        if said.is_none() && !terminated {
            // RFC 3515 §2.4.5: there must be one.
            self.leg.refuse(server, 400);
            return;
        }
        let status = said.unwrap_or(referral.status);
        let news = !referral.over && (status != referral.status || terminated);
        referral.status = status;
        let finished = terminated || status >= 200;
        referral.over |= finished;
        if terminated {
            let refer = referral.refer;
            self.transfers.referrals.retain(|own| own.refer != refer);
        }
        self.leg.refuse(server, 200);
        if news {
            self.tell(FromAgent::ReferProgress { dialog: self.id(), status, finished }).await;
        }
    }

    /// Ends the transfers that took too long.
    pub(super) async fn expire_transfers(&mut self) {
        let now = Instant::now();
        let Transfers { subscriptions, referrals } = &mut self.transfers;
        let lost = referrals.iter().filter(|own| own.expires <= now && !own.over).count();
        referrals.retain(|own| own.expires > now);
        let due: Vec<_> = subscriptions.iter().filter(|own| own.expires <= now).map(|own| own.request).collect();
        for request in due {
            self.notify(request, Progress { status: 408, phrase: None, last: Some("timeout") });
            // The rest is up to its transaction: the subscription itself is over.
            self.transfers.subscriptions.retain(|own| own.request != request);
        }
        for _ in 0..lost {
            self.tell(FromAgent::ReferProgress { dialog: self.id(), status: 408, finished: true }).await;
        }
    }
}

/// Says whether a URI asks for a call, and not for another method (RFC 3261 §19.1.1).
fn is_invite(uri: &str) -> bool {
    let method = SipUri::parse(uri).ok().and_then(|uri| uri.parameter("method").map(str::to_owned));
    method.is_none_or(|method| method.eq_ignore_ascii_case("INVITE"))
}
