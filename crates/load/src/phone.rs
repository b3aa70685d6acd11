//! A built-in SIP phone: it calls, rings, answers and hangs up, with a tone in place of a voice.
//!
//! It stands at an address of its own, without registration, as a phone behind a trunk does. Dialogs and transactions
//! are the user agent's of the `sip` crate.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use model::{Description, Security};
use sdp::Session;
use sip::agent::{self, Agent, Listen, Transport};
use sip::message::{DialogId, FromAgent, InDialogId, IncomingInvite, OutgoingInvite, Response, ToAgent};
use tokio::sync::mpsc;

use crate::endpoint::{self, Endpoint};

/// What a phone is.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where it listens for SIP over UDP; port 0 takes a free one. Its media is at the same IP address.
    pub listen: SocketAddr,
    /// Its own number or name.
    pub user: String,
    /// How its media is protected: [`Security::Rtp`] or [`Security::Sdes`].
    pub security: Security,
    /// The tone it plays, in hertz.
    pub tone: f32,
}

/// What happens to a phone.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Whom we call is being rung.
    Ringing,
    /// Somebody calls, and hears it ring; [`Phone::answer`] it or [`Phone::reject`] it.
    Incoming {
        /// The caller's URI.
        from: String,
    },
    /// The call is answered; media follows.
    Answered,
    /// Our call failed with this status.
    Failed(u16),
    /// The call is over, and not by us.
    Ended,
}

/// A phone with at most one call.
#[derive(Debug)]
pub struct Phone {
    config: Config,
    agent: Agent,
    to_agent: mpsc::Sender<ToAgent>,
    from_agent: mpsc::Receiver<FromAgent>,
    calls: u64,
    call: Option<Call>,
    events: VecDeque<Event>,
}

/// Its call.
#[derive(Debug)]
struct Call {
    dialog: DialogId,
    sdp: Session,
    endpoint: Endpoint,
    stage: Stage,
    /// Our last offer or answer.
    local: Description,
}

/// Where the call is.
#[derive(Debug, PartialEq)]
enum Stage {
    /// We called.
    Calling,
    /// We are called, with this offer; without one, we have to make it.
    Incoming(Option<Description>),
    /// We answered with an offer of ours.
    Offered,
    /// Both sides have descriptions.
    Active,
}

impl Phone {
    /// Starts the phone, on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// Its address cannot be listened at.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let listen = Listen { transport: Transport::Udp, address: config.listen };
        let settings = agent::Config { user_agent: "stox phone".to_owned(), ..agent::Config::new(vec![listen]) };
        let (agent, to_agent, from_agent) = Agent::start(settings).await.context("the phone does not start")?;
        Ok(Self { config, agent, to_agent, from_agent, calls: 0, call: None, events: VecDeque::new() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.agent.addresses().first().map_or(self.config.listen, |listen| listen.address)
    }

    /// Calls a URI, as `sip:user@host:port`.
    ///
    /// # Errors
    ///
    /// There is a call already, or no socket for its media.
    pub fn call(&mut self, to: &str) -> anyhow::Result<()> {
        if self.call.is_some() {
            bail!("there is a call already");
        }
        self.calls += 1;
        let dialog = DialogId((1 << 63) | self.calls);
        let endpoint = self.endpoint(true)?;
        let local = endpoint.offer();
        let mut sdp = Session::new(random());
        let from = format!("sip:{}@{}", self.config.user, self.address());
        let offer = Some(sdp.write_offer(&local));
        let invite = OutgoingInvite { sdp: offer, ..OutgoingInvite::new(dialog, to.to_owned(), from) };
        self.call = Some(Call { dialog, sdp, endpoint, stage: Stage::Calling, local });
        self.tell(ToAgent::Invite(invite))
    }

    /// Answers the call that comes in.
    ///
    /// # Errors
    ///
    /// None comes in, or nothing in its offer suits us.
    pub fn answer(&mut self) -> anyhow::Result<()> {
        let Some(call) = &mut self.call else { bail!("nobody calls") };
        let dialog = call.dialog;
        let sdp = match std::mem::replace(&mut call.stage, Stage::Active) {
            Stage::Incoming(Some(offer)) => {
                call.local = call.endpoint.answer(&offer).context("the offer was not taken")?;
                self.events.push_back(Event::Answered);
                call.sdp.write_answer(&call.local)
            }
            Stage::Incoming(None) => {
                call.stage = Stage::Offered;
                call.local = call.endpoint.offer();
                call.sdp.write_offer(&call.local)
            }
            other @ (Stage::Calling | Stage::Offered | Stage::Active) => {
                call.stage = other;
                bail!("nobody calls");
            }
        };
        self.tell(ToAgent::Respond { dialog, response: Response::with_sdp(200, sdp) })
    }

    /// Refuses the call that comes in, with a status of 300 or above.
    ///
    /// # Errors
    ///
    /// None comes in.
    pub fn reject(&mut self, status: u16) -> anyhow::Result<()> {
        let incoming = self.call.take_if(|call| matches!(call.stage, Stage::Incoming(_)));
        let dialog = incoming.context("nobody calls")?.dialog;
        self.tell(ToAgent::Respond { dialog, response: Response::new(status) })
    }

    /// Ends the call: gives it up, refuses it, or hangs up.
    ///
    /// # Errors
    ///
    /// The user agent is gone.
    pub fn hang_up(&mut self) -> anyhow::Result<()> {
        let Some(Call { dialog, stage, .. }) = self.call.take() else { return Ok(()) };
        self.tell(match stage {
            Stage::Calling => ToAgent::Cancel { dialog, reason: Vec::new() },
            Stage::Incoming(_) => ToAgent::Respond { dialog, response: Response::new(603) },
            Stage::Offered | Stage::Active => ToAgent::Bye { dialog, reason: Vec::new() },
        })
    }

    /// How the media of the call is.
    pub fn media(&self) -> Option<endpoint::Status> {
        self.call.as_ref().map(|call| call.endpoint.status())
    }

    /// Ends the phone and its calls, within `patience`.
    pub async fn stop(self, patience: Duration) {
        self.agent.stop(patience).await;
    }

    /// Waits for the next event. May be cancelled.
    ///
    /// # Errors
    ///
    /// The user agent is gone, or the call's media cannot be set up.
    pub async fn next(&mut self) -> anyhow::Result<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let told = self.from_agent.recv().await.context("the user agent is gone")?;
            if let Some(answer) = self.handle(told)? {
                self.tell(answer)?;
            }
        }
    }

    /// Takes what the agent tells, and gives what it is to be told in return.
    fn handle(&mut self, told: FromAgent) -> anyhow::Result<Option<ToAgent>> {
        if let FromAgent::Invite(invite) = told {
            return self.handle_invite(invite).map(Some);
        }
        let Some(call) = self.call.as_mut().filter(|call| call.dialog == told.dialog()) else { return Ok(None) };
        match told {
            FromAgent::Invite(_) => {}
            FromAgent::Provisional { status, sdp, reliable, .. } => {
                if reliable && let Some(sdp) = sdp {
                    call.accept(&sdp)?;
                }
                if status == 180 {
                    self.events.push_back(Event::Ringing);
                }
            }
            FromAgent::Answered { sdp, .. } => {
                if let Some(sdp) = sdp {
                    call.accept(&sdp)?;
                }
                call.stage = Stage::Active;
                self.events.push_back(Event::Answered);
            }
            FromAgent::Acknowledged { sdp, .. } => {
                if call.stage == Stage::Offered {
                    call.accept(&sdp.context("an ACK without an answer to our offer")?)?;
                    call.stage = Stage::Active;
                    self.events.push_back(Event::Answered);
                }
            }
            FromAgent::Failed { failure, .. } => {
                self.call = None;
                self.events.push_back(Event::Failed(failure.status));
            }
            FromAgent::Cancelled { .. } | FromAgent::Ended { .. } => {
                self.call = None;
                self.events.push_back(Event::Ended);
            }
            FromAgent::Reinvited { request, sdp, .. } => return call.reinvited(request, sdp).map(Some),
            FromAgent::ReinviteAnswered { .. } | FromAgent::ReinviteFailed { .. } => {}
            FromAgent::Info { dialog, request, .. } => {
                return Ok(Some(ToAgent::RespondInDialog { dialog, request, response: Response::new(200) }));
            }
            FromAgent::Refer { dialog, request, .. } => {
                return Ok(Some(ToAgent::RespondInDialog { dialog, request, response: Response::new(603) }));
            }
            FromAgent::ReferProgress { .. } => {}
        }
        Ok(None)
    }

    fn handle_invite(&mut self, invite: IncomingInvite) -> anyhow::Result<ToAgent> {
        let dialog = invite.dialog;
        if self.call.is_some() {
            return Ok(ToAgent::Respond { dialog, response: Response::new(486) });
        }
        let mut sdp = Session::new(random());
        let offer = invite.sdp.as_deref().map(|text| sdp.read_offer(text)).transpose().context("not an offer")?;
        let offer = offer.map(|described| described.description);
        let local = Description::default();
        let endpoint = self.endpoint(offer.is_none())?;
        self.call = Some(Call { dialog, sdp, endpoint, stage: Stage::Incoming(offer), local });
        self.events.push_back(Event::Incoming { from: invite.from });
        Ok(ToAgent::Respond { dialog, response: Response::new(180) })
    }

    fn endpoint(&self, offers: bool) -> anyhow::Result<Endpoint> {
        let config = endpoint::Config {
            address: self.config.listen.ip(),
            offers,
            ice: false,
            security: self.config.security,
            rtcp_mux: false,
            tone: self.config.tone,
        };
        Endpoint::start(config).context("no socket for media")
    }

    fn tell(&self, message: ToAgent) -> anyhow::Result<()> {
        self.to_agent.try_send(message).context("the user agent is gone")
    }
}

impl Call {
    /// Takes the answer to our offer.
    fn accept(&mut self, sdp: &str) -> anyhow::Result<()> {
        let answer = self.sdp.read_answer(sdp).context("not an answer")?.description;
        self.endpoint.accept(&answer).context("the answer was not taken")
    }

    /// Answers a re-INVITE: nothing changes on our side.
    fn reinvited(&mut self, request: InDialogId, offer: Option<String>) -> anyhow::Result<ToAgent> {
        let sdp = match offer {
            Some(offer) => {
                let offer = self.sdp.read_offer(&offer).context("not an offer")?.description;
                self.local = self.endpoint.answer(&offer).context("the offer was not taken")?;
                self.sdp.write_answer(&self.local)
            }
            None => self.sdp.write_offer(&self.local),
        };
        let response = Response::with_sdp(200, sdp);
        Ok(ToAgent::RespondInDialog { dialog: self.dialog, request, response })
    }
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn one_phone_calls_another_and_either_hangs_up() {
        for security in [Security::Rtp, Security::Sdes] {
            let (mut here, mut there) = (phone("100", security).await, phone("200", security).await);
            for caller_ends in [true, false] {
                ring(&mut here, &mut there).await;
                there.answer().expect("it rings");
                assert_eq!(next(&mut there).await, Event::Answered);
                assert_eq!(next(&mut here).await, Event::Answered);
                assert!(here.media().is_some() && there.media().is_some());
                let (ends, hears) = if caller_ends { (&mut here, &mut there) } else { (&mut there, &mut here) };
                ends.hang_up().expect("there is a call");
                assert_eq!(next(hears).await, Event::Ended);
            }
        }
    }

    #[tokio::test]
    async fn a_call_can_be_refused_and_given_up() {
        let (mut here, mut there) = (phone("100", Security::Rtp).await, phone("200", Security::Rtp).await);
        ring(&mut here, &mut there).await;
        there.reject(486).expect("it rings");
        assert_eq!(next(&mut here).await, Event::Failed(486));

        ring(&mut here, &mut there).await;
        here.hang_up().expect("there is a call");
        assert_eq!(next(&mut there).await, Event::Ended);
    }

    async fn phone(user: &str, security: Security) -> Phone {
        let listen = "127.0.0.1:0".parse().expect("an address");
        let config = Config { listen, user: user.to_owned(), security, tone: 440.0 };
        Phone::start(config).await.expect("a free port")
    }

    /// Calls until it rings at both ends.
    async fn ring(here: &mut Phone, there: &mut Phone) {
        here.call(&format!("sip:200@{}", there.address())).expect("there is no call yet");
        assert!(matches!(next(there).await, Event::Incoming { .. }));
        assert_eq!(next(here).await, Event::Ringing);
    }

    async fn next(phone: &mut Phone) -> Event {
        timeout(Duration::from_secs(10), phone.next()).await.expect("in time").expect("the agent runs")
    }
}
