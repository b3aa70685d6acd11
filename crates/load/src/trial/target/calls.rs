//! Many calls at once, set up on one thread through any relay.
//!
//! For each call:
//!
//! ```text
//! first end                relay                second end
//!     | ------ offer ------> |                      |
//!     |                      | ------ offer ------> |
//!     |                      | <----- answer ------ |
//!     | <----- answer ------ |                      |
//!     | <= ICE, DTLS ======> | <= ICE, DTLS ======> |      where there are any
//! ```

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dtls::Certificate;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use model::Description;

use super::side::{Side, Terms};
use super::{CallNumber, Churned, Ends, ReadyCall, Target, TargetError};
use crate::negotiation::NegotiationError;
use crate::trial::plan::MediaSecurity;

/// Calls that are set up or torn down at once: enough to keep a relay busy, not so many that its queues overflow.
pub(super) const AT_ONCE: usize = 64;

/// How long a call may take from its first request until media can flow.
const SET_UP_WITHIN: Duration = Duration::from_secs(15);

/// How long a call may take to be torn down.
const TEAR_DOWN_WITHIN: Duration = Duration::from_secs(10);

/// How often the timers of ends are looked at.
const TICK: Duration = Duration::from_millis(10);

const CONTROL: Token = Token(0);

/// How a relay is told what it has to do. It never waits.
pub(super) trait Control: Send {
    /// Begins a call with the offer of its first end. [`Told::Offer`] follows.
    fn offer(&mut self, call: CallNumber, offer: &Description, now: Instant);

    /// Goes on with the answer of its second end. [`Told::Answer`] follows.
    fn answer(&mut self, call: CallNumber, answer: &Description, now: Instant);

    /// Ends a call, or what there is of it. [`Told::Ended`] follows.
    fn end(&mut self, call: CallNumber, now: Instant);

    /// What can be read when the relay has said something.
    fn source(&self) -> RawFd;

    /// Reads what the relay has said.
    ///
    /// # Errors
    ///
    /// It is gone.
    fn receive(&mut self) -> Result<(), TargetError>;

    /// Does what is due.
    fn handle_timeout(&mut self, now: Instant);

    /// When [`Self::handle_timeout`] is due.
    fn poll_timeout(&self) -> Option<Instant>;

    /// What the relay said next.
    fn poll(&mut self) -> Option<(CallNumber, Told)>;

    /// The process of the relay, if it was started here.
    fn pid(&self) -> Option<u32> {
        None
    }

    /// Packets that it dropped, by reason; empty where it does not say.
    fn dropped(&mut self) -> Vec<(String, u64)> {
        Vec::new()
    }
}

/// What a relay says of a call.
#[derive(Debug)]
pub(super) enum Told {
    /// Its offer to the second end.
    Offer(Description),
    /// Its answer to the first end.
    Answer(Description),
    /// The call is gone.
    Ended,
    /// What was asked last is not done.
    Refused(TargetError),
}

/// The calls of a trial at one relay.
pub(super) struct Calls<C> {
    pub(super) control: C,
    pub(super) terms: [Arc<Terms>; 2],
    poll: Poll,
    events: Events,
    /// Those that are being set up, and those that are ready but not handed out yet.
    calls: HashMap<CallNumber, Call>,
    /// How many of them are ready.
    ready: usize,
    finished: Vec<Result<ReadyCall, TargetError>>,
    next_tick: Instant,
}

struct Call {
    began: Instant,
    state: State,
}

enum State {
    /// The first end has offered.
    Offered(Side),
    /// The second end has answered.
    Answered([Side; 2]),
    /// Both have their answer; ICE or DTLS runs.
    Connecting([Side; 2]),
    /// Media can flow, since it took this long.
    Ready([Side; 2], Duration),
}

impl State {
    /// What it waits for, in words; `None` if for nothing.
    fn waits_for(&self) -> Option<String> {
        match self {
            Self::Offered(_) => Some("the relay did not offer".to_owned()),
            Self::Answered(_) => Some("the relay did not answer".to_owned()),
            Self::Connecting([first, second]) => {
                Some(format!("no media: first end {}; second end {}", first.waits_for(), second.waits_for()))
            }
            Self::Ready(..) => None,
        }
    }

    fn sides(&mut self) -> &mut [Side] {
        match self {
            Self::Offered(first) => std::slice::from_mut(first),
            Self::Answered(both) | Self::Connecting(both) | Self::Ready(both, _) => both,
        }
    }
}

impl<C: Control> Calls<C> {
    pub(super) fn new(control: C, ends: &Ends) -> Result<Self, TargetError> {
        let certificate = Arc::new(Certificate::generate().map_err(|error| lacks("certificate", &error))?);
        let terms = |media, ice| Arc::new(Terms::new(ends.address, media, ice, &certificate));
        let poll = Poll::new().map_err(|error| lacks("file", &error))?;
        let source = control.source();
        poll.registry()
            .register(&mut SourceFd(&source), CONTROL, Interest::READABLE)
            .map_err(|error| lacks("file", &error))?;
        Ok(Self {
            control,
            terms: [terms(ends.media, ends.ice), terms(MediaSecurity::Rtp, false)],
            poll,
            events: Events::with_capacity(256),
            calls: HashMap::new(),
            ready: 0,
            finished: Vec::new(),
            next_tick: now(),
        })
    }

    fn in_flight(&self) -> usize {
        self.calls.len() - self.ready
    }

    fn begin(&mut self, number: CallNumber) {
        let now = now();
        match Side::new(&self.terms[0], ice::Role::Controlling) {
            Ok(mut first) => {
                self.control.offer(number, &first.offer(), now);
                self.calls.insert(number, Call { began: now, state: State::Offered(first) });
            }
            Err(error) => self.finished.push(Err(error)),
        }
    }

    /// Waits until something happens, and does what it calls for.
    pub(super) fn turn(&mut self) -> Result<(), TargetError> {
        let until = self.control.poll_timeout().map_or(self.next_tick, |at| at.min(self.next_tick));
        match self.poll.poll(&mut self.events, Some(until.saturating_duration_since(now()))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(TargetError::Gone(format!("cannot wait for it: {error}")));
            }
            Ok(()) | Err(_) => {}
        }
        let now = now();
        let mut told = Ok(());
        let mut touched = Vec::new();
        for event in &self.events {
            let Some((number, side)) = call_of(event.token()) else {
                told = self.control.receive();
                continue;
            };
            let call = self.calls.get_mut(&number);
            if let Some(side) = call.and_then(|call| call.state.sides().get_mut(side)) {
                side.receive(now);
                touched.push(number);
            }
        }
        touched.into_iter().for_each(|number| self.settle(number, now));
        if self.control.poll_timeout().is_some_and(|at| at <= now) {
            self.control.handle_timeout(now);
        }
        if self.next_tick <= now {
            self.tick(now);
        }
        told
    }

    /// Takes what the relay said about calls that are being set up.
    fn take_news(&mut self) {
        let now = now();
        while let Some((number, told)) = self.control.poll() {
            let Some(Call { began, state }) = self.calls.remove(&number) else { continue };
            self.ready -= usize::from(matches!(state, State::Ready(..)));
            match self.step(number, state, told, now) {
                Ok(state) => {
                    self.calls.insert(number, Call { began, state });
                    self.settle(number, now);
                }
                Err(error) => self.give_up(number, error, now),
            }
        }
    }

    /// One step of a call.
    fn step(&mut self, number: CallNumber, state: State, told: Told, now: Instant) -> Result<State, TargetError> {
        let unusable = |what: &'static str| {
            move |NegotiationError(why): NegotiationError| {
                TargetError::Refused(format!("call {}: {what} has {why}", number.0))
            }
        };
        match (state, told) {
            (State::Offered(first), Told::Offer(offer)) => {
                let mut second = Side::new(&self.terms[1], ice::Role::Controlled)?;
                let answer = second.answer(&offer, now).map_err(unusable("the relay's offer"))?;
                self.watch(number, 1, &second)?;
                self.control.answer(number, &answer, now);
                Ok(State::Answered([first, second]))
            }
            (State::Answered([mut first, second]), Told::Answer(answer)) => {
                self.watch(number, 0, &first)?;
                first.accept(&answer, now).map_err(unusable("the relay's answer"))?;
                Ok(State::Connecting([first, second]))
            }
            (_, Told::Refused(error)) => Err(error),
            (State::Offered(_), Told::Answer(_) | Told::Ended)
            | (State::Answered(_), Told::Offer(_) | Told::Ended)
            | (State::Connecting(_) | State::Ready(..), Told::Offer(_) | Told::Answer(_) | Told::Ended) => {
                Err(TargetError::Refused(format!("call {}: the relay spoke out of turn", number.0)))
            }
        }
    }

    /// Lets the packets of an end be waited for, if it gets any before media flows.
    fn watch(&self, number: CallNumber, side: usize, end: &Side) -> Result<(), TargetError> {
        if !self.terms[side].connects() {
            return Ok(());
        }
        let socket = end.socket().as_raw_fd();
        let watched = self.poll.registry().register(&mut SourceFd(&socket), token(number, side), Interest::READABLE);
        watched.map_err(|error| lacks("file", &error))
    }

    /// Sees whether media can flow at a call now.
    fn settle(&mut self, number: CallNumber, now: Instant) {
        let Some(Call { began, state }) = self.calls.remove(&number) else { return };
        let state = match state {
            State::Connecting(both) if both.iter().all(Side::is_ready) => {
                self.ready += 1;
                State::Ready(both, now.saturating_duration_since(began))
            }
            other @ (State::Offered(_) | State::Answered(_) | State::Connecting(_) | State::Ready(..)) => other,
        };
        self.calls.insert(number, Call { began, state });
    }

    /// Does what is due at the ends, and gives up what takes too long.
    fn tick(&mut self, now: Instant) {
        self.next_tick = now + TICK;
        let mut late = Vec::new();
        for (number, call) in &mut self.calls {
            call.state.sides().iter_mut().for_each(|side| side.handle_timeout(now));
            if now.saturating_duration_since(call.began) > SET_UP_WITHIN {
                late.extend(call.state.waits_for().map(|waits_for| (*number, waits_for)));
            }
        }
        for (number, waits_for) in late {
            self.calls.remove(&number);
            self.give_up(number, TargetError::TimedOut(format!("call {}: {waits_for}", number.0)), now);
        }
    }

    fn give_up(&mut self, number: CallNumber, error: TargetError, now: Instant) {
        self.finished.push(Err(error));
        self.control.end(number, now);
    }

    /// Hands out what is set up.
    fn finish(&mut self) -> Vec<Result<ReadyCall, TargetError>> {
        self.ready = 0;
        for (number, call) in self.calls.drain() {
            let State::Ready(both, took) = call.state else { continue };
            for (side, _) in both.iter().zip(&self.terms).filter(|(_, terms)| terms.connects()) {
                // It was registered when its packets began to be waited for, so this cannot fail.
                let _ = self.poll.registry().deregister(&mut SourceFd(&side.socket().as_raw_fd()));
            }
            let [first, second] = both.map(Side::into_end);
            self.finished.push(match (first, second) {
                (Some(first), Some(second)) => Ok(ReadyCall { number, ends: [first, second], took }),
                _ => Err(TargetError::Refused(format!("call {}: its path was lost at once", number.0))),
            });
        }
        std::mem::take(&mut self.finished)
    }
}

impl<C: Control> Target for Calls<C> {
    fn open(&mut self, calls: &[CallNumber]) -> Result<(), TargetError> {
        self.set_up_empty(calls)
    }

    fn churn(&mut self, first: CallNumber, at_once: usize, time: Duration) -> Result<Churned, TargetError> {
        self.churn_empty(first, at_once, time)
    }

    fn set_up(&mut self, calls: &[CallNumber]) -> Vec<Result<ReadyCall, TargetError>> {
        let mut waiting = calls.iter();
        loop {
            while self.in_flight() < AT_ONCE
                && let Some(number) = waiting.next()
            {
                self.begin(*number);
            }
            if self.in_flight() == 0 {
                return self.finish();
            }
            let turned = self.turn();
            self.take_news();
            if let Err(error) = turned {
                self.calls.retain(|_, call| matches!(call.state, State::Ready(..)));
                let missing = calls.len() - self.calls.len() - self.finished.len();
                self.finished.extend(std::iter::repeat_with(|| Err(error.clone())).take(missing));
                return self.finish();
            }
        }
    }

    fn tear_down(&mut self, calls: &[CallNumber]) -> Result<(), TargetError> {
        let give_up_at = now() + TEAR_DOWN_WITHIN;
        let mut waiting = calls.iter();
        let mut ending = HashSet::new();
        let mut outcome = Ok(());
        loop {
            while ending.len() < AT_ONCE
                && let Some(number) = waiting.next()
            {
                self.control.end(*number, now());
                ending.insert(*number);
            }
            if ending.is_empty() {
                return outcome;
            }
            self.turn()?;
            while let Some((number, told)) = self.control.poll() {
                if let (true, Told::Refused(error)) = (ending.remove(&number), told) {
                    outcome = outcome.and(Err(error));
                }
            }
            if now() > give_up_at {
                return Err(TargetError::TimedOut(format!("{} calls do not end", ending.len() + waiting.len())));
            }
        }
    }

    fn pid(&self) -> Option<u32> {
        self.control.pid()
    }

    fn dropped(&mut self) -> Vec<(String, u64)> {
        self.control.dropped()
    }
}

fn lacks(what: &str, error: &dyn std::fmt::Display) -> TargetError {
    TargetError::Exhausted(format!("{what} ({error})"))
}

/// The name of an end's socket: two for each call, after that of the relay.
const fn token(number: CallNumber, side: usize) -> Token {
    Token(1 + 2 * number.0 as usize + side)
}

/// The end of a token; `None`: it is the relay's.
fn call_of(token: Token) -> Option<(CallNumber, usize)> {
    let index = token.0.checked_sub(1)?;
    Some((CallNumber(u32::try_from(index / 2).ok()?), index % 2))
}

#[expect(clippy::disallowed_methods, reason = "this is the shell that gives the ends their time")]
pub(super) fn now() -> Instant {
    Instant::now()
}
