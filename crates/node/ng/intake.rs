//! The one way in for requests, however they come: who may ask, cookies, encodings, replies.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use control::cookies::{self, Begun, Cookies};
use control::request::command_name;
use control::{Dictionary, Encoding, Frame, ReadError, Reply};
use model::Secret;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::about::About;
use super::counters::{Counters, Odd};
use super::peers::Prefix;
use super::rate::Schedules;
use crate::gateway::now;

/// Requests that may wait for the loop.
const QUEUE: usize = 1024;

/// What came of a request whose peer asks too often.
const RATE_LIMIT: &str = "rate limit";

/// A request for the loop.
pub(crate) struct Asked {
    pub(crate) request: Dictionary<'static>,
    pub(crate) reply_to: ReplyTo,
}

/// Room for a request in the loop's queue.
pub(crate) type Room<'a> = mpsc::Permit<'a, Asked>;

/// Takes a reply to whoever asked: the whole message, or the dictionary alone where there was no cookie.
pub(crate) type Deliver = Box<dyn FnOnce(Arc<[u8]>) + Send>;

pub(crate) struct Intake {
    asked: mpsc::Sender<Asked>,
    /// By addresses alone, because who repeats a request over a new connection has another port.
    cookies: Mutex<Cookies<IpAddr, Deliver>>,
    peers: Vec<Prefix>,
    token: Option<Secret<String>>,
    connections: Arc<Semaphore>,
    /// Nobody's where everybody may ask as often as they like.
    schedules: Option<Mutex<Schedules>>,
    pub(crate) counters: Counters,
}

/// Where the reply to a request goes. Without a reply whoever asked hears nothing, and may ask again.
pub(crate) struct ReplyTo {
    intake: Arc<Intake>,
    peer: IpAddr,
    encoding: Encoding,
    command: &'static str,
    about: About,
    since: Instant,
    /// Nobody's once it was answered.
    asker: Option<Asker>,
}

enum Asker {
    Cookie(Box<[u8]>),
    Plain(Deliver),
}

impl Intake {
    /// The way in, and where requests come out.
    pub(crate) fn new(config: &crate::config::Ng) -> (Arc<Self>, mpsc::Receiver<Asked>) {
        let (asked, requests) = mpsc::channel(QUEUE);
        let intake = Self {
            asked,
            cookies: Mutex::new(Cookies::new(cookies::Limits::default(), now())),
            peers: config.peers.clone(),
            token: config.token.clone(),
            connections: Arc::new(Semaphore::new(config.max_connections)),
            schedules: config.rate.map(|rate| Mutex::new(Schedules::new(rate))),
            counters: Counters::default(),
        };
        (Arc::new(intake), requests)
    }

    /// Says who sends, if it may.
    pub(crate) fn admit(&self, from: SocketAddr) -> Option<IpAddr> {
        let peer = from.ip().to_canonical();
        if self.peers.iter().any(|prefix| prefix.contains(peer)) {
            return Some(peer);
        }
        self.odd(Odd::Peer, peer);
        None
    }

    /// Admits a connection, for as long as what is returned lives.
    pub(crate) fn connect(&self, from: SocketAddr) -> Option<(IpAddr, OwnedSemaphorePermit)> {
        let peer = self.admit(from)?;
        let permit = Arc::clone(&self.connections).try_acquire_owned().ok();
        if permit.is_none() {
            self.odd(Odd::Connection, peer);
        }
        Some((peer, permit?))
    }

    /// Says whether what a request over HTTP shows is the token, if there is one.
    pub(crate) fn is_token(&self, shown: Option<&[u8]>) -> bool {
        let Some(token) = &self.token else { return true };
        let (token, shown) = (token.reveal().as_bytes(), shown.unwrap_or_default());
        // How long it takes says nothing about where they differ.
        token.len() == shown.len() && token.iter().zip(shown).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }

    /// Counts what goes no further.
    pub(crate) fn odd(&self, odd: Odd, peer: IpAddr) {
        self.counters.odd(odd, peer, now());
    }

    /// Room for a request, if there is any now.
    pub(crate) fn room(&self) -> Option<Room<'_>> {
        self.asked.try_reserve().ok()
    }

    /// Takes a message.
    pub(crate) fn take(self: &Arc<Self>, room: Room<'_>, peer: IpAddr, message: &[u8], deliver: Deliver) {
        let Ok(frame) = Frame::split(message) else { return self.odd(Odd::NoCookie, peer) };
        let (encoding, request) = match frame.read() {
            Ok(read) => read,
            Err(error) => {
                self.odd(Odd::Unreadable, peer);
                return deliver(refusal(message, &error).into());
            }
        };
        // The lock ends with the statement: delivering is not for it to wait for.
        let begun = self.cookies().begin(peer, frame.cookie, deliver, now());
        match begun {
            Begun::First => self.ask(room, peer, encoding, request, Asker::Cookie(frame.cookie.into())),
            Begun::Waits => {}
            Begun::Done(deliver, reply) => deliver(reply),
            Begun::Full => self.odd(Odd::Busy, peer),
        }
    }

    /// Takes a dictionary without a cookie. A repeated one cannot be known as such.
    pub(crate) fn take_plain(self: &Arc<Self>, room: Room<'_>, peer: IpAddr, payload: &[u8], deliver: Deliver) {
        match (Frame { cookie: b"", payload }).read() {
            Ok((encoding, request)) => self.ask(room, peer, encoding, request, Asker::Plain(deliver)),
            Err(error) => {
                self.odd(Odd::Unreadable, peer);
                deliver(written(Encoding::of(payload), &Reply::error(&error.to_string())).into());
            }
        }
    }

    fn ask(self: &Arc<Self>, room: Room<'_>, peer: IpAddr, encoding: Encoding, request: Dictionary<'_>, asker: Asker) {
        let command = command_name(&request).unwrap_or("unknown");
        let since = now();
        let (intake, about) = (Arc::clone(self), About::of(&request));
        let reply_to = ReplyTo { intake, peer, encoding, command, about, since, asker: Some(asker) };
        if self.may_ask(peer, since) {
            room.send(Asked { request: request.into_owned(), reply_to });
        } else {
            self.counters.odd(Odd::Rate, peer, since);
            reply_to.answer(&Reply::error("Too many requests"), RATE_LIMIT);
        }
    }

    /// Says whether a peer may ask once more now.
    fn may_ask(&self, peer: IpAddr, now: Instant) -> bool {
        let Some(schedules) = &self.schedules else { return true };
        schedules.lock().unwrap_or_else(PoisonError::into_inner).admit(peer, now)
    }

    /// Takes a message of a peer that waits for its reply. Nothing is returned where there is none.
    pub(crate) async fn reply(self: &Arc<Self>, peer: IpAddr, message: &[u8]) -> Option<Arc<[u8]>> {
        let (deliver, reply) = later();
        self.take(self.asked.reserve().await.ok()?, peer, message, deliver);
        reply.await.ok()
    }

    /// The same for a dictionary without a cookie.
    pub(crate) async fn reply_plain(self: &Arc<Self>, peer: IpAddr, payload: &[u8]) -> Option<Arc<[u8]>> {
        let (deliver, reply) = later();
        self.take_plain(self.asked.reserve().await.ok()?, peer, payload, deliver);
        reply.await.ok()
    }

    /// What was counted about repeated requests.
    pub(crate) fn repeated(&self) -> cookies::Counters {
        self.cookies().counters()
    }

    fn cookies(&self) -> MutexGuard<'_, Cookies<IpAddr, Deliver>> {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReplyTo {
    /// Who asked.
    pub(crate) const fn peer(&self) -> IpAddr {
        self.peer
    }

    /// What was counted about requests.
    pub(crate) fn counters(&self) -> &Counters {
        &self.intake.counters
    }

    /// What was asked.
    pub(crate) const fn command(&self) -> &'static str {
        self.command
    }

    /// What it is about.
    pub(crate) const fn about(&self) -> &About {
        &self.about
    }

    /// Answers.
    pub(crate) fn send(self, reply: &Dictionary<'_>) {
        let result = match Reply::of(reply) {
            Ok(Reply::Done(_)) => "ok",
            Ok(Reply::Pong) => "pong",
            Ok(Reply::LoadLimit(_)) => "load limit",
            Ok(Reply::Error(_)) | Err(_) => "error",
        };
        self.answer(reply, result);
    }

    fn answer(mut self, reply: &Dictionary<'_>, result: &'static str) {
        let now = now();
        let took = now.saturating_duration_since(self.since);
        self.intake.counters.answered(self.peer, self.command, result, took);
        // Who asks too often does not fill the log as well.
        if result != RATE_LIMIT {
            self.log(result, took, reply);
        }
        match self.asker.take() {
            Some(Asker::Cookie(cookie)) => {
                let message: Arc<[u8]> = Frame::write(&cookie, self.encoding, reply).into();
                let waiting = self.intake.cookies().finish(self.peer, &cookie, Arc::clone(&message), now);
                waiting.into_iter().for_each(|deliver| deliver(Arc::clone(&message)));
            }
            Some(Asker::Plain(deliver)) => deliver(written(self.encoding, reply).into()),
            None => {}
        }
    }
}

impl ReplyTo {
    fn log(&self, result: &str, took: Duration, reply: &Dictionary<'_>) {
        let About { call_id, from_tag, to_tag } = &self.about;
        let (call_id, from_tag, to_tag) = (call_id.as_deref(), from_tag.as_deref(), to_tag.as_deref());
        let (peer, command) = (self.peer, self.command);
        if matches!(result, "ok" | "pong") {
            tracing::debug!(%peer, command, call_id, from_tag, to_tag, ?took, "answered");
        } else {
            let reason = reply.text("error-reason").or_else(|| reply.text("message"));
            tracing::info!(%peer, command, call_id, from_tag, to_tag, reason, "refused");
        }
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        if let Some(Asker::Cookie(cookie)) = self.asker.take() {
            // The lock ends before what they hold is dropped.
            let waiting = self.intake.cookies().abandon(self.peer, &cookie);
            drop(waiting);
        }
    }
}

/// What a message is answered with that cannot be read.
pub(crate) fn refusal(message: &[u8], error: &ReadError) -> Vec<u8> {
    let frame = Frame::split(message).unwrap_or(Frame { cookie: message, payload: b"" });
    Frame::write(frame.cookie, Encoding::of(frame.payload), &Reply::error(&error.to_string()))
}

fn written(encoding: Encoding, dictionary: &Dictionary<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encoding.write(dictionary, &mut bytes);
    bytes
}

/// Delivers to whoever awaits it.
fn later() -> (Deliver, oneshot::Receiver<Arc<[u8]>>) {
    let (reply, awaited) = oneshot::channel();
    // Who does not wait any more has gone.
    (Box::new(move |bytes| drop(reply.send(bytes))), awaited)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RelayConfig, RelayFlags};

    const PING: &[u8] = b"1 d7:command4:pinge";
    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn intake() -> (Arc<Intake>, mpsc::Receiver<Asked>) {
        let flags = RelayFlags { address: vec!["127.0.0.1".to_owned()], ..RelayFlags::default() };
        Intake::new(&RelayConfig::read(flags).expect("it is right").ng)
    }

    fn ask(intake: &Arc<Intake>, message: &[u8]) -> oneshot::Receiver<Arc<[u8]>> {
        let (deliver, reply) = later();
        intake.take(intake.room().expect("there is room"), PEER, message, deliver);
        reply
    }

    #[test]
    fn everybody_who_asks_while_a_request_is_worked_on_gets_its_reply() {
        let (intake, mut requests) = intake();
        let mut replies = [ask(&intake, PING), ask(&intake, PING)];
        let Asked { request, reply_to } = requests.try_recv().expect("it was asked");
        assert!(requests.try_recv().is_err(), "once");
        assert_eq!((request.text("command"), reply_to.peer(), reply_to.command()), (Some("ping"), PEER, "ping"));
        reply_to.send(&Dictionary::new().with("result", "pong"));
        for reply in &mut replies {
            assert_eq!(&*reply.try_recv().expect("it was answered"), b"1 d6:result4:ponge");
        }
        assert_eq!(intake.repeated().repeated, 1);
    }

    #[test]
    fn a_request_that_got_no_reply_may_be_asked_anew() {
        let (intake, mut requests) = intake();
        let mut reply = ask(&intake, PING);
        drop(requests.try_recv().expect("it was asked"));
        assert_eq!(reply.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        let _reply = ask(&intake, PING);
        requests.try_recv().expect("it was asked again");
    }

    #[test]
    fn who_asks_too_often_is_told_so_and_counted() {
        let flags = RelayFlags {
            address: vec!["127.0.0.1".to_owned()],
            max_requests: Some(1),
            max_burst: Some(2),
            ..RelayFlags::default()
        };
        let (intake, mut requests) = Intake::new(&RelayConfig::read(flags).expect("it is right").ng);
        let [_first, _second] = ["1", "2"].map(|cookie| ask(&intake, format!("{cookie} d7:command4:pinge").as_bytes()));
        // A request that is repeated is none.
        let again = ask(&intake, PING);
        let mut refused = ask(&intake, b"3 d7:command4:liste");
        assert_eq!(
            &*refused.try_recv().expect("it was answered"),
            b"3 d12:error-reason17:Too many requests6:result5:errore"
        );
        requests.try_recv().expect("the first was asked").reply_to.send(&Dictionary::new().with("result", "pong"));
        drop(again);
        requests.try_recv().expect("the second was asked");
        assert!(requests.try_recv().is_err(), "no more was");
        let answered = intake.counters.all_answered();
        let limited = answered.iter().find(|(kind, _)| kind.result == RATE_LIMIT).expect("it is counted");
        assert_eq!((limited.0.peer, limited.0.command, limited.1.count), (Some(PEER), "list", 1));
    }

    #[test]
    fn no_more_requests_wait_than_there_is_room_for() {
        let (intake, _requests) = intake();
        for number in 0..QUEUE {
            drop(ask(&intake, format!("{number} d7:command4:pinge").as_bytes()));
        }
        assert!(intake.room().is_none());
    }
}
