//! The place of the call engine: it knows no calls yet.

use std::collections::VecDeque;
use std::time::Instant;

use control::{Action, Dictionary, Reply, Request};
use model::FromRelay;

use crate::config::RelayConfig;

/// What a reply belongs to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Ticket(pub(crate) u64);

pub(crate) struct Engine {
    replies: VecDeque<(Ticket, Dictionary<'static>)>,
}

impl Engine {
    pub(crate) fn new(config: &RelayConfig) -> Self {
        let crate::config::Ng { aliases, endpoint_learning, delete_delay, .. } = &config.ng;
        tracing::debug!(config.max_calls, ?aliases, ?endpoint_learning, ?delete_delay, "settings of calls");
        Self { replies: VecDeque::new() }
    }

    pub(crate) fn handle_request(&mut self, ticket: Ticket, request: Request, _now: Instant) {
        let reply = match request.action {
            Action::Ping => Dictionary::new().with("result", "pong"),
            Action::List(_) => Dictionary::new().with("result", "ok").with("calls", Vec::<&str>::new()),
            Action::Offer { .. }
            | Action::Answer { .. }
            | Action::Delete(_)
            | Action::Query(_)
            | Action::Statistics
            | Action::Block(_)
            | Action::Unblock(_)
            | Action::PlayDtmf(_)
            | Action::Unsupported(_) => Reply::error("unsupported"),
        };
        self.replies.push_back((ticket, reply));
    }

    pub(crate) fn handle_relay(&mut self, _news: FromRelay, _now: Instant) {}

    pub(crate) fn handle_timeout(&mut self, _now: Instant) {}

    pub(crate) fn poll_command(&mut self) -> Option<model::Request> {
        None
    }

    pub(crate) fn poll_reply(&mut self) -> Option<(Ticket, Dictionary<'static>)> {
        self.replies.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    pub(crate) fn is_empty(&self) -> bool {
        true
    }
}
