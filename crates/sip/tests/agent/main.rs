//! The user agent against itself and against odd peers, on loopback.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test expects one variant and prints any other")]

mod calls;
mod challenge;
mod failover;
mod odd;
mod peer;
mod registration;
mod robust;
mod session;
mod transfer;
mod update;
mod web;

use std::time::Duration;

use sip::agent::{Agent, Config, Listen, Timers, Transport, Trunk};
use sip::message::{DialogId, FromAgent, InDialogId, IncomingInvite, OutgoingInvite, Response, ToAgent};
use tokio::sync::mpsc;

/// A description that is as good as any: the agent does not look into it.
pub(crate) fn sdp(version: u32) -> String {
    format!(
        "v=0\r\no=- 1 {version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    )
}

/// Lets time pass that nobody has to wait for.
pub(crate) async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

/// A call of Alice to Bob through the trunk `other`.
pub(crate) fn invite(dialog: DialogId) -> OutgoingInvite {
    OutgoingInvite {
        trunk: Some("other".to_owned()),
        from_display: Some("Alice".to_owned()),
        ..OutgoingInvite::new(dialog, "sip:bob@example.org".to_owned(), "sip:alice@example.com".to_owned())
    }
}

/// A user agent with its channels.
pub(crate) struct Side {
    pub(crate) agent: Agent,
    pub(crate) to: mpsc::Sender<ToAgent>,
    pub(crate) from: mpsc::Receiver<FromAgent>,
    next: u64,
}

/// Round trips here take microseconds; the timers follow.
pub(crate) const T1: Duration = Duration::from_millis(50);

impl Side {
    pub(crate) async fn start(config: Config) -> Self {
        let (agent, to, from) = Agent::start(config).await.expect("loopback can be bound");
        Self { agent, to, from, next: 1 << 63 }
    }

    pub(crate) fn config(transport: Transport) -> Config {
        let address = "127.0.0.1:0".parse().expect("an address");
        let mut config = Config::new(vec![Listen { transport, address }]);
        config.timers = Timers { t1: T1, t2: 4 * T1, t4: 5 * T1 };
        config
    }

    /// An agent that knows the other as the trunk `other`.
    pub(crate) async fn with_trunk(transport: Transport, other: std::net::SocketAddr) -> Self {
        let mut config = Self::config(transport);
        config.trunks.push(trunk(transport, other));
        Self::start(config).await
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.agent.addresses()[0].address
    }

    pub(crate) async fn tell(&self, message: ToAgent) {
        self.to.send(message).await.expect("the agent runs");
    }

    /// Calls the trunk `other`.
    pub(crate) async fn call(&mut self, sdp: Option<String>) -> DialogId {
        let dialog = DialogId(self.next);
        self.next += 1;
        let invite = OutgoingInvite { sdp, ..invite(dialog) };
        self.tell(ToAgent::Invite(invite)).await;
        dialog
    }

    /// The next news.
    pub(crate) async fn news(&mut self) -> FromAgent {
        let news = tokio::time::timeout(Duration::from_secs(10), self.from.recv()).await;
        news.expect("news within ten seconds").expect("the agent runs")
    }

    /// Nothing is told for a while.
    pub(crate) async fn silence(&mut self, time: Duration) {
        if let Ok(news) = tokio::time::timeout(time, self.from.recv()).await {
            panic!("unexpected {news:?}");
        }
    }

    pub(crate) async fn invited(&mut self) -> IncomingInvite {
        match self.news().await {
            FromAgent::Invite(invite) => invite,
            other => panic!("expected an INVITE, got {other:?}"),
        }
    }

    pub(crate) async fn respond(&self, dialog: DialogId, response: Response) {
        self.tell(ToAgent::Respond { dialog, response }).await;
    }

    pub(crate) async fn reinvited(&mut self) -> (InDialogId, Option<String>) {
        match self.news().await {
            FromAgent::Reinvited { request, sdp, .. } => (request, sdp),
            other => panic!("expected a re-INVITE, got {other:?}"),
        }
    }

    pub(crate) async fn bye(&self, dialog: DialogId) {
        self.tell(ToAgent::Bye { dialog, reason: Vec::new() }).await;
    }

    pub(crate) async fn stop(self) {
        self.agent.stop(Duration::from_secs(5)).await;
    }
}

pub(crate) fn trunk(transport: Transport, address: std::net::SocketAddr) -> Trunk {
    let transport = match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
        Transport::Tls => "tls",
        Transport::Ws | Transport::Wss => panic!("nobody is called that way"),
    };
    // Nobody is asked whether he is there, unless a test is about that.
    Trunk { keep_alive: Duration::ZERO, ..Trunk::new("other", &format!("sip:{address};transport={transport}")) }
}

/// Two agents; the first knows the second as the trunk `other`.
pub(crate) async fn pair(transport: Transport) -> (Side, Side) {
    let callee = Side::start(Side::config(transport)).await;
    let caller = Side::with_trunk(transport, callee.address()).await;
    (caller, callee)
}

/// A call that both sides have; its number on each.
pub(crate) async fn connect(caller: &mut Side, callee: &mut Side) -> (DialogId, DialogId) {
    let out = caller.call(Some(sdp(1))).await;
    let invite = callee.invited().await;
    callee.respond(invite.dialog, Response::new(180)).await;
    callee.respond(invite.dialog, Response::with_sdp(200, sdp(2))).await;
    match caller.news().await {
        FromAgent::Provisional { status: 180, .. } => {}
        other => panic!("expected ringing, got {other:?}"),
    }
    match caller.news().await {
        FromAgent::Answered { dialog, sdp: Some(_), .. } => assert_eq!(dialog, out),
        other => panic!("expected an answer, got {other:?}"),
    }
    match callee.news().await {
        FromAgent::Acknowledged { dialog, sdp: None } => assert_eq!(dialog, invite.dialog),
        other => panic!("expected an ACK, got {other:?}"),
    }
    (out, invite.dialog)
}
