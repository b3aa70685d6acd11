//! The ng client without its socket: two requests set a call up, one ends it.
//!
//! A request is repeated under the same cookie until its reply comes; the relay answers a repeated one as it answered the
//! first.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use control::{Dictionary, Encoding, Frame, Reply};
use model::Description;
use sdp::Session;

use crate::trial::target::calls::Told;
use crate::trial::target::{CallNumber, TargetError};

/// How long a reply is waited for before its request is repeated; twice as long each time.
const REPEAT_AFTER: Duration = Duration::from_millis(500);
/// How often a request is sent.
const ATTEMPTS: u32 = 4;

/// All requests on their way.
///
/// After any call, drain [`Client::poll_transmit`] and [`Client::poll`], then ask [`Client::poll_timeout`].
pub(super) struct Client {
    /// Begins our cookies and call-ids, so that nobody else's are like them.
    name: String,
    next: u64,
    requests: HashMap<u64, Request>,
    due: BTreeSet<(Instant, u64)>,
    /// Both sides' SDP of the calls that are being set up.
    sessions: HashMap<CallNumber, [Session; 2]>,
    transmits: VecDeque<Vec<u8>>,
    told: VecDeque<(CallNumber, Told)>,
}

/// A request without a reply.
struct Request {
    call: CallNumber,
    command: Command,
    message: Vec<u8>,
    attempts: u32,
    due: Instant,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Command {
    Offer,
    Answer,
    Delete,
}

impl Command {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
            Self::Delete => "delete",
        }
    }
}

impl Client {
    /// Makes a client without requests. The number should be random.
    pub(super) fn new(random: u64) -> Self {
        Self {
            name: format!("{random:016x}"),
            next: 0,
            requests: HashMap::new(),
            due: BTreeSet::new(),
            sessions: HashMap::new(),
            transmits: VecDeque::new(),
            told: VecDeque::new(),
        }
    }

    /// A ping with its cookie.
    pub(super) fn ping(&self) -> (String, Vec<u8>) {
        let cookie = format!("{}_ping", self.name);
        let message = Frame::write(cookie.as_bytes(), Encoding::Bencode, &Dictionary::new().with("command", "ping"));
        (cookie, message)
    }

    /// Says whether a message answers a ping.
    pub(super) fn is_pong(cookie: &str, message: &[u8]) -> bool {
        let Ok(frame) = Frame::split(message) else { return false };
        let Ok((_, dictionary)) = frame.read() else { return false };
        frame.cookie == cookie.as_bytes() && Reply::of(&dictionary) == Ok(Reply::Pong)
    }

    /// Offers what the first end offers. The second is to get plain RTP without ICE.
    pub(super) fn offer(&mut self, call: CallNumber, offer: &Description, now: Instant) {
        let [mut first, second] = [0, 1].map(|side| Session::new((u64::from(call.0) << 8) | (side << 2)));
        let sdp = first.write_offer(offer);
        self.sessions.insert(call, [first, second]);
        let request = self
            .request(Command::Offer, call)
            .with("sdp", sdp)
            .with("transport protocol", "RTP/AVP")
            .with("ICE", "remove")
            .with("replace", vec!["origin"]);
        self.send(call, Command::Offer, &request, now);
    }

    /// Answers what the second end answers.
    pub(super) fn answer(&mut self, call: CallNumber, answer: &Description, now: Instant) {
        let Some([_, second]) = self.sessions.get_mut(&call) else { return };
        let sdp = second.write_answer(answer);
        let request = self.request(Command::Answer, call).with("to-tag", "second").with("sdp", sdp);
        let request = request.with("replace", vec!["origin"]);
        self.send(call, Command::Answer, &request, now);
    }

    /// Ends a call. What was asked of it before is asked no more.
    pub(super) fn end(&mut self, call: CallNumber, now: Instant) {
        if self.sessions.remove(&call).is_some() {
            let due = &mut self.due;
            self.requests.retain(|number, request| {
                let keep = request.call != call;
                if !keep {
                    due.remove(&(request.due, *number));
                }
                keep
            });
        }
        let request = self.request(Command::Delete, call).with("delete delay", 0).with("flags", vec!["fast"]);
        self.send(call, Command::Delete, &request, now);
    }

    fn request(&self, command: Command, call: CallNumber) -> Dictionary<'static> {
        Dictionary::new()
            .with("command", command.as_str())
            .with("call-id", format!("stox-load-{}-{}", self.name, call.0))
            .with("from-tag", "first")
    }

    fn send(&mut self, call: CallNumber, command: Command, request: &Dictionary<'_>, now: Instant) {
        let number = self.next;
        self.next += 1;
        let cookie = format!("{}_{number}", self.name);
        let message = Frame::write(cookie.as_bytes(), Encoding::Bencode, request);
        self.transmits.push_back(message.clone());
        let due = now + REPEAT_AFTER;
        self.due.insert((due, number));
        self.requests.insert(number, Request { call, command, message, attempts: 1, due });
    }

    /// Takes a message of the relay's. What is no reply to a request of ours is not looked at.
    pub(super) fn handle_message(&mut self, message: &[u8]) {
        let Some(number) = self.number_of(message) else { return };
        let Some(request) = self.requests.remove(&number) else { return };
        self.due.remove(&(request.due, number));
        let told = self.understand(&request, message).unwrap_or_else(|why| {
            Told::Refused(TargetError::Refused(format!(
                "{} of call {}: {why}",
                request.command.as_str(),
                request.call.0
            )))
        });
        self.told.push_back((request.call, told));
    }

    /// The request that a message answers.
    fn number_of(&self, message: &[u8]) -> Option<u64> {
        let cookie = std::str::from_utf8(Frame::split(message).ok()?.cookie).ok()?;
        cookie.strip_prefix(&self.name)?.strip_prefix('_')?.parse().ok()
    }

    /// What a reply says, or what is wrong with it.
    fn understand(&mut self, request: &Request, message: &[u8]) -> Result<Told, String> {
        let frame = Frame::split(message).map_err(|error| error.to_string())?;
        let (_, dictionary) = frame.read().map_err(|error| error.to_string())?;
        let reply = match Reply::of(&dictionary).map_err(|error| error.to_string())? {
            Reply::Done(reply) => reply,
            Reply::Error(why) | Reply::LoadLimit(why) => return Err(why.to_owned()),
            Reply::Pong => return Err("it is answered as a ping".to_owned()),
        };
        let sdp = || reply.text("sdp").ok_or_else(|| "the reply has no SDP".to_owned());
        let session = || "it was not asked for".to_owned();
        match request.command {
            Command::Offer => {
                let [_, second] = self.sessions.get_mut(&request.call).ok_or_else(session)?;
                let described = second.read_offer(sdp()?).map_err(|error| error.to_string())?;
                Ok(Told::Offer(described.description))
            }
            Command::Answer => {
                let [mut first, _] = self.sessions.remove(&request.call).ok_or_else(session)?;
                let described = first.read_answer(sdp()?).map_err(|error| error.to_string())?;
                Ok(Told::Answer(described.description))
            }
            Command::Delete => Ok(Told::Ended),
        }
    }

    /// Repeats what got no reply, or gives it up.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some((_, number)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.pop_first();
            let Some(request) = self.requests.get_mut(&number) else { continue };
            if request.attempts < ATTEMPTS {
                request.due = now + REPEAT_AFTER * 2_u32.pow(request.attempts);
                request.attempts += 1;
                self.due.insert((request.due, number));
                self.transmits.push_back(request.message.clone());
                continue;
            }
            let (call, command) = (request.call, request.command);
            self.requests.remove(&number);
            let what = format!("{} of call {}, sent {ATTEMPTS} times", command.as_str(), call.0);
            self.told.push_back((call, Told::Refused(TargetError::TimedOut(what))));
        }
    }

    /// When [`Self::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The next message to send.
    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    /// What the relay said next.
    pub(super) fn poll(&mut self) -> Option<(CallNumber, Told)> {
        self.told.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: CallNumber = CallNumber(7);

    #[test]
    fn a_request_is_repeated_as_it_was_and_given_up_in_the_end() {
        let mut client = Client::new(1);
        let mut now = now();
        client.end(CALL, now);
        let sent = client.poll_transmit().expect("it is sent at once");
        for _ in 1..ATTEMPTS {
            assert_eq!(client.poll_transmit(), None);
            now = client.poll_timeout().expect("it waits for a reply");
            client.handle_timeout(now);
            assert_eq!(client.poll_transmit().as_ref(), Some(&sent));
        }
        now = client.poll_timeout().expect("it waits for a reply");
        client.handle_timeout(now);
        assert!(matches!(client.poll(), Some((CALL, Told::Refused(TargetError::TimedOut(_))))));
        assert_eq!((client.poll_transmit(), client.poll_timeout()), (None, None));
    }

    #[test]
    fn a_reply_counts_once_and_only_with_our_cookie() {
        let mut client = Client::new(1);
        client.end(CALL, now());
        let request = client.poll_transmit().expect("it is sent at once");
        for stranger in [&b"x d6:result2:oke"[..], b"0000000000000001_1 d6:result2:oke", b"", b"0000000000000001_"] {
            client.handle_message(stranger);
            assert!(client.poll().is_none());
        }
        let done = reply(&request, &Dictionary::new().with("result", "ok"));
        client.handle_message(&done);
        assert!(matches!(client.poll(), Some((CALL, Told::Ended))));
        client.handle_message(&done);
        assert!(client.poll().is_none());
        assert_eq!(client.poll_timeout(), None);
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_relay() {
        let mut client = Client::new(1);
        for (refusal, words) in [
            (Reply::error("Ran out of ports"), "offer of call 7: Ran out of ports"),
            (Dictionary::new().with("result", "load limit").with("message", "full"), "offer of call 7: full"),
            (Dictionary::new().with("result", "ok"), "offer of call 7: the reply has no SDP"),
            (Dictionary::new().with("result", "ok").with("sdp", "?"), "offer of call 7: not SDP"),
        ] {
            client.offer(CALL, &Description::default(), now());
            let request = client.poll_transmit().expect("it is sent at once");
            client.handle_message(&reply(&request, &refusal));
            let Some((CALL, Told::Refused(error))) = client.poll() else { panic!("it is refused") };
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn a_call_that_is_ended_is_asked_nothing_more() {
        let mut client = Client::new(1);
        client.offer(CALL, &Description::default(), now());
        let offer = client.poll_transmit().expect("it is sent at once");
        client.end(CALL, now());
        client.handle_message(&reply(&offer, &Reply::error("late")));
        assert!(client.poll().is_none());
        let delete = client.poll_transmit().expect("it is sent at once");
        client.handle_message(&reply(&delete, &Dictionary::new().with("result", "ok")));
        assert!(matches!(client.poll(), Some((CALL, Told::Ended))));
        assert_eq!(client.poll_timeout(), None);
    }

    fn reply(request: &[u8], dictionary: &Dictionary<'_>) -> Vec<u8> {
        Frame::write(Frame::split(request).expect("it has a cookie").cookie, Encoding::Bencode, dictionary)
    }

    #[expect(clippy::disallowed_methods, reason = "a test has a clock")]
    fn now() -> Instant {
        Instant::now()
    }
}
