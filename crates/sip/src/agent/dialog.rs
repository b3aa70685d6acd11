//! Dialogs (RFC 3261 §12): who is who, the route set, the numbers of requests.

use rsipstack::sip::{Headers, Method, Request, Response as WireResponse, Version};

use super::wire::{self, header};
use crate::address::parse_name_addr;

/// One dialog as our side sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Dialog {
    pub(super) call_id: String,
    /// The From of our requests, with tag.
    local: String,
    /// The To of our requests, with tag.
    remote: String,
    pub(super) local_tag: String,
    pub(super) remote_tag: String,
    /// The number of our last request.
    pub(super) local_seq: u32,
    /// The number of the peer's last request.
    pub(super) remote_seq: Option<u32>,
    /// Where requests go: the peer's Contact.
    pub(super) target: String,
    /// The way there: URIs, nearest first.
    routes: Vec<String>,
}

impl Dialog {
    /// The dialog that a response to our INVITE makes (RFC 3261 §12.1.2). `None`: it lacks a tag or a Contact.
    pub(super) fn of_response(invite: &Request, response: &WireResponse) -> Option<Self> {
        let mut routes = routes(&response.headers);
        routes.reverse();
        Some(Self {
            call_id: wire::call_id(&response.headers)?.to_owned(),
            local: wire::value(&invite.headers, "From")?.to_owned(),
            remote: wire::value(&response.headers, "To")?.to_owned(),
            local_tag: wire::tag(&invite.headers, "From")?,
            remote_tag: wire::tag(&response.headers, "To")?,
            local_seq: wire::cseq(&invite.headers)?.0,
            remote_seq: None,
            target: wire::uri(&response.headers, "Contact")?,
            routes,
        })
    }

    /// The dialog that an INVITE makes which arrived (RFC 3261 §12.1.1). `None`: it lacks a Contact.
    pub(super) fn of_request(invite: &Request, local_tag: &str) -> Option<Self> {
        Some(Self {
            call_id: wire::call_id(&invite.headers)?.to_owned(),
            local: format!("{};tag={local_tag}", wire::value(&invite.headers, "To")?),
            remote: wire::value(&invite.headers, "From")?.to_owned(),
            local_tag: local_tag.to_owned(),
            remote_tag: wire::tag(&invite.headers, "From")?,
            local_seq: 0,
            remote_seq: wire::cseq(&invite.headers).map(|(number, _)| number),
            target: wire::uri(&invite.headers, "Contact")?,
            routes: routes(&invite.headers),
        })
    }

    /// The next request in the dialog, and its next hop. `None`: the peer's Contact is no URI.
    pub(super) fn request(&mut self, method: Method, user_agent: &str) -> Option<(Request, String)> {
        self.local_seq += 1;
        self.numbered(method, self.local_seq, user_agent)
    }

    /// The ACK of a 2xx to the INVITE of a number (RFC 3261 §13.2.2.4).
    pub(super) fn ack(&self, invite: u32, user_agent: &str) -> Option<(Request, String)> {
        self.numbered(Method::Ack, invite, user_agent)
    }

    fn numbered(&self, method: Method, number: u32, user_agent: &str) -> Option<(Request, String)> {
        let (target, routes) = self.way();
        let uri = wire::request_uri(&target)?;
        let mut headers = vec![
            header("Max-Forwards", "70"),
            header("From", &*self.local),
            header("To", &*self.remote),
            header("Call-ID", &*self.call_id),
            header("CSeq", format!("{number} {method}")),
            header("User-Agent", user_agent),
        ];
        if method != Method::Ack {
            // RFC 4028 §7.1.
            headers.push(header("Supported", "replaces, timer"));
        }
        headers.extend(routes.iter().map(|route| header("Route", format!("<{route}>"))));
        let next_hop = routes.first().filter(|_| self.is_loose()).unwrap_or(&target).clone();
        let request = Request { method, uri, version: Version::V2, headers: headers.into(), body: Vec::new() };
        Some((request, next_hop))
    }

    /// Request-URI and Route: the first router is loose, or takes the place of the target (RFC 3261 §12.2.1.1).
    fn way(&self) -> (String, Vec<String>) {
        match self.routes.split_first() {
            Some((first, rest)) if !self.is_loose() => {
                (first.clone(), rest.iter().chain([&self.target]).cloned().collect())
            }
            Some(_) | None => (self.target.clone(), self.routes.clone()),
        }
    }

    fn is_loose(&self) -> bool {
        self.routes.first().is_some_and(|first| {
            first.split(';').skip(1).any(|parameter| parameter.split('=').next().unwrap_or_default().trim() == "lr")
        })
    }

    /// Takes the peer's Contact from a request or response that refreshes the target.
    pub(super) fn refresh(&mut self, headers: &Headers) {
        if let Some(target) = wire::uri(headers, "Contact") {
            self.target = target;
        }
    }

    /// Takes the number of the peer's request. False: it is lower than one that came before.
    pub(super) fn take_number(&mut self, headers: &Headers) -> bool {
        let Some((number, _)) = wire::cseq(headers) else {
            return false;
        };
        let in_order = self.remote_seq.is_none_or(|last| number > last);
        if in_order {
            self.remote_seq = Some(number);
        }
        in_order
    }
}

fn routes(headers: &Headers) -> Vec<String> {
    let members = wire::list(headers, "Record-Route");
    members.iter().filter_map(|member| parse_name_addr(member)).map(|(_, uri, _)| uri.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite(routes: &[&str]) -> Request {
        let mut headers = vec![
            header("From", "<sip:a@example.com>;tag=a1"),
            header("To", "<sip:b@example.org>"),
            header("Call-ID", "c1"),
            header("CSeq", "7 INVITE"),
            header("Contact", "<sip:a@192.0.2.1:5070>"),
        ];
        headers.extend(routes.iter().map(|route| header("Record-Route", *route)));
        let uri = wire::request_uri("sip:b@example.org").expect("a URI");
        Request { method: Method::Invite, uri, version: Version::V2, headers: headers.into(), body: Vec::new() }
    }

    fn way(dialog: &mut Dialog) -> (String, Vec<String>, String) {
        let (request, next_hop) = dialog.request(Method::Bye, "test").expect("a request");
        let routes = wire::values(&request.headers, "Route").map(str::to_owned).collect();
        (request.uri.to_string(), routes, next_hop)
    }

    #[test]
    fn a_request_goes_to_the_contact_when_nobody_recorded_a_route() {
        let mut dialog = Dialog::of_request(&invite(&[]), "b1").expect("a dialog");
        let (uri, routes, next_hop) = way(&mut dialog);
        assert_eq!(
            (uri.as_str(), routes.len(), next_hop.as_str()),
            ("sip:a@192.0.2.1:5070", 0, "sip:a@192.0.2.1:5070")
        );
        assert_eq!(dialog.local_seq, 1);
    }

    #[test]
    fn loose_routers_stand_in_route() {
        let routes = ["<sip:p1.example.com;lr>, <sip:p2.example.com;lr=on>"];
        let mut dialog = Dialog::of_request(&invite(&routes), "b1").expect("a dialog");
        let (uri, routes, next_hop) = way(&mut dialog);
        assert_eq!(uri, "sip:a@192.0.2.1:5070");
        assert_eq!(routes, ["<sip:p1.example.com;lr>", "<sip:p2.example.com;lr=on>"]);
        assert_eq!(next_hop, "sip:p1.example.com;lr");
    }

    #[test]
    fn a_strict_router_takes_the_place_of_the_target() {
        let routes = ["<sip:p1.example.com>", "<sip:p2.example.com;lr>"];
        let mut dialog = Dialog::of_request(&invite(&routes), "b1").expect("a dialog");
        let (uri, routes, next_hop) = way(&mut dialog);
        assert_eq!((uri.as_str(), next_hop.as_str()), ("sip:p1.example.com", "sip:p1.example.com"));
        assert_eq!(routes, ["<sip:p2.example.com;lr>", "<sip:a@192.0.2.1:5070>"]);
    }

    #[test]
    fn a_request_out_of_order_is_noticed() {
        let mut dialog = Dialog::of_request(&invite(&[]), "b1").expect("a dialog");
        let numbered = |number: u32| -> Headers { vec![header("CSeq", format!("{number} INFO"))].into() };
        assert!(dialog.take_number(&numbered(9)));
        assert!(!dialog.take_number(&numbered(8)));
        assert!(!dialog.take_number(&numbered(9)));
    }
}
